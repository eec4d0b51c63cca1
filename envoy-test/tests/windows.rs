//! Each algorithm: who is refused is told when to come again, and is served then.

use std::{collections::BTreeMap, error::Error, time::Duration};

use envoy_test::{
    client::{Chat, Protocol, client},
    metered::{CALLER, Metered, configuration},
    wait,
};
use futures_util::future::join_all;
use reqwest::Response;
use serde_json::{Value, json};

type Outcome = Result<(), Box<dyn Error>>;

const ALGORITHMS: [&str; 4] = ["fixed", "calendar", "sliding", "bucket"];

/// For each algorithm a limit of 50 tokens in two seconds, for callers who choose it. A chat of 100
/// tokens brings them past it.
fn each_algorithm() -> Value {
    let limits = ALGORITHMS.map(|algorithm| {
        let limit = json!({
            "rates": [{ "limit": 50, "window": "2s", "algorithm": algorithm }],
            "when": [{ "predicate": format!("request.headers['x-algorithm'] == '{algorithm}'") }],
            "counters": [{ "expression": "auth.identity.userid" }],
        });
        (algorithm.to_owned(), limit)
    });
    configuration(Value::Object(limits.into_iter().collect()))
}

fn number(response: &Response, name: &str) -> Option<u64> {
    response.headers().get(name)?.to_str().ok()?.parse().ok()
}

/// How long a caller who was refused had to wait, twice, after each of which he was served.
async fn waits<'a>(
    metered: &Metered,
    algorithm: &'a str,
    streams: bool,
) -> Result<(&'a str, Vec<u64>), Box<dyn Error>> {
    let (client, address) = (client(Protocol::Http1), metered.envoy.address());
    let chat = Chat::default()
        .header("x-algorithm", algorithm)
        .header(CALLER, streams);
    let chat = if streams { chat.stream(false) } else { chat };
    let mut waits = Vec::new();
    for _ in 0..2 {
        // The window may end between a chat and the next, and then the next is served as well.
        let refused = wait::until("a refusal", async || {
            let response = chat.send(&client, address).await.ok()?;
            let wait = number(&response, "retry-after");
            assert_eq!(wait.is_some(), response.status() == 429);
            assert!(response.bytes().await.is_ok());
            wait
        });
        let wait = refused.await?;
        tokio::time::sleep(Duration::from_secs(wait)).await;
        let response = chat.send(&client, address).await?;
        assert_eq!(
            response.status(),
            200,
            "{algorithm}: refused after {wait} s"
        );
        response.bytes().await?;
        waits.push(wait);
    }
    Ok((algorithm, waits))
}

#[tokio::test]
async fn retry_after_is_true() -> Outcome {
    let metered = Metered::start(each_algorithm()).await?;
    let kinds = ALGORITHMS
        .into_iter()
        .flat_map(|algorithm| [(algorithm, false), (algorithm, true)]);
    let callers = kinds.map(|(algorithm, streams)| waits(&metered, algorithm, streams));
    let mut all: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for caller in join_all(callers).await {
        let (algorithm, waits) = caller?;
        all.entry(algorithm).or_default().extend(waits);
    }
    println!("{all:?}");
    // A window or less, where windows stand; half of what was used has to leave it, where it slides; 51 tokens
    // at 25 a second have to flow off.
    for (algorithm, sensible) in [
        ("fixed", 1..=2),
        ("calendar", 1..=2),
        ("sliding", 1..=4),
        ("bucket", 1..=7),
    ] {
        let waits = &all[algorithm];
        assert!(waits.iter().all(|wait| sensible.contains(wait)), "{all:?}");
    }
    metered.check().await?;
    Ok(())
}

#[tokio::test]
async fn a_bucket_fills_as_it_flows_off() -> Outcome {
    let metered = Metered::start(configuration(json!({ "tokens": {
        "rates": [{ "limit": 1_000, "window": "4s", "algorithm": "bucket" }],
        "counters": [{ "expression": "auth.identity.userid" }],
    } })))
    .await?;
    let chat = Chat::default()
        .header(CALLER, "alice")
        .header("x-mock-prompt-tokens", 500)
        .header("x-mock-completion-tokens", 500);
    let client = client(Protocol::Http1);
    assert_eq!(
        chat.send(&client, metered.envoy.address()).await?.status(),
        200
    );
    let spent = metered.left("alice").await?;
    let left = wait::until("half of it to flow off", async || {
        let left = metered.left("alice").await.ok()?;
        (left >= 500).then_some(left)
    });
    assert!(left.await? > spent);
    metered.check().await?;
    Ok(())
}
