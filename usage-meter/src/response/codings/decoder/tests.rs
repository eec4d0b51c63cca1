use std::io::Write as _;

use miniz_oxide::deflate::{compress_to_vec, compress_to_vec_zlib};
use proptest::prelude::*;

use super::{DecodeError, Decoder};

mod allocations;
mod attacks;
mod events;
mod frames;
mod headers;
mod hostile;
mod reference;
use crate::DecoderMemory;

/// Encodes a member of RFC 1952 with every part that its header can have.
fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut member = vec![0x1f, 0x8b, 8, 2 | 4 | 8 | 16, 0, 0, 0, 0, 0, 255];
    member.extend_from_slice(&[3, 0, 1, 2, 3]);
    member.extend_from_slice(b"name\0comment\0\x12\x34");
    member.extend_from_slice(&compress_to_vec(bytes, 6));
    member.extend_from_slice(&crc32fast::hash(bytes).to_le_bytes());
    member.extend_from_slice(&u32::try_from(bytes.len()).unwrap().to_le_bytes());
    member
}

fn brotli(bytes: &[u8]) -> Vec<u8> {
    brotli_at(bytes, 5, 20)
}

/// Encodes with a quality from 0 to 11 and a window of so many bits.
fn brotli_at(bytes: &[u8], quality: u32, window: u32) -> Vec<u8> {
    let mut encoded = Vec::new();
    brotli::CompressorWriter::new(&mut encoded, 4096, quality, window)
        .write_all(bytes)
        .unwrap();
    encoded
}

fn zstd(bytes: &[u8], level: i32) -> Vec<u8> {
    let mut encoder = zstd::Encoder::new(Vec::new(), level).unwrap();
    encoder.include_checksum(level % 2 == 0).unwrap();
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn encode(coding: &str, bytes: &[u8]) -> Vec<u8> {
    match coding {
        "gzip" | "x-gzip" | "GZIP" => gzip(bytes),
        "deflate" => compress_to_vec_zlib(bytes, 6),
        "br" => brotli(bytes),
        "zstd" => zstd(bytes, 3),
        _ => bytes.to_vec(),
    }
}

/// Decodes in pieces of `piece` bytes.
fn decode(codings: &str, bytes: &[u8], piece: usize) -> (Vec<u8>, Decoder) {
    let mut decoder = Decoder::new(codings.as_bytes(), &DecoderMemory::default()).unwrap();
    let mut plain = Vec::new();
    for piece in bytes.chunks(piece) {
        if decoder
            .push(piece, &mut |bytes| plain.extend_from_slice(bytes))
            .is_err()
        {
            break;
        }
    }
    decoder.finish(&mut |bytes| plain.extend_from_slice(bytes));
    (plain, decoder)
}

/// Returns text that can be compressed.
fn text() -> impl Strategy<Value = Vec<u8>> {
    let word = prop_oneof![
        4 => "[a-z]{1,8}".prop_map(String::into_bytes),
        1 => Just(br#"{"usage":{"prompt_tokens":12}}"#.to_vec()),
        1 => proptest::collection::vec(any::<u8>(), 0..40),
        1 => (any::<u8>(), 1_usize..100).prop_map(|(byte, count)| vec![byte; count]),
    ];
    proptest::collection::vec(word, 1..400).prop_flat_map(|words| {
        proptest::collection::vec(0..words.len(), 0..4_000)
            .prop_map(move |picks| picks.iter().flat_map(|pick| words[*pick].clone()).collect())
    })
}

#[test]
fn identity_needs_no_decoder() {
    for header in ["", "identity", " , identity,", "Identity", "none", "UTF-8"] {
        assert!(
            Decoder::new(header.as_bytes(), &DecoderMemory::default()).is_none(),
            "{header}"
        );
    }
}

#[test]
fn several_codings_are_decoded_from_the_last() {
    let text = b"Hello, hello, hello.".repeat(100);
    for codings in [
        &["gzip"][..],
        &["deflate"],
        &["br"],
        &["zstd"],
        &["x-gzip", "br"],
        &["deflate", "identity", "GZIP"],
        &["br", "zstd"],
    ] {
        let encoded = codings
            .iter()
            .fold(text.clone(), |bytes, coding| encode(coding, &bytes));
        for piece in [1, 10, encoded.len()] {
            let (plain, decoder) = decode(&codings.join(", "), &encoded, piece);
            assert_eq!(plain, text, "{codings:?} in pieces of {piece}");
            assert!(decoder.has_ended());
        }
    }
}

#[test]
fn unknown_and_too_many_codings_are_errors() {
    for header in ["compress", "x-own", "br,br,br"] {
        let (plain, decoder) = decode(header, b"any\x9dthing", 8);
        assert_eq!(decoder.error(), Some(DecodeError::Unknown), "{header}");
        assert!(plain.is_empty());
    }
}

#[test]
fn unknown_coding_is_left_out() {
    let text = b"known ".repeat(50);
    let (plain, decoder) = decode("gzip;q=1, X-Own", &gzip(&text), 7);
    assert_eq!((plain, decoder.error()), (text, None));
}

#[test]
fn text_with_a_wrong_label_is_passed_on() {
    for text in [
        r#"{"choices":[{"message":{"content":"Grüße"}}]}"#,
        "\r\ndata: {\"a\":1}\n\n",
        "[{}]",
        "{",
        "event: é",
        "\u{feff}{\"a\":\"b\"}            ",
    ] {
        for header in [
            "gzip", "deflate", "br", "zstd", "compress", "x-own", "gzip, br",
        ] {
            for piece in [1, 5, text.len()] {
                let (plain, decoder) = decode(header, text.as_bytes(), piece);
                assert_eq!(String::from_utf8_lossy(&plain), text, "{header}");
                assert_eq!(decoder.error(), None, "{header}");
            }
        }
    }
    // Plain text that starts otherwise shows only where the coding has a magic number.
    assert_eq!(
        decode("gzip", b"Hello there, my friends.", 3).0,
        b"Hello there, my friends."
    );
    assert!(
        decode("br", b"Hello there, my friends.", 3)
            .1
            .error()
            .is_some()
    );
}

#[test]
fn raw_deflate_is_decoded() {
    let text = b"bare ".repeat(50);
    assert_eq!(decode("deflate", &compress_to_vec(&text, 9), 3).0, text);
}

#[test]
fn several_members_and_frames_are_decoded() {
    let text = b"one two ".repeat(20);
    let twice = text.repeat(2);
    let mut members = gzip(&text).repeat(2);
    members.extend_from_slice(&[0; 20]);
    let (plain, decoder) = decode("gzip", &members, 5);
    assert_eq!((plain, decoder.error()), (twice.clone(), None));
    assert!(decoder.has_ended());
    let mut frames = zstd(&text, 1);
    frames.extend_from_slice(b"\x5a\x2a\x4d\x18\x03\0\0\0abc");
    frames.extend_from_slice(&zstd(&text, 2));
    let (plain, decoder) = decode("zstd", &frames, 5);
    assert_eq!(plain, twice);
    assert!(decoder.has_ended());
}

#[test]
fn flushed_bytes_are_decoded_at_once() {
    let events = [b"data: one\n\n", b"data: two\n\n"];
    let mut encoder = zstd::Encoder::new(Vec::new(), 3).unwrap();
    let mut decoder = Decoder::new(b"zstd", &DecoderMemory::default()).unwrap();
    let mut sent = 0;
    for event in events {
        encoder.write_all(event).unwrap();
        encoder.flush().unwrap();
        let bytes = encoder.get_ref()[sent..].to_vec();
        sent += bytes.len();
        let mut plain = Vec::new();
        decoder
            .push(&bytes, &mut |bytes| plain.extend_from_slice(bytes))
            .unwrap();
        assert_eq!(plain, event);
    }
    let mut decoder = Decoder::new(b"br", &DecoderMemory::default()).unwrap();
    let mut encoder = brotli::CompressorWriter::new(Vec::new(), 4096, 5, 22);
    encoder.write_all(events[0]).unwrap();
    encoder.flush().unwrap();
    let mut plain = Vec::new();
    decoder
        .push(encoder.get_ref(), &mut |bytes| {
            plain.extend_from_slice(bytes);
        })
        .unwrap();
    assert_eq!(plain, events[0]);
}

#[test]
fn decoder_memory_is_bounded_and_released() {
    let memory = DecoderMemory::new(4 << 20);
    for (coding, bytes) in [
        ("br", &brotli(b"text")[..]),
        ("zstd", &zstd(b"text", 3)),
        ("gzip", &gzip(b"text")),
    ] {
        let mut decoders = Vec::new();
        let mut stopped = 0;
        for _ in 0..2_000 {
            let mut decoder = Decoder::new(coding.as_bytes(), &memory).unwrap();
            let _ = decoder.push(&bytes[..bytes.len() - 1], &mut |_| {});
            stopped += usize::from(decoder.error() == Some(DecodeError::Memory));
            decoders.push(decoder);
            assert!(memory.used_bytes() <= memory.limit_bytes(), "{coding}");
        }
        assert!(stopped > 0, "{coding}");
        drop(decoders);
        assert_eq!(memory.used_bytes(), 0, "{coding}");
    }
}

#[test]
fn window_above_maximum_is_an_error() {
    // A frame header with a window of 16 MiB.
    let (_, decoder) = decode("zstd", b"\x28\xb5\x2f\xfd\x00\x70", 6);
    assert_eq!(decoder.error(), Some(DecodeError::Window));
}

#[test]
fn match_before_first_byte_is_corrupt() {
    const HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];
    const TRAILER: [u8; 8] = [0; 8];
    // A fixed block: "a", and three bytes from one byte before, or from two.
    let (valid, corrupt) = ([0x4b, 4, 2, 0], [0x4b, 4, 0x42, 0]);
    let member = |blocks: [u8; 4]| [&HEADER[..], &blocks, &TRAILER].concat();
    // Matches do not reach into the member before.
    let second = [member(valid), member(corrupt)].concat();
    let error = Some(DecodeError::Corrupt);
    for (coding, body, plain, error) in [
        ("deflate", valid.to_vec(), &b"aaaa"[..], None),
        ("deflate", corrupt.to_vec(), b"a", error),
        ("gzip", member(valid), b"aaaa", None),
        ("gzip", member(corrupt), b"a", error),
        ("gzip", second, b"aaaaa", error),
    ] {
        let (found, decoder) = decode(coding, &body, 1000);
        assert_eq!((found.as_slice(), decoder.error()), (plain, error));
    }
}

#[test]
fn zstd_default_tables_decode_every_level() {
    let text: Vec<u8> = (0..20_000_u32)
        .flat_map(|n| {
            (n.wrapping_mul(2_654_435_761) >> 20)
                .to_string()
                .into_bytes()
        })
        .collect();
    for level in [-5, 1, 3, 9, 19] {
        let encoded = zstd(&text, level);
        assert_eq!(decode("zstd", &encoded, 1000).0, text, "level {level}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn encoded_text_is_decoded(
        text in text(),
        piece in 1_usize..5_000,
        level in 1_i32..20,
        quality in 0_u32..12,
        window in 10_u32..25,
    ) {
        for (coding, encoded) in [
            ("gzip", gzip(&text)),
            ("deflate", compress_to_vec_zlib(&text, 6)),
            ("deflate", compress_to_vec(&text, 6)),
            ("br", brotli_at(&text, quality, window)),
            ("zstd", zstd(&text, level)),
        ] {
            let (plain, decoder) = decode(coding, &encoded, piece);
            prop_assert_eq!(decoder.error(), None, "{}", coding);
            prop_assert!(decoder.has_ended());
            prop_assert!(plain == text, "{} differs", coding);
        }
    }

    #[test]
    fn damaged_bytes_do_not_panic(
        text in text(),
        damage in proptest::collection::vec((any::<usize>(), any::<u8>()), 1..6),
        length in 0.1_f64..1.0,
        level in 1_i32..20,
    ) {
        for (coding, mut encoded) in [
            ("gzip", gzip(&text)),
            ("deflate", compress_to_vec_zlib(&text, 6)),
            ("br", brotli(&text)),
            ("zstd", zstd(&text, level)),
        ] {
            for (at, byte) in &damage {
                let at = at % encoded.len();
                encoded[at] = *byte;
            }
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                clippy::cast_precision_loss,
                reason = "a short length times a factor below one"
            )]
            encoded.truncate((encoded.len() as f64 * length) as usize);
            let _ = decode(coding, &encoded, 1_000);
        }
    }
}
