//! `onExceeded`: over-limit requests are queued, sent to another model, or allowed.

use std::error::Error;

use envoy_test::{
    client::{Chat, Protocol, client},
    metered::{CALLER, Metered, configuration},
};
use reqwest::Client;
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use crate::{
    fixtures::{FALLBACK_OUTCOMES, fallbacks, hourly_with},
    support::{
        TestResult, balance_connections, metric, send_as, silent_chat, spawn_chat, spawn_chat_as,
        start_holding_headers, wait_for_metric,
    },
};

async fn start(configuration: Value, hold_headers: bool) -> Result<Metered, Box<dyn Error>> {
    start_holding_headers(configuration, hold_headers, |builder| {
        balance_connections(builder.concurrency(2))
    })
    .await
}

/// One request of each caller at a time; each worker queues up to `depth` others for `timeout`.
fn one_in_flight(depth: u64, timeout: &str) -> Value {
    configuration(json!({
        "one": {
            "concurrency": 1,
            "counters": [{ "expression": "auth.identity.userid" }],
            "onExceeded": { "queue": { "depth": depth, "timeout": timeout } },
        },
    }))
}

#[tokio::test]
async fn queued_request_proceeds_when_slot_is_released() -> TestResult {
    for hold_headers in [false, true] {
        let metered = start(one_in_flight(4, "10m"), hold_headers).await?;
        for (round, protocol) in Protocol::ALL.into_iter().enumerate() {
            // Each has a connection of its own, so both workers have some of them.
            let clients: Vec<Client> = (0..4).map(|_| client(protocol)).collect();
            let [one, two, three, four] = &clients[..] else {
                return Err("four clients".into());
            };
            let id = |name: &str| format!("{hold_headers} {round} {name}");
            let before = metered.llm.requests();
            let first = spawn_chat(&metered, one, &id("first"), silent_chat());
            metered.llm.wait_for_requests(before + 1).await?;
            let second = spawn_chat(&metered, two, &id("second"), Chat::default());
            let third = Chat::default().stream(false);
            let third = spawn_chat(&metered, three, &id("third"), third);
            let fourth = spawn_chat(&metered, four, &id("fourth"), Chat::default());
            wait_for_metric(&metered.envoy, "queued", 3).await?;
            fourth.abort();
            wait_for_metric(&metered.envoy, "queued", 2).await?;
            let entry = metered.envoy.logged(&id("fourth")).await?;
            assert_eq!(entry.tollgate("decision"), Some("abandoned"), "{entry:?}");
            assert_eq!(metered.llm.requests(), before + 1);

            first.abort();
            for (name, response) in [("second", second), ("third", third)] {
                let response = response.await??;
                assert_eq!(response.status(), 200, "{name}");
                response.bytes().await?;
                let entry = metered.envoy.logged(&id(name)).await?;
                assert_eq!(entry.tollgate("decision"), Some("queued"), "{entry:?}");
                assert_eq!(entry.tollgate("limit"), Some("one"));
                assert_eq!(entry.tollgate_number("total_tokens"), Some(100));
            }
            wait_for_metric(&metered.envoy, "queued", 0).await?;
        }
        metered.check().await?;
    }
    Ok(())
}

#[tokio::test]
async fn full_queue_and_queue_timeout_reject() -> TestResult {
    for hold_headers in [false, true] {
        let metered = start(one_in_flight(1, "2s"), hold_headers).await?;
        let http2 = client(Protocol::Http2);
        let first = spawn_chat(&metered, &http2, "first", silent_chat());
        metered.llm.wait_for_requests(1).await?;
        // Connections are distributed to the two workers in turn: of four requests, two exceed the depth.
        let clients: Vec<Client> = (0..4).map(|_| client(Protocol::Http1)).collect();
        let responses: Vec<_> = clients
            .iter()
            .enumerate()
            .map(|(index, client)| {
                spawn_chat(&metered, client, &format!("other {index}"), Chat::default())
            })
            .collect();
        for (index, response) in responses.into_iter().enumerate() {
            let response = response.await??;
            assert_eq!(response.status(), 429);
            assert!(response.headers().contains_key("retry-after"));
            let body: Value = response.json().await?;
            assert!(body["error"]["message"].is_string(), "{body}");
            let entry = metered.envoy.logged(&format!("other {index}")).await?;
            assert_eq!(entry.tollgate("decision"), Some("denied"), "{entry:?}");
        }
        wait_for_metric(&metered.envoy, "queued", 0).await?;
        assert_eq!(metered.llm.requests(), 1);
        first.abort();
        metered.envoy.logged("first").await?;
        let http1 = client(Protocol::Http1);
        let after = spawn_chat(&metered, &http1, "after", Chat::default());
        assert_eq!(after.await??.status(), 200);
        metered.check().await?;
    }
    Ok(())
}

/// The places of one worker.
const PLACES: u64 = 1024;

/// The keys among which a caller divides them: the first request of each is checked again all the time.
const KEYS: u64 = 16;

#[tokio::test]
async fn caller_with_many_keys_leaves_places() -> TestResult {
    let depth = PLACES / KEYS;
    let queue = json!({ "queue": { "depth": depth, "timeout": "10m" } });
    let metered = start_holding_headers(
        configuration(json!({
            "keys": {
                "requests": [{ "limit": 0, "window": "1h" }],
                "when": [{ "predicate": "auth.identity.userid == 'mallory'" }],
                "counters": [{ "expression": "request.headers['x-key']" }],
                "onExceeded": queue,
            },
            "one": {
                "concurrency": 1,
                "when": [{ "predicate": "auth.identity.userid == 'alice'" }],
                "counters": [{ "expression": "auth.identity.userid" }],
                "onExceeded": queue,
            },
        })),
        // Otherwise the upstream has all of their headers already.
        true,
        |builder| builder,
    )
    .await?;
    // No window admits them.
    let clients: Vec<Client> = (0..KEYS).map(|_| client(Protocol::Http2)).collect();
    let mut waiting = Vec::new();
    for (key, client) in clients.iter().enumerate() {
        for number in 0..depth {
            let id = format!("mallory {key} {number}");
            let chat = Chat::default().header("x-key", key);
            waiting.push(spawn_chat_as(&metered, client, "mallory", &id, chat));
        }
    }
    wait_for_metric(&metered.envoy, "queued", PLACES).await?;
    let chat = Chat::default().header("x-key", 0);
    let status = send_as(&metered, "mallory", &chat).await?;
    assert_eq!(status, 429, "no place is free");

    let before = metered.llm.requests();
    let http1 = client(Protocol::Http1);
    let first = spawn_chat(&metered, &http1, "first", silent_chat());
    metered.llm.wait_for_requests(before + 1).await?;
    let second = spawn_chat(&metered, &http1, "second", Chat::default());
    let rejected = "requests.decision=denied.policy=default/llm.limit=keys";
    wait_for_metric(&metered.envoy, rejected, 2).await?;
    assert_eq!(metric(&metered.envoy, "queued").await?, PLACES);
    first.abort();
    assert_eq!(second.await??.status(), 200);
    let entry = metered.envoy.logged("second").await?;
    assert_eq!(entry.tollgate("decision"), Some("queued"), "{entry:?}");
    wait_for_metric(&metered.envoy, "queued", PLACES - 1).await?;

    let (gone, waiting): (Vec<_>, Vec<_>) = waiting.into_iter().partition(JoinHandle::is_finished);
    assert_eq!(gone.len(), 1, "one has lost its place");
    for response in gone {
        assert_eq!(response.await??.status(), 429);
    }
    for request in waiting {
        request.abort();
    }
    wait_for_metric(&metered.envoy, "queued", 0).await?;
    metered.check().await?;
    Ok(())
}

#[tokio::test]
async fn over_limit_request_falls_back_to_another_model() -> TestResult {
    let metered = start(fallbacks(), true).await?;
    for protocol in Protocol::ALL {
        for stream in [false, true] {
            let client = client(protocol);
            let caller = format!("{protocol:?} {stream}");
            let chat = Chat::default().field("model", "large");
            let chat = if stream { chat.stream(false) } else { chat };
            let chat = chat.header(CALLER, &caller);
            for (number, (status, decision, model)) in FALLBACK_OUTCOMES.into_iter().enumerate() {
                let id = format!("{caller} {number}");
                let exchange = metered.exchange(&client, &id, chat.clone()).await?;
                assert_eq!(exchange.status, status, "{id}");
                let entry = &exchange.entry;
                assert_eq!(entry.tollgate("decision"), Some(decision), "{id}");
                let header = exchange.headers.get("x-tollgate-alternative");
                let header = header.map(|header| header.to_str().unwrap_or_default());
                assert_eq!(header, (decision == "alternative").then_some(model), "{id}");
                if status != 200 {
                    continue;
                }
                assert_eq!(entry.tollgate_number("total_tokens"), Some(100), "{id}");
                let received = metered.llm.last_request().ok_or("no request")?;
                let mut body: Value = serde_json::from_slice(&received.body)?;
                assert_eq!(body["model"], model, "{id}");
                assert_eq!(
                    received.headers.contains_key("x-to"),
                    decision == "alternative"
                );
                // Nothing else is changed, but for the usage report that the filter adds to every stream.
                body["model"] = json!("large");
                if stream {
                    assert_eq!(body["stream_options"]["include_usage"], true, "{id}");
                    let fields = body.as_object_mut().ok_or("no object")?;
                    fields.remove("stream_options");
                }
                assert_eq!(&body, chat.body(), "{id}");
            }
        }
    }
    metered.check().await?;
    Ok(())
}

#[tokio::test]
async fn report_only_limit_sets_alert_header() -> TestResult {
    let tokens = hourly_with(150, json!({ "onExceeded": "allow" }));
    let metered = start(configuration(json!({ "tokens": tokens })), false).await?;
    let client = client(Protocol::Http1);
    let mut alerts = Vec::new();
    for id in ["1", "2", "3", "4"] {
        let chat = Chat::default().header(CALLER, "alice");
        let exchange = metered.exchange(&client, id, chat).await?;
        assert_eq!(exchange.status, 200);
        assert_eq!(exchange.entry.tollgate("decision"), Some("admitted"));
        alerts.push(exchange.headers.contains_key("x-ratelimit-alert"));
    }
    assert_eq!(alerts, [false, false, true, true]);
    let alerts = "alerts.policy=default/llm.limit=tokens";
    wait_for_metric(&metered.envoy, alerts, 1).await?;
    metered.check().await?;
    Ok(())
}
