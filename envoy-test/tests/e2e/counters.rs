//! Counters are exact across workers, and apart for each caller, limit and rate.

use envoy_test::{
    client::{Chat, Protocol, client},
    metered::{CALLER, Metered, each_caller},
};
use serde_json::json;
use tokio::task::JoinSet;

use crate::{
    fixtures::AMPLE,
    support::{TestResult, balance_connections, generated_tokens},
};

/// Sends `requests` requests one after another on each of `connections` concurrent connections.
async fn send_load(
    metered: &Metered,
    protocol: Protocol,
    connections: u64,
    requests: u64,
) -> TestResult {
    let mut tasks = JoinSet::new();
    for connection in 0..connections {
        let client = client(protocol);
        let address = metered.envoy.address();
        tasks.spawn(async move {
            for request in 0..requests {
                let chat = Chat::default()
                    .header(CALLER, "alice")
                    .header("x-mock-events", 1)
                    .header("x-mock-prompt-tokens", 1 + connection)
                    .header("x-mock-completion-tokens", 1 + request % 97);
                let response = chat.send(&client, address).await?;
                assert_eq!(response.status(), 200);
                response.bytes().await?;
            }
            Ok::<_, reqwest::Error>(())
        });
    }
    while let Some(task) = tasks.join_next().await {
        task??;
    }
    Ok(())
}

async fn workers_share_counters(protocol: Protocol) -> TestResult {
    let metered = Metered::build(each_caller(AMPLE), |builder| {
        balance_connections(builder.concurrency(2).without_access_log())
    })
    .await?;
    send_load(&metered, protocol, 4, 2_500).await?;

    assert_eq!(metered.llm.requests(), 10_000);
    let used = generated_tokens(&metered);
    assert_eq!(metered.remaining("alice").await?, AMPLE - used);
    assert_eq!(metered.remaining("bob").await?, AMPLE);
    metered.check().await?;
    let connections = metered.envoy.stats("listener.").await?;
    let workers = ["worker_0", "worker_1"].map(|worker| {
        let name = format!("{worker}.downstream_cx_total");
        connections
            .iter()
            .any(|(stat, count)| stat.ends_with(&name) && *count >= 2)
    });
    assert_eq!(workers, [true, true], "{connections:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn http1_workers_share_counters() -> TestResult {
    workers_share_counters(Protocol::Http1).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn http2_workers_share_counters() -> TestResult {
    workers_share_counters(Protocol::Http2).await
}

#[tokio::test]
async fn counters_are_per_caller_limit_and_rate() -> TestResult {
    let mut configuration = each_caller(1_000);
    let limits = &mut configuration["policies"][0]["spec"]["limits"];
    limits["tokens"]["rates"] = json!([
        { "limit": 1_000, "window": "2h" }, { "limit": 300, "window": "1h" },
    ]);
    limits["shared"] = json!({ "rates": [{ "limit": 450, "window": "1h" }] });
    let metered = Metered::start(configuration).await?;
    let client = client(Protocol::Http1);
    let send = async |id: &str, caller: &str| {
        let chat = Chat::default().header(CALLER, caller);
        metered.exchange(&client, id, chat).await
    };
    for id in ["1", "2", "3"] {
        assert_eq!(send(id, "alice").await?.status, 200);
    }
    // The smaller rate of alice is exhausted; of the shared limit, 150 tokens remain.
    let rejected = send("4", "alice").await?;
    assert_eq!(rejected.status, 429);
    assert_eq!(rejected.entry.tollgate("limit"), Some("tokens"));
    assert_eq!(metered.remaining("bob").await?, 150);
    assert_eq!(send("5", "bob").await?.status, 200);
    assert_eq!(send("6", "bob").await?.status, 200);
    let rejected = send("7", "bob").await?;
    assert_eq!(rejected.status, 429);
    assert_eq!(rejected.entry.tollgate("limit"), Some("shared"));
    assert_eq!(metered.llm.requests(), 6);
    Ok(())
}
