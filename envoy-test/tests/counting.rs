//! Counters are exact: what many requests at once cost is what is taken, whatever worker served them.

use std::error::Error;

use envoy_test::{
    client::{Chat, Protocol, client},
    metered::{CALLER, Metered, each_caller},
};
use serde_json::json;
use tokio::task::JoinSet;

type Outcome = Result<(), Box<dyn Error>>;

const LIMIT: u64 = 1_000_000_000;

/// Spends on `connections` connections at once, each asking `requests` times, one after the other.
async fn spend(metered: &Metered, protocol: Protocol, connections: u64, requests: u64) -> Outcome {
    let mut callers = JoinSet::new();
    for connection in 0..connections {
        let client = client(protocol);
        let address = metered.envoy.address();
        callers.spawn(async move {
            for request in 0..requests {
                let chat = Chat::default()
                    .header(CALLER, "alice")
                    .header("x-mock-events", 1)
                    .header("x-mock-prompt-tokens", 1 + connection)
                    .header("x-mock-completion-tokens", request % 97);
                let answer = chat.send(&client, address).await?;
                assert_eq!(answer.status(), 200);
                answer.bytes().await?;
            }
            Ok::<_, reqwest::Error>(())
        });
    }
    while let Some(caller) = callers.join_next().await {
        caller??;
    }
    Ok(())
}

async fn workers_share(protocol: Protocol) -> Outcome {
    let metered = Metered::build(each_caller(LIMIT), |builder| {
        // Every worker gets as many connections as the next.
        builder
            .concurrency(2)
            .without_access_log()
            .edit_listener(|listener| {
                listener["connection_balance_config"] = json!({ "exact_balance": {} });
            })
    })
    .await?;
    spend(&metered, protocol, 4, 2_500).await?;

    let spent = metered.llm.input_tokens() + metered.llm.output_tokens();
    assert_eq!(metered.llm.requests(), 10_000);
    assert_eq!(metered.left("alice").await?, LIMIT - spent);
    assert_eq!(metered.left("bob").await?, LIMIT);
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
async fn two_workers_share_counters_over_http1() -> Outcome {
    workers_share(Protocol::Http1).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_workers_share_counters_over_http2() -> Outcome {
    workers_share(Protocol::Http2).await
}

#[tokio::test]
async fn a_counter_is_of_one_caller_one_limit_and_one_rate() -> Outcome {
    let mut configuration = each_caller(1_000);
    let limits = &mut configuration["policies"][0]["spec"]["limits"];
    limits["tokens"]["rates"] = json!([
        { "limit": 1_000, "window": "1h" }, { "limit": 300, "window": "1m" },
    ]);
    limits["everybody"] = json!({ "rates": [{ "limit": 450, "window": "1h" }] });
    let metered = Metered::start(configuration).await?;
    let client = client(Protocol::Http1);
    let ask = async |id: &str, caller: &str| {
        let chat = Chat::default().header(CALLER, caller);
        metered.exchange(&client, id, chat).await
    };
    for id in ["1", "2", "3"] {
        assert_eq!(ask(id, "alice").await?.status, 200);
    }
    // Her 300 a minute are spent; of everybody's 450, 150 are left.
    let refused = ask("4", "alice").await?;
    assert_eq!(refused.status, 429);
    assert_eq!(refused.entry.tollgate("limit"), Some("tokens"));
    assert_eq!(metered.left("bob").await?, 150);
    assert_eq!(ask("5", "bob").await?.status, 200);
    assert_eq!(ask("6", "bob").await?.status, 200);
    let refused = ask("7", "bob").await?;
    assert_eq!(refused.status, 429);
    assert_eq!(refused.entry.tollgate("limit"), Some("everybody"));
    assert_eq!(metered.llm.requests(), 6);
    Ok(())
}
