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
