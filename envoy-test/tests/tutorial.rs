//! Kuadrant's tutorial works to the letter.

use std::error::Error;

use envoy_test::{
    client::Protocol,
    tutorial::{Gateway, Step, policy, policy_with_window, steps, steps_through_a_window},
};
use serde_json::Value;

type Outcome = Result<(), Box<dyn Error>>;

async fn play(policy: Value, workers: u32, protocol: Protocol, steps: &[Step]) -> Outcome {
    let gateway = Gateway::start(policy, workers, protocol).await?;
    for step in steps {
        let outcome = gateway.play(step).await?;
        let Step { caller, ask, .. } = step;
        assert!(outcome.faults.is_empty(), "{caller}, {ask}: {outcome:?}");
    }
    Ok(())
}

#[tokio::test]
async fn json_with_one_worker_over_http1() -> Outcome {
    play(policy(), 1, Protocol::Http1, &steps(false)).await
}

#[tokio::test]
async fn json_with_two_workers_over_http2() -> Outcome {
    play(policy(), 2, Protocol::Http2, &steps(false)).await
}

#[tokio::test]
async fn streams_with_two_workers_over_http1() -> Outcome {
    play(policy(), 2, Protocol::Http1, &steps(true)).await
}

#[tokio::test]
async fn streams_with_one_worker_over_http2() -> Outcome {
    play(policy(), 1, Protocol::Http2, &steps(true)).await
}

#[tokio::test]
async fn a_caller_who_waits_as_told_is_admitted_again() -> Outcome {
    let policy = policy_with_window("2s");
    play(policy, 2, Protocol::Http1, &steps_through_a_window()).await
}
