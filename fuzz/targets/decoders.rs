//! Any bytes in any codings decode to a bounded number of bytes, and decode the same in any pieces.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tollgate_fuzz::Input;
use usage_meter::DecoderMemory;
use usage_meter::internals::Decoder;

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

fn decode<'a>(coding: &[u8], pieces: impl Iterator<Item = &'a [u8]>) -> Option<Vec<u8>> {
    let mut decoder = Decoder::new(coding, &DecoderMemory::default())?;
    let mut decoded = Vec::new();
    let mut intact = true;
    for piece in pieces {
        let result = decoder.push(piece, &mut |bytes| decoded.extend_from_slice(bytes));
        intact &= result.is_ok();
    }
    assert!(
        decoded.len() <= MAX_DECODED_BYTES,
        "decoded to {} bytes",
        decoded.len()
    );
    intact.then_some(decoded)
}

fuzz_target!(|data: &[u8]| {
    // The first byte selects the coding; it is a digit in the corpus.
    let Some((&coding, data)) = data.split_first() else {
        return;
    };
    let Some(input) = Input::new(data) else {
        return;
    };
    let coding = CODINGS[usize::from(coding.wrapping_sub(b'0')) % CODINGS.len()];
    let whole = decode(coding, std::iter::once(input.bytes));
    let pieces = decode(coding, input.pieces());
    if let (Some(whole), Some(pieces)) = (whole, pieces) {
        assert_eq!(pieces, whole);
    }
});
