//! Policies that read the request's body hold it until it is whole, and change nothing of it.

use std::{
    convert::Infallible,
    error::Error,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use envoy_test::{
    client::{Chat, Protocol, client},
    filters::Tollgate,
    metered::{CALLER, Exchange, Metered, configuration, each_caller},
};
use hyper::body::Frame;
use reqwest::{
    Body,
    header::{HeaderMap, HeaderValue},
};
use serde_json::{Value, json};

type Outcome = Result<(), Box<dyn Error>>;

/// 100 tokens for the model `large`, so one request.
fn by_model() -> Value {
    configuration(json!({ "large": {
        "rates": [{ "limit": 100, "window": "1h" }],
        "when": [{ "predicate": "requestBodyJSON('/model') == 'large'" }],
        "counters": [{ "expression": "auth.identity.userid" }],
    } }))
}

async fn start(mut configuration: Value, holds: bool) -> Result<Metered, Box<dyn Error>> {
    configuration["holdHeaders"] = json!(holds);
    let tollgate = Tollgate::new(configuration).holds_headers(holds);
    let metered = Metered::build(json!({}), |builder| {
        builder.tollgate(tollgate).enable_trailers()
    });
    Ok(metered.await?)
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

/// Sends this body as it is.
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
        // Each protocol has its caller, and so its counter.
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

/// What the provider received last.
fn received(metered: &Metered) -> Bytes {
    metered
        .llm
        .last_request()
        .map(|request| request.body)
        .unwrap_or_default()
}

#[tokio::test]
async fn the_model_that_the_body_names_decides() -> Outcome {
    let large = Chat::default().field("model", "large").body().to_string();
    let small = Chat::default().field("model", "small").body().to_string();
    for holds in [false, true] {
        let metered = start(by_model(), holds).await?;
        for protocol in Protocol::ALL {
            let what = format!("{protocol:?}, holdHeaders {holds}");
            let before = metered.llm.requests();
            let first = send(&metered, protocol, "1", &[], large.clone()).await?;
            assert_eq!(first.status, 200, "{what}");
            assert_eq!(first.entry.tollgate("decision"), Some("admitted"), "{what}");
            assert_eq!(first.entry.tollgate("total_tokens"), Some("100"), "{what}");
            assert_eq!(received(&metered), large, "{what}");

            let refused = send(&metered, protocol, "2", &[], large.clone()).await?;
            assert_eq!(refused.status, 429, "{what}");
            assert_eq!(refused.entry.tollgate("decision"), Some("denied"), "{what}");
            assert!(refused.headers.contains_key("retry-after"), "{what}");

            let other = send(&metered, protocol, "3", &[], small.clone()).await?;
            assert_eq!(other.status, 200, "{what}");
            assert_eq!(
                other.entry.tollgate("decision"),
                Some("unmatched"),
                "{what}"
            );
            assert_eq!(received(&metered), small, "{what}");
            // What was refused never got there whole.
            assert_eq!(metered.llm.requests(), before + 2, "{what}");
            metered.check().await?;
        }
    }
    Ok(())
}

#[tokio::test]
async fn a_body_may_end_with_trailers() -> Outcome {
    let large = Chat::default().field("model", "large").body().to_string();
    for holds in [false, true] {
        let metered = start(by_model(), holds).await?;
        for protocol in Protocol::ALL {
            let what = format!("{protocol:?}, holdHeaders {holds}");
            let before = metered.llm.requests();
            for (id, status) in [("1", 200), ("2", 429)] {
                let body = Body::wrap(WithTrailers::new(&large));
                let exchange = send(&metered, protocol, id, &[("trailer", "x-sum")], body).await?;
                assert_eq!(exchange.status, status, "{what}");
                assert_eq!(received(&metered), large, "{what}");
            }
            assert_eq!(metered.llm.requests(), before + 1, "{what}");
            metered.check().await?;
        }
    }
    Ok(())
}

#[tokio::test]
async fn a_body_that_says_nothing_matches_nothing() -> Outcome {
    for holds in [false, true] {
        let metered = start(by_model(), holds).await?;
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
                let id = format!("{protocol:?}, holdHeaders {holds}: {body}");
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
async fn a_body_that_cannot_be_read_follows_the_failure_mode() -> Outcome {
    let padding = "x".repeat(300_000);
    let chat = Chat::new(&padding, 100).field("model", "large");
    let too_large = chat.body().to_string();
    let coded: &[(&str, &str)] = &[("content-encoding", "gzip")];
    for (holds, mode, status, decision) in [
        (false, "deny", 500, "failed"),
        (true, "deny", 500, "failed"),
        (false, "allow", 200, "failed_open"),
        (true, "allow", 200, "failed_open"),
    ] {
        let mut configuration = by_model();
        configuration["failureMode"] = json!(mode);
        let metered = start(configuration, holds).await?;
        for protocol in Protocol::ALL {
            for (name, headers, body) in [
                ("too large", &[][..], too_large.as_str()),
                ("coded", coded, too_large.as_str()),
                ("broken off", &[], "{"),
                ("lenient", &[], r#"{"model":"large","a":NaN}"#),
            ] {
                let what = format!("{name}, {mode}, {protocol:?}, holdHeaders {holds}");
                let body = body.to_owned();
                let sent = body.clone();
                // The mock does not read such bodies either.
                let status = match (mode, name) {
                    ("allow", "broken off" | "lenient") => 400,
                    _ => status,
                };
                let exchange = send(&metered, protocol, name, headers, body).await?;
                assert_eq!(exchange.status, status, "{what}");
                let decided = exchange.entry.tollgate("decision");
                assert_eq!(decided, Some(decision), "{what}");
                if mode == "allow" {
                    assert!(received(&metered) == sent, "{what}");
                }
            }
        }
        metered.check().await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_body_up_to_the_bound_is_read() -> Outcome {
    let mut configuration = by_model();
    let body = Chat::default().field("model", "large").body().to_string();
    for (bound, decision) in [(body.len(), "admitted"), (body.len() - 1, "failed")] {
        configuration["requestBody"] = json!({ "maxBytes": bound });
        let metered = start(configuration.clone(), false).await?;
        let exchange = send(&metered, Protocol::Http1, "1", &[], body.clone()).await?;
        assert_eq!(exchange.entry.tollgate("decision"), Some(decision));
    }
    Ok(())
}

#[tokio::test]
async fn a_large_body_passes_where_no_policy_reads_it() -> Outcome {
    let metered = start(each_caller(100), false).await?;
    for (requests, protocol) in (1..).zip(Protocol::ALL) {
        let body = Chat::new(&"x".repeat(5_000_000), 100).body().to_string();
        let exchange = send(&metered, protocol, "1", &[], body.clone()).await?;
        assert_eq!(exchange.status, 200);
        assert!(received(&metered) == body);
        // The caller is refused before the upstream hears of the request.
        let exchange = send(&metered, protocol, "2", &[], "{}").await?;
        assert_eq!(exchange.status, 429);
        let upstream = metered.envoy.stat("cluster.llm.upstream_rq_total").await?;
        assert_eq!(upstream, requests);
    }
    Ok(())
}
