//! Bodies that are made to hurt: each has a defined result, in bounded memory.

use super::{JSON, SSE, head, read, tokens};
use crate::meter::{Meter, report::LARGEST_RAW};

#[test]
fn nesting_a_million_deep() {
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
fn a_usage_object_of_ten_megabytes() {
    let mut body = br#"{"usage":{"prompt_tokens":1,"padding":""#.to_vec();
    body.extend(std::iter::repeat_n(b'x', 10 << 20));
    body.extend_from_slice(br#"","completion_tokens":2}}"#);
    let meter = read(JSON, &body);
    assert_eq!(tokens(&meter), Some((1, 2, 3)));
    assert_eq!(meter.raw_usage(), None);
}

#[test]
fn a_usage_object_as_large_as_is_kept() {
    let frame = r#"{"prompt_tokens":1,"x":""}"#;
    for (length, kept) in [(LARGEST_RAW, true), (LARGEST_RAW + 1, false)] {
        let padding = "x".repeat(length - frame.len());
        let usage = frame.replace("\"\"", &format!("\"{padding}\""));
        let meter = read(JSON, format!("{{\"usage\":{usage}}}").as_bytes());
        assert_eq!(meter.raw_usage().is_some(), kept);
        assert_eq!(tokens(&meter), Some((1, 0, 1)));
    }
}

#[test]
fn a_line_without_end() {
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
fn numbers_that_are_none() {
    for (number, expected) in [
        ("\"12\"", Some((12, 0, 12))),
        ("-5", None),
        ("1.5", Some((2, 0, 2))),
        ("1e400", Some((u64::MAX, 0, u64::MAX))),
        ("99999999999999999999", Some((u64::MAX, 0, u64::MAX))),
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
fn what_is_no_json_goes_by() {
    let rubbish: &[&[u8]] = &[
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
    for body in rubbish {
        let meter = read(SSE, body);
        assert_eq!(meter.usage(), None, "{body:?}");
    }
}

#[test]
fn a_very_long_model_is_cut_off() {
    let body = format!("{{\"model\":\"{}\",\"choices\":[]}}", "m".repeat(100_000));
    let meter = read(JSON, body.as_bytes());
    assert_eq!(meter.model().unwrap().len(), crate::meter::scanner::LONGEST);
}
