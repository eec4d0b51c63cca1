//! Streamed requests without `include_usage`: the filter adds it, and takes the usage report out of the response.

use std::{convert::Infallible, error::Error};

use axum::{Router, body::Body, extract::State, http::Request, response::Response, routing::any};
use bytes::Bytes;
use envoy_test::{
    client::{Chat, Protocol, client},
    llm::Script,
    metered::{CALLER, Metered, each_caller},
    random,
};
use futures_util::stream;
use hyper::body::Frame;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::{
    fixtures::{AMPLE, STREAM_WITH_REPORT},
    support::{TestResult, start_holding_headers, wait_for_metric},
};

/// The text in a body that the filter replaces, and its replacement.
type Splice = (&'static str, &'static str);

/// Bodies as clients write them, each with a name and the change that the filter makes, if it makes one.
const BODIES: [(&str, &str, Option<Splice>); 6] = [
    (
        "no options",
        r#"{"model":"m","stream":true,"max_tokens":100,"messages":[{"role":"user","content":"\u0048i"}]}"#,
        Some((
            "{\"model\"",
            "{\"stream_options\":{\"include_usage\":true},\"model\"",
        )),
    ),
    (
        "spaces and odd numbers",
        " {\n\t\"stream\" : true , \"temperature\":1.0e-2, \"seed\":12345678901234567890,\"messages\":[ ]\r\n}\n",
        Some((" {", " {\"stream_options\":{\"include_usage\":true},")),
    ),
    (
        "report declined",
        r#"{"stream":true,"stream_options":{"include_usage": false},"messages":[]}"#,
        Some(("false", "true")),
    ),
    (
        "other options",
        r#"{"stream":true,"stream_options":{"x":1},"messages":[]}"#,
        Some(("{\"x\"", "{\"include_usage\":true,\"x\"")),
    ),
    (
        "report requested",
        r#"{"stream":true,"stream_options":{"include_usage":true},"messages":[]}"#,
        None,
    ),
    ("no stream", r#"{"messages":[],"stream":false}"#, None),
];

/// A gateway that reads request bodies of up to 4,000 bytes.
async fn start(hold_headers: bool, upstream_http2: bool) -> Result<Metered, Box<dyn Error>> {
    let mut configuration = each_caller(AMPLE);
    configuration["requestBody"] = json!({ "maxBytes": 4_000 });
    start_holding_headers(configuration, hold_headers, |builder| {
        if upstream_http2 {
            builder.upstream_http2()
        } else {
            builder
        }
    })
    .await
}

/// Sends a body to the gateway, or to the provider if `direct`, and returns the body of the response. With a seed,
/// both bodies are sent in random parts, and the request has no `content-length`.
async fn send(
    metered: &Metered,
    protocol: Protocol,
    direct: bool,
    id: &str,
    body: &str,
    seed: Option<u64>,
) -> Result<Bytes, Box<dyn Error>> {
    let address = if direct {
        metered.llm.address()
    } else {
        metered.envoy.address()
    };
    let request = client(protocol)
        .post(format!("http://{address}/v1/chat/completions"))
        .header("content-type", "application/json")
        .header(CALLER, id)
        .header("x-test-id", id)
        .header("x-mock-prompt-tokens", 5)
        .header("x-mock-completion-tokens", 95)
        .header("x-mock-events", 3);
    let request = match seed {
        None => request.body(body.to_owned()),
        Some(seed) => {
            let mut rng = fastrand::Rng::with_seed(seed);
            let mut parts = Vec::new();
            let mut rest = Bytes::copy_from_slice(body.as_bytes());
            while !rest.is_empty() {
                parts.push(Ok::<_, Infallible>(
                    rest.split_to(random::length(&mut rng).min(rest.len())),
                ));
            }
            request
                .header("x-mock-split-seed", seed)
                .body(reqwest::Body::wrap_stream(stream::iter(parts)))
        }
    };
    let response = request.send().await?;
    assert_eq!(response.status(), 200, "{id}");
    Ok(response.bytes().await?)
}

/// Asserts that the provider received this body, with the right `content-length` if there is one.
fn check_received(metered: &Metered, id: &str, expected: &str) -> TestResult {
    let received = metered.llm.last_request().ok_or("no request")?;
    assert_eq!(String::from_utf8_lossy(&received.body), expected, "{id}");
    if let Some(length) = received.headers.get("content-length") {
        assert_eq!(length.to_str()?.parse::<usize>()?, expected.len(), "{id}");
    }
    Ok(())
}

async fn report_is_requested_and_withheld(hold_headers: bool, upstream_http2: bool) -> TestResult {
    let seed = random::seed();
    println!("TOLLGATE_SEED={seed}");
    let metered = start(hold_headers, upstream_http2).await?;
    for protocol in Protocol::ALL {
        for (name, body, change) in BODIES {
            let expected = change.map_or(body.to_owned(), |(from, to)| body.replacen(from, to, 1));
            for seed in [None, Some(seed), Some(seed + 1)] {
                let id = format!("{name}, {protocol:?}, seed {seed:?}");
                let direct = send(&metered, protocol, true, &id, body, None).await?;
                let proxied = send(&metered, protocol, false, &id, body, seed).await?;
                assert_eq!(
                    String::from_utf8_lossy(&proxied),
                    String::from_utf8_lossy(&direct),
                    "{id}"
                );
                check_received(&metered, &id, &expected)?;
                let entry = metered.envoy.logged(&id).await?;
                assert_eq!(entry.tollgate("estimated"), Some("false"), "{id}");
                assert_eq!(metered.remaining(&id).await?, AMPLE - 100, "{id}");
            }
        }
        // A body above `requestBody.maxBytes` is forwarded unchanged, so the usage of its stream is estimated.
        let padding = "x".repeat(8_000);
        let large =
            format!(r#"{{"stream":true,"messages":[{{"role":"user","content":"{padding}"}}]}}"#);
        for seed in [None, Some(seed)] {
            let id = format!("large, {protocol:?}, seed {seed:?}");
            let direct = send(&metered, protocol, true, &id, &large, None).await?;
            let proxied = send(&metered, protocol, false, &id, &large, seed).await?;
            assert_eq!(proxied, direct, "{id}");
            check_received(&metered, &id, &large)?;
            let entry = metered.envoy.logged(&id).await?;
            assert_eq!(entry.tollgate("estimated"), Some("true"), "{id}");
        }
    }
    metered.check().await?;
    Ok(())
}

#[tokio::test]
async fn http1_upstream_report_is_requested_and_withheld() -> TestResult {
    report_is_requested_and_withheld(false, false).await
}

#[tokio::test]
async fn http2_upstream_report_is_requested_and_withheld() -> TestResult {
    report_is_requested_and_withheld(false, true).await
}

#[tokio::test]
async fn http1_held_headers_report_is_requested_and_withheld() -> TestResult {
    report_is_requested_and_withheld(true, false).await
}

#[tokio::test]
async fn http2_held_headers_report_is_requested_and_withheld() -> TestResult {
    report_is_requested_and_withheld(true, true).await
}

#[tokio::test]
async fn content_length_shrinks_with_withheld_report() -> TestResult {
    let metered = start(false, false).await?;
    let [content, usage, done] = STREAM_WITH_REPORT;
    let body = [content, usage, done].concat();
    let headers = [
        ("content-type", "text/event-stream".to_owned()),
        ("content-length", body.len().to_string()),
    ];
    let script = Script {
        status: 200,
        headers: headers.map(|(name, value)| (name.to_owned(), value)).into(),
        body: body.clone().into(),
    };
    metered.llm.script("length", script);
    for protocol in Protocol::ALL {
        for (include_usage, expected) in [(false, [content, done].concat()), (true, body.clone())] {
            let id = format!("{protocol:?} {include_usage}");
            let chat = Chat::default()
                .stream(include_usage)
                .header(CALLER, &id)
                .header("x-mock-script", "length")
                .header("x-mock-split", 11);
            let exchange = metered.exchange(&client(protocol), &id, chat).await?;
            assert_eq!(exchange.body, expected, "{id}");
            if let Some(length) = exchange.headers.get("content-length") {
                assert_eq!(length.to_str()?, expected.len().to_string(), "{id}");
            }
            assert_eq!(metered.remaining(&id).await?, AMPLE - 100, "{id}");
        }
    }
    metered.check().await?;
    Ok(())
}

/// Responds with these parts, then trailers.
async fn respond_with_trailers(
    State(frames): State<Vec<&'static str>>,
    _: Request<Body>,
) -> Response {
    let data = frames
        .into_iter()
        .map(|part| Frame::data(Bytes::from(part)));
    let mut trailers = axum::http::HeaderMap::new();
    trailers.insert("x-end", axum::http::HeaderValue::from_static("1"));
    let frames = data
        .chain([Frame::trailers(trailers)])
        .map(Ok::<_, Infallible>);
    let body = http_body_util::StreamBody::new(stream::iter(frames));
    let mut response = Response::new(Body::new(body));
    let content_type = axum::http::HeaderValue::from_static("text/event-stream");
    response.headers_mut().insert("content-type", content_type);
    response
}

/// Sends a streamed chat to a provider that responds with these parts and trailers, and checks what the client gets.
/// Returns the tokens that were charged.
async fn check_before_trailers(
    parts: Vec<&'static str>,
    expected: &str,
) -> Result<Option<String>, Box<dyn Error>> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    let provider = listener.local_addr()?;
    let routes = Router::new()
        .fallback(any(respond_with_trailers))
        .with_state(parts);
    let server = tokio::spawn(axum::serve(listener, routes).into_future());
    let metered = Metered::build(each_caller(AMPLE), |builder| {
        builder.upstream(provider).upstream_http2()
    });
    let metered = metered.await?;
    let chat: Value = Chat::default().stream(false).body().clone();
    let response = client(Protocol::Http2)
        .post(metered.envoy.url("/v1/chat/completions"))
        .header(CALLER, "alice")
        .header("x-test-id", "1")
        .json(&chat)
        .send()
        .await?;
    let response: axum::http::Response<reqwest::Body> = response.into();
    let collected = http_body_util::BodyExt::collect(response.into_body()).await?;
    let trailers = collected.trailers().cloned().unwrap_or_default();
    assert_eq!(String::from_utf8_lossy(&collected.to_bytes()), expected);
    assert!(trailers.contains_key("x-end"));
    let entry = metered.envoy.logged("1").await?;
    metered.check().await?;
    server.abort();
    Ok(entry.tollgate("total_tokens").map(str::to_owned))
}

#[tokio::test]
async fn trailers_are_kept_when_report_is_withheld() -> TestResult {
    let [content, usage, done] = STREAM_WITH_REPORT;
    // The last case has no blank line after its last event: the trailers end it.
    for (parts, expected) in [
        (vec![content, usage, done], [content, done].concat()),
        (vec![content, usage], content.to_owned()),
        (vec![content, usage.trim_end()], content.to_owned()),
        (
            vec![content, &usage[..50], &usage[50..]],
            content.to_owned(),
        ),
    ] {
        let charged = check_before_trailers(parts, &expected).await?;
        assert_eq!(charged.as_deref(), Some("100"));
    }
    Ok(())
}

#[tokio::test]
async fn no_byte_is_lost_before_trailers() -> TestResult {
    let [content, usage, done] = STREAM_WITH_REPORT;
    for last in [&usage[..50], &done[..8], ": ping", "\n", "data"] {
        for parts in [vec![content, last], vec![content, &last[..1], &last[1..]]] {
            let expected = [content, last].concat();
            check_before_trailers(parts, &expected).await?;
        }
    }
    Ok(())
}

/// Sends a streamed chat that does not ask for usage; returns the status, and whether the filter asked for it.
async fn ask(
    metered: &Metered,
    id: &str,
    header: (&str, &str),
) -> Result<(u16, bool), Box<dyn Error>> {
    let chat = Chat::default()
        .stream(false)
        .header(CALLER, "alice")
        .header(header.0, header.1);
    let exchange = metered.exchange(&client(Protocol::Http1), id, chat).await?;
    let received = metered.llm.last_request().ok_or("no request")?;
    let body: Value = serde_json::from_slice(&received.body)?;
    let is_asked = !body["stream_options"].is_null();
    Ok((exchange.status.as_u16(), is_asked))
}

#[tokio::test]
async fn rejecting_upstream_is_not_asked_again() -> TestResult {
    for (name, asked) in [("1", 1), ("vaguely", 4)] {
        for hold_headers in [false, true] {
            let metered = start(hold_headers, false).await?;
            let header = ("x-mock-reject-stream-options", name);
            let mut rejected = 0;
            for number in 0..12 {
                let (status, is_asked) = ask(&metered, &number.to_string(), header).await?;
                assert_eq!(status, if is_asked { 400 } else { 200 }, "{number}");
                rejected += usize::from(is_asked);
            }
            assert_eq!(rejected, asked, "{name}");
            wait_for_metric(&metered.envoy, "include_usage_rejected", 1).await?;
            let log = metered.envoy.logs()?;
            let line = "include_usage_rejected cluster=llm model=";
            assert_eq!(log.matches(line).count(), 1, "{log}");
            metered.check().await?;
        }
    }
    Ok(())
}

#[tokio::test]
async fn invalid_requests_do_not_stop_requests_for_others() -> TestResult {
    let metered = start(false, false).await?;
    let valid = ("x-mock-events", "3");
    assert_eq!(ask(&metered, "first", valid).await?, (200, true));
    for number in 0..10 {
        let id = format!("invalid {number}");
        assert_eq!(
            ask(&metered, &id, ("x-mock-status", "400")).await?,
            (400, true)
        );
        let id = format!("valid {number}");
        assert_eq!(ask(&metered, &id, valid).await?, (200, true));
    }
    Ok(())
}

#[tokio::test]
async fn predicate_decides_which_streams_are_asked() -> TestResult {
    let mut configuration = each_caller(AMPLE);
    let predicate = "request.headers['x-ask'] == 'yes' && llm.model != ''";
    configuration["usage"] = json!({ "includeUsage": predicate });
    let metered = Metered::start(configuration).await?;
    for (value, is_asked) in [("yes", true), ("no", false)] {
        let (status, asked) = ask(&metered, value, ("x-ask", value)).await?;
        assert_eq!((status, asked), (200, is_asked));
        let entry = metered.envoy.logged(value).await?;
        let is_estimated = (!is_asked).to_string();
        assert_eq!(entry.tollgate("estimated"), Some(is_estimated.as_str()));
    }
    Ok(())
}
