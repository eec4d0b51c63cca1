//! Kuadrant's tutorial on token-based rate limiting, with the counters in Envoy.

use envoy_test::{
    binary,
    client::Protocol,
    envoy,
    tutorial::{Error, Gateway, Step, policy, policy_with_window, steps, steps_through_a_window},
};

use crate::{commands, table};

const WORKERS: u32 = 2;

/// Runs all steps, and keeps a gateway running unless `once`. Returns how many outcomes differ from the tutorial.
pub(crate) async fn run(once: bool) -> Result<usize, Error> {
    let version = &binary::find().map_err(envoy::Error::from)?.version;
    println!("Envoy {version} with tollgate and the policy of examples/kuadrant/policy.yaml");
    let mut mismatches = show(
        "The tutorial: 50 tokens a minute for free, 200 for gold",
        &Gateway::start(policy(), WORKERS, Protocol::Http1).await?,
        steps(false),
    )
    .await?;
    mismatches += show(
        "With streamed responses, over HTTP/2",
        &Gateway::start(policy(), WORKERS, Protocol::Http2).await?,
        steps(true),
    )
    .await?;
    mismatches += show(
        "With a window of five seconds",
        &Gateway::start(policy_with_window("5s"), WORKERS, Protocol::Http1).await?,
        steps_through_a_window(),
    )
    .await?;
    if !once {
        let unused = Gateway::start(policy(), WORKERS, Protocol::Http1).await?;
        println!("\nTry it, with unused limits (Ctrl-C to stop):\n");
        commands::print(&unused);
        tokio::signal::ctrl_c().await?;
    }
    Ok(mismatches)
}

/// Runs steps and prints each outcome as it happens. Returns how many differ from the tutorial.
async fn show(title: &str, gateway: &Gateway, steps: Vec<Step>) -> Result<usize, Error> {
    table::print_header(title);
    let mut mismatches = 0;
    for step in steps {
        let outcome = gateway.run(&step).await?;
        mismatches += usize::from(!outcome.mismatches.is_empty());
        table::print_row(&step, &outcome);
    }
    Ok(mismatches)
}
