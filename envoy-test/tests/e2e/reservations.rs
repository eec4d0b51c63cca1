//! Reservations: the amount that a request in flight reserves.

use envoy_test::{
    client::{Chat, Protocol, client},
    metered::{CALLER, Metered, configuration},
};
use serde_json::json;

use crate::{fixtures::hourly_with, support::TestResult};

#[tokio::test]
async fn reservation_bounds_concurrent_requests() -> TestResult {
    let cases = [
        ("100", 2),
        ("251", 1),
        ("int(request.headers['x-amount'])", 4),
        // The request has `max_tokens: 100`.
        ("llm.?max_output_tokens.orValue(1000)", 2),
        // Without reservations, any number of concurrent requests is admitted.
        ("0", 10),
    ];
    let limits = cases.iter().enumerate().map(|(number, (amount, _))| {
        let fields = json!({
            "reservation": { "amount": amount, "ttl": "1h" },
            "when": [{ "predicate": format!("request.headers['x-limit'] == '{number}'") }],
        });
        (format!("limit-{number}"), hourly_with(250, fields))
    });
    let metered = Metered::start(configuration(limits.collect())).await?;
    let client = client(Protocol::Http2);
    for (number, (amount, admitted)) in cases.into_iter().enumerate() {
        let open = Chat::default()
            .stream(true)
            .header(CALLER, "alice")
            .header("x-limit", number)
            .header("x-amount", 60)
            .header("x-mock-hold-after", 2);
        let mut responses = Vec::new();
        while responses.len() < 10 {
            let response = open.send(&client, metered.envoy.address()).await?;
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

#[tokio::test]
async fn claimed_output_leaves_room_for_others() -> TestResult {
    // One limit that all callers share, and another in which one request reserves little.
    let rates = |limit: u64| json!([{ "limit": limit, "window": "1h" }]);
    let predicate =
        |path: &str| json!([{ "predicate": format!("request.headers['x-limit'] == '{path}'") }]);
    let metered = Metered::start(configuration(json!({
        "shared": { "rates": rates(500_000), "when": predicate("shared") },
        "small": {
            "rates": rates(5_000),
            "when": predicate("small"),
            "reservation": { "max": 2_000 },
        },
        "claimed": {
            "rates": rates(500_000),
            "when": predicate("claimed"),
            "reservation": { "amount": "int(request.headers['x-amount'])" },
        },
    })))
    .await?;
    let client = client(Protocol::Http2);
    for limit in ["shared", "small", "claimed"] {
        let chat = Chat::default().header("x-limit", limit);
        let open = chat
            .clone()
            .field("max_tokens", 1_u64 << 53)
            .field("n", 128)
            .stream(true)
            .header(CALLER, "mallory")
            .header("x-amount", 1_u64 << 53)
            .header("x-mock-hold-after", 2);
        let held = open.send(&client, metered.envoy.address()).await?;
        assert_eq!(held.status(), 200, "{limit}");
        let victim = chat.header(CALLER, "alice").header("x-amount", 100);
        let response = victim.send(&client, metered.envoy.address()).await?;
        assert_eq!(response.status(), 200, "{limit}");
        response.bytes().await?;
        drop(held);
    }
    metered.check().await?;
    Ok(())
}
