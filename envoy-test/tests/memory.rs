//! Memory does not grow with the exchanges that have passed.

use std::error::Error;

use envoy_test::{
    client::{Chat, Protocol, client},
    metered::{CALLER, Metered, each_caller},
};
use tokio::task::JoinSet;

type Outcome = Result<(), Box<dyn Error>>;

const MEBIBYTE: u64 = 1 << 20;

/// Asks so often, for streams and JSON by turns, by callers of whom each is a new one.
async fn ask(metered: &Metered, round: &str, requests: u64) -> Outcome {
    let mut callers = JoinSet::new();
    for connection in 0..4 {
        let address = metered.envoy.address();
        let round = round.to_owned();
        callers.spawn(async move {
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
                // Every tenth caller leaves early.
                if request % 10 == 0 {
                    response.chunk().await?;
                } else {
                    response.bytes().await?;
                }
            }
            Ok::<_, reqwest::Error>(())
        });
    }
    while let Some(caller) = callers.join_next().await {
        caller??;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn twenty_thousand_exchanges_leave_nothing_behind() -> Outcome {
    let metered = Metered::build(each_caller(1_000), |builder| {
        builder.concurrency(2).without_access_log()
    })
    .await?;
    ask(&metered, "warm-up", 2_000).await?;
    let before = metered.envoy.memory().await?.resident;
    ask(&metered, "then", 20_000).await?;
    let after = metered.envoy.memory().await?.resident;
    let grown = after.saturating_sub(before) / MEBIBYTE;
    // Twenty thousand new callers have their counters, in pages of a fixed number.
    assert!(grown < 32, "grown by {grown} MiB");
    metered.check().await?;
    Ok(())
}
