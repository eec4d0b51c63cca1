//! Limits in dry run (`shadow`), and alerts near a limit (`alertAt`).

use envoy_test::{
    client::{Chat, Protocol, client},
    metered::{CALLER, Metered, configuration},
};
use serde_json::{Value, json};

use crate::{
    fixtures::{hourly, hourly_with},
    support::{TestResult, wait_for_metric},
};

/// A limit in dry run of 250 tokens an hour for each caller.
fn dry_run() -> Value {
    hourly_with(250, json!({ "shadow": true }))
}

#[tokio::test]
async fn dry_run_limit_counts_and_admits() -> TestResult {
    let metered = Metered::start(configuration(json!({ "trial": dry_run() }))).await?;
    for protocol in Protocol::ALL {
        let client = client(protocol);
        let caller = format!("{protocol:?}");
        for number in 0..5 {
            let (decision, limit) = match number {
                0..3 => ("admitted", None),
                _ => ("shadow_denied", Some("trial")),
            };
            let id = format!("{caller} {number}");
            let chat = Chat::default().header(CALLER, &caller);
            let chat = if number % 2 == 0 {
                chat.stream(true)
            } else {
                chat
            };
            let exchange = metered.exchange(&client, &id, chat).await?;
            assert_eq!(exchange.status, 200, "{id}");
            let entry = &exchange.entry;
            assert_eq!(entry.tollgate("decision"), Some(decision), "{id}");
            assert_eq!(entry.tollgate("limit"), limit, "{id}");
            // Usage is recorded, also above the limit.
            assert_eq!(entry.tollgate_number("total_tokens"), Some(100), "{id}");
        }
    }
    let admitted = "requests.decision=admitted";
    wait_for_metric(&metered.envoy, admitted, 6).await?;
    let denied = "requests.decision=shadow_denied.policy=default/llm.limit=trial";
    wait_for_metric(&metered.envoy, denied, 4).await?;
    metered.check().await?;
    Ok(())
}

#[tokio::test]
async fn dry_run_limit_does_not_disable_others() -> TestResult {
    let metered = Metered::start(configuration(json!({
        "trial": dry_run(),
        "tokens": hourly(450),
    })))
    .await?;
    let client = client(Protocol::Http1);
    let mut decisions = Vec::new();
    for id in ["1", "2", "3", "4", "5", "6"] {
        let chat = Chat::default().header(CALLER, "alice");
        let entry = metered.exchange(&client, id, chat).await?.entry;
        let of = |key| entry.tollgate(key).map(str::to_owned);
        decisions.push((entry.status(), of("decision"), of("limit")));
    }
    let decision = |status, decision: &str, limit: Option<&str>| {
        (status, Some(decision.to_owned()), limit.map(str::to_owned))
    };
    let admitted = decision(200, "admitted", None);
    let shadow = decision(200, "shadow_denied", Some("trial"));
    let expected = [
        admitted.clone(),
        admitted.clone(),
        admitted,
        shadow.clone(),
        shadow,
        decision(429, "denied", Some("tokens")),
    ];
    assert_eq!(decisions, expected);
    assert_eq!(metered.llm.requests(), 5);
    metered.check().await?;
    Ok(())
}

#[tokio::test]
async fn alert_sets_header_metric_and_log_line() -> TestResult {
    let tokens = hourly_with(250, json!({ "alertAt": 0.8 }));
    let metered = Metered::start(configuration(json!({ "tokens": tokens }))).await?;
    for (protocol, callers) in Protocol::ALL.into_iter().zip(1..) {
        let client = client(protocol);
        let mut alerts = Vec::new();
        for number in 0..4 {
            let chat = Chat::default().header(CALLER, format!("{protocol:?}"));
            let id = format!("{protocol:?} {number}");
            let exchange = metered.exchange(&client, &id, chat).await?;
            let alert = exchange.headers.get("x-ratelimit-alert");
            let alert = alert.map(|alert| alert.to_str().unwrap_or_default().to_owned());
            alerts.push((exchange.status.as_u16(), alert));
        }
        // The second request uses 200 of 250 in all; the response to the third has the alert.
        let alert = Some("\"tokens\"".to_owned());
        assert_eq!(alerts[..3], [(200, None), (200, None), (200, alert)]);
        assert_eq!(alerts[3].0, 429);
        // Once per caller.
        let alerts = "alerts.policy=default/llm.limit=tokens";
        wait_for_metric(&metered.envoy, alerts, callers).await?;
        let log = metered.envoy.logs()?;
        let lines = log.lines().filter(|line| line.contains("limit_alert "));
        assert_eq!(lines.count() as u64, callers, "{log}");
    }
    metered.check().await?;
    Ok(())
}
