//! The reader of bodies compared with `serde_json`, and with what bodies of each API mean.

mod bounds;
mod forms;

use std::sync::Arc;

use proptest::prelude::*;
use proptest::sample::select;
use serde_json::Value;

use super::{BodyReader, Pointers, Syntax, unescaped};
use crate::request::Parameters;

/// The pointers of these tests.
const POINTERS: &[&str] = &[
    "", "/a", "/b", "/a/b", "/a/0", "/a/0/b", "/b/1", "/b/01", "/a/b/a", "/a~1b/~0", "/0", "/",
    "/a/a/0/1",
];

fn reader(content_type: Option<&[u8]>) -> BodyReader {
    BodyReader::new(content_type, &Arc::new(Pointers::new(POINTERS)))
}

/// Reads a body in pieces that end at these places.
fn read(body: &[u8], cuts: &[usize], content_type: Option<&[u8]>) -> BodyReader {
    let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut % (body.len() + 1)).collect();
    cuts.push(body.len());
    cuts.sort_unstable();
    let mut reader = reader(content_type);
    let mut from = 0;
    for cut in cuts {
        reader.push(&body[from..cut]);
        from = cut;
    }
    reader.finish();
    reader
}

/// JSON text whose objects may have a key twice, with white space and escapes.
fn json() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        select(vec![
            "null", "true", "false", "0", "-1", "12", "1.5", "2e3", "-0.25E-2"
        ])
        .prop_map(str::to_owned),
        ".{0,12}".prop_map(|text| Value::from(text).to_string()),
        select(vec![r#""\u00e9\ud83d\ude00\n\/""#, r#""é😀""#]).prop_map(str::to_owned),
    ];
    let key = select(vec!["a", "b", "a/b", "~", "0", "1", "", r"\u0061", "é"]);
    let space = select(vec!["", " ", "\n\t"]);
    leaf.prop_recursive(5, 48, 5, move |inner| {
        let members = prop::collection::vec((key.clone(), inner.clone(), space.clone()), 0..5);
        let elements = prop::collection::vec((inner, space.clone()), 0..4);
        prop_oneof![
            members.prop_map(|members| {
                let members = members.iter().map(|(key, value, space)| {
                    format!("{space}\"{key}\"{space}:{space}{value}{space}")
                });
                format!("{{{}}}", members.collect::<Vec<_>>().join(","))
            }),
            elements.prop_map(|elements| {
                let elements = elements.iter();
                let elements = elements.map(|(value, space)| format!("{space}{value}{space}"));
                format!("[{}]", elements.collect::<Vec<_>>().join(","))
            }),
        ]
    })
}

proptest! {
    #[test]
    fn values_are_those_of_a_parser(body in json(), cuts: Vec<usize>) {
        let reader = read(body.as_bytes(), &cuts, None);
        prop_assert_eq!(reader.syntax(), Some(Syntax::Complete));
        let parsed: Value = serde_json::from_str(&body).unwrap();
        for (index, pointer) in POINTERS.iter().enumerate() {
            let found = reader.value(index);
            let found: Option<Value> = found.map(|json| serde_json::from_slice(json).unwrap());
            prop_assert_eq!(found.as_ref(), parsed.pointer(pointer), "{} of {}", pointer, body);
        }
    }

    #[test]
    fn syntax_is_that_of_a_parser(
        body in json(),
        cuts: Vec<usize>,
        at: usize,
        byte in select(b"{}[],:\"\\0-.eE+tnul \x01\xff\xc3\xa9".to_vec()),
        kind in 0..4,
    ) {
        let mut body = body.into_bytes();
        let at = at % (body.len() + 1);
        match kind {
            0 => body.insert(at, byte),
            1 if at < body.len() => body[at] = byte,
            2 => body.truncate(at),
            3 if at < body.len() => { body.remove(at); }
            _ => {}
        }
        let reader = read(&body, &cuts, None);
        let whole = read(&body, &[], None);
        prop_assert_eq!(reader.syntax(), whole.syntax(), "however it is cut");
        prop_assert_eq!(reader.parameters(), whole.parameters());
        let parsed = serde_json::from_slice::<Value>(&body);
        let is_lenient = parsed.as_ref().is_err_and(|error| {
            // Half a surrogate pair and huge numbers are valid JSON.
            let error = error.to_string();
            error.contains("surrogate") || error.contains("hex escape") || error.contains("out of range")
        });
        if !is_lenient {
            prop_assert_eq!(
                reader.syntax() == Some(Syntax::Complete), parsed.is_ok(),
                "{:?}", String::from_utf8_lossy(&body)
            );
        }
    }

    #[test]
    fn strings_are_unescaped_as_by_a_parser(text in ".{0,20}", ascii: bool) {
        let mut json = Value::from(text.clone()).to_string();
        if ascii {
            let units = text.encode_utf16().map(|unit| format!("\\u{unit:04x}"));
            json = format!("\"{}\"", units.collect::<String>());
        }
        let inside = &json[1..json.len() - 1];
        prop_assert_eq!(unescaped(inside.as_bytes()), text);
    }

    #[test]
    fn any_bytes_in_any_pieces_give_one_result(
        body in prop::collection::vec(any::<u8>(), 0..200),
        cuts: Vec<usize>,
        form: bool,
    ) {
        let kind: Option<&[u8]> = form.then_some(b"multipart/form-data; boundary=b");
        let pieces = read(&body, &cuts, kind);
        let whole = read(&body, &[], kind);
        prop_assert_eq!(pieces.parameters(), whole.parameters());
        prop_assert_eq!(pieces.syntax(), whole.syntax());
    }

    #[test]
    fn form_in_any_pieces_has_its_parameters(
        cuts: Vec<usize>,
        file in prop::collection::vec(select(b"\r\n-b".to_vec()), 0..60),
    ) {
        let file = String::from_utf8(file).unwrap().replace("\r\n--bb", "");
        let body = form(&file);
        let kind = b"multipart/form-data; boundary=\"bb\"".as_slice();
        let reader = read(body.as_bytes(), &cuts, Some(kind));
        let Parameters { model, stream, text_bytes, parts, part_bytes, .. } =
            reader.parameters();
        prop_assert_eq!(model.as_deref(), Some("whisper-1"));
        prop_assert_eq!(*stream, Some(true));
        prop_assert_eq!(reader.parameters().max_output_tokens(None), None);
        prop_assert_eq!(*text_bytes, 5);
        prop_assert_eq!((*parts, *part_bytes), (1, file.len() as u64));
    }
}

fn form(file: &str) -> String {
    format!(
        "--bb\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\nwhisper-1\r\n--bb\r\n\
         content-disposition: form-data; name=file; filename=\"model\"\r\n\
         content-type: audio/wav\r\n\r\n{file}\r\n--bb\r\n\
         Content-Disposition: form-data; name=\"prompt\"\r\n\r\n12345\r\n--bb  \r\n\
         Content-Disposition: form-data; name=\"stream\"\r\n\r\ntrue\r\n--bb--\r\n"
    )
}

#[test]
fn nesting_is_bounded() {
    let nested = |depth: usize| format!("{}1{}", "[".repeat(depth), "]".repeat(depth));
    assert_eq!(
        read(nested(512).as_bytes(), &[], None).syntax(),
        Some(Syntax::Complete)
    );
    assert_eq!(
        read(nested(513).as_bytes(), &[], None).syntax(),
        Some(Syntax::Malformed)
    );
}

#[test]
fn byte_order_mark_is_skipped() {
    let reader = read(b"\xef\xbb\xbf {\"a\":1}", &[1, 2], None);
    assert_eq!(reader.syntax(), Some(Syntax::Complete));
    assert_eq!(reader.value(1), Some(b"1".as_slice()));
    assert!(reader.begins_like_json());
    for (body, syntax) in [
        ("", Syntax::Empty),
        (" \n", Syntax::Empty),
        ("{", Syntax::Incomplete),
        ("1", Syntax::Complete),
        ("1.", Syntax::Incomplete),
        ("{} {}", Syntax::Malformed),
        ("--b", Syntax::Malformed),
        ("{\"a\":NaN}", Syntax::Malformed),
    ] {
        assert_eq!(
            read(body.as_bytes(), &[], None).syntax(),
            Some(syntax),
            "{body}"
        );
    }
}

#[test]
fn malformed_bodies_are_recognized() {
    for (body, syntax) in [
        (&b"[1}"[..], Syntax::Malformed),
        (b"{\"a\":1]", Syntax::Malformed),
        (b"\"\\u00zz\"", Syntax::Malformed),
        (b"\"\\x\"", Syntax::Malformed),
        (b"\"\\ n\"", Syntax::Malformed),
        (b"\"\\u00 41\"", Syntax::Malformed),
        (b"\"\xff", Syntax::Malformed),
        (b"\"\xc3\"", Syntax::Malformed),
        (b"\"\xc3(\"", Syntax::Malformed),
        (b"\"\xc3", Syntax::Incomplete),
        (b"\"\\u00", Syntax::Incomplete),
        (b"[1,", Syntax::Incomplete),
        (b"{\"a\":", Syntax::Incomplete),
        (b"\"\xc3\xa9\\u00e9\"", Syntax::Complete),
    ] {
        let every_byte: Vec<usize> = (0..body.len()).collect();
        for cuts in [&[][..], &every_byte] {
            let found = read(body, cuts, None).syntax();
            assert_eq!(found, Some(syntax), "{:?}", String::from_utf8_lossy(body));
        }
    }
    for depth in [1, 63, 64, 65, 100] {
        let body = format!("{}1{}", "[{\"a\":".repeat(depth), "}]".repeat(depth));
        let syntax = read(body.as_bytes(), &[], None).syntax();
        assert_eq!(syntax, Some(Syntax::Complete), "{depth}");
        let wrong = format!("{}1{}", "[{\"a\":".repeat(depth), "]}".repeat(depth));
        let syntax = read(wrong.as_bytes(), &[], None).syntax();
        assert_eq!(syntax, Some(Syntax::Malformed), "{depth}");
    }
}

#[test]
fn last_member_of_a_name_counts_with_all_in_it() {
    let reader = read(br#"{"a":{"b":1,"c":2},"b":3,"a":{"c":4}}"#, &[], None);
    assert_eq!(reader.value(1), Some(br#"{"c":4}"#.as_slice()), "/a");
    assert_eq!(reader.value(2), Some(b"3".as_slice()), "/b");
    assert_eq!(reader.value(3), None, "/a/b");
}

#[test]
fn text_and_parts_are_recognized_in_any_pieces() {
    for (body, text_bytes, parts) in [
        (r#"{"prompt":"abcd"}"#, 4, 0),
        (r#"{"options":{"prompt":"abcd","system":"abcd"}}"#, 0, 0),
        (r#"{"x":{"url":"data:image/png;base64,AAAA"}}"#, 0, 1),
        (r#"{"x":{"url":"date: today"}}"#, 0, 0),
        (r#"{"x":{"data":"a b"}}"#, 3, 0),
        (r#"{"x":{"data":"dat"}}"#, 0, 0),
        (r#"{"image_url":{"file":{"a":"b"},"c":"d"}}"#, 0, 1),
        (r#"{"image_url":{"url":"b"},"prompt":"abcd"}"#, 4, 1),
        (r#"{"a":{"arguments":{"x":"ab"}},"y":"cd"}"#, 2, 0),
        (r#"{"arguments":{"o":{"p":"q"},"x":"ab"}}"#, 3, 0),
        (r#"{"prompt":"a\nb"}"#, 3, 0),
        (r#"{"prompt":"\u00e9"}"#, 4, 0),
        (r#"{"x":{"data":"a\n b"}}"#, 4, 0),
        (r#"{"prompt":"ab","image_url":{"file":{"a":"b"}}}"#, 2, 1),
        (r#"{"input":[{"a":1},"abcd",{"b":{}},"fg"]}"#, 6, 0),
        (r#"{"input":["abcd"],"o":{"p":"q"}}"#, 4, 0),
    ] {
        let every_byte: Vec<usize> = (0..body.len()).collect();
        for cuts in [&[][..], &every_byte] {
            let reader = read(body.as_bytes(), cuts, None);
            let parameters = reader.parameters();
            let found = (parameters.text_bytes, parameters.parts);
            assert_eq!(found, (text_bytes, parts), "{body}");
        }
    }
}

#[test]
fn parts_that_are_not_text_are_counted_apart() {
    let picture = "iVBORw0KGgo".repeat(1000);
    let bytes = picture.len() as u64;
    let url = format!("data:image/png;base64,{picture}");
    let url_bytes = url.len() as u64;
    for (body, text, parts, part_bytes) in [
        (
            format!(
                r#"{{"messages":[{{"role":"user","content":[{{"type":"text","text":"12345"}},
                {{"type":"image_url","image_url":{{"url":"{url}","detail":"high"}}}}]}}]}}"#
            ),
            5,
            1,
            url_bytes + 4,
        ),
        (
            format!(
                r#"{{"input":[{{"role":"user","content":[{{"type":"input_text","text":"123"}},
                {{"type":"input_image","image_url":"{url}"}},
                {{"type":"input_file","filename":"a.pdf","file_data":"{url}"}}]}}]}}"#
            ),
            3,
            2,
            2 * url_bytes,
        ),
        (
            format!(
                r#"{{"messages":[{{"role":"user","content":[{{"type":"image","source":{{
                "type":"base64","media_type":"image/png","data":"{picture}"}}}}]}}],"system":"45"}}"#
            ),
            2,
            1,
            bytes,
        ),
        (
            format!(
                r#"{{"contents":[{{"parts":[{{"text":"1"}},{{"inlineData":{{"mimeType":"a/b",
                "data":"{picture}"}}}},{{"inline_data":{{"data":"{picture}"}}}},
                {{"fileData":{{"fileUri":"gs://b/c"}}}}]}}]}}"#
            ),
            1,
            3,
            2 * bytes + 3 + 8,
        ),
        (
            format!(
                r#"{{"messages":[{{"content":[{{"image":{{"format":"png","source":{{
                "bytes":"{picture}"}}}}}},{{"text":"12"}}]}}]}}"#
            ),
            2,
            1,
            bytes,
        ),
        (
            format!(
                r#"{{"messages":[{{"content":"12","images":["{picture}","{picture}"]}}]}}"#
            ),
            2,
            2,
            2 * bytes,
        ),
        (
            format!(
                r#"{{"messages":[{{"content":[{{"type":"input_audio","input_audio":{{
                "data":"{picture}","format":"wav"}}}}]}}]}}"#
            ),
            0,
            1,
            bytes + 3,
        ),
        (
            r#"{"messages":[{"content":[{"type":"image_url","image_url":{"url":"https://a/b"}}]}]}"#
                .to_owned(),
            0,
            1,
            11,
        ),
        // A text that quotes a picture is text, and so is a document that is text.
        (format!(r#"{{"messages":[{{"content":"{url}"}}]}}"#), url_bytes, 0, 0),
        (r#"{"source":{"type":"text","data":"a b c"}}"#.to_owned(), 5, 0, 0),
        (r#"{"input":["12","345"],"model":"m"}"#.to_owned(), 5, 0, 0),
        (
            r#"{"tools":[{"function":{"parameters":{"a":"12","b":{"c":["3"]}}}}],"x":"y"}"#
                .to_owned(),
            3,
            0,
            0,
        ),
    ] {
        for cuts in [vec![], vec![40, 41, 100, 130, 170, 200, 260]] {
            let reader = read(body.as_bytes(), &cuts, None);
            let found = reader.parameters();
            let case: String = body.chars().take(160).collect();
            assert_eq!(found.text_bytes, text, "{case}");
            assert_eq!((found.parts, found.part_bytes), (parts, part_bytes), "{case}");
        }
        let rest = Parameters::read(body.as_bytes()).input_bytes(body.len() as u64);
        assert!(rest < 200 || parts == 0, "{rest}");
    }
}

#[test]
fn bounds_and_streams_are_read_in_every_notation() {
    for (body, bound, stream) in [
        (
            r#"{"max_tokens":"100","stream":"True"}"#,
            Some(100),
            Some(true),
        ),
        (
            r#"{"max_tokens":10,"best_of":"3","n":2,"stream":1}"#,
            Some(30),
            Some(true),
        ),
        (
            r#"{"n":2,"max_tokens":10,"max_completion_tokens":20}"#,
            Some(40),
            None,
        ),
        (
            r#"{"max_tokens_to_sample":9,"stream":"false"}"#,
            Some(9),
            Some(false),
        ),
        (
            r#"{"parameters":{"max_new_tokens":8},"stream":0}"#,
            Some(8),
            Some(false),
        ),
        (
            r#"{"options":{"num_predict":-1},"stream":null}"#,
            None,
            Some(false),
        ),
        (r#"{"inferenceConfig":{"maxTokens":4}}"#, Some(4), None),
    ] {
        let parameters = Parameters::read(body.as_bytes());
        assert_eq!(parameters.max_output_tokens(None), bound, "{body}");
        assert_eq!(parameters.stream, stream, "{body}");
    }
    let other = Parameters::read(br#"{"model":"a","model_id":"b"}"#);
    assert_eq!(other.model.as_deref(), Some("a"));
    let other = Parameters::read(br#"{"model_id":"b"}"#);
    assert_eq!(other.model.as_deref(), Some("b"));
}

#[test]
fn half_a_surrogate_pair_is_replaced() {
    assert_eq!(unescaped(br"a\ud83dz"), "a\u{fffd}z");
    assert_eq!(unescaped(br"\ud83d\u0041"), "\u{fffd}A");
    let reader = read(br#"{"a":"\ud83d"}"#, &[], None);
    assert_eq!(reader.syntax(), Some(Syntax::Complete));
    assert_eq!(reader.value(1), Some(br#""\ud83d""#.as_slice()));
}
