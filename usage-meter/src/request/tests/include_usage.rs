//! Tests of `stream_options.include_usage`: the splice, and errors of upstreams that reject it.

use crate::request::include_usage::{self, splice};

#[test]
fn error_that_repeats_the_request_is_not_one_about_a_field() {
    for repeats in [
        r#"{"error":"invalid: {\"stream_options\":{},\"stream\": true}"}"#,
        r#"{"detail":[{"type":"missing","input":{"stream_options":{},"stream":true}}]}"#,
        "[{'input': {'stream_options': {'include_usage': True}, 'stream': True}}]",
        "ChatRequest(stream_options=None, stream=True)",
    ] {
        assert!(
            include_usage::repeats_request(repeats.as_bytes()),
            "{repeats}"
        );
    }
    for names in [
        "Unrecognized request argument supplied: stream_options",
        "The 'stream_options' parameter is only allowed when 'stream' is enabled.",
        r#"{"loc":["body","stream_options"],"input":{"include_usage":true}}"#,
        "not supported in a stream: stream_options",
    ] {
        assert!(!include_usage::repeats_request(names.as_bytes()), "{names}");
    }
}

fn spliced(body: &str) -> Option<String> {
    splice(body.as_bytes()).map(|bytes| String::from_utf8(bytes).unwrap())
}

#[test]
fn include_usage_is_set_and_nothing_else() {
    for (body, expected) in [
        (
            r#" {"model" : "m", "x":1.0e3}"#,
            r#" {"stream_options":{"include_usage":true},"model" : "m", "x":1.0e3}"#,
        ),
        ("{}", r#"{"stream_options":{"include_usage":true}}"#),
        (
            r#"{"stream_options": null}"#,
            r#"{"stream_options": {"include_usage":true}}"#,
        ),
        (
            r#"{"stream_options":{},"a":"{"}"#,
            r#"{"stream_options":{"include_usage":true},"a":"{"}"#,
        ),
        (
            r#"{"a":1,"stream_options":{ "include_usage" : false, "b":2}}"#,
            r#"{"a":1,"stream_options":{ "include_usage" : true, "b":2}}"#,
        ),
        (
            r#"{"stream_options":{"include_usage":null}}"#,
            r#"{"stream_options":{"include_usage":true}}"#,
        ),
        (
            r#"{"stream_options":{"b":2}}"#,
            r#"{"stream_options":{"include_usage":true,"b":2}}"#,
        ),
        (
            r#"{"stream_options":7}"#,
            r#"{"stream_options":{"include_usage":true}}"#,
        ),
        (
            r#"{"stream_options":{"include_usage":false},"a":1,"stream_options":{"b":2}}"#,
            r#"{"stream_options":{"include_usage":true},"a":1,"stream_options":{"include_usage":true,"b":2}}"#,
        ),
        (
            r#"{"stream_options":null,"stream\u005foptions":{}}"#,
            r#"{"stream_options":{"include_usage":true},"stream\u005foptions":{"include_usage":true}}"#,
        ),
        (
            r#"{"stream_options":{"include_usage":true, "include_usage" :0}}"#,
            r#"{"stream_options":{"include_usage":true, "include_usage" :true}}"#,
        ),
        (
            "\u{feff}{\"a\":1}",
            "\u{feff}{\"stream_options\":{\"include_usage\":true},\"a\":1}",
        ),
    ] {
        assert_eq!(spliced(body).as_deref(), Some(expected));
    }
    for body in ["", "[]", "1", "{", r#"{"a":1} trailing"#] {
        assert_eq!(spliced(body), None, "{body}");
    }
    assert_eq!(splice(b"{\"a\":\"\xff\"}"), None);
    let repeated = |times| format!("{{{}}}", vec![r#""stream_options":1"#; times].join(","));
    assert!(spliced(&repeated(8)).is_some());
    assert_eq!(spliced(&repeated(9)), None);
}

#[test]
fn names_of_the_field_are_found() {
    for text in [
        "Unrecognized request argument: stream_options",
        r#"{"loc":["body","include_usage"]}"#,
        r"stream\u005foptions",
        "_stream_options",
    ] {
        assert!(include_usage::is_named_in(text.as_bytes()), "{text}");
    }
    for text in [
        "",
        "_",
        r"\",
        "stream_",
        "_options",
        "include_",
        "token_usage",
        "stream options",
        r"\u4e2d\n",
    ] {
        assert!(!include_usage::is_named_in(text.as_bytes()), "{text}");
    }
}
