//! The reader of request bodies finds what a parser finds in JSON, and finds the same in any pieces, in JSON as in forms.
//! What it finds in a form does not depend on the boundary.
#![no_main]

use libfuzzer_sys::fuzz_target;
use serde_json::Value;
use std::sync::{Arc, LazyLock};
use tollgate_fuzz::Input;
use usage_meter::request::{BodyReader, Parameters, Pointers, Syntax};

/// The JSON pointers of the reader.
const POINTERS: &[&str] = &["/a", "/b", "/a/b", "/a/0", "/c/1/a", "/a~1b", "/0", "/"];

fn read<'a>(content_type: Option<&[u8]>, pieces: impl Iterator<Item = &'a [u8]>) -> BodyReader {
    static SET: LazyLock<Arc<Pointers>> = LazyLock::new(|| Arc::new(Pointers::new(POINTERS)));
    let mut reader = BodyReader::new(content_type, &SET);
    pieces.for_each(|piece| reader.push(piece));
    reader.finish();
    reader
}

/// Checks that the reader finds the same whole and in pieces.
fn check_pieces(content_type: Option<&[u8]>, input: Input<'_>) -> BodyReader {
    let whole = read(content_type, std::iter::once(input.bytes));
    let pieces = read(content_type, input.pieces());
    assert_eq!(pieces.parameters(), whole.parameters());
    assert_eq!(pieces.syntax(), whole.syntax());
    assert_eq!(pieces.bytes(), whole.bytes());
    assert_eq!(pieces.begins_like_json(), whole.begins_like_json());
    for index in 0..POINTERS.len() {
        assert_eq!(pieces.value(index), whole.value(index));
    }
    whole
}

/// Checks that the reader finds what a parser finds.
fn check_json(input: Input<'_>) {
    let whole = check_pieces(None, input);
    let json = input
        .bytes
        .strip_prefix(b"\xef\xbb\xbf")
        .unwrap_or(input.bytes);
    let Ok(parsed) = serde_json::from_slice::<Value>(json) else {
        return;
    };
    assert_eq!(whole.syntax(), Some(Syntax::Complete));
    for (index, pointer) in POINTERS.iter().enumerate() {
        let found = whole.value(index);
        let found = found.map(|json| serde_json::from_slice::<Value>(json).unwrap());
        assert_eq!(found.as_ref(), parsed.pointer(pointer));
    }
    if let Some(Value::String(model)) = parsed.get("model")
        && model.len() <= 64
    {
        assert_eq!(whole.parameters().model.as_deref(), Some(model.as_str()));
    }
}

/// Encodes a form with a field for each line: its name, `=` or, of a file, `@`, and its value.
fn form(lines: &[u8], boundary: &str) -> Vec<u8> {
    let mut body = Vec::new();
    for line in lines.split(|byte| *byte == b'\n') {
        let separator = |byte: &u8| matches!(byte, b'=' | b'@');
        let end = line.iter().position(separator).unwrap_or(line.len());
        let (name, value) = line.split_at(end);
        body.extend_from_slice(format!("--{boundary}\r\n").as_bytes());
        body.extend_from_slice(b"Content-Disposition: form-data; name=\"");
        body.extend_from_slice(name);
        body.extend_from_slice(b"\"");
        if value.first() == Some(&b'@') {
            body.extend_from_slice(b"; filename=\"f\"\r\nContent-Type: audio/wav");
        }
        body.extend_from_slice(b"\r\n\r\n");
        body.extend_from_slice(value.get(1..).unwrap_or_default());
        body.extend_from_slice(b"\r\n");
    }
    body.extend_from_slice(format!("--{boundary}--\r\n").as_bytes());
    body
}

/// Reads the lines as a form with a boundary.
fn read_form(input: Input<'_>, boundary: &str) -> Parameters {
    let bytes = form(input.bytes, boundary);
    let content_type = format!("multipart/form-data; boundary=\"{boundary}\"");
    let input = Input {
        bytes: &bytes,
        ..input
    };
    let reader = check_pieces(Some(content_type.as_bytes()), input);
    assert_eq!(reader.syntax(), None);
    reader.into_parameters()
}

fn check_form(input: Input<'_>) {
    let found = read_form(input, "----WebKitFormBoundary7MA4YWxkTrZu0gW");
    assert_eq!(read_form(input, "-"), read_form(input, "-"));
    let has_delimiter = input.bytes.windows(3).any(|bytes| bytes == b"\r--");
    // A name with these characters is none.
    let is_plain = |line: &[u8]| !line.iter().any(|byte| b"\";\r".contains(byte));
    if has_delimiter {
        return;
    }
    assert_eq!(read_form(input, "b"), found);
    assert_eq!(read_form(input, "0123456789 end"), found);
    let mut files = 0;
    let mut bytes = 0;
    for line in input.bytes.split(|byte| *byte == b'\n') {
        if !is_plain(line) {
            return;
        }
        let end = line.iter().position(|byte| matches!(byte, b'=' | b'@'));
        if let Some(end) = end
            && line[end] == b'@'
        {
            files += 1;
            bytes += line.len() - end - 1;
        }
    }
    assert_eq!((found.parts, found.part_bytes), (files, bytes as u64));
}

fuzz_target!(|data: &[u8]| {
    let Some(input) = Input::new(data) else {
        return;
    };
    check_json(input);
    check_pieces(Some(b"multipart/form-data; boundary=b"), input);
    check_form(input);
});
