//! What costs nothing: responses that were charged when they were generated, and counts of tokens.

use crate::host::{Buffer, HeaderMap};
use crate::stream::tests::harness::{Envoy, completion, configuration};

const AT: &str = "/v1/projects/p/locations/l/publishers/google/models";

/// Sends a request with this method and path, whose response has this body; returns the tokens that were
/// charged, and those that alice has used after it.
fn charged(envoy: &Envoy, method: &str, path: &str, body: &str) -> (Option<String>, u64) {
    let mut stream = envoy.stream();
    let headers = [
        (":method", method),
        (":path", path),
        (":authority", "llm"),
        ("x-user", "alice"),
    ];
    envoy.host.set_headers(HeaderMap::Request, &headers);
    stream.on_request_headers(false);
    envoy.host.set_buffer(Buffer::RequestBody, &[b' '; 40]);
    stream.on_request_body(40, true);
    stream.on_response_headers(false);
    for piece in body.as_bytes().chunks(100) {
        envoy.host.set_buffer(Buffer::ResponseBody, piece);
        stream.on_response_body(piece.len(), false);
    }
    stream.on_response_body(0, true);
    let mut next = envoy.stream();
    next.on_request_headers(true);
    let standing = next.standings()[0];
    assert_eq!(standing.reserved, 0, "{method} {path}");
    next.on_log();
    stream.on_log();
    let state = envoy.host.filter_state.borrow();
    (state.get("tollgate.total_tokens").cloned(), standing.used)
}

fn ample(rest: &str) -> Envoy {
    let spec = r#", "concurrency": 1"#;
    Envoy::with(&configuration(spec, rest).replace("50,", "5000,"))
}

#[test]
fn requests_that_generate_nothing_are_free() {
    let operation = format!("{AT}/veo-3:fetchPredictOperation");
    let count = format!("{AT}/gemini:countTokens");
    let results = r#"{"key":"r0","response":{"candidates":[{"content":{"parts":[{"text":"x"}]}}],"usageMetadata":{"promptTokenCount":10,"candidatesTokenCount":100,"totalTokenCount":110}}}"#;
    let cache = r#"{"name":"cachedContents/abc","model":"models/g","usageMetadata":{"totalTokenCount":696}}"#;
    let item = r#"{"object":"list","data":[{"type":"message","role":"assistant","content":[{"type":"output_text","text":"Hello"}]}]}"#;
    let all = [
        ("GET", "/v1/chat/completions/c1", &*completion(30)),
        ("HEAD", "/v1/chat/completions/c1", ""),
        ("DELETE", "/v1/chat/completions/c1", &completion(30)),
        ("GET", "/download/v1beta/files/b:download", results),
        ("GET", "/v1beta/cachedContents/abc", cache),
        ("POST", "/v1beta/cachedContents", cache),
        ("PATCH", "/v1beta/cachedContents/abc", cache),
        (
            "POST",
            "/v1/messages/count_tokens",
            r#"{"input_tokens":2095}"#,
        ),
        (
            "POST",
            &count,
            r#"{"totalTokens":31,"totalBillableCharacters":96,"promptTokensDetails":[{"modality":"TEXT","tokenCount":31}]}"#,
        ),
        (
            "POST",
            "/v1/responses/input_tokens/",
            r#"{"object":"response.input_tokens","input_tokens":11}"#,
        ),
        (
            "POST",
            "/tokenize?x=1",
            r#"{"count":3,"max_model_len":4096,"tokens":[1,2,3]}"#,
        ),
        (
            "POST",
            &operation,
            r#"{"name":"projects/p/operations/o","done":true,"response":{"videos":[{"gcsUri":"gs://v"}],"usageMetadata":{"totalTokenCount":9}}}"#,
        ),
        (
            "POST",
            "/v1/batches/batch_1/cancel",
            r#"{"id":"batch_1","object":"batch","status":"cancelling","usage":{"input_tokens":9,"output_tokens":7,"total_tokens":16}}"#,
        ),
        ("POST", "/v1/conversations/conv_1/items", item),
        ("GET", "/v1/conversations/conv_1/items", item),
    ];
    for (method, path, body) in all {
        let envoy = ample("");
        assert_eq!(
            charged(&envoy, method, path, body),
            (None, 0),
            "{method} {path}"
        );
        let metrics = ["tollgate.estimated", "tollgate.missing_usage"];
        for metric in metrics {
            assert_eq!(envoy.host.metric(metric), 0, "{metric} {method} {path}");
        }
    }
}

#[test]
fn methods_of_the_configuration_are_charged() {
    let path = "/v1/chat/completions/c1";
    let listed = ample(r#", "usage": { "methods": ["GET"] }"#);
    let thirty = (Some("30".to_owned()), 30);
    assert_eq!(charged(&listed, "GET", path, &completion(30)), thirty);
    assert_eq!(
        charged(&listed, "POST", path, &completion(30)),
        (None, 30),
        "not listed"
    );
    for method in ["POST", "PUT", "PATCH", "QUERY"] {
        let charged = charged(&ample(""), method, path, &completion(30));
        assert_eq!(charged, thirty, "{method}");
    }
}

#[test]
fn path_makes_no_completion_free() {
    for path in [
        "/v1/messages/count_tokens",
        "/v1/files",
        "/v1/responses/r/cancel",
    ] {
        let charged = charged(&ample(""), "POST", path, &completion(30));
        assert_eq!(charged, (Some("30".to_owned()), 30), "{path}");
    }
}
