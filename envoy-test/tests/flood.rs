//! A flood of keys: memory stays bounded, and no debt is forgotten.

use std::{error::Error, io, net::SocketAddr};

use envoy_test::{
    client::{Protocol, client},
    envoy::Envoy,
    filters::Tollgate,
    metered::{CALLER, each_caller},
};
use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::JoinSet,
};

type Outcome = Result<(), Box<dyn Error>>;

const MEBIBYTE: u64 = 1 << 20;

/// What Envoy's memory may grow by, whatever the number of keys.
const MOST_GROWTH: u64 = 4 * MEBIBYTE;

const COMPLETION: &str = r#"{"object":"chat.completion","model":"m","choices":[],"usage":{"prompt_tokens":5,"completion_tokens":95,"total_tokens":100}}"#;

/// Asks for so many callers, each a new one, one after the other. Returns how many were served.
async fn ask(address: SocketAddr, name: String, callers: usize) -> io::Result<usize> {
    let mut connection = TcpStream::connect(address).await?;
    connection.set_nodelay(true)?;
    let mut served = 0;
    let mut response = Vec::new();
    for caller in 0..callers {
        let request = format!(
            "GET /v1/chat/completions HTTP/1.1\r\nhost: llm\r\n{CALLER}: {name}-{caller}\r\n\r\n"
        );
        connection.write_all(request.as_bytes()).await?;
        response.clear();
        // Both bodies, of a completion and of a refusal, end like this, and nothing else does.
        while !response.ends_with(b"}}") {
            if connection.read_buf(&mut response).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        served += usize::from(response.starts_with(b"HTTP/1.1 200"));
    }
    Ok(served)
}

/// Floods over sixteen connections at once. Returns how many were served.
async fn flood(address: SocketAddr, round: &str, callers: usize) -> Result<usize, Box<dyn Error>> {
    let mut asking = JoinSet::new();
    for connection in 0..16 {
        asking.spawn(ask(address, format!("{round}-{connection}"), callers / 16));
    }
    let mut served = 0;
    while let Some(asked) = asking.join_next().await {
        served += asked??;
    }
    Ok(served)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_thousand_callers_in_four_thousand_counters() -> Outcome {
    let mut configuration = each_caller(100_000);
    configuration["storage"] = json!({ "type": "local", "maxCounters": 4096 });
    let completion = |path: &str, body: &str| {
        json!({
            "match": { "path": path },
            "direct_response": { "status": 200, "body": { "inline_string": body } },
            "response_headers_to_add": [{
                "header": { "key": "content-type", "value": "application/json" },
                "append_action": "OVERWRITE_IF_EXISTS_OR_ADD",
            }],
        })
    };
    let large = COMPLETION
        .replace("95", "200000")
        .replace("100}", "200005}");
    let envoy = Envoy::builder()
        .concurrency(2)
        .without_access_log()
        .route(completion("/v1/chat/completions", COMPLETION))
        .route(completion("/v1/completions", &large))
        .tollgate(Tollgate::new(configuration))
        .start()
        .await?;
    let address = envoy.address();
    let client = client(Protocol::Http1);
    let debtor = async |path: &str| {
        let request = client.get(envoy.url(path)).header(CALLER, "debtor");
        Ok::<_, reqwest::Error>(request.send().await?.status().as_u16())
    };
    assert_eq!(debtor("/v1/completions").await?, 200);
    assert_eq!(debtor("/v1/chat/completions").await?, 429);
    // Callers that fill the counters, so that what follows finds them full.
    flood(address, "warm-up", 10_000).await?;
    assert_eq!(debtor("/v1/chat/completions").await?, 429);

    let before = envoy.memory().await?.resident;
    let mut served = 0;
    for round in 0..10 {
        served += flood(address, &round.to_string(), 20_000).await?;
        assert_eq!(debtor("/v1/chat/completions").await?, 429, "round {round}");
    }
    let grown = envoy.memory().await?.resident.saturating_sub(before);
    println!(
        "{served} served; grown by {} KiB; {:?}",
        grown / 1024,
        envoy.stats("wasmcustom.tollgate.").await?
    );
    assert!(grown < MOST_GROWTH, "grown by {grown} bytes");
    assert!(envoy.stat("wasmcustom.tollgate.pages_full").await? > 0);
    assert_eq!(envoy.stat("wasmcustom.tollgate.storage_errors").await?, 0);
    assert!(envoy.is_alive());
    Ok(())
}
