//! Snapshots of what operators see: access log entries, a Prometheus scrape and log lines.

use std::fmt::Write;

use envoy_test::{
    client::{Chat, Protocol, client},
    llm::MODEL,
    metered::{CALLER, Metered, configuration},
    workspace,
};
use serde_json::{Value, json};

use crate::{
    fixtures::hourly_with,
    support::{TestResult, wait_for_exchanges},
};

/// A limit with an alert, a limit in dry run, a limit whose counter can fail, and prices.
fn policy() -> Value {
    let alert = json!({ "alertAt": 0.6 });
    let in_dry_run = json!({ "shadow": true });
    let when_level = json!({
        "when": [{ "predicate": "'x-level' in request.headers" }],
        "counters": [{ "expression": "string(int(request.headers['x-level']))" }],
    });
    let mut configuration = configuration(json!({
        "tokens": hourly_with(150, alert),
        "trial": hourly_with(50, in_dry_run),
        "level": hourly_with(1_000, when_level),
    }));
    configuration["pricing"] = json!({ MODEL: { "input": 2.5, "output": 10 } });
    configuration
}

/// Runs exchanges with each decision, and returns their access log entries, one in a line.
async fn run_exchanges(metered: &Metered) -> Result<String, Box<dyn std::error::Error>> {
    let client = client(Protocol::Http1);
    let mut log = String::new();
    for (name, chat) in [
        ("admitted", Chat::default()),
        ("over the dry run", Chat::default().stream(true)),
        ("over the limit", Chat::default()),
        (
            "evaluation error",
            Chat::default().header("x-level", "high"),
        ),
        (
            "upstream error",
            Chat::default().header("x-mock-status", 503),
        ),
    ] {
        let caller = if name == "upstream error" {
            "bob"
        } else {
            "alice"
        };
        let exchange = metered
            .exchange(&client, name, chat.header(CALLER, caller))
            .await?;
        let entry = exchange.entry;
        write!(log, "{name}: {} {}", entry.status(), entry.details())?;
        for (key, value) in entry.tollgate_keys() {
            write!(log, " {key}={value}")?;
        }
        log.push('\n');
    }
    Ok(log)
}

#[tokio::test]
async fn access_log_entries_match_snapshot() -> TestResult {
    let metered = Metered::start(policy()).await?;
    insta::assert_snapshot!(run_exchanges(&metered).await?);
    Ok(())
}

#[tokio::test]
async fn prometheus_scrape_matches_snapshot() -> TestResult {
    let tags = workspace::root().join("integration/manifests/stats-tags.yaml");
    let tags: Value = serde_norway::from_str(&std::fs::read_to_string(tags)?)?;
    let metered = Metered::build(policy(), |builder| {
        builder.edit_bootstrap(move |bootstrap| {
            bootstrap["stats_config"] = tags["stats_config"].clone();
        })
    })
    .await?;
    run_exchanges(&metered).await?;
    wait_for_exchanges(&metered.envoy, 5).await?;
    let scrape = metered.envoy.prometheus("tollgate").await?;
    // What is allocated depends on the machine.
    let lines = scrape.lines().map(|line| match line.split_once(' ') {
        Some((name @ "tollgate_memory_bytes{}", _)) => format!("{name} BYTES"),
        _ => line.to_owned(),
    });
    let mut lines: Vec<_> = lines.filter(|line| line.starts_with("tollgate_")).collect();
    lines.sort_unstable();
    insta::assert_snapshot!(lines.join("\n"));
    Ok(())
}

/// The level and the text of each line that the filter has logged. Hashes of counters are replaced: they depend on a
/// random key.
fn filter_lines(log: &str) -> String {
    let mut lines = String::new();
    for line in log.lines() {
        let Some((head, text)) = line.split_once("wasm log ") else {
            continue;
        };
        let level = head.split(['[', ']']).nth(5).unwrap_or_default();
        let text = text.split_once(": ").map_or(text, |(_, text)| text);
        let words = text.split(' ').map(|word| match word.split_once('=') {
            Some(("counter", hash)) if hash.len() == 16 => "counter=HASH",
            _ => word,
        });
        let words: Vec<_> = words.collect();
        lines.extend([level, " ", &words.join(" "), "\n"]);
    }
    lines
}

#[tokio::test]
async fn log_lines_match_snapshot() -> TestResult {
    let metered = Metered::start(policy()).await?;
    run_exchanges(&metered).await?;
    insta::assert_snapshot!(filter_lines(&metered.envoy.logs()?));
    Ok(())
}
