//! Headers of the codings: what each bit of them means, and what is corrupt.

use std::io::Write as _;

use miniz_oxide::deflate::{compress_to_vec, compress_to_vec_zlib};

use super::hostile::BitWriter;
use super::{DecodeError, brotli, decode, gzip, zstd};

/// Bits, as a value and the number of bits.
type Bits = (u64, u32);

/// The bits up to the next byte.
const PADDING: Bits = (0, 0);

/// Returns bits as bytes.
fn bytes(bits: &[Bits]) -> Vec<u8> {
    let mut writer = BitWriter::default();
    for &(value, count) in bits {
        let padding = (8 - writer.bits % 8) % 8;
        let (value, count) = if count == 0 {
            (0, padding)
        } else {
            (value, count)
        };
        writer.write(value, count);
    }
    writer.bytes
}

/// Decodes whole and in single bytes. Returns the decoded bytes of a body that has ended.
fn decoded(coding: &str, body: &[u8]) -> Result<Vec<u8>, Option<DecodeError>> {
    let results = [body.len().max(1), 1].map(|piece| {
        let (plain, decoder) = decode(coding, body, piece);
        if decoder.has_ended() {
            Ok(plain)
        } else {
            Err(decoder.error())
        }
    });
    let [whole, single] = results;
    assert_eq!(whole, single, "{coding} {body:?}");
    whole
}

const CORRUPT: Result<Vec<u8>, Option<DecodeError>> = Err(Some(DecodeError::Corrupt));

#[test]
fn bodies_that_are_cut_off_have_not_ended() {
    let text = b"some text, and some text again".repeat(3);
    for (coding, body, unread) in [
        ("gzip", gzip(&text), 0),
        ("deflate", compress_to_vec(&text, 6), 0),
        // The checksum is not read.
        ("deflate", compress_to_vec_zlib(&text, 6), 4),
        ("br", brotli(&text), 0),
        ("zstd", zstd(&text, 3), 0),
        ("zstd", zstd(&text, 4), 0),
    ] {
        for length in 0..=body.len() {
            let (plain, decoder) = decode(coding, &body[..length], 7);
            assert_eq!(decoder.error(), None, "{coding} {length}");
            let has_ended = length + unread >= body.len();
            assert_eq!(decoder.has_ended(), has_ended, "{coding} {length}");
            assert!(text.starts_with(&plain));
        }
    }
}

#[test]
fn wrong_headers_of_gzip_are_corrupt() {
    let body = gzip(b"text");
    assert_eq!(decoded("gzip", &body), Ok(b"text".to_vec()));
    for (place, byte) in [(0, 0x9f), (0, 3), (1, 0x8c), (2, 7), (2, 9)] {
        let mut wrong = body.clone();
        wrong[place] = byte;
        assert_eq!(decoded("gzip", &wrong), CORRUPT, "{place} {byte}");
    }
    // A second member that begins otherwise is padding.
    for (place, byte) in [(0, 0), (1, 0), (2, 0)] {
        let mut second = body.clone();
        second[place] = byte;
        let both = [body.clone(), second].concat();
        assert_eq!(decoded("gzip", &both), Ok(b"text".to_vec()), "{place}");
    }
}

#[test]
fn every_part_of_a_gzip_header_is_skipped() {
    let blocks = [compress_to_vec(b"text", 6), vec![0; 8]].concat();
    let extra = |length: u16| [&length.to_le_bytes()[..], &vec![1; length.into()]].concat();
    let name = b"name\0".to_vec();
    let crc = vec![1, 2];
    for (flags, parts) in [
        (0, vec![]),
        // Whether it is text says nothing.
        (1, vec![]),
        (2, vec![&crc]),
        (4, vec![&extra(0)]),
        (4, vec![&extra(1)]),
        (4, vec![&extra(255)]),
        (4, vec![&extra(300)]),
        (4, vec![&extra(0x0201)]),
        (8, vec![&name]),
        (16, vec![&name]),
        (2 | 8, vec![&name, &crc]),
        (4 | 16, vec![&extra(3), &name]),
        (2 | 4 | 8 | 16, vec![&extra(3), &name, &name, &crc]),
    ] {
        let parts = parts.into_iter().flatten().copied().collect::<Vec<u8>>();
        let header = [0x1f, 0x8b, 8, flags, 9, 9, 9, 9, 9, 9];
        let body = [&header[..], &parts, &blocks].concat();
        assert_eq!(decoded("gzip", &body), Ok(b"text".to_vec()), "{flags}");
    }
}

#[test]
fn header_of_zlib_is_checked() {
    let mut body = compress_to_vec_zlib(b"text", 6);
    assert_eq!(decoded("deflate", &body), Ok(b"text".to_vec()));
    // The check, and a dictionary with a valid check.
    for flags in [2, 0x9d, 0x20] {
        body[..2].copy_from_slice(&[0x78, flags]);
        assert_eq!(decoded("deflate", &body), CORRUPT, "{flags}");
    }
    for (method, flags) in [
        (0x78, 1),
        (0x78, 0x5e),
        (0x78, 0x9c),
        (0x78, 0xda),
        (0x08, 0x1d),
    ] {
        body[..2].copy_from_slice(&[method, flags]);
        assert_eq!(
            decoded("deflate", &body),
            Ok(b"text".to_vec()),
            "{method} {flags}"
        );
    }
}

/// Returns a stored block of DEFLATE, with other bits in its padding.
fn stored(content: &[u8], padding: u8, is_last: bool) -> Vec<u8> {
    let length = u16::try_from(content.len()).unwrap();
    let [low, high] = length.to_le_bytes();
    let first = padding << 3 | u8::from(is_last);
    [&[first, low, high, !low, !high], content].concat()
}

#[test]
fn stored_blocks_of_any_length_are_decoded() {
    let text: Vec<u8> = (b'a'..=b'z').collect();
    for length in 0..=text.len() {
        // Blocks of nothing, of one byte, of two and so on, until none is left.
        let mut body = Vec::new();
        let mut rest = &text[..length];
        let mut size = 0;
        while !rest.is_empty() {
            let (block, others) = rest.split_at(rest.len().min(size));
            body.extend(stored(block, 0, false));
            rest = others;
            size += 1;
        }
        body.extend(stored(b"", 0, true));
        assert_eq!(decoded("deflate", &body), Ok(text[..length].to_vec()));
    }
    let long = vec![b'x'; 65_535];
    assert_eq!(decoded("deflate", &stored(&long, 0, true)), Ok(long));
    // The first byte is like that of zlib, but for a window that zlib does not have.
    for padding in [17, 31] {
        let body = [stored(b"raw", padding, false), stored(b"", 0, true)].concat();
        assert_eq!(decoded("deflate", &body), Ok(b"raw".to_vec()), "{padding}");
    }
    for place in 1..5 {
        let mut wrong = stored(b"text", 0, true);
        wrong[place] ^= 4;
        assert_eq!(decoded("deflate", &wrong), CORRUPT, "{place}");
    }
}

#[test]
fn impossible_blocks_of_deflate_are_corrupt() {
    // The reserved kind, more literals or distances than there are, and a block without an end.
    for bits in [
        &[(1, 1), (3, 2)][..],
        &[(1, 1), (2, 2), (30, 5), (0, 5), (0, 4), (0, 64)],
        &[(1, 1), (2, 2), (0, 5), (30, 5), (0, 4), (0, 64)],
    ] {
        let (_, decoder) = decode("deflate", &bytes(bits), 100);
        assert_eq!(decoder.error(), Some(DecodeError::Corrupt), "{bits:?}");
    }
}

/// Returns the beginning of the last block of DEFLATE, with codes whose lengths follow in a code of two symbols: one
/// is a length of 1, the other a number of zeros.
fn dynamic_block(distances: u64) -> Vec<Bits> {
    let places = [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1];
    let lengths = places.map(|place| (u64::from(place == 18 || place == 1), 3));
    let head = [(1, 1), (2, 2), ((distances - 1) << 5 | 14 << 10, 14)];
    [&head[..], &lengths].concat()
}

/// A length of 1, and so many lengths of 0.
const ONE: [Bits; 1] = [(0, 1)];

fn zeros(count: u64) -> [Bits; 2] {
    [(1, 1), (count - 11, 7)]
}

#[test]
fn block_of_deflate_without_distances_is_decoded() {
    // An `a`, the end of the block, and eleven distances that are not used.
    let lengths = [
        &zeros(97)[..],
        &ONE,
        &zeros(138),
        &zeros(20),
        &ONE,
        &zeros(11),
    ]
    .concat();
    let content = [(0, 1), (0, 1), (1, 1)];
    let block = [dynamic_block(11), lengths, content.to_vec()].concat();
    assert_eq!(decoded("deflate", &bytes(&block)), Ok(b"aa".to_vec()));
    // A block that cannot end, and one with more lengths than it has codes.
    let endless = [&zeros(97)[..], &ONE, &zeros(138), &zeros(21), &zeros(11)].concat();
    let long = [
        &zeros(97)[..],
        &ONE,
        &zeros(138),
        &zeros(20),
        &ONE,
        &zeros(12),
    ]
    .concat();
    for lengths in [endless, long] {
        let block = [dynamic_block(11), lengths, content.to_vec(), vec![(0, 64)]].concat();
        let (_, decoder) = decode("deflate", &bytes(&block), 100);
        assert_eq!(decoder.error(), Some(DecodeError::Corrupt));
    }
}

/// Bits of brotli: a window of 64 KiB, and the last meta-block, which is empty.
const WINDOW: Bits = (0, 1);
const END: Bits = (3, 2);

#[test]
fn meta_blocks_of_brotli_without_data_are_skipped() {
    let metadata = |reserved: u64, width: u64, length: Bits| {
        vec![WINDOW, (0, 1), (3, 2), (reserved, 1), (width, 2), length]
    };
    let ended = Ok(Vec::new());
    let nothing: Bits = (0, 8);
    for (bits, content, expected) in [
        (vec![WINDOW, END], 0, ended.clone()),
        (vec![WINDOW, END, (1, 1)], 0, CORRUPT),
        // No length, and one of a byte, of two or of three.
        (
            vec![WINDOW, (0, 1), (3, 2), (0, 3), PADDING],
            0,
            ended.clone(),
        ),
        (
            [metadata(0, 1, nothing), vec![PADDING]].concat(),
            1,
            ended.clone(),
        ),
        (
            [metadata(0, 1, (7, 8)), vec![PADDING]].concat(),
            8,
            ended.clone(),
        ),
        (
            [metadata(0, 2, (256, 16)), vec![PADDING]].concat(),
            257,
            ended.clone(),
        ),
        (
            [metadata(0, 3, (65_536, 24)), vec![PADDING]].concat(),
            65_537,
            ended.clone(),
        ),
        // A reserved bit, a length with a byte too many, and padding that is not 0.
        ([metadata(1, 1, (7, 8)), vec![PADDING]].concat(), 8, CORRUPT),
        (
            [metadata(0, 2, (255, 16)), vec![PADDING]].concat(),
            256,
            CORRUPT,
        ),
        (
            [metadata(0, 3, (255, 24)), vec![PADDING]].concat(),
            256,
            CORRUPT,
        ),
        (
            [metadata(0, 3, (65_535, 24)), vec![PADDING]].concat(),
            65_536,
            CORRUPT,
        ),
        (
            [metadata(0, 1, (7, 8)), vec![(1, 1), PADDING]].concat(),
            8,
            CORRUPT,
        ),
    ] {
        let mut body = bytes(&bits);
        if content > 0 || bits.len() > 3 {
            body.extend(vec![b'm'; content]);
            body.push(3);
        }
        assert_eq!(decoded("br", &body), expected, "{bits:?}");
    }
    // The last meta-block has no length, too.
    let last = bytes(&[WINDOW, (1, 2), (3, 2), (0, 3)]);
    assert_eq!(decoded("br", &last), ended);
}

#[test]
fn meta_blocks_of_brotli_have_lengths_without_leading_zeros() {
    let text = vec![b'x'; 65_537];
    // Digits of four bits, and bytes that are not compressed.
    for (digits, length, expected) in [
        (4, 1, Ok(())),
        (4, 5, Ok(())),
        (4, 65_536, Ok(())),
        (5, 65_537, Ok(())),
        (5, 65_536, Err(())),
        (5, 1, Err(())),
        (6, 65_537, Err(())),
    ] {
        let head = [
            WINDOW,
            (0, 1),
            (digits - 4, 2),
            (length - 1, 4 * u32::try_from(digits).unwrap()),
            (1, 1),
            PADDING,
        ];
        let text = &text[..usize::try_from(length).unwrap()];
        let body = [bytes(&head), text.to_vec(), vec![3]].concat();
        let expected = expected.map_or(CORRUPT, |()| Ok(text.to_vec()));
        assert!(decoded("br", &body) == expected, "{digits} {length}");
    }
    let head = [WINDOW, (0, 1), (0, 2), (0, 16), (1, 1), (1, 1), PADDING];
    assert_eq!(
        decoded("br", &[bytes(&head), b"x\x03".to_vec()].concat()),
        CORRUPT
    );
}

#[test]
fn body_without_the_end_of_its_coding_counts_as_read() {
    let text = b"data: one\n\n".repeat(4);
    let mut flushed = ::zstd::Encoder::new(Vec::new(), 3).unwrap();
    flushed.write_all(&text).unwrap();
    flushed.flush().unwrap();
    for (coding, body) in [
        ("gzip", &gzip(&text)[..]),
        ("deflate", &compress_to_vec(&text, 6)),
        ("br", &brotli(&text)),
        ("zstd", flushed.get_ref()),
    ] {
        let length = body.len() - usize::from(coding != "zstd");
        let (plain, mut decoder) = decode(coding, &body[..length], 3);
        decoder.reject_unread();
        let found = (decoder.error(), decoder.has_ended(), plain.is_empty());
        assert_eq!(found, (None, false, false), "{coding}");
    }
    // An error is kept.
    let (_, mut large) = decode("zstd", b"\x28\xb5\x2f\xfd\x00\x70", 6);
    large.reject_unread();
    assert_eq!(large.error(), Some(DecodeError::Window));
    for body in [&b"\x1f\x8b\x08"[..], b""] {
        let (_, mut decoder) = decode("gzip", body, 3);
        decoder.reject_unread();
        let is_unread = !body.is_empty();
        assert_eq!(decoder.error(), is_unread.then_some(DecodeError::Corrupt));
    }
}
