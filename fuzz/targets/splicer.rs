//! Setting `include_usage` changes nothing else in a request; removing the report from the response does not
//! depend on how that is split.
#![no_main]

use libfuzzer_sys::fuzz_target;
use serde_json::{Value, json};
use tollgate_fuzz::Input;
use usage_meter::ReportFilter;
use usage_meter::request::include_usage::splice;
use usage_meter::request::{Parameters, StreamOptions};

fn check_splice(body: &[u8]) {
    let Some(spliced) = splice(body) else {
        return;
    };
    let json = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body);
    let Ok(mut value) = serde_json::from_slice::<Value>(json) else {
        // Not JSON, or too deep for this parser.
        return;
    };
    let parameters = Parameters::read(&spliced);
    assert_eq!(parameters.stream_options, StreamOptions::WithUsage);
    let mut expected = Parameters::read(body);
    expected.stream_options = StreamOptions::WithUsage;
    assert_eq!(parameters, expected);
    let json = spliced.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&spliced);
    let options = &mut value["stream_options"];
    if !options.is_object() {
        *options = json!({});
    }
    options["include_usage"] = json!(true);
    assert_eq!(serde_json::from_slice::<Value>(json).ok(), Some(value));
}

fn filter<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> Vec<u8> {
    let mut filter = ReportFilter::default();
    let mut passed = Vec::new();
    let mut buffer = Vec::new();
    let mut pass = |piece: &[u8], end| {
        buffer.extend_from_slice(piece);
        let passage = filter.push(piece, true, end);
        if let Some(replacement) = passage.replacement {
            buffer = replacement;
        }
        if !passage.is_held {
            passed.append(&mut buffer);
        }
    };
    for piece in pieces {
        pass(piece, false);
    }
    pass(&[], true);
    passed
}

/// Removes what depends on how a stream was divided: `"usage":null` goes from the chunks that follow a first one with it,
/// and from those that arrive with the first.
fn without_nulls(bytes: &[u8]) -> Vec<u8> {
    const NULL: &[u8] = b",\"usage\":null";
    let mut rest = bytes;
    let mut without = Vec::with_capacity(bytes.len());
    while let Some((first, after)) = rest.split_first() {
        if let Some(after) = rest.strip_prefix(NULL) {
            rest = after;
        } else {
            without.push(*first);
            rest = after;
        }
    }
    without
}

fuzz_target!(|data: &[u8]| {
    let Some(input) = Input::new(data) else {
        return;
    };
    check_splice(input.bytes);
    let whole = filter(std::iter::once(input.bytes));
    // Of more bytes an event may pass before it is complete.
    if input.bytes.len() <= 1024 {
        let divided = filter(input.pieces());
        assert_eq!(without_nulls(&divided), without_nulls(&whole));
    }
    if !input.bytes.windows(5).any(|bytes| bytes == b"usage") && !input.bytes.contains(&b'\\') {
        assert_eq!(whole, input.bytes);
    }
});
