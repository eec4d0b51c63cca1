//! Asking for usage changes nothing else in a request; taking the report out again does not depend on
//! how the response is split.
#![no_main]

use libfuzzer_sys::fuzz_target;
use serde_json::{Value, json};
use usage_meter::meter::withhold::{LONGEST, Withhold};
use usage_meter::request::include_usage::splice;
use usage_meter::request::{Ask, StreamOptions};
use tollgate_fuzz::Input;

fn check_splice(body: &[u8]) {
    let Some(spliced) = splice(body) else {
        return;
    };
    let asked = Ask::read(&spliced);
    assert_eq!(asked.stream_options, StreamOptions::WithUsage);
    let mut expected = Ask::read(body);
    expected.stream_options = StreamOptions::WithUsage;
    assert_eq!(asked, expected);
    let json = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body);
    let Ok(mut value) = serde_json::from_slice::<Value>(json) else {
        // Nested too deep for this parser.
        return;
    };
    let json = spliced.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&spliced);
    let options = &mut value["stream_options"];
    if !options.is_object() {
        *options = json!({});
    }
    options["include_usage"] = json!(true);
    assert_eq!(serde_json::from_slice::<Value>(json).ok(), Some(value));
}

fn withhold<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> Vec<u8> {
    let mut withhold = Withhold::default();
    let mut passed = Vec::new();
    let mut pass = |piece: &[u8], end| match withhold.push(piece, end) {
        Some(changed) => passed.extend_from_slice(&changed),
        None => passed.extend_from_slice(piece),
    };
    for piece in pieces {
        pass(piece, false);
    }
    pass(&[], true);
    passed
}

fuzz_target!(|data: &[u8]| {
    let Some(input) = Input::new(data) else {
        return;
    };
    check_splice(input.bytes);
    let whole = withhold(std::iter::once(input.bytes));
    // A longer event is let go before it is whole.
    if input.bytes.len() <= LONGEST {
        assert_eq!(withhold(input.pieces()), whole);
    }
    if !input.bytes.windows(5).any(|bytes| bytes == b"usage") && !input.bytes.contains(&b'\\') {
        assert_eq!(whole, input.bytes);
    }
});
