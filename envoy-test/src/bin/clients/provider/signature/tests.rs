use axum::http::Request;

use super::*;

/// The signature that botocore makes of [`BODY`] and the headers of [`request`].
const SIGNATURE: &str = "35d6f1c8d2aa2f97d722c0bc3ebf001c30295a24cf304aaed37afd07c6a5e755";

const BODY: &[u8] = br#"{"messages": [ ]}"#;

fn request(test_id: &str) -> Parts {
    let authorization = format!(
        "AWS4-HMAC-SHA256 Credential=key-of-tests/20260102/us-east-1/bedrock/aws4_request, \
         SignedHeaders=content-type;host;x-amz-date;x-test-id, Signature={SIGNATURE}"
    );
    let request = Request::post("/model/anthropic.claude-v1%3A0/converse")
        .header("host", "127.0.0.1:8080")
        .header("content-type", "application/json")
        .header("x-amz-date", "20260102T030405Z")
        .header("x-test-id", test_id)
        .header("authorization", authorization)
        .body(());
    request.expect("a request").into_parts().0
}

#[test]
fn only_what_was_signed_is_accepted() {
    assert_eq!(verify(&request("a  b"), BODY), Ok(()));
    assert!(verify(&request("c"), BODY).is_err(), "another header");
    let rewritten = br#"{"messages":[]}"#;
    assert!(verify(&request("a  b"), rewritten).is_err(), "another body");
    let mut unsigned = request("a  b");
    unsigned.headers.remove("authorization");
    assert!(verify(&unsigned, BODY).is_err(), "no signature");
}
