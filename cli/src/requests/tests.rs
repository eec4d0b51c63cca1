//! Requests in all forms.

use proptest::prelude::*;
use serde_json::json;

use super::{Error, read};

#[test]
fn curl_lines_of_documentation_are_read() {
    let line = r#"$ curl -sS https://llm.example.com/v1/chat/completions \
  -H "Content-Type: application/json" \
  -H 'Authorization: Bearer abc' -XPOST \
  -d '{"model": "gpt-4.1", "messages": [{"role": "user", "content": "It'"'"'s"}]}'"#;
    let request = read(line.as_bytes(), 1).unwrap().request;
    assert_eq!(request.method, "POST");
    assert_eq!(request.path, "/v1/chat/completions");
    assert_eq!(request.header("host"), Some("llm.example.com"));
    assert_eq!(request.header("authorization"), Some("Bearer abc"));
    assert_eq!(request.header("content-type"), Some("application/json"));
    let body: serde_json::Value = serde_json::from_slice(&request.body.unwrap()).unwrap();
    assert_eq!(body["messages"][0]["content"], "It's");
}

#[test]
fn curl_lines_of_browsers_are_read() {
    let line = "curl 'http://localhost:8080/v1/models?x=1' --compressed --data-raw $'{\"a\":\"\\u0041\\n\"}' -u alice:secret";
    let request = read(line.as_bytes(), 1).unwrap().request;
    assert_eq!(request.path, "/v1/models?x=1");
    assert_eq!(request.body.as_deref(), Some(b"{\"a\":\"A\n\"}".as_slice()));
    assert_eq!(
        request.header("authorization"),
        Some("Basic YWxpY2U6c2VjcmV0")
    );
}

#[test]
fn curl_json_sets_types_and_method() {
    let request = read(b"curl host/x --json '{}' --json '[]'", 1)
        .unwrap()
        .request;
    assert_eq!(
        (request.method.as_str(), request.path.as_str()),
        ("POST", "/x")
    );
    assert_eq!(request.header("accept"), Some("application/json"));
    assert_eq!(request.body.as_deref(), Some(b"{}[]".as_slice()));
}

#[test]
fn unknown_curl_options_are_errors() {
    for line in [
        "curl --form a=b http://h",
        "curl http://h -d @file",
        "curl",
        "curl 'http://h",
        "curl http://a http://b",
    ] {
        let error = read(format!("{line} ").as_bytes(), 1).unwrap_err();
        assert!(matches!(error, Error::Curl(_)), "{line}: {error}");
    }
}

#[test]
fn har_entries_have_their_responses() {
    let entry = |path: &str| {
        json!({
            "request": {
                "method": "POST", "url": format!("https://h:8443{path}"),
                "headers": [ { "name": ":path", "value": "/" }, { "name": "X-User", "value": "alice" } ],
                "postData": { "mimeType": "application/json", "text": "{}" }
            },
            "response": { "status": 200, "content": { "mimeType": "text/event-stream", "text": "data: {}\n\n" } }
        })
    };
    let har = json!({ "log": { "entries": [ entry("/a"), entry("/b?c") ] } }).to_string();
    let found = read(har.as_bytes(), 2).unwrap();
    assert_eq!(found.request.path, "/b?c");
    assert_eq!(found.request.header("x-user"), Some("alice"));
    assert_eq!(found.request.header("host"), Some("h:8443"));
    assert_eq!(found.response.unwrap().headers[0].1, "text/event-stream");
    assert!(matches!(
        read(har.as_bytes(), 3),
        Err(Error::Entry { entries: 2, .. })
    ));
    assert_eq!(
        read(entry("/a").to_string().as_bytes(), 1)
            .unwrap()
            .request
            .path,
        "/a"
    );
}

#[test]
fn json_requests_reject_unknown_fields() {
    let request = read(
        br#"{"path":"/x","body":{"model":"m"},"headers":{"X-A":1}}"#,
        1,
    )
    .unwrap()
    .request;
    assert_eq!(request.method, "POST");
    assert_eq!(request.header("x-a"), Some("1"));
    let error = read(br#"{"url":"/x"}"#, 1).unwrap_err();
    assert!(error.to_string().contains("unknown field `url`"), "{error}");
}

#[test]
fn deep_json_is_an_error() {
    let deep = "[".repeat(1_000_000);
    assert!(read(deep.as_bytes(), 1).is_err());
    assert!(read(b"{\"path\": \"\xff\"}", 1).is_ok());
}

proptest! {
    #[test]
    fn any_text_is_read_or_rejected(text in "(curl )?[ -~\n'\"\\\\$]{0,80}") {
        let _ = read(text.as_bytes(), 1);
    }

    #[test]
    fn quoted_bodies_are_read_exactly(body in "[^']{0,60}", name in "[a-z][a-z-]{0,8}", value in "[!-&(-~]{1,20}") {
        let line = format!("curl -H 'x-{name}: {value}' --data-raw '{body}' http://h/p");
        let request = read(line.as_bytes(), 1).unwrap().request;
        prop_assert_eq!(request.body.as_deref(), Some(body.as_bytes()));
        let name = format!("x-{name}");
        prop_assert_eq!(request.header(&name), Some(value.as_str()));
    }

    #[test]
    fn any_har_is_read_or_rejected(method in ".{0,8}", url in ".{0,30}", text in ".{0,30}", status in any::<u64>()) {
        let har = json!({
            "request": { "method": method, "url": url, "headers": [ { "name": text, "value": [1] } ], "postData": { "text": text } },
            "response": { "status": status, "content": { "text": text } }
        });
        prop_assert!(read(har.to_string().as_bytes(), 1).is_ok());
    }
}
