//! The examples: each is run as its directory has it, in a real Envoy.

use envoy_test::example::Example;

use crate::support::TestResult;

mod envoy;
mod jupiter;
mod kuadrant;

/// Runs the example of that name. `envoy.yaml` and `tollgate.yaml` must have the same configuration.
async fn run(name: &str) -> TestResult {
    let example = Example::read(name)?;
    assert_eq!(
        example.configuration_in_envoy(),
        Some(&example.configuration),
        "envoy.yaml and tollgate.yaml"
    );
    let mut failures = Vec::new();
    example
        .run(|scenario, step, outcome| {
            if !outcome.mismatches.is_empty() {
                failures.push(format!("{}: {}: {outcome:?}", scenario.title, step.why));
            }
        })
        .await?;
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    Ok(())
}

#[tokio::test]
async fn apisix_scenarios_pass() -> TestResult {
    run("apisix").await
}

#[tokio::test]
async fn kong_scenarios_pass() -> TestResult {
    run("kong").await
}

#[tokio::test]
async fn envoy_ai_gateway_scenarios_pass() -> TestResult {
    run("envoy-ai-gateway").await
}

#[tokio::test]
async fn envoy_ai_gateway_metering_scenarios_pass() -> TestResult {
    run("envoy-ai-gateway/metering").await
}

#[tokio::test]
async fn jupiter_scenarios_pass() -> TestResult {
    run("jupiter").await
}
