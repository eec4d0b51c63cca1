//! Bodies that take much memory or work for their length stop, and all memory is paid for.

use proptest::prelude::*;

use super::{DecodeError, Decoder, allocations, brotli, gzip, hostile, text, zstd};
use crate::DecoderMemory;

const CODINGS: [&str; 7] = [
    "gzip",
    "deflate",
    "br",
    "zstd",
    "br, br",
    "zstd, br",
    "gzip, zstd",
];

/// The maximum number of decoded bytes of a body of a length.
fn max_decoded(encoded: usize) -> usize {
    let encoded = encoded.next_multiple_of(256);
    let first = encoded.min(4 << 10);
    (64 << 10) + first * 256 + (encoded - first) * 64
}

/// Decodes in pieces, and checks all bounds. Returns the number of decoded bytes and the error.
fn check(codings: &str, body: &[u8], piece: usize, limit: usize) -> (usize, Option<DecodeError>) {
    let memory = DecoderMemory::new(limit);
    let heap = allocations::begin();
    let mut decoder = Decoder::new(codings.as_bytes(), &memory).unwrap();
    let mut total = 0;
    for piece in body.chunks(piece) {
        let result = decoder.push(piece, &mut |bytes| total += bytes.len());
        let (heap, paid) = (heap.current(), memory.used_bytes());
        assert!(heap <= paid, "{codings}: {heap} of {paid} bytes");
        if result.is_err() {
            break;
        }
    }
    decoder.finish(&mut |bytes| total += bytes.len());
    let peak = heap.peak();
    assert!(peak <= limit, "{codings}: {peak} of {limit} bytes");
    assert!(total <= max_decoded(body.len()), "{codings}: {total}");
    let error = decoder.error();
    drop(decoder);
    assert_eq!(memory.used_bytes(), 0);
    (total, error)
}

#[test]
fn codes_that_a_header_asks_for_cost_nothing() {
    let body = hostile::brotli_header();
    let memory = DecoderMemory::default();
    let decoders: Vec<Decoder> = (0..320)
        .map(|_| {
            let mut decoder = Decoder::new(b"br, br", &memory).unwrap();
            decoder.push(&body, &mut |_| {}).unwrap();
            decoder
        })
        .collect();
    assert_eq!(decoders.len(), 320);
    assert!(memory.used_bytes() < 4 << 20, "{}", memory.used_bytes());
}

#[test]
fn unused_window_costs_nothing() {
    // A window of 16 MiB, and an event that is flushed.
    let mut encoder = ::brotli::CompressorWriter::new(Vec::new(), 4096, 5, 24);
    std::io::Write::write_all(&mut encoder, b"data: {}\n\n").unwrap();
    std::io::Write::flush(&mut encoder).unwrap();
    let memory = DecoderMemory::new(4 << 20);
    let decoders: Vec<Decoder> = (0..70)
        .map(|_| {
            let mut decoder = Decoder::new(b"br", &memory).unwrap();
            decoder.push(encoder.get_ref(), &mut |_| {}).unwrap();
            decoder
        })
        .collect();
    assert_eq!(decoders.len(), 70);
    let mut other = Decoder::new(b"gzip", &memory).unwrap();
    let body = gzip(&b"data: {}\n\n".repeat(2_000));
    assert_eq!(other.push(&body, &mut |_| {}), Ok(()));
}

#[test]
fn bombs_stop_early() {
    let zeros = vec![0; 4 << 20];
    for (codings, body) in [
        ("br", hostile::brotli_zeros(4 << 20)),
        ("gzip", gzip(&zeros)),
        ("zstd", zstd(&zeros, 3)),
        ("gzip, gzip", gzip(&gzip(&zeros))),
        ("br, br", brotli(&brotli(&zeros))),
    ] {
        for piece in [1, 7, body.len()] {
            let (decoded, error) = check(codings, &body, piece, 8 << 20);
            assert_eq!(error, Some(DecodeError::TooLarge), "{codings}");
            assert!(decoded < 3 << 20, "{codings}: {decoded}");
        }
    }
}

/// Bodies of this length that consist of tables, with their codings.
fn tables(length: usize) -> [(&'static str, Vec<u8>); 5] {
    [
        ("br", hostile::brotli_large_codes(length)),
        ("br", hostile::brotli_maps(length)),
        ("br", hostile::brotli_commands(length)),
        ("deflate", hostile::deflate_blocks(length, true)),
        ("zstd", hostile::zstd_codes(length)),
    ]
}

#[test]
fn tables_without_content_stop_early() {
    let length = 256 << 10;
    let sequences = [40_000, 0x7f01].map(|count| ("zstd", hostile::zstd_sequences(length, count)));
    for (coding, body) in tables(length).into_iter().chain(sequences) {
        for piece in [100, body.len()] {
            let (_, error) = check(coding, &body, piece, 8 << 20);
            assert_eq!(error, Some(DecodeError::TooLarge), "{coding}");
        }
    }
}

/// Texts that do not compress, each followed by one that does, so that both are decoded to about 50 times their length.
fn alternating(text: &[u8], count: usize) -> Vec<u8> {
    let mut random = 1_u32;
    let mut body = Vec::new();
    for _ in 0..count {
        for _ in 0..2_000 {
            random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            body.push((random >> 24) as u8 | 128);
        }
        body.extend(text.repeat(100_000 / text.len()));
    }
    body
}

#[test]
fn work_for_bytes_at_once_is_bounded() {
    // What comes before allows much more than is decoded at once.
    let zeros = gzip(&alternating(&[0; 1_000], 100));
    assert!(zeros.len() > 128 << 10);
    for (piece, expected) in [(32 << 10, None), (zeros.len(), Some(DecodeError::TooLarge))] {
        let (decoded, error) = check("gzip", &zeros, piece, 8 << 20);
        assert_eq!(error, expected, "{piece}");
        assert!(error.is_none() || decoded <= 3 << 20, "{decoded}");
    }
}

#[test]
fn lines_take_work_beside_their_bytes() {
    let short = gzip(&alternating(b"data:{}\n\n", 25));
    let (decoded, error) = check("gzip", &short, short.len(), 8 << 20);
    assert_eq!(error, Some(DecodeError::TooLarge));
    assert!(decoded < 2 << 20, "{decoded}");
    assert_eq!(check("gzip", &short, 8 << 10, 8 << 20).1, None);
    // Events of a usual length.
    let event = format!(
        "data: {{\"choices\":[{{\"delta\":\"{}\"}}]}}\n\n",
        "a".repeat(120)
    );
    let usual = gzip(&alternating(event.as_bytes(), 25));
    assert_eq!(check("gzip", &usual, usual.len(), 8 << 20).1, None);
}

/// Returns how many steps of 256 bytes of a body are decoded, in pieces.
fn steps(coding: &str, body: &[u8], piece: usize) -> usize {
    let mut decoder = Decoder::new(coding.as_bytes(), &DecoderMemory::default()).unwrap();
    let pieces = body.chunks(piece);
    let accepted = pieces.take_while(|piece| decoder.push(piece, &mut |_| {}).is_ok());
    accepted.map(<[u8]>::len).sum::<usize>() / 256
}

#[test]
fn pieces_do_not_change_where_a_body_stops() {
    for (coding, body) in tables(64 << 10) {
        let expected = steps(coding, &body, 256);
        for piece in [1, 3, 64] {
            assert_eq!(steps(coding, &body, piece), expected, "{coding} {piece}");
        }
    }
}

#[test]
fn repeated_symbol_of_a_brotli_code_is_corrupt() {
    for (symbols, expected) in [([97, 98], None), ([97, 97], Some(DecodeError::Corrupt))] {
        // The headers of codes that follow are cut off.
        let body = &hostile::brotli_pair(symbols)[..12];
        assert_eq!(check("br", body, 1, 1 << 20).1, expected, "{symbols:?}");
    }
}

#[test]
fn blocks_of_zstd_are_no_larger_than_the_window() {
    // A window of 1 KiB, and a byte that is repeated.
    for (count, expected) in [(1024, None), (1025, Some(DecodeError::Corrupt))] {
        let mut body = b"\x28\xb5\x2f\xfd\x00\x00".to_vec();
        let header: u32 = count << 3 | 1 << 1 | 1;
        body.extend_from_slice(&header.to_le_bytes()[..3]);
        body.push(b'a');
        let (_, error) = check("zstd", &body, 1, 32 << 10);
        assert_eq!(error, expected, "{count}");
    }
}

#[test]
fn small_windows_take_little_memory() {
    let text: Vec<u8> = (0..200_000_u32)
        .flat_map(|number| number.wrapping_mul(2_654_435_761).to_string().into_bytes())
        .collect();
    for (log, limit) in [(10, 160 << 10), (14, 256 << 10), (17, 1 << 20)] {
        let mut encoder = ::zstd::Encoder::new(Vec::new(), 3).unwrap();
        encoder.window_log(log).unwrap();
        std::io::Write::write_all(&mut encoder, &text).unwrap();
        let body = encoder.finish().unwrap();
        assert_eq!(check("zstd", &body, 4_096, limit).1, None, "{log}");
    }
}

#[test]
fn small_codes_are_decoded_in_little_memory() {
    let body = hostile::brotli_codes(16 << 10);
    assert_eq!(check("br", &body, 100, 64 << 10).1, None);
    let body = hostile::deflate_blocks(16 << 10, false);
    assert_eq!(check("deflate", &body, 100, 64 << 10).1, None);
}

#[test]
fn memory_that_is_missing_is_an_error() {
    let text: Vec<u8> = (0..100_000_u32)
        .flat_map(|number| number.wrapping_mul(2_654_435_761).to_string().into_bytes())
        .collect();
    for (coding, body) in [
        ("gzip", gzip(&text)),
        ("br", brotli(&text)),
        ("zstd", zstd(&text, 3)),
    ] {
        for limit in [100, 5_000, 20_000, 50_000] {
            let (_, error) = check(coding, &body, 1_000, limit);
            assert_eq!(error, Some(DecodeError::Memory), "{coding}");
        }
        assert_eq!(check(coding, &body, 1_000, 8 << 20).1, None, "{coding}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn any_bytes_stay_within_bounds(
        bytes in proptest::collection::vec(any::<u8>(), 0..4_000),
        piece in 1_usize..500,
        limit in prop_oneof![1_000_usize..100_000, Just(8 << 20)],
    ) {
        for codings in CODINGS {
            check(codings, &bytes, piece, limit);
        }
    }

    #[test]
    fn damaged_bodies_stay_within_bounds(
        text in text(),
        damage in proptest::collection::vec((any::<usize>(), any::<u8>()), 0..4),
        piece in 1_usize..5_000,
        limit in prop_oneof![1_000_usize..1_000_000, Just(8 << 20)],
    ) {
        for (codings, mut body) in [
            ("gzip", gzip(&text)),
            ("br", brotli(&text)),
            ("zstd", zstd(&text, 7)),
            ("gzip, br", brotli(&gzip(&text))),
        ] {
            for (at, byte) in &damage {
                let at = at % body.len();
                body[at] = *byte;
            }
            let whole = check(codings, &body, body.len(), 64 << 20);
            let pieces = check(codings, &body, piece, 64 << 20);
            prop_assert_eq!(whole, pieces, "{}", codings);
            check(codings, &body, piece, limit);
        }
    }
}

#[test]
fn commands_take_work_beside_their_bytes() {
    // Each copies two bytes, and counts as six.
    let body = hostile::brotli_commands(64);
    let (decoded, error) = check("br", &body, body.len(), 8 << 20);
    assert_eq!(error, Some(DecodeError::TooLarge));
    let most = max_decoded(body.len()) / 3;
    assert!(
        (most / 2..=most + 64).contains(&decoded),
        "{decoded} {most}"
    );
}

#[test]
fn bytes_are_passed_on_before_more_are_decoded() {
    // Few bytes, which are decoded in one step.
    let body = gzip("x".repeat(100_000).as_bytes());
    let (decoded, error) = check("gzip", &body, body.len(), 120 << 10);
    assert_eq!((decoded, error), (100_000, None));
}
