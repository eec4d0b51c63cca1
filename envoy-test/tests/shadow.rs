//! Limits that tell and do not refuse, and what a request holds by reservation.

use std::error::Error;

use envoy_test::{
    client::{Chat, Protocol, client},
    envoy::Envoy,
    metered::{CALLER, Metered, configuration},
};
use serde_json::{Value, json};

type Outcome = Result<(), Box<dyn Error>>;

/// The one limit `tokens` of 250 an hour for each caller, with these fields besides.
fn limit(fields: Value) -> Value {
    let mut limit = json!({
        "rates": [{ "limit": 250, "window": "1h" }],
        "counters": [{ "expression": "auth.identity.userid" }],
    });
    if let (Value::Object(limit), Value::Object(fields)) = (&mut limit, fields) {
        limit.extend(fields);
    }
    limit
}

async fn stat(envoy: &Envoy, name: &str) -> Result<u64, Box<dyn Error>> {
    Ok(envoy.stat(&format!("wasmcustom.tollgate.{name}")).await?)
}

#[tokio::test]
async fn a_limit_in_shadow_counts_and_refuses_nobody() -> Outcome {
    let metered = Metered::start(configuration(json!({
        "trial": limit(json!({ "shadow": true })),
    })))
    .await?;
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
            // It is counted, whatever the limit would have had.
            assert_eq!(entry.tollgate_number("total_tokens"), Some(100), "{id}");
        }
    }
    assert_eq!(stat(&metered.envoy, "requests.decision=admitted").await?, 6);
    let denied = "requests.decision=shadow_denied.policy=default/llm.limit=trial";
    assert_eq!(stat(&metered.envoy, denied).await?, 4);
    metered.check().await?;
    Ok(())
}

#[tokio::test]
async fn a_limit_in_shadow_leaves_the_others_in_force() -> Outcome {
    let mut strict = limit(json!({}));
    strict["rates"][0]["limit"] = json!(450);
    let metered = Metered::start(configuration(json!({
        "trial": limit(json!({ "shadow": true })),
        "tokens": strict,
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
async fn nearing_a_limit_is_told_in_header_metric_and_log() -> Outcome {
    let metered = Metered::start(configuration(json!({
        "tokens": limit(json!({ "alertAt": 0.8 })),
    })))
    .await?;
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
        // The second request brings its caller to 200 of 250, which the third is told.
        let told = Some("\"tokens\"".to_owned());
        assert_eq!(alerts[..3], [(200, None), (200, None), (200, told)]);
        assert_eq!(alerts[3].0, 429);
        let counted = stat(&metered.envoy, "alerts.policy=default/llm.limit=tokens").await?;
        assert_eq!(counted, callers, "once a caller");
        let log = metered.envoy.logs()?;
        let lines = log.lines().filter(|line| line.contains("nearly used up"));
        assert_eq!(lines.count() as u64, callers, "{log}");
    }
    metered.check().await?;
    Ok(())
}

#[tokio::test]
async fn a_reservation_says_what_a_request_holds() -> Outcome {
    let cases = [
        ("100", 2),
        ("251", 1),
        ("int(request.headers['x-held'])", 4),
        // The request allows its answer 100 tokens.
        ("llm.?max_output_tokens.orValue(1000)", 2),
        // With nothing held, nothing is in the way of those at once.
        ("0", 10),
    ];
    let limits = cases.iter().enumerate().map(|(number, (amount, _))| {
        let fields = json!({
            "reservation": { "amount": amount, "ttl": "30s" },
            "when": [{ "predicate": format!("request.headers['x-limit'] == '{number}'") }],
        });
        (format!("limit-{number}"), limit(fields))
    });
    let metered = Metered::start(configuration(limits.collect())).await?;
    let client = client(Protocol::Http2);
    for (number, (amount, admitted)) in cases.into_iter().enumerate() {
        let held = Chat::default()
            .stream(true)
            .header(CALLER, "alice")
            .header("x-limit", number)
            .header("x-held", 60)
            .header("x-mock-hold-after", 2);
        let mut responses = Vec::new();
        while responses.len() < 10 {
            let response = held.send(&client, metered.envoy.address()).await?;
            if response.status() != 200 {
                assert_eq!(response.status(), 429, "{amount}");
                break;
            }
            responses.push(response);
        }
        assert_eq!(responses.len(), admitted, "{amount}");
    }
    metered.check().await?;
    Ok(())
}
