//! Memory does not grow with the number of exchanges.

use envoy_test::{
    client::{Chat, Protocol, client},
    metered::{CALLER, Metered, each_caller},
};
use tokio::task::JoinSet;

use crate::support::TestResult;

const MEBIBYTE: u64 = 1 << 20;

/// Sends `requests` chats, alternately streamed and not, each of a new caller.
async fn send_load(metered: &Metered, round: &str, requests: u64) -> TestResult {
    let mut connections = JoinSet::new();
    for connection in 0..4 {
        let address = metered.envoy.address();
        let round = round.to_owned();
        connections.spawn(async move {
            let protocol = Protocol::ALL[connection % 2];
            let client = client(protocol);
            for request in 0..requests / 4 {
                let chat = Chat::default()
                    .header(CALLER, format!("{round} {connection} {request}"))
                    .header("x-mock-events", 3);
                let chat = if request % 2 == 0 {
                    chat.stream(true)
                } else {
                    chat
                };
                let mut response = chat.send(&client, address).await?;
                // Every tenth caller disconnects before the end.
                if request % 10 == 0 {
                    response.chunk().await?;
                } else {
                    response.bytes().await?;
                }
            }
            Ok::<_, reqwest::Error>(())
        });
    }
    while let Some(connection) = connections.join_next().await {
        connection??;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn completed_exchanges_leave_no_memory_behind() -> TestResult {
    let metered = Metered::build(each_caller(1_000), |builder| {
        builder.concurrency(2).without_access_log().own_process()
    })
    .await?;
    send_load(&metered, "warm-up", 2_000).await?;
    let before = metered.envoy.memory().await?.resident;
    send_load(&metered, "measured", 20_000).await?;
    let after = metered.envoy.memory().await?.resident;
    let growth = after.saturating_sub(before) / MEBIBYTE;
    // The counters of the 20,000 new callers are in a fixed number of pages.
    assert!(growth < 32, "memory grew by {growth} MiB");
    metered.check().await?;
    Ok(())
}
