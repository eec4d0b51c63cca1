//! Damaged bodies are accepted, and decoded, as by the libraries that others use.

use std::io::Read as _;

use miniz_oxide::deflate::compress_to_vec;
use miniz_oxide::inflate::decompress_to_vec_with_limit;
use proptest::prelude::*;

use super::{DecodeError, brotli_at, decode, zstd};

/// Decodes with another implementation, unless the body is corrupt or incomplete.
fn reference(coding: &str, body: &[u8]) -> Option<Vec<u8>> {
    let mut plain = Vec::new();
    match coding {
        "deflate" => return decompress_to_vec_with_limit(body, 1 << 22).ok(),
        "br" => {
            ::brotli::BrotliDecompress(&mut &*body, &mut plain).ok()?;
        }
        _ => {
            let mut decoder = ::zstd::Decoder::new(body).ok()?;
            decoder.read_to_end(&mut plain).ok()?;
        }
    }
    Some(plain)
}

/// Returns short text, in which a damaged bit is often one of a header or of a code.
fn short_text() -> impl Strategy<Value = Vec<u8>> {
    let word = prop_oneof![
        4 => "[a-h]{1,6}".prop_map(String::into_bytes),
        1 => proptest::collection::vec(any::<u8>(), 0..20),
        1 => (any::<u8>(), 1_usize..100).prop_map(|(byte, count)| vec![byte; count]),
    ];
    let words = proptest::collection::vec(word, 1..20);
    let picks = proptest::collection::vec(any::<prop::sample::Index>(), 0..150);
    (words, picks).prop_map(|(words, picks)| {
        let picked = picks.iter().flat_map(|pick| pick.get(&words).clone());
        picked.collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn damaged_bodies_are_read_as_by_libraries(
        text in short_text(),
        damage in proptest::collection::vec((any::<usize>(), 0_u32..8, any::<bool>()), 0..3),
        level in 0_i32..6,
        quality in 0_u32..10,
        window in 10_u32..19,
    ) {
        for (coding, mut body) in [
            ("deflate", compress_to_vec(&text, 6)),
            ("br", brotli_at(&text, quality, window)),
            // Without a checksum, which is not compared.
            ("zstd", zstd(&text, 2 * level + 1)),
        ] {
            for (at, bit, is_near) in &damage {
                let length = if *is_near { body.len().min(30) } else { body.len() };
                body[at % length] ^= 1 << bit;
            }
            let (plain, decoder) = decode(coding, &body, 1_000);
            let found = (decoder.error().is_none() && decoder.has_ended()).then_some(plain);
            // These libraries accept meta-blocks that are longer than they say, and codes that leave bits.
            let is_strict = coding == "deflate" || found.is_some();
            if is_strict && decoder.error() != Some(DecodeError::TooLarge) {
                prop_assert!(found == reference(coding, &body), "{} {:?}", coding, body);
            }
        }
    }
}

#[test]
fn nothing_follows_absent_sequences_of_zstd() {
    let literals = b"\x98aaa\x01\0\0\0\0\0\x01aaaaaaa\x06\0";
    // No sequences, written in one byte and in two.
    for number in [&b"\0"[..], b"\x80\0"] {
        for rest in [&b""[..], b"\x04\xc0\x65\xd7"] {
            let block = [literals, number, rest].concat();
            let size = u8::try_from(block.len()).unwrap();
            let header = [size << 3 | 5, size >> 5, 0];
            let body = [b"\x28\xb5\x2f\xfd\0\x48", &header[..], &block].concat();
            let (plain, decoder) = decode("zstd", &body, 1_000);
            let found = (decoder.error().is_none() && decoder.has_ended()).then_some(plain);
            assert_eq!(found, reference("zstd", &body), "{body:?}");
            assert_eq!(found.is_some(), rest.is_empty(), "{body:?}");
        }
    }
}
