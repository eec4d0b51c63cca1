//! Cost expressions, per-caller limits and request limits, and the metered cost as `hits_addend` of Envoy's own rate
//! limit filter.

use envoy_test::{
    client::{Chat, Protocol, client},
    metered::{CALLER, Metered, configuration},
    remote,
};
use integration::Limitador;
use serde_json::{Value, json};

use crate::{fixtures::hourly_with, support::TestResult};

/// A chat of 30 input and 20 output tokens.
fn chat(caller: &str) -> Chat {
    Chat::default()
        .header(CALLER, caller)
        .header("x-mock-prompt-tokens", 30)
        .header("x-mock-completion-tokens", 20)
}

/// A limit of `tokens` an hour for each caller, with a cost expression and without reservations.
fn limit(cost: &str, tokens: u64) -> Value {
    hourly_with(
        tokens,
        json!({ "cost": cost, "reservation": { "amount": "0" } }),
    )
}

#[tokio::test]
async fn cost_expression_selects_tokens_to_charge() -> TestResult {
    let metered = Metered::start(configuration(json!({
        "input": limit("usage.input_tokens", 60),
        "output": limit("usage.output_tokens", 80),
        // The variables of Envoy AI Gateway, and a request header, which Envoy has discarded when the cost is computed.
        "weighted": limit(
            r#"input_tokens + output_tokens * (request.headers[?"x-tier"] == optional.of("gold") ? 1 : 4.5)"#,
            200,
        ),
    })))
    .await?;
    let client = client(Protocol::Http1);
    // Two exchanges exhaust `input`, but not `output`; `weighted` charges 120 for each, or 50 for gold.
    for (caller, tier, exhausted) in [("alice", "free", "weighted"), ("bob", "gold", "input")] {
        for stream in [false, true] {
            let id = format!("{caller} {stream}");
            let chat = chat(caller).header("x-tier", tier);
            let chat = if stream { chat.stream(true) } else { chat };
            let exchange = metered.exchange(&client, &id, chat).await?;
            assert_eq!(exchange.status, 200, "{id}");
            assert_eq!(exchange.entry.tollgate_number("total_tokens"), Some(50));
        }
        let id = format!("{caller} rejected");
        let entry = metered.exchange(&client, &id, chat(caller)).await?.entry;
        assert_eq!(entry.status(), 429);
        // The limit with the longest wait rejects: here all of them wait an hour.
        let limit = entry.tollgate("limit").unwrap_or_default();
        assert!(limit == exhausted || limit == "input", "{limit}");
    }
    metered.check().await?;
    Ok(())
}

#[tokio::test]
async fn request_may_carry_limit_and_skip_rules() -> TestResult {
    let rule = |key: &str, limit: Value| {
        let mut rate = json!({ "window": "1h" });
        for (name, value) in limit.as_object().into_iter().flatten() {
            rate[name] = value.clone();
        }
        json!({
            "rates": [rate],
            "counters": [{ "expression": format!("request.headers[{key:?}]") }],
            "whenMissing": "skip",
        })
    };
    let count = r#"int(request.headers[?"x-custom-count"].orValue("500"))"#;
    let metered = Metered::start(configuration(json!({
        "subscription": rule("x-subscription-id", json!({ "limit": count, "max": 1000 })),
        "trial": rule("x-trial-id", json!({ "limit": 50 })),
        "tier": {
            "rates": [{ "limit": r#"{"free": 40, "gold": 100}[auth.identity.groups]"#, "window": "1h" }],
            "when": [{ "predicate": "has(auth.identity.groups)" }],
        },
    })))
    .await?;
    let client = client(Protocol::Http2);
    for (id, headers, expected) in [
        ("none", [("x-other", "a"), ("x-b", "b")], None),
        (
            "default",
            [("x-subscription-id", "a"), ("x-b", "b")],
            Some("500"),
        ),
        (
            "custom",
            [("x-subscription-id", "b"), ("x-custom-count", "10")],
            Some("10"),
        ),
        (
            "bounded",
            [("x-subscription-id", "c"), ("x-custom-count", "99999")],
            Some("1000"),
        ),
        ("trial", [("x-trial-id", "a"), ("x-b", "b")], Some("50")),
        ("gold", [("x-groups", "gold"), ("x-b", "b")], Some("100")),
    ] {
        let mut chat = chat("alice");
        for (name, value) in headers {
            chat = chat.header(name, value);
        }
        let exchange = metered.exchange(&client, id, chat.clone()).await?;
        assert_eq!(exchange.status, 200, "{id}");
        let header = exchange.headers.get("x-ratelimit-limit");
        let header = header.and_then(|header| header.to_str().ok()?.split(',').next());
        assert_eq!(header, expected, "{id}");
        // The first exchange used 50 tokens.
        let is_exhausted = matches!(expected, Some("10" | "50"));
        let id = format!("{id} again");
        let again = metered.exchange(&client, &id, chat).await?;
        assert_eq!(again.status, if is_exhausted { 429 } else { 200 }, "{id}");
    }
    let chat = chat("alice")
        .header("x-subscription-id", "d")
        .header("x-custom-count", "many");
    let failed = metered.exchange(&client, "failed", chat).await?;
    assert_eq!(
        failed.status, 500,
        "an invalid limit must not disable the rule"
    );
    metered.check().await?;
    Ok(())
}

#[tokio::test]
async fn request_limit_applies_beside_token_limit() -> TestResult {
    let few = hourly_with(
        1_000,
        json!({ "requests": [{ "limit": 2, "window": "1h" }] }),
    );
    let metered = Metered::start(configuration(json!({ "few": few }))).await?;
    let client = client(Protocol::Http1);
    for (id, status) in [("1", 200), ("2", 200), ("3", 429)] {
        let exchange = metered
            .exchange(&client, id, chat("alice").stream(true))
            .await?;
        assert_eq!(exchange.status, status, "{id}");
        if status == 429 {
            let body = String::from_utf8_lossy(&exchange.body);
            assert!(body.contains("2 requests per 1h"), "{body}");
        }
    }
    metered.check().await?;
    Ok(())
}

#[tokio::test]
async fn envoy_rate_limit_filter_adds_metered_cost() -> TestResult {
    const DOMAIN: &str = "llm";
    // Each exchange adds 1 when it starts and 70 when it ends: three fit. The service does not add an amount that
    // exceeds the limit, so that the third must fit exactly.
    let limits = json!([remote::limit(DOMAIN, "user", 213, 3600)]);
    let service = Limitador::start(&limits.to_string()).await?;
    let address = service.address();
    // No limit of the filter itself applies.
    let mut policy = configuration(json!({ "none": {
        "rates": [{ "limit": 0, "window": "1h" }],
        "when": [{ "predicate": "false" }],
    } }));
    policy["export"] = json!({ "total": "input_tokens + output_tokens * 2" });
    policy["hitsAddend"] = json!("total");
    let actions =
        json!([{ "request_headers": { "header_name": CALLER, "descriptor_key": "user" } }]);
    let metered = Metered::build(policy, |builder| {
        let on_done = json!({ "actions": actions.clone(), "apply_on_stream_done": true });
        builder
            .rate_limit(address, DOMAIN, actions)
            .edit_listener(move |listener| {
                let limits = "/filter_chains/0/filters/0/typed_config/route_config/virtual_hosts/0/rate_limits";
                let limits = listener.pointer_mut(limits).and_then(Value::as_array_mut);
                limits.expect("the rate limits of the host").push(on_done.clone());
            })
    })
    .await?;
    let client = client(Protocol::Http1);
    for (id, status) in [("1", 200), ("2", 200), ("3", 200), ("4", 429)] {
        let stream = id == "2";
        let chat = chat("alice");
        let chat = if stream { chat.stream(true) } else { chat };
        let exchange = metered.exchange(&client, id, chat).await?;
        assert_eq!(exchange.status, status, "{id}");
        if status == 200 {
            assert_eq!(exchange.entry.tollgate("cost.total"), Some("70"), "{id}");
        }
    }
    let other = metered.exchange(&client, "bob", chat("bob")).await?;
    assert_eq!(other.status, 200);
    metered.check().await?;
    Ok(())
}
