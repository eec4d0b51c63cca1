//! The memory budget of a worker: many open streams, held bodies and decoders end in less reading and in rejections
//! with a 503, never in a trap, and everything that was admitted is charged.
//!
//! `TOLLGATE_MEMORY_TESTS=full` plays the full numbers: 10,000 streams, and 1,000 bodies and decoders with the default
//! budget.

use std::{collections::BTreeMap, convert::Infallible, time::Duration};

use bytes::Bytes;
use envoy_test::{
    client::{Chat, Protocol, client},
    envoy::Builder,
    llm::Script,
    metered::{CALLER, Metered, configuration},
};
use reqwest::{Body, Client, Response};
use serde_json::{Value, json};
use tokio::{sync::mpsc, task::JoinSet};
use tokio_stream::{StreamExt as _, wrappers::UnboundedReceiverStream};

use crate::support::{TestResult, generated_tokens, metric, wait_for_some};

const MEBIBYTE: u64 = 1 << 20;

/// Streams that one connection carries.
const STREAMS_OF_CONNECTION: usize = 250;

/// The bytes of headers of each stream.
const HEADER_BYTES: usize = 20_000;

/// Beyond the budget, Envoy keeps its own copy of everything, and the module what is freed but not returned.
const ENVOY_BYTES_PER_HEADER_BYTE: u64 = 4;

/// How long a request may stay open: until all others are open and have ended.
const MAX_STAY: Duration = Duration::from_secs(900);

/// A load, and the budget under which it is played.
struct Load {
    requests: usize,
    budget: u64,
}

/// Returns the load of a test: `full` if it is asked for.
fn load(small: Load, full: Load) -> Load {
    match std::env::var("TOLLGATE_MEMORY_TESTS") {
        Ok(value) if value == "full" => full,
        _ => small,
    }
}

/// A limit of each model, which needs the body, under a budget. `model` names it.
fn each_model(model: &str, budget: u64) -> Value {
    let mut configuration = configuration(json!({ "each-model": {
        "rates": [{ "limit": 1_000_000_000, "window": "1h" }],
        "counters": [{ "expression": model }],
        "when": [{ "predicate": "request.method == 'POST'" }],
    } }));
    configuration["memory"] = json!({ "perWorker": budget });
    configuration
}

/// A request whose body a test sends.
struct OpenRequest {
    body: mpsc::UnboundedSender<Bytes>,
}

/// Clients over HTTP/2, each for so many streams.
fn clients(requests: usize) -> Vec<Client> {
    let connections = requests.div_ceil(STREAMS_OF_CONNECTION);
    (0..connections).map(|_| client(Protocol::Http2)).collect()
}

fn open(
    metered: &Metered,
    client: &Client,
    headers: usize,
    exchanges: &mut JoinSet<reqwest::Result<Response>>,
) -> OpenRequest {
    let (body, pieces) = mpsc::unbounded_channel::<Bytes>();
    let pieces = UnboundedReceiverStream::new(pieces).map(Ok::<_, Infallible>);
    let request = client
        .post(metered.envoy.url("/v1/chat/completions"))
        .header("content-type", "application/json")
        .header(CALLER, "alice")
        .header("x-filler", "x".repeat(headers))
        .timeout(MAX_STAY)
        .body(Body::wrap_stream(pieces));
    exchanges.spawn(request.send());
    OpenRequest { body }
}

/// The body of a chat, with so many bytes of text.
fn chat(text: usize) -> Bytes {
    let text = "word ".repeat(text / 5);
    let body = json!({
        "model": "large", "max_tokens": 10,
        "messages": [{ "role": "user", "content": text }],
    });
    Bytes::from(body.to_string())
}

/// Sends a chat of its own, and returns its status.
async fn chat_of_another(metered: &Metered) -> Result<u16, Box<dyn std::error::Error>> {
    let request = client(Protocol::Http1)
        .post(metered.envoy.url("/v1/chat/completions"))
        .header("content-type", "application/json")
        .header(CALLER, "bob")
        .body(chat(100));
    let response = request.send().await?;
    let status = response.status().as_u16();
    if status == 503 {
        assert!(
            response.headers().contains_key("retry-after"),
            "{response:?}"
        );
    }
    response.bytes().await?;
    Ok(status)
}

/// Waits until Envoy has seen so many requests of the listener.
async fn wait_for_requests(metered: &Metered, requests: u64) -> TestResult {
    let name = "http.ingress.downstream_rq_total";
    metered
        .envoy
        .wait_for_stat(name, |seen| seen >= requests)
        .await?;
    Ok(())
}

/// Ends all requests and returns how many were answered with 200 and 503.
async fn statuses(
    mut exchanges: JoinSet<reqwest::Result<Response>>,
) -> Result<(u64, u64), Box<dyn std::error::Error>> {
    let (mut served, mut overloaded) = (0, 0);
    while let Some(exchange) = exchanges.join_next().await {
        let response = exchange??;
        match response.status().as_u16() {
            200 => served += 1,
            503 => overloaded += 1,
            other => return Err(format!("status {other}: {}", response.text().await?).into()),
        }
        response.bytes().await?;
    }
    Ok((served, overloaded))
}

/// Checks that all that the provider has generated was charged.
async fn check_sums(metered: &Metered) -> TestResult {
    let generated = generated_tokens(metered);
    let tokens = "wasmcustom.tollgate.tokens";
    let is_charged = |stats: &BTreeMap<String, u64>| {
        let charged = stats
            .iter()
            .filter(|(name, _)| name.contains("kind=input") || name.contains("kind=output"));
        charged.map(|(_, tokens)| tokens).sum::<u64>() == generated
    };
    metered.envoy.wait_for_stats(tokens, is_charged).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn open_streams_end_in_overload_without_trap() -> TestResult {
    let Load { requests, budget } = load(
        Load {
            requests: 2_000,
            budget: 32 * MEBIBYTE,
        },
        Load {
            requests: 10_000,
            budget: 32 * MEBIBYTE,
        },
    );
    let metered = Metered::build(each_model("llm.model", budget), |builder| {
        builder.without_access_log().own_process()
    })
    .await?;
    assert_eq!(chat_of_another(&metered).await?, 200);
    let before = metered.envoy.memory().await?.resident;
    let clients = clients(requests);
    let mut exchanges = JoinSet::new();
    let mut opened = Vec::new();
    for index in 0..requests {
        let client = &clients[index % clients.len()];
        opened.push(open(&metered, client, HEADER_BYTES, &mut exchanges));
    }
    wait_for_requests(&metered, 1 + requests as u64).await?;
    let overloaded = wait_for_some(&metered.envoy, "requests.decision=overloaded").await?;
    let allocated = metric(&metered.envoy, "memory_bytes").await?;
    let resident = metered.envoy.memory().await?.resident - before;
    eprintln!(
        "{requests} streams: {overloaded} overloaded, {allocated} bytes allocated, {resident} more resident"
    );
    assert!(allocated <= budget, "{allocated}");
    let headers = (requests * HEADER_BYTES) as u64;
    assert!(
        resident < budget + ENVOY_BYTES_PER_HEADER_BYTE * headers,
        "{resident}"
    );
    // Headers have a share, which leaves room for requests with few.
    assert_eq!(chat_of_another(&metered).await?, 200);
    for request in opened {
        // Those that were rejected take no body.
        let _ = request.body.send(chat(100));
    }
    let (served, rejected) = statuses(exchanges).await?;
    assert_eq!(served + rejected, requests as u64);
    assert!(served > 0 && rejected >= overloaded, "{served} {rejected}");
    metered
        .envoy
        .wait_for_stat("wasmcustom.tollgate.memory_bytes", |bytes| {
            bytes < budget / 2
        })
        .await?;
    assert_eq!(chat_of_another(&metered).await?, 200);
    check_sums(&metered).await?;
    metered.check().await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn held_bodies_stay_within_their_share() -> TestResult {
    let Load { requests, budget } = load(
        Load {
            requests: 100,
            budget: 64 * MEBIBYTE,
        },
        Load {
            requests: 1_000,
            budget: 512 * MEBIBYTE,
        },
    );
    let metered = Metered::build(
        each_model("llm.?model.orValue('unknown')", budget),
        |builder| builder.without_access_log().own_process(),
    )
    .await?;
    assert_eq!(chat_of_another(&metered).await?, 200);
    let clients = clients(requests);
    let mut exchanges = JoinSet::new();
    let mut opened = Vec::new();
    let body = chat(1_000_000);
    let (begin, end) = (body.slice(..900_000), body.slice(900_000..));
    for index in 0..requests {
        let client = &clients[index % clients.len()];
        let request = open(&metered, client, 0, &mut exchanges);
        for start in (0..begin.len()).step_by(65_536) {
            let piece = begin.slice(start..begin.len().min(start + 65_536));
            request.body.send(piece)?;
        }
        opened.push(request);
    }
    wait_for_requests(&metered, 1 + requests as u64).await?;
    let name = "wasmcustom.tollgate.memory_bytes";
    // Half of the budget is for bodies.
    let seen = metered
        .envoy
        .wait_for_stat(name, |bytes| bytes > budget / 4)
        .await?;
    eprintln!("{requests} bodies: {seen:?} bytes allocated");
    for request in opened {
        // One that was answered already takes no more.
        let _ = request.body.send(end.clone());
    }
    let (served, overloaded) = statuses(exchanges).await?;
    assert_eq!((served, overloaded), (requests as u64, 0));
    assert!(metric(&metered.envoy, "memory_bytes").await? <= budget);
    check_sums(&metered).await?;
    metered.check().await?;
    Ok(())
}

/// A response in zstd, with a window of 1 MiB: a frame with one block, whose bytes are as they are.
fn in_zstd(body: &str) -> Vec<u8> {
    let size = u32::try_from(body.len()).expect("a short body");
    let [low, middle, high, _] = (size << 3 | 1).to_le_bytes();
    let header = [0x28, 0xb5, 0x2f, 0xfd, 0x00, 0x50, low, middle, high];
    [&header, body.as_bytes()].concat()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn open_decoders_stay_within_budget_without_trap() -> TestResult {
    const RESERVED: u64 = 700;
    let Load { requests, budget } = load(
        Load {
            requests: 200,
            budget: 64 * MEBIBYTE,
        },
        Load {
            requests: 1_000,
            budget: 512 * MEBIBYTE,
        },
    );
    let metered = Metered::build(
        each_model("llm.?model.orValue('unknown')", budget),
        Builder::own_process,
    )
    .await?;
    let completion = r#"{"object":"chat.completion","choices":[{"message":{"content":"Hi"}}],
        "usage":{"prompt_tokens":20,"completion_tokens":30,"total_tokens":50}}"#;
    let script = Script {
        status: 200,
        headers: vec![
            ("content-type".to_owned(), "application/json".to_owned()),
            ("content-encoding".to_owned(), "zstd".to_owned()),
        ],
        body: in_zstd(completion).into(),
    };
    metered.llm.script("zstd", script);
    let chat = || Chat::new("Hi", RESERVED).header(CALLER, "alice");
    let in_zstd = || chat().header("x-mock-script", "zstd");
    let tokens = async |id: &str, chat: Chat| {
        let exchange = metered.exchange(&client(Protocol::Http1), id, chat).await?;
        assert_eq!(exchange.status, 200, "{id}");
        let estimated = exchange.entry.tollgate("estimated") == Some("true");
        let output = exchange.entry.tollgate_number("output_tokens");
        Ok::<_, Box<dyn std::error::Error>>((estimated, output.unwrap_or(0)))
    };
    assert_eq!(tokens("before", in_zstd()).await?, (false, 30));
    let clients = clients(requests);
    let held = in_zstd()
        .header("x-mock-split", 16)
        .header("x-mock-hold-after", 1);
    let mut exchanges = JoinSet::new();
    for index in 0..requests {
        let request = held.request(&clients[index % clients.len()], metered.envoy.address());
        exchanges.spawn(async move {
            let mut response = request.send().await?;
            response.chunk().await?;
            Ok::<_, reqwest::Error>(response)
        });
    }
    let mut responses = Vec::new();
    while let Some(response) = exchanges.join_next().await {
        responses.push(response??);
    }
    let allocated = metric(&metered.envoy, "memory_bytes").await?;
    eprintln!("{requests} decoders: {allocated} bytes allocated");
    assert!(allocated <= budget, "{allocated}");
    // A decoder takes memory as it decodes, so that there may be room for others.
    match tokens("meanwhile in zstd", in_zstd()).await? {
        (true, output) => assert!(output >= RESERVED, "{output}"),
        exact => assert_eq!(exact, (false, 30)),
    }
    let (estimated, _) = tokens("meanwhile", chat()).await?;
    assert!(!estimated, "others are charged what is reported");
    drop((responses, clients));
    metered
        .envoy
        .wait_for_stat("http.ingress.downstream_rq_active", |active| active == 0)
        .await?;
    assert_eq!(tokens("after", in_zstd()).await?, (false, 30));
    metered.check().await?;
    Ok(())
}
