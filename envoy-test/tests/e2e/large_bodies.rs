//! Request bodies larger than Envoy's buffer: decided on, delivered byte for byte, and charged by the report.

use std::{
    convert::Infallible,
    error::Error,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use envoy_test::{
    client::{Protocol, client},
    metered::{CALLER, Exchange, Metered, configuration},
};
use hyper::body::Frame;
use reqwest::Body;
use serde_json::{Value, json};
use tokio::{sync::mpsc, task::JoinSet};

use crate::{
    fixtures::hourly_with,
    support::{TestResult, script, start_holding_headers},
};

const MEBIBYTE: usize = 1 << 20;

/// The tokens that every response reports, and the limit of the model `large`: one request exhausts it.
const TOKENS: u64 = 9_000;

/// An API: its name, the path, the usage report of its responses, and a body of so many bytes for a model.
type Api = (
    &'static str,
    &'static str,
    &'static str,
    fn(&str, usize) -> String,
);

const APIS: [Api; 4] = [
    (
        "chat",
        "/v1/chat/completions",
        r#"{"object":"chat.completion","choices":[{"message":{"content":"Hi"}}],
        "usage":{"prompt_tokens":8000,"completion_tokens":1000,"total_tokens":9000}}"#,
        |model, bytes| {
            let picture = picture(bytes);
            format!(
                r#"{{"messages":[{{"role":"user","content":[{{"type":"text","text":"What is it?"}},
                {{"type":"image_url","image_url":{{"url":"data:image/png;base64,{picture}"}}}}]}}],
                "model":"{model}","max_tokens":100}}"#
            )
        },
    ),
    (
        "responses",
        "/v1/responses",
        r#"{"object":"response","status":"completed","output":[],
        "usage":{"input_tokens":8000,"output_tokens":1000,"total_tokens":9000}}"#,
        |model, bytes| {
            let picture = picture(bytes);
            format!(
                r#"{{"input":[{{"role":"user","content":[{{"type":"input_text","text":"What is it?"}},
                {{"type":"input_image","image_url":"data:image/png;base64,{picture}"}}]}}],
                "model":"{model}","max_output_tokens":100}}"#
            )
        },
    ),
    (
        "messages",
        "/v1/messages",
        r#"{"type":"message","content":[{"type":"text","text":"Hi"}],"stop_reason":"end_turn",
        "usage":{"input_tokens":8000,"output_tokens":1000}}"#,
        |model, bytes| {
            let picture = picture(bytes);
            format!(
                r#"{{"messages":[{{"role":"user","content":[{{"type":"image","source":{{
                "type":"base64","media_type":"image/png","data":"{picture}"}}}}]}}],
                "model":"{model}","max_tokens":100}}"#
            )
        },
    ),
    (
        "gemini",
        "/v1beta/models/MODEL:generateContent",
        r#"{"candidates":[{"content":{"parts":[{"text":"Hi"}]},"finishReason":"STOP"}],
        "usageMetadata":{"promptTokenCount":8000,"candidatesTokenCount":1000,"totalTokenCount":9000}}"#,
        |_, bytes| {
            let picture = picture(bytes);
            format!(
                r#"{{"contents":[{{"parts":[{{"text":"What is it?"}},{{"inlineData":{{
                "mimeType":"image/png","data":"{picture}"}}}}]}}],
                "generationConfig":{{"maxOutputTokens":100}}}}"#
            )
        },
    ),
];

/// So many bytes of base64.
fn picture(bytes: usize) -> String {
    let mut random = fastrand::Rng::with_seed(bytes as u64);
    (0..bytes).map(|_| random.alphanumeric()).collect()
}

/// Limits that need the body, in four ways.
fn limits() -> Value {
    let reservation =
        "llm.?estimated_input_tokens.orValue(0) + llm.?max_output_tokens.orValue(1000)";
    let mut configuration = configuration(json!({
        "large": hourly_with(TOKENS, json!({ "when": [{ "predicate": "llm.model == 'large'" }] })),
        "each-model": {
            "rates": [{ "limit": 1_000_000, "window": "1h" }],
            "counters": [{ "expression": "auth.identity.userid" }, { "expression": "llm.?model.orValue('')" }],
        },
        "reserved": hourly_with(1_000_000, json!({ "reservation": { "amount": reservation } })),
        "budget": {
            "budgets": [{ "usd": 100, "window": "1h" }],
            "counters": [{ "expression": "auth.identity.userid" }],
        },
    }));
    configuration["pricing"] = json!({ "default": { "input": 1, "output": 2 } });
    configuration
}

/// A body in pieces that a channel delivers.
struct InPieces(mpsc::UnboundedReceiver<Bytes>);

impl InPieces {
    /// A body in pieces of this size.
    fn of(body: &Bytes, size: usize) -> Self {
        let (sender, receiver) = mpsc::unbounded_channel();
        for start in (0..body.len()).step_by(size) {
            let piece = body.slice(start..body.len().min(start + size));
            sender.send(piece).expect("the receiver is there");
        }
        Self(receiver)
    }
}

impl hyper::body::Body for InPieces {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let piece = self.0.poll_recv(context);
        piece.map(|piece| piece.map(|piece| Ok(Frame::data(piece))))
    }
}

async fn send(
    metered: &Metered,
    protocol: Protocol,
    id: &str,
    (name, path, ..): Api,
    model: &str,
    body: impl Into<Body>,
) -> Result<Exchange, Box<dyn Error>> {
    let path = path.replace("MODEL", model);
    let request = client(protocol)
        .post(metered.envoy.url(&path))
        .header(CALLER, id.split(' ').next().unwrap_or(id))
        .header("content-type", "application/json")
        .header("x-mock-script", name)
        .header("x-test-id", id)
        .body(body);
    let response = request.send().await?;
    Ok(Exchange {
        status: response.status(),
        headers: response.headers().clone(),
        body: response.bytes().await?,
        entry: metered.envoy.logged(id).await?,
    })
}

/// Starts a gateway whose provider has the responses of all APIs.
async fn start(configuration: Value, hold_headers: bool) -> Result<Metered, Box<dyn Error>> {
    let metered = start_holding_headers(configuration, hold_headers, |builder| builder).await?;
    for (name, _, response, _) in APIS {
        script(&metered.llm, name, "application/json", response);
    }
    Ok(metered)
}

/// Sends bodies of this size to every API, over both protocols, with and without `content-length`.
async fn check_sizes(hold_headers: bool, sizes: &[usize], configuration: Value) -> TestResult {
    let metered = start(configuration, hold_headers).await?;
    for api in APIS {
        let (name, _, _, body_of) = api;
        for &size in sizes {
            let large = Bytes::from(body_of("large", size));
            for protocol in Protocol::ALL {
                for piece in [None, Some(8_192), Some(65_536)] {
                    let case = format!("{name}-{size}-{protocol:?}-{piece:?}-{hold_headers}");
                    let body = || match piece {
                        None => Body::from(large.clone()),
                        Some(size) => Body::wrap(InPieces::of(&large, size)),
                    };
                    let id = format!("{case} 1");
                    let first = send(&metered, protocol, &id, api, "large", body()).await?;
                    assert_eq!(first.status, 200, "{id} {first:?}");
                    let decision = first.entry.tollgate("decision");
                    assert_eq!(decision, Some("admitted"), "{id}");
                    let tokens = first.entry.tollgate_number("total_tokens");
                    assert_eq!(tokens, Some(TOKENS), "{id}");
                    let received = metered.llm.last_request().ok_or("no request")?;
                    assert!(received.body == large, "{id}: not delivered byte for byte");
                    let id = format!("{case} 2");
                    let second = send(&metered, protocol, &id, api, "large", body()).await?;
                    assert_eq!(second.status, 429, "{id}");
                    let limit = second.entry.tollgate("limit");
                    assert_eq!(limit, Some("large"), "{id}");
                }
            }
        }
    }
    metered.check().await?;
    Ok(())
}

#[tokio::test]
async fn large_bodies_are_decided_on_without_held_headers() -> TestResult {
    check_sizes(false, &[300_000, MEBIBYTE, 4 * MEBIBYTE], limits()).await
}

#[tokio::test]
async fn large_bodies_are_decided_on_with_held_headers() -> TestResult {
    check_sizes(true, &[300_000, MEBIBYTE, 4 * MEBIBYTE], limits()).await
}

#[tokio::test]
async fn max_bytes_can_be_raised() -> TestResult {
    let mut configuration = limits();
    configuration["requestBody"] = json!({ "maxBytes": 32 * MEBIBYTE });
    check_sizes(false, &[20 * MEBIBYTE], configuration).await
}

#[tokio::test]
async fn oversized_body_is_decided_on_by_its_beginning() -> TestResult {
    let chat = APIS[0];
    let last = chat.3("large", 20 * MEBIBYTE);
    let first = last.replacen('{', r#"{"model":"large","#, 1);
    for hold_headers in [false, true] {
        let metered = start(limits(), hold_headers).await?;
        for protocol in Protocol::ALL {
            for piece in [None, Some(65_536)] {
                for (name, body, status) in [("first", &first, 429), ("last", &last, 200)] {
                    let large = Bytes::copy_from_slice(body.as_bytes());
                    for (request, status) in [("1", 200), ("2", status)] {
                        let id = format!("{name}-{protocol:?}-{piece:?}-{hold_headers} {request}");
                        let body = match piece {
                            None => Body::from(large.clone()),
                            Some(size) => Body::wrap(InPieces::of(&large, size)),
                        };
                        let exchange = send(&metered, protocol, &id, chat, "", body).await?;
                        assert_eq!(exchange.status, status, "{id}");
                        if status == 200 {
                            let tokens = exchange.entry.tollgate_number("total_tokens");
                            assert_eq!(tokens, Some(TOKENS), "{id}");
                            let received = metered.llm.last_request().ok_or("no request")?;
                            assert!(received.body == large, "{id}: not byte for byte");
                        }
                    }
                }
            }
        }
        metered.check().await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn memory_is_bounded_under_many_large_bodies() -> TestResult {
    const BODIES: usize = 200;
    let chat = APIS[0];
    let mut configuration = limits();
    let limits = &mut configuration["policies"][0]["spec"]["limits"];
    limits["large"]["rates"][0]["limit"] = json!(100_000_000);
    let metered = start_holding_headers(
        configuration,
        false,
        envoy_test::envoy::Builder::own_process,
    )
    .await?;
    script(&metered.llm, chat.0, "application/json", chat.2);
    let body = chat.3("large", 4 * MEBIBYTE);
    let body = Bytes::from(body.replacen('{', r#"{"model":"large","#, 1));
    let (begin, rest) = (body.slice(..3 * MEBIBYTE), body.slice(3 * MEBIBYTE..));
    let mut senders = Vec::new();
    let mut exchanges = JoinSet::new();
    for index in 0..BODIES {
        let (sender, receiver) = mpsc::unbounded_channel();
        for start in (0..begin.len()).step_by(65_536) {
            let end = begin.len().min(start + 65_536);
            sender.send(begin.slice(start..end))?;
        }
        senders.push(sender);
        let request = client(Protocol::ALL[index % 2])
            .post(metered.envoy.url(chat.1))
            .header(CALLER, index.to_string())
            .header("content-type", "application/json")
            .header("x-mock-script", chat.0)
            .body(Body::wrap(InPieces(receiver)));
        exchanges.spawn(async move {
            let status = request.send().await?.status();
            Ok::<_, reqwest::Error>(status)
        });
    }
    // All are on their way before the first ends.
    let mut most = 0;
    for _ in 0..40 {
        tokio::time::sleep(Duration::from_millis(100)).await;
        most = most.max(metered.envoy.memory().await?.resident);
    }
    let held = most;
    for sender in senders {
        sender.send(rest.clone())?;
    }
    let mut ended = 0;
    while ended < BODIES {
        tokio::select! {
            Some(exchange) = exchanges.join_next() => {
                assert_eq!(exchange??, 200);
                ended += 1;
            }
            () = tokio::time::sleep(Duration::from_millis(100)) => {
                most = most.max(metered.envoy.memory().await?.resident);
            }
        }
    }
    let mebibytes = |bytes: u64| bytes / MEBIBYTE as u64;
    let memory = (mebibytes(held), mebibytes(most));
    eprintln!("resident while bodies arrive, and at most: {memory:?} MiB");
    // What is held, and what Envoy keeps on its way to the provider.
    assert!(memory.0 < 750 && memory.1 < 1000, "{memory:?} MiB");
    metered.check().await?;
    Ok(())
}
