//! Policies that read the request body: it is buffered until it is complete, and forwarded unchanged.

use std::{
    convert::Infallible,
    error::Error,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use envoy_test::{
    client::{Chat, Protocol, client},
    metered::{CALLER, Exchange, Metered, each_caller},
};
use hyper::body::Frame;
use reqwest::{
    Body,
    header::{HeaderMap, HeaderValue},
};
use serde_json::{Value, json};

use crate::{
    fixtures::large_model_limit,
    support::{TestResult, start_holding_headers},
};

/// The limit of the model `large`: one request exhausts it.
const LIMIT: u64 = 100;

async fn start(configuration: Value, hold_headers: bool) -> Result<Metered, Box<dyn Error>> {
    start_holding_headers(configuration, hold_headers, |builder| {
        builder.enable_trailers()
    })
    .await
}

/// A body in two parts, with trailers.
struct WithTrailers(Vec<Frame<Bytes>>);

impl WithTrailers {
    fn new(body: &str) -> Self {
        let (first, second) = body.split_at(body.len() / 2);
        let trailers = HeaderMap::from_iter([(
            "x-sum".parse().expect("a header name"),
            HeaderValue::from_static("1"),
        )]);
        let part = |part: &str| Frame::data(Bytes::copy_from_slice(part.as_bytes()));
        Self(vec![Frame::trailers(trailers), part(second), part(first)])
    }
}

impl hyper::body::Body for WithTrailers {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(self.0.pop().map(Ok))
    }
}

/// Sends a body with these headers.
async fn send(
    metered: &Metered,
    protocol: Protocol,
    id: &str,
    headers: &[(&str, &str)],
    body: impl Into<Body>,
) -> Result<Exchange, Box<dyn Error>> {
    let id = format!("{protocol:?} {id}");
    let request = client(protocol)
        .post(metered.envoy.url("/v1/chat/completions"))
        // A caller, and so a counter, for each protocol.
        .header(CALLER, format!("{protocol:?}"))
        .header("x-mock-prompt-tokens", 5)
        .header("x-test-id", &id)
        .body(body);
    let request = headers.iter().fold(request, |request, (name, value)| {
        request.header(*name, *value)
    });
    let response = request.send().await?;
    Ok(Exchange {
        status: response.status(),
        headers: response.headers().clone(),
        body: response.bytes().await?,
        entry: metered.envoy.logged(&id).await?,
    })
}

/// The body that the provider received last.
fn received(metered: &Metered) -> Bytes {
    metered
        .llm
        .last_request()
        .map(|request| request.body)
        .unwrap_or_default()
}

#[tokio::test]
async fn limit_applies_to_model_in_body() -> TestResult {
    let large = Chat::default().field("model", "large").body().to_string();
    let small = Chat::default().field("model", "small").body().to_string();
    for hold_headers in [false, true] {
        let metered = start(large_model_limit(LIMIT), hold_headers).await?;
        for protocol in Protocol::ALL {
            let case = format!("{protocol:?}, holdHeaders {hold_headers}");
            let before = metered.llm.requests();
            let first = send(&metered, protocol, "1", &[], large.clone()).await?;
            assert_eq!(first.status, 200, "{case}");
            assert_eq!(first.entry.tollgate("decision"), Some("admitted"), "{case}");
            assert_eq!(first.entry.tollgate("total_tokens"), Some("100"), "{case}");
            assert_eq!(received(&metered), large, "{case}");

            let rejected = send(&metered, protocol, "2", &[], large.clone()).await?;
            assert_eq!(rejected.status, 429, "{case}");
            let decision = rejected.entry.tollgate("decision");
            assert_eq!(decision, Some("denied"), "{case}");
            assert!(rejected.headers.contains_key("x-should-retry"), "{case}");

            let other = send(&metered, protocol, "3", &[], small.clone()).await?;
            assert_eq!(other.status, 200, "{case}");
            let decision = other.entry.tollgate("decision");
            assert_eq!(decision, Some("unmatched"), "{case}");
            assert_eq!(received(&metered), small, "{case}");
            // The rejected request did not reach the provider.
            assert_eq!(metered.llm.requests(), before + 2, "{case}");
            metered.check().await?;
        }
    }
    Ok(())
}

#[tokio::test]
async fn limit_applies_to_body_with_trailers() -> TestResult {
    let large = Chat::default().field("model", "large").body().to_string();
    for hold_headers in [false, true] {
        let metered = start(large_model_limit(LIMIT), hold_headers).await?;
        for protocol in Protocol::ALL {
            let case = format!("{protocol:?}, holdHeaders {hold_headers}");
            let before = metered.llm.requests();
            for (id, status) in [("1", 200), ("2", 429)] {
                let body = Body::wrap(WithTrailers::new(&large));
                let exchange = send(&metered, protocol, id, &[("trailer", "x-sum")], body).await?;
                assert_eq!(exchange.status, status, "{case}");
                assert_eq!(received(&metered), large, "{case}");
            }
            assert_eq!(metered.llm.requests(), before + 1, "{case}");
            metered.check().await?;
        }
    }
    Ok(())
}

#[tokio::test]
async fn body_without_model_is_unmatched() -> TestResult {
    for hold_headers in [false, true] {
        let metered = start(large_model_limit(LIMIT), hold_headers).await?;
        for protocol in Protocol::ALL {
            let bodies = [
                "",
                "[]",
                "null",
                r#"{"model":null}"#,
                r#"{"model":["large"]}"#,
            ];
            for (index, body) in bodies.into_iter().enumerate() {
                let id = index.to_string();
                let exchange = send(&metered, protocol, &id, &[], body).await?;
                let id = format!("{protocol:?}, holdHeaders {hold_headers}: {body}");
                let decision = exchange.entry.tollgate("decision");
                assert_eq!(decision, Some("unmatched"), "{id}");
                assert_eq!(received(&metered), body, "{id}");
            }
        }
        metered.check().await?;
    }
    Ok(())
}

#[tokio::test]
async fn malformed_body_is_answered_with_400() -> TestResult {
    for (hold_headers, mode) in [(false, "deny"), (true, "deny"), (true, "allow")] {
        let mut configuration = large_model_limit(LIMIT);
        configuration["failureMode"] = json!(mode);
        let metered = start(configuration, hold_headers).await?;
        for protocol in Protocol::ALL {
            for (name, body) in [
                ("incomplete", "{"),
                ("not a number", r#"{"model":"large","a":NaN}"#),
            ] {
                let case = format!("{name}, {mode}, {protocol:?}, holdHeaders {hold_headers}");
                let exchange = send(&metered, protocol, name, &[], body).await?;
                assert_eq!(exchange.status, 400, "{case}");
                let error: Value = serde_json::from_slice(&exchange.body)?;
                assert_eq!(error["error"]["code"], "invalid_json", "{case}");
                let logged = exchange.entry.tollgate("decision");
                assert_eq!(logged, Some("invalid_request"), "{case}");
            }
        }
        assert_eq!(metered.llm.requests(), 0, "the provider receives no body");
        metered.check().await?;
    }
    Ok(())
}

#[tokio::test]
async fn coded_body_has_no_model_unless_it_is_json() -> TestResult {
    let large = Chat::default().field("model", "large").body().to_string();
    let coded: &[(&str, &str)] = &[("content-encoding", "gzip")];
    let compressed = "\u{1f}\u{8}compressed".to_owned();
    for hold_headers in [false, true] {
        let metered = start(large_model_limit(LIMIT), hold_headers).await?;
        for protocol in Protocol::ALL {
            for (body, decision) in [(&compressed, "unmatched"), (&large, "admitted")] {
                // The provider answers 400 to what it cannot read.
                let exchange = send(&metered, protocol, decision, coded, body.clone()).await?;
                assert_eq!(exchange.entry.tollgate("decision"), Some(decision));
                assert_eq!(received(&metered), *body);
            }
        }
        metered.check().await?;
    }
    Ok(())
}

#[tokio::test]
async fn model_within_max_bytes_is_read() -> TestResult {
    let mut configuration = large_model_limit(LIMIT);
    let body = Chat::default().field("model", "large").body().to_string();
    let after_model = body.find(",\"stream\"").ok_or("no field after the model")?;
    for (max_bytes, decision) in [(after_model, "admitted"), (after_model - 1, "unmatched")] {
        configuration["requestBody"] = json!({ "maxBytes": max_bytes });
        let metered = start(configuration.clone(), false).await?;
        for protocol in Protocol::ALL {
            let exchange = send(&metered, protocol, "1", &[], body.clone()).await?;
            assert_eq!(exchange.entry.tollgate("decision"), Some(decision));
            assert_eq!(received(&metered), body);
        }
    }
    Ok(())
}

#[tokio::test]
async fn large_body_passes_where_no_policy_reads_it() -> TestResult {
    let metered = start(each_caller(100), false).await?;
    for (requests, protocol) in (1..).zip(Protocol::ALL) {
        let body = Chat::new(&"x".repeat(5_000_000), 100).body().to_string();
        let exchange = send(&metered, protocol, "1", &[], body.clone()).await?;
        assert_eq!(exchange.status, 200);
        assert!(received(&metered) == body);
        // The caller is rejected before Envoy sends anything upstream.
        let exchange = send(&metered, protocol, "2", &[], "{}").await?;
        assert_eq!(exchange.status, 429);
        let upstream = metered.envoy.stat("cluster.llm.upstream_rq_total").await?;
        assert_eq!(upstream, requests);
    }
    Ok(())
}
