//! Window algorithms: a rejected caller that waits for `retry-after` is admitted.

use std::{
    collections::BTreeMap,
    error::Error,
    time::{Duration, Instant},
};

use envoy_test::{
    client::{Chat, Protocol, client},
    metered::{CALLER, Metered, configuration},
    wait,
};
use futures_util::future::join_all;
use reqwest::Response;
use serde_json::{Value, json};

use crate::support::{TestResult, send};

const ALGORITHMS: [&str; 4] = ["fixed", "calendar", "sliding", "bucket"];

/// A limit of 50 tokens in two seconds by each algorithm, which a header selects. A chat of 100 tokens exceeds it.
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

/// Exhausts the limit twice, waits for `retry-after` seconds each time, and asserts that the next chat is admitted.
/// Returns the waits.
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
        // A chat is admitted as well if the window ends before it.
        let rejected = wait::until("a rejection", async || {
            let response = chat.send(&client, address).await.ok()?;
            let wait = number(&response, "retry-after");
            assert_eq!(wait.is_some(), response.status() == 429);
            assert!(response.bytes().await.is_ok());
            wait
        });
        let wait = rejected.await?;
        tokio::time::sleep(Duration::from_secs(wait)).await;
        let response = chat.send(&client, address).await?;
        let status = response.status();
        assert_eq!(status, 200, "{algorithm}: rejected after {wait} s");
        response.bytes().await?;
        waits.push(wait);
    }
    Ok((algorithm, waits))
}

#[tokio::test]
async fn retry_after_leads_to_admission() -> TestResult {
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
    // At most the window where windows are fixed; in a sliding one, half of the usage has to leave it; from a bucket,
    // 51 to 150 tokens have to drain at 25 a second.
    for (algorithm, expected) in [
        ("fixed", 1..=2),
        ("calendar", 1..=2),
        ("sliding", 1..=4),
        ("bucket", 1..=7),
    ] {
        let waits = &all[algorithm];
        assert!(waits.iter().all(|wait| expected.contains(wait)), "{all:?}");
    }
    metered.check().await?;
    Ok(())
}

#[tokio::test]
async fn bucket_refills_at_its_rate() -> TestResult {
    const LIMIT: u32 = 6_000;
    /// Tokens a second.
    const RATE: f64 = 100.0;
    /// The difference that clocks and rounding may make, in tokens.
    const TOLERANCE: f64 = 10.0;
    let metered = Metered::start(configuration(json!({ "tokens": {
        "rates": [{ "limit": LIMIT, "window": "1m", "algorithm": "bucket" }],
        "counters": [{ "expression": "auth.identity.userid" }],
    } })))
    .await?;
    let chat = Chat::default()
        .header("x-mock-prompt-tokens", 3_000)
        .header("x-mock-completion-tokens", 3_000);
    let before = Instant::now();
    assert_eq!(send(&metered, &chat).await?, 200);
    let after = Instant::now();
    // The bucket was empty at some moment between `before` and `after`.
    let refilled = wait::until("200 tokens to refill", async || {
        let at_least = (after.elapsed().as_secs_f64() * RATE - TOLERANCE).min(f64::from(LIMIT));
        let left = u32::try_from(metered.remaining("alice").await.ok()?).ok()?;
        let at_most = before.elapsed().as_secs_f64() * RATE + TOLERANCE;
        let refilled = f64::from(left);
        assert!(
            (at_least..=at_most).contains(&refilled),
            "{left} tokens left, expected {at_least} to {at_most}"
        );
        (left >= 200).then_some(left)
    });
    refilled.await?;
    metered.check().await?;
    Ok(())
}
