//! Hostile bodies: each has a defined result, in bounded memory.

use super::{JSON, SSE, head, read, tokens};
use crate::Meter;
use crate::json::MAX_SCALAR_BYTES;
use crate::response::report::MAX_RAW_BYTES;

#[test]
fn million_nested_levels_are_skipped() {
    for bracket in [
        "{\"a\":",
        "[",
        "{\"choices\":[{\"usage\":{\"prompt_tokens\":",
        "]",
        "}",
    ] {
        let body = bracket.repeat(1_000_000);
        let meter = read(JSON, body.as_bytes());
        assert_eq!(meter.usage(), None, "{bracket}");
    }
    let mut body = b"{\"choices\":".to_vec();
    body.extend(std::iter::repeat_n(b'[', 1_000_000));
    body.extend(std::iter::repeat_n(b']', 1_000_000));
    body.extend_from_slice(br#","usage":{"prompt_tokens":1,"completion_tokens":2}}"#);
    assert_eq!(tokens(&read(JSON, &body)), Some((1, 2, 3)));
}

#[test]
fn ten_megabyte_usage_object_is_read_not_kept() {
    let mut body = br#"{"usage":{"prompt_tokens":1,"padding":""#.to_vec();
    body.extend(std::iter::repeat_n(b'x', 10 << 20));
    body.extend_from_slice(br#"","completion_tokens":2}}"#);
    let meter = read(JSON, &body);
    assert_eq!(tokens(&meter), Some((1, 2, 3)));
    assert_eq!(meter.raw_usage(), None);
}

#[test]
fn usage_object_is_kept_up_to_maximum() {
    let empty = r#"{"prompt_tokens":1,"x":""}"#;
    for (length, kept) in [(MAX_RAW_BYTES, true), (MAX_RAW_BYTES + 1, false)] {
        let padding = "x".repeat(length - empty.len());
        let usage = empty.replace("\"\"", &format!("\"{padding}\""));
        let meter = read(JSON, format!("{{\"usage\":{usage}}}").as_bytes());
        assert_eq!(meter.raw_usage().is_some(), kept);
        assert_eq!(tokens(&meter), Some((1, 0, 1)));
    }
}

#[test]
fn endless_line_is_read() {
    let mut meter = Meter::new(&head(SSE));
    meter.push(b"data: {\"choices\":[{\"delta\":{\"content\":\"");
    let piece = vec![b'x'; 1 << 20];
    for _ in 0..32 {
        meter.push(&piece);
    }
    assert_eq!(meter.output_bytes(), 32 << 20);
    meter.push(b"\"}}],\"usage\":{\"total_tokens\":7}}\n\n");
    assert_eq!(tokens(&meter), Some((0, 0, 7)));
}

#[test]
fn invalid_numbers_report_no_tokens() {
    for (number, expected) in [
        ("\"12\"", Some((12, 0, 12))),
        ("-5", None),
        ("1.5", Some((2, 0, 2))),
        ("1e400", None),
        ("99999999999999999999", None),
        ("18446744073709551615", None),
        ("1099511627777", None),
        ("1099511627776", Some((1 << 40, 0, 1 << 40))),
        ("null", None),
        ("true", None),
        ("[12]", None),
        ("{\"value\":12}", None),
        ("\"many\"", None),
    ] {
        let body = format!("{{\"usage\":{{\"prompt_tokens\":{number}}}}}");
        assert_eq!(tokens(&read(JSON, body.as_bytes())), expected, "{number}");
    }
}

#[test]
fn invalid_json_reports_no_usage() {
    let invalid: &[&[u8]] = &[
        b"",
        b"\0\0\0\0",
        b"{{{{}}}}",
        b"}}}}]]]]",
        b"{\"usage\"",
        b"{\"usage\":",
        b"{\"usage\":}",
        b"{\"usage\":{,,,}}",
        b"{\"\\",
        b"{\"\\u",
        b"{\"\xff\xfe\":\"\xc3\x28\"}",
        b"{\"us\\uD800ge\":{\"prompt_tokens\":1}}",
        b"data: {\"usage\":{\n\n\n\ndata",
        b"\xef\xbb",
        b"\xef\xbb{",
    ];
    for body in invalid {
        let meter = read(SSE, body);
        assert_eq!(meter.usage(), None, "{body:?}");
    }
}

#[test]
fn long_model_is_truncated() {
    let body = format!("{{\"model\":\"{}\",\"choices\":[]}}", "m".repeat(100_000));
    let meter = read(JSON, body.as_bytes());
    assert_eq!(meter.model().unwrap().len(), MAX_SCALAR_BYTES);
}
