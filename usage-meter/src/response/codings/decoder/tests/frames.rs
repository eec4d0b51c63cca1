//! Frames of zstd that no encoder need write: each kind of header, block and section.

use super::{DecodeError, decode};

/// A window of 64 KiB.
const WINDOW: u8 = 6 << 3;

/// Returns the header of a block.
fn block_header(kind: u32, size: usize, is_last: bool) -> Vec<u8> {
    let size = u32::try_from(size).unwrap();
    let header = size << 3 | kind << 1 | u32::from(is_last);
    header.to_le_bytes()[..3].to_vec()
}

fn raw(content: &[u8], is_last: bool) -> Vec<u8> {
    [&block_header(0, content.len(), is_last), content].concat()
}

fn repeated(byte: u8, count: usize, is_last: bool) -> Vec<u8> {
    [&block_header(1, count, is_last)[..], &[byte]].concat()
}

fn compressed(content: &[u8], is_last: bool) -> Vec<u8> {
    [&block_header(2, content.len(), is_last), content].concat()
}

/// Returns a frame with this header and these blocks.
fn frame(header: &[u8], blocks: &[Vec<u8>]) -> Vec<u8> {
    [&b"\x28\xb5\x2f\xfd"[..], header, &blocks.concat()].concat()
}

/// Decodes whole and in single bytes. Returns the decoded bytes of a body that has ended.
fn decoded(body: &[u8]) -> Result<Vec<u8>, Option<DecodeError>> {
    let [whole, single] = [body.len(), 1].map(|piece| {
        let (plain, decoder) = decode("zstd", body, piece);
        if decoder.has_ended() {
            Ok(plain)
        } else {
            Err(decoder.error())
        }
    });
    assert_eq!(whole, single);
    whole
}

const CORRUPT: Result<Vec<u8>, Option<DecodeError>> = Err(Some(DecodeError::Corrupt));

#[test]
fn blocks_of_every_kind_are_decoded() {
    let blocks = [
        raw(b"abc", false),
        repeated(b'x', 5, false),
        raw(b"", false),
        repeated(b'y', 0, false),
        repeated(b'z', 1, false),
        raw(b"def", true),
    ];
    let body = frame(&[0, WINDOW], &blocks);
    assert_eq!(decoded(&body), Ok(b"abcxxxxxzdef".to_vec()));
    let reserved = [block_header(3, 1, true), b"x".to_vec()].concat();
    assert_eq!(decoded(&frame(&[0, WINDOW], &[reserved])), CORRUPT);
    assert_eq!(decoded(&body[..body.len() - 1]), Err(None));
}

#[test]
fn frame_headers_of_every_kind_are_read() {
    for descriptor in 0..=u8::MAX {
        let is_single = descriptor & 32 != 0;
        let has_checksum = descriptor & 4 != 0;
        let size_bytes = [usize::from(is_single), 2, 4, 8][usize::from(descriptor >> 6)];
        let content = vec![b'x'; if size_bytes == 1 { 200 } else { 300 }];
        let size = content.len() - if size_bytes == 2 { 256 } else { 0 };
        let mut header = vec![descriptor];
        header.extend((!is_single).then_some(WINDOW));
        header.extend(&size.to_le_bytes()[..size_bytes]);
        for more in [0, 1] {
            let content = [&content[..], &[b'y'; 1][..more]].concat();
            let mut body = frame(&header, &[raw(&content, true)]);
            body.extend(if has_checksum { &[1, 2, 3, 4][..] } else { &[] });
            // The content is as long as the header says.
            let is_valid = descriptor & (8 | 3) == 0 && (more == 0 || size_bytes == 0);
            let expected = if is_valid { Ok(content) } else { CORRUPT };
            assert!(decoded(&body) == expected, "{descriptor:#x} {more}");
        }
    }
}

#[test]
fn blocks_are_as_long_as_the_window_at_most() {
    for exponent in 0..7 {
        for mantissa in 0..8 {
            let window = (1024_usize << exponent) / 8 * (8 + mantissa);
            let header = [0, exponent << 3 | u8::try_from(mantissa).unwrap()];
            for (size, is_valid) in [(window, true), (window + 1, false)] {
                let body = frame(&header, &[repeated(b'x', size, true)]);
                let expected = if is_valid {
                    Ok(vec![b'x'; size])
                } else {
                    CORRUPT
                };
                assert!(decoded(&body) == expected, "{window}");
            }
        }
    }
    // 8 MiB, and an eighth more.
    let text = [raw(b"text", true)];
    assert_eq!(decoded(&frame(&[0, 13 << 3], &text)), Ok(b"text".to_vec()));
    for window in [13 << 3 | 1, 14 << 3, 31 << 3 | 7] {
        let error = Err(Some(DecodeError::Window));
        assert_eq!(decoded(&frame(&[0, window], &text)), error);
    }
    // A single segment of so many bytes, of which there are fewer.
    for (size, expected) in [
        (8 << 20, CORRUPT),
        ((8 << 20) + 1, Err(Some(DecodeError::Window))),
    ] {
        let header = [&[2 << 6 | 32][..], &u32::to_le_bytes(size)].concat();
        assert_eq!(decoded(&frame(&header, &text)), expected);
    }
}

#[test]
fn skippable_frames_are_skipped() {
    let text = frame(&[0, WINDOW], &[raw(b"text", true)]);
    for kind in 0..16_u32 {
        for length in [0, 1, 3, 300] {
            let skipped = [
                &(0x184d_2a50 + kind).to_le_bytes()[..],
                &u32::to_le_bytes(length),
                &vec![1; length as usize],
            ]
            .concat();
            let body = [&text[..], &skipped, &text, &skipped].concat();
            assert_eq!(decoded(&body), Ok(b"texttext".to_vec()), "{kind} {length}");
            if length > 0 {
                assert_eq!(decoded(&body[..body.len() - 1]), Err(None));
            }
        }
    }
    for magic in [0x184d_2a4f_u32, 0x184d_2a60, 0xfd2f_b529] {
        let body = [&text[..], &magic.to_le_bytes()].concat();
        assert_eq!(decoded(&body), CORRUPT, "{magic:#x}");
    }
}

#[test]
fn literals_without_a_code_are_read_in_every_format() {
    let size = |format: u32, size: usize| {
        let size = u32::try_from(size).unwrap();
        match format {
            1 => (size << 4 | 1 << 2, 2),
            3 => (size << 4 | 3 << 2, 3),
            _ => (size << 3 | format << 2, 1),
        }
    };
    for (format, length, is_valid) in [
        (0, 0, true),
        (0, 1, true),
        (0, 31, true),
        (2, 31, true),
        (1, 31, true),
        (1, 999, true),
        (1, 1024, true),
        (1, 1025, false),
        (3, 0, true),
        (3, 1024, true),
        (3, 1025, false),
    ] {
        let text: Vec<u8> = (b'a'..=b'z').cycle().take(length).collect();
        let (header, bytes) = size(format, length);
        let block = |kind: u32, content: &[u8]| {
            let header = (header | kind).to_le_bytes();
            // No sequences follow.
            compressed(&[&header[..bytes], content, &[0]].concat(), true)
        };
        // In a window of 1 KiB, with which a block is as long as that at most, encoded and decoded.
        let is_short = length < 1_000;
        for (block, content, is_valid) in [
            (block(0, &text), text.clone(), is_short),
            (block(1, b"r"), vec![b'r'; length], is_valid),
        ] {
            let expected = if is_valid { Ok(content) } else { CORRUPT };
            assert!(
                decoded(&frame(&[0, 0], &[block])) == expected,
                "{format} {length}"
            );
        }
    }
}

#[test]
fn impossible_sections_are_corrupt() {
    for block in [
        // Nothing; literals that are missing; more sections than there are.
        &[][..],
        &[4 << 3],
        &[0],
        &[1 << 3 | 1],
        &[0, 0, 0],
        // A code or tables of a block before, which is missing.
        &[3 | 1 << 4, 1 << 6, 0, 0, 0],
        &[0, 1, 0b1111_1100, 1],
        // Reserved bits, no bits of sequences, and none that ends them.
        &[0, 1, 1, 1],
        &[0, 1, 2, 1],
        &[0, 1, 0b0101_0100, 0, 0, 0],
        &[0, 1, 0b0101_0100, 0, 0, 0, 0],
        &[0, 128],
        &[0, 255, 1],
    ] {
        let body = frame(
            &[0, WINDOW],
            &[raw(b"before", false), compressed(block, true)],
        );
        assert_eq!(decoded(&body), CORRUPT, "{block:?}");
    }
}

/// Returns a frame of text and then so many sequences of no literal, of one of the last distances and of three bytes,
/// none of which takes bits; and what it decodes to.
fn sequences(count: usize, bytes: &[u8]) -> (Vec<u8>, Vec<u8>) {
    let text: Vec<u8> = (0..1_000_u32).map(|at| (at * 7 % 251) as u8).collect();
    let section = [&[0][..], bytes, &[0b0101_0100, 0, 0, 0, 1]].concat();
    let body = frame(
        &[0, 7 << 3],
        &[raw(&text, false), compressed(&section, true)],
    );
    let mut plain = text;
    let mut distances = [1, 4];
    for _ in 0..count {
        // Without literals, the first of the last distances stands for the second.
        distances.swap(0, 1);
        for _ in 0..3 {
            plain.push(plain[plain.len() - distances[0]]);
        }
    }
    (body, plain)
}

#[test]
fn number_of_sequences_is_read_in_every_format() {
    for (count, bytes) in [
        (1, &[1][..]),
        (127, &[127]),
        (127, &[128, 127]),
        (128, &[128, 128]),
        (255, &[128, 255]),
        (0x1234, &[128 | 0x12, 0x34]),
        (0x7eff, &[254, 0xff]),
        (0x7f00, &[255, 0, 0]),
        (0x7f02, &[255, 2, 0]),
        (0x8000, &[255, 0, 1]),
    ] {
        let (body, plain) = sequences(count, bytes);
        assert!(decoded(&body) == Ok(plain), "{count}");
    }
}

#[test]
fn block_decodes_to_no_more_than_its_maximum() {
    // Three bytes each, in blocks of 128 KiB.
    let most = (128 << 10) / 3;
    for (count, is_valid) in [(most, true), (most + 1, false)] {
        let more = u16::try_from(count - 0x7f00).unwrap().to_le_bytes();
        let (mut body, plain) = sequences(count, &[255, more[0], more[1]]);
        // The work for so many sequences is allowed for a longer body.
        let padding = [0x50, 0x2a, 0x4d, 0x18, 0, 16, 0, 0];
        body.splice(0..0, [&padding[..], &[0; 4096]].concat());
        let expected = if is_valid { Ok(plain) } else { CORRUPT };
        assert!(decoded(&body) == expected, "{count}");
    }
}

#[test]
fn frame_decodes_to_the_length_that_it_says() {
    // A single segment of `length` bytes.
    let of_length = |length: u8, block: Vec<u8>| frame(&[32, length], &[block]);
    assert_eq!(decoded(&of_length(2, raw(b"ab", true))), Ok(b"ab".to_vec()));
    assert_eq!(decoded(&of_length(0, raw(b"", true))), Ok(Vec::new()));
    assert_eq!(decoded(&of_length(1, raw(b"", true))), CORRUPT);
    assert_eq!(decoded(&of_length(3, raw(b"ab", true))), CORRUPT);
    // With a window and a length of two bytes, to which 256 are added.
    let with_window =
        |length: u8| frame(&[1 << 6, WINDOW, length, 0], &[repeated(b'a', 260, true)]);
    assert_eq!(decoded(&with_window(4)), Ok(vec![b'a'; 260]));
    assert_eq!(decoded(&with_window(3)), CORRUPT);
    assert_eq!(decoded(&with_window(5)), CORRUPT);
}
