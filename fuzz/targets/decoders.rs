//! Any bytes in any codings decode to a bounded number of bytes, and decode the same in any pieces.
//!
//! What a library decodes is decoded the same, unless it takes too much work for its length or too large a window. What
//! is corrupt to a library is corrupt, except that checksums are not verified.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tollgate_fuzz::Input;
use tollgate_fuzz::reference::{self, End};
use tollgate_fuzz::streams::{self, Body};
use usage_meter::internals::Decoder;
use usage_meter::{DecodeError, DecoderMemory};

const CODINGS: &[&[u8]] = &[
    b"gzip",
    b"deflate",
    b"br",
    b"zstd",
    b"gzip, br",
    b"zstd, gzip",
    b"br, br",
];

/// The maximum number of decoded bytes of inputs as small as these: those that any body may decode to, and
/// the piece that exceeded them.
const MAX_DECODED_BYTES: usize = (16 << 20) + (64 << 10);

/// The number of bytes that any body may decode to.
const FREE_BYTES: usize = 48 << 10;

/// The number of flushed parts that are checked.
const MAX_FLUSHES: usize = 8;

/// The number of first bytes that show whether a body is text.
const DETECTION_BYTES: usize = 16;

/// What became of a body.
#[derive(Debug, PartialEq)]
struct Decoded {
    bytes: Vec<u8>,
    error: Option<DecodeError>,
    has_ended: bool,
}

fn decode<'a>(coding: &[u8], pieces: impl Iterator<Item = &'a [u8]>) -> Option<Decoded> {
    let mut decoder = Decoder::new(coding, &DecoderMemory::default())?;
    let mut bytes = Vec::new();
    for piece in pieces {
        // An error is kept.
        let _ = decoder.push(piece, &mut |decoded| bytes.extend_from_slice(decoded));
    }
    decoder.finish(&mut |decoded| bytes.extend_from_slice(decoded));
    assert!(
        bytes.len() <= MAX_DECODED_BYTES,
        "decoded to {} bytes",
        bytes.len()
    );
    Some(Decoded {
        bytes,
        error: decoder.error(),
        has_ended: decoder.has_ended(),
    })
}

/// Returns whether a body is read as text, whatever its label.
fn is_read_as_text(coding: &[u8], encoded: &[u8]) -> bool {
    let first = &encoded[..encoded.len().min(DETECTION_BYTES)];
    let is_control = |byte: &u8| byte.is_ascii_control() && !byte.is_ascii_whitespace();
    let is_magic = match coding {
        b"gzip" => first.first() == Some(&0x1f),
        b"zstd" => first.first() == Some(&0x28),
        _ => false,
    };
    !is_magic && !first.iter().any(is_control)
}

/// Returns whether a body that a library waits for more of is corrupt to it whatever follows: it may notice later.
fn is_corrupt_anyway(coding: &[u8], encoded: &[u8]) -> bool {
    [0, 0x55, 0xff].into_iter().all(|byte| {
        let longer = [encoded, &[byte; 4096]].concat();
        reference::decode(coding, &longer).is_some_and(|decoded| decoded.end == End::Corrupt)
    })
}

/// Holds a decoded body against what a library decodes.
fn compare(coding: &[u8], encoded: &[u8], found: &Decoded) {
    if is_read_as_text(coding, encoded) {
        return;
    }
    let Some(expected) = reference::decode(coding, encoded) else {
        return;
    };
    let common = found.bytes.len().min(expected.bytes.len());
    assert!(
        found.bytes[..common] == expected.bytes[..common],
        "{:?} decodes to other bytes",
        String::from_utf8_lossy(coding)
    );
    match found.error {
        // It ends early, which is no matter of what it decodes to.
        Some(DecodeError::TooLarge | DecodeError::Window) => return,
        Some(DecodeError::Memory | DecodeError::Unknown) => panic!("{:?}", found.error),
        Some(DecodeError::Corrupt) | None => {}
    }
    let is_corrupt = found.error.is_some();
    // The library accepts a meta-block that decodes to more bytes than it says (RFC 7932, section 9.3).
    if coding == b"br" && is_corrupt && expected.end != End::Corrupt {
        return;
    }
    let lengths = (found.bytes.len(), expected.bytes.len());
    match expected.end {
        End::Complete => {
            assert!(!is_corrupt && found.has_ended, "valid {lengths:?}");
            assert_eq!(lengths.0, lengths.1, "of a complete body");
        }
        End::Incomplete => {
            if is_corrupt {
                assert!(
                    is_corrupt_anyway(coding, encoded),
                    "valid so far {lengths:?}"
                );
            } else {
                assert!(lengths.0 >= lengths.1, "{lengths:?}");
            }
        }
        // gzip and zstd have checksums and lengths, which are not verified.
        End::Corrupt if matches!(coding, b"br" | b"deflate") => {
            assert!(is_corrupt, "corrupt {lengths:?}");
        }
        End::Corrupt => {}
        End::Large => assert!(!is_corrupt, "valid so far {lengths:?}"),
    }
}

/// Checks the properties of any body.
fn check(coding: &[u8], input: Input<'_>) -> Option<Decoded> {
    let whole = decode(coding, std::iter::once(input.bytes))?;
    let pieces = decode(coding, input.pieces())?;
    // The work for bytes that arrive at once is bounded, which pieces do not reach.
    if whole.error == Some(DecodeError::TooLarge) && pieces.error != whole.error {
        assert!(pieces.bytes.starts_with(&whole.bytes));
        compare(coding, input.bytes, &pieces);
        return Some(pieces);
    }
    assert_eq!(pieces.error, whole.error);
    assert_eq!(pieces.has_ended, whole.has_ended);
    assert!(pieces.bytes == whole.bytes, "differ in pieces");
    compare(coding, input.bytes, &whole);
    Some(whole)
}

/// Checks the properties of a valid body.
fn check_valid(body: &Body, seed: u8) {
    let input = Input {
        seed,
        bytes: &body.encoded,
    };
    if is_read_as_text(body.coding, &body.encoded) {
        return;
    }
    let Some(decoded) = check(body.coding, input) else {
        return;
    };
    match decoded.error {
        None => {
            assert!(decoded.has_ended);
            assert!(decoded.bytes == body.plain, "decoded to other bytes");
        }
        Some(DecodeError::TooLarge) => assert!(body.plain.len() > FREE_BYTES, "rejected"),
        Some(error) => panic!("{error}"),
    }
    // What was flushed is decoded as soon as it arrives.
    for (encoded, plain) in body.flushes.iter().take(MAX_FLUSHES) {
        let begun = &body.encoded[..*encoded];
        if *encoded < DETECTION_BYTES || *plain > FREE_BYTES {
            continue;
        }
        if let Some(decoded) = decode(body.coding, std::iter::once(begun)) {
            assert!(decoded.bytes.len() >= *plain, "a flushed part waits");
        }
    }
}

fuzz_target!(|data: &[u8]| {
    // The first byte selects the coding: a digit of what follows, a letter of what is built.
    let Some((&coding, data)) = data.split_first() else {
        return;
    };
    let Some(input) = Input::new(data) else {
        return;
    };
    if !coding.is_ascii_uppercase() {
        let coding = CODINGS[usize::from(coding.wrapping_sub(b'0')) % CODINGS.len()];
        check(coding, input);
        return;
    }
    let Some((&[place, change], plan)) = input.bytes.split_first_chunk() else {
        return;
    };
    let Some(mut body) = streams::build(coding, plan) else {
        return;
    };
    if change == b' ' {
        check_valid(&body, input.seed);
        return;
    }
    // A valid body with a byte of it changed: most of them in its headers.
    let length = body.encoded.len();
    let place = match place {
        0..128 => usize::from(place),
        place => length * usize::from(place - 128) / 128,
    };
    if let Some(byte) = body.encoded.get_mut(place) {
        *byte ^= change;
    }
    let changed = Input {
        bytes: &body.encoded,
        ..input
    };
    check(body.coding, changed);
});
