//! Streams whose clients did not ask for usage: the filter asks in their place, and they do not notice.

use std::{convert::Infallible, error::Error};

use axum::{Router, body::Body, extract::State, http::Request, response::Response, routing::any};
use bytes::Bytes;
use envoy_test::{
    client::{Chat, Protocol, client},
    filters::Tollgate,
    llm::Script,
    metered::{CALLER, Metered, each_caller},
    random::{self, Random},
};
use futures_util::stream;
use hyper::body::Frame;
use serde_json::{Value, json};
use tokio::net::TcpListener;

type Outcome = Result<(), Box<dyn Error>>;

const LIMIT: u64 = 1_000_000;

/// What stands in a body, and what the filter puts in its place.
type Splice = (&'static str, &'static str);

/// Bodies as clients write them, each with a name, and where the filter's wish goes in, if it does.
const BODIES: [(&str, &str, Option<Splice>); 6] = [
    (
        "nothing said",
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
        "an explicit no",
        r#"{"stream":true,"stream_options":{"include_usage": false},"messages":[]}"#,
        Some(("false", "true")),
    ),
    (
        "other options",
        r#"{"stream":true,"stream_options":{"x":1},"messages":[]}"#,
        Some(("{\"x\"", "{\"include_usage\":true,\"x\"")),
    ),
    (
        "asked",
        r#"{"stream":true,"stream_options":{"include_usage":true},"messages":[]}"#,
        None,
    ),
    ("no stream", r#"{"messages":[],"stream":false}"#, None),
];

async fn start(
    holds: bool,
    upstream_http2: bool,
    max_bytes: u64,
) -> Result<Metered, Box<dyn Error>> {
    let mut configuration = each_caller(LIMIT);
    configuration["holdHeaders"] = json!(holds);
    configuration["requestBody"] = json!({ "maxBytes": max_bytes });
    let tollgate = Tollgate::new(configuration).holds_headers(holds);
    let metered = Metered::build(json!({}), |builder| {
        let builder = builder.tollgate(tollgate);
        if upstream_http2 {
            builder.upstream_http2()
        } else {
            builder
        }
    });
    Ok(metered.await?)
}

/// Sends this body whole, or in parts and without a length, past the gateway if `direct`. Returns what came.
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
            let mut random = Random::new(seed);
            let mut parts = Vec::new();
            let mut rest = Bytes::copy_from_slice(body.as_bytes());
            while !rest.is_empty() {
                parts.push(Ok::<_, Infallible>(
                    rest.split_to(random.length().min(rest.len())),
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

/// The request reached the provider as it should, with a length that is true.
fn check_received(metered: &Metered, id: &str, expected: &str) -> Outcome {
    let received = metered.llm.last_request().ok_or("no request")?;
    assert_eq!(String::from_utf8_lossy(&received.body), expected, "{id}");
    if let Some(length) = received.headers.get("content-length") {
        assert_eq!(length.to_str()?.parse::<usize>()?, expected.len(), "{id}");
    }
    Ok(())
}

async fn asks_in_place_of_clients(holds: bool, upstream_http2: bool) -> Outcome {
    let seed = random::seed();
    println!("TOLLGATE_SEED={seed}");
    let metered = start(holds, upstream_http2, 4_000).await?;
    for protocol in Protocol::ALL {
        for (what, body, change) in BODIES {
            let expected = change.map_or(body.to_owned(), |(from, to)| body.replacen(from, to, 1));
            for seed in [None, Some(seed), Some(seed + 1)] {
                let id = format!("{what}, {protocol:?}, parts of {seed:?}");
                let direct = send(&metered, protocol, true, &id, body, None).await?;
                let got = send(&metered, protocol, false, &id, body, seed).await?;
                assert_eq!(
                    String::from_utf8_lossy(&got),
                    String::from_utf8_lossy(&direct),
                    "{id}"
                );
                check_received(&metered, &id, &expected)?;
                let entry = metered.envoy.logged(&id).await?;
                assert_eq!(entry.tollgate("estimated"), Some("false"), "{id}");
                assert_eq!(metered.left(&id).await?, LIMIT - 100, "{id}");
            }
        }
        // One that is too large to be held goes on as it is, and so its stream has to be estimated.
        let padding = "x".repeat(8_000);
        let large =
            format!(r#"{{"stream":true,"messages":[{{"role":"user","content":"{padding}"}}]}}"#);
        for seed in [None, Some(seed)] {
            let id = format!("large, {protocol:?}, parts of {seed:?}");
            let direct = send(&metered, protocol, true, &id, &large, None).await?;
            let got = send(&metered, protocol, false, &id, &large, seed).await?;
            assert_eq!(got, direct, "{id}");
            check_received(&metered, &id, &large)?;
            let entry = metered.envoy.logged(&id).await?;
            assert_eq!(entry.tollgate("estimated"), Some("true"), "{id}");
        }
    }
    metered.check().await?;
    Ok(())
}

#[tokio::test]
async fn over_http1() -> Outcome {
    asks_in_place_of_clients(false, false).await
}

#[tokio::test]
async fn over_http2() -> Outcome {
    asks_in_place_of_clients(false, true).await
}

#[tokio::test]
async fn over_http1_with_headers_held() -> Outcome {
    asks_in_place_of_clients(true, false).await
}

#[tokio::test]
async fn over_http2_with_headers_held() -> Outcome {
    asks_in_place_of_clients(true, true).await
}

/// A stream of which the middle event is the report.
fn report() -> [&'static str; 3] {
    [
        "data: {\"id\":\"1\",\"object\":\"chat.completion.chunk\",\"model\":\"m\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"Hi\"}}]}\n\n",
        "data: {\"id\":\"1\",\"object\":\"chat.completion.chunk\",\"model\":\"m\",\"choices\":[],\"usage\":{\"prompt_tokens\":5,\"completion_tokens\":95,\"total_tokens\":100}}\n\n",
        "data: [DONE]\n\n",
    ]
}

#[tokio::test]
async fn a_response_with_a_length_gets_shorter() -> Outcome {
    let metered = start(false, false, 4_000).await?;
    let [content, usage, done] = report();
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
        for (asks, expected) in [(false, [content, done].concat()), (true, body.clone())] {
            let id = format!("{protocol:?} {asks}");
            let chat = Chat::default()
                .stream(asks)
                .header(CALLER, &id)
                .header("x-mock-script", "length")
                .header("x-mock-split", 11);
            let exchange = metered.exchange(&client(protocol), &id, chat).await?;
            assert_eq!(exchange.body, expected, "{id}");
            if let Some(length) = exchange.headers.get("content-length") {
                assert_eq!(length.to_str()?, expected.len().to_string(), "{id}");
            }
            assert_eq!(metered.left(&id).await?, LIMIT - 100, "{id}");
        }
    }
    metered.check().await?;
    Ok(())
}

/// A provider that ends its streams with trailers.
async fn with_trailers(State(frames): State<Vec<&'static str>>, _: Request<Body>) -> Response {
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
    let kind = axum::http::HeaderValue::from_static("text/event-stream");
    response.headers_mut().insert("content-type", kind);
    response
}

#[tokio::test]
async fn a_response_with_trailers_keeps_them() -> Outcome {
    let [content, usage, done] = report();
    // The last event breaks off, so that it is the trailers that end it.
    for (frames, expected) in [
        (vec![content, usage, done], [content, done].concat()),
        (vec![content, usage], content.to_owned()),
        (vec![content, usage.trim_end()], content.to_owned()),
    ] {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let provider = listener.local_addr()?;
        let routes = Router::new()
            .fallback(any(with_trailers))
            .with_state(frames);
        let server = tokio::spawn(axum::serve(listener, routes).into_future());
        let metered = Metered::build(each_caller(LIMIT), |builder| {
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
        assert_eq!(entry.tollgate("total_tokens"), Some("100"));
        server.abort();
    }
    Ok(())
}
