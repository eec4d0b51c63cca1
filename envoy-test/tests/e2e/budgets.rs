//! Budgets in US dollars.

use envoy_test::{
    client::{Chat, Protocol, client},
    llm::MODEL,
    metered::{CALLER, Metered, configuration},
};
use serde_json::json;

use crate::{
    fixtures::completion,
    support::{TestResult, wait_for_metric},
};

/// A chat of 1000 input tokens, 400 of them cached, and 100 output tokens.
fn chat(caller: &str, model: &str) -> Chat {
    let usage = json!({
        "prompt_tokens": 1000, "completion_tokens": 100, "total_tokens": 1100,
        "prompt_tokens_details": { "cached_tokens": 400 },
    });
    Chat::default()
        .field("model", model)
        .header(CALLER, caller)
        .header("x-mock-raw", completion(model, "hi", &usage))
}

#[tokio::test]
async fn budget_is_exact_to_the_billionth() -> TestResult {
    let mut policy = configuration(json!({ "each": {
        "budgets": [
            { "usd": "0.01", "window": "24h", "algorithm": "sliding" },
            { "usd": 5, "window": "30d", "algorithm": "calendar" },
        ],
        "counters": [{ "expression": "auth.identity.userid" }],
    } }));
    policy["pricing"] = json!({
        MODEL: { "input": 2.5, "cachedInput": "1.25", "output": 30.0025 },
        "other-*": { "input": 1, "output": 1 },
    });
    let metered = Metered::start(policy).await?;
    let client = client(Protocol::Http1);
    let budget = |headers: &reqwest::header::HeaderMap| {
        ["limit", "used", "remaining"].map(|name| {
            let header = headers.get(format!("x-budget-{name}"));
            header
                .and_then(|value| value.to_str().ok())
                .map(str::to_owned)
        })
    };
    // 600 * 2500 + 400 * 1250 + 100 * 30002.5 billionths.
    for (id, used, remaining) in [("1", "0.00", "0.01"), ("2", "0.00500025", "0.00499975")] {
        let exchange = metered.exchange(&client, id, chat("alice", MODEL)).await?;
        assert_eq!(exchange.status, 200, "{id}");
        assert_eq!(exchange.entry.tollgate("usd"), Some("0.00500025"), "{id}");
        let expected = ["0.01", used, remaining].map(|text| Some(text.to_owned()));
        assert_eq!(budget(&exchange.headers), expected, "{id}");
    }
    let rejected = metered.exchange(&client, "3", chat("alice", MODEL)).await?;
    assert_eq!(rejected.status, 429);
    let expected = ["0.01", "0.0100005", "0.00"].map(|text| Some(text.to_owned()));
    assert_eq!(budget(&rejected.headers), expected);
    let body = String::from_utf8_lossy(&rejected.body);
    assert!(body.contains("0.01 USD per 24h"), "{body}");
    // Another caller and price, then a model without a price.
    let other = metered
        .exchange(&client, "4", chat("bob", "other-7b"))
        .await?;
    assert_eq!(other.entry.tollgate("usd"), Some("0.0011"));
    let unpriced = metered
        .exchange(&client, "5", chat("bob", "unknown"))
        .await?;
    assert_eq!(unpriced.status, 403);
    let cost = format!("usd_billionths.model={}", MODEL.replace('.', "_"));
    wait_for_metric(&metered.envoy, &cost, 2 * 5_000_250).await?;
    metered.check().await?;
    Ok(())
}
