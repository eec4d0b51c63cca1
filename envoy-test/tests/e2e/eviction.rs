//! A flood of counter keys: memory stays bounded, and an exhausted counter stays exhausted.

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

use crate::support::{TestResult, metric, wait_for_some};

const MEBIBYTE: u64 = 1 << 20;

/// The bound on the growth of Envoy's resident memory, in bytes.
const MAX_GROWTH: u64 = 4 * MEBIBYTE;

const COMPLETION: &str = r#"{"object":"chat.completion","model":"m","choices":[],"usage":{"prompt_tokens":5,"completion_tokens":95,"total_tokens":100}}"#;

/// Sends a request of each of `callers` new callers, one after another. Returns how many were served.
async fn send_each(address: SocketAddr, name: String, callers: usize) -> io::Result<usize> {
    let mut connection = TcpStream::connect(address).await?;
    connection.set_nodelay(true)?;
    let mut served = 0;
    let mut response = Vec::new();
    for caller in 0..callers {
        let request = format!(
            "POST /v1/chat/completions HTTP/1.1\r\nhost: llm\r\n{CALLER}: {name}-{caller}\r\n\
             content-length: 0\r\n\r\n"
        );
        connection.write_all(request.as_bytes()).await?;
        response.clear();
        // A completion and a rejection end with these bytes, and contain them nowhere else.
        while !response.ends_with(b"}}") {
            if connection.read_buf(&mut response).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        served += usize::from(response.starts_with(b"HTTP/1.1 200"));
    }
    Ok(served)
}

/// Sends requests of new callers over sixteen concurrent connections. Returns how many were served.
async fn flood(address: SocketAddr, round: &str, callers: usize) -> Result<usize, Box<dyn Error>> {
    let mut connections = JoinSet::new();
    for connection in 0..16 {
        let name = format!("{round}-{connection}");
        connections.spawn(send_each(address, name, callers / 16));
    }
    let mut served = 0;
    while let Some(connection) = connections.join_next().await {
        served += connection??;
    }
    Ok(served)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn key_flood_evicts_no_exhausted_counter() -> TestResult {
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
    let send_exhausted = async |path: &str| {
        let request = client.post(envoy.url(path)).header(CALLER, "exhausted");
        Ok::<_, reqwest::Error>(request.send().await?.status().as_u16())
    };
    assert_eq!(send_exhausted("/v1/completions").await?, 200);
    assert_eq!(send_exhausted("/v1/chat/completions").await?, 429);
    // Fills all counters before memory is measured.
    flood(address, "warm-up", 10_000).await?;
    assert_eq!(send_exhausted("/v1/chat/completions").await?, 429);

    let before = envoy.memory().await?.resident;
    let mut served = 0;
    for round in 0..10 {
        served += flood(address, &round.to_string(), 20_000).await?;
        let status = send_exhausted("/v1/chat/completions").await?;
        assert_eq!(status, 429, "round {round}");
    }
    let growth = envoy.memory().await?.resident.saturating_sub(before);
    println!(
        "{served} served; memory grew by {} KiB; {:?}",
        growth / 1024,
        envoy.stats("wasmcustom.tollgate.").await?
    );
    assert!(growth < MAX_GROWTH, "memory grew by {growth} bytes");
    wait_for_some(&envoy, "page_overflows").await?;
    assert_eq!(metric(&envoy, "storage_errors").await?, 0);
    assert!(envoy.is_alive());
    Ok(())
}
