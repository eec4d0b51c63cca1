//! Kuadrant's tutorial on token rate limiting, as `examples/kuadrant` has it.

use envoy_test::{
    client::Protocol,
    tutorial::{Gateway, Step, policy, policy_with_window, steps, steps_through_a_window},
};
use serde_json::Value;

use crate::support::TestResult;

async fn run(policy: Value, workers: u32, protocol: Protocol, steps: &[Step]) -> TestResult {
    let gateway = Gateway::start(policy, workers, protocol).await?;
    for step in steps {
        let outcome = gateway.run(step).await?;
        let Step { caller, call, .. } = step;
        assert!(
            outcome.mismatches.is_empty(),
            "{caller}, {call}: {outcome:?}"
        );
    }
    Ok(())
}

#[tokio::test]
async fn json_passes_over_http1() -> TestResult {
    run(policy(), 1, Protocol::Http1, &steps(false)).await
}

#[tokio::test]
async fn json_passes_over_http2_on_two_workers() -> TestResult {
    run(policy(), 2, Protocol::Http2, &steps(false)).await
}

#[tokio::test]
async fn stream_passes_over_http1_on_two_workers() -> TestResult {
    run(policy(), 2, Protocol::Http1, &steps(true)).await
}

#[tokio::test]
async fn stream_passes_over_http2() -> TestResult {
    run(policy(), 1, Protocol::Http2, &steps(true)).await
}

#[tokio::test]
async fn caller_is_admitted_after_retry_after() -> TestResult {
    // Each pair of requests has to be within a window, also on a busy machine.
    let policy = policy_with_window("10s");
    run(policy, 2, Protocol::Http1, &steps_through_a_window()).await
}
