//! What becomes of a request that a limit has no room for: it waits, asks another model, or goes on.

use std::error::Error;

use envoy_test::{
    client::{Chat, Protocol, client},
    filters::Tollgate,
    metered::{CALLER, Metered, configuration},
};
use reqwest::{Client, Response};
use serde_json::{Value, json};
use tokio::task::JoinHandle;

type Outcome = Result<(), Box<dyn Error>>;

/// How many requests wait.
const QUEUED: &str = "wasmcustom.tollgate.queued";

async fn start(mut configuration: Value, holds: bool) -> Result<Metered, Box<dyn Error>> {
    configuration["holdHeaders"] = json!(holds);
    let tollgate = Tollgate::new(configuration).holds_headers(holds);
    let metered = Metered::build(json!({}), |builder| {
        let builder = builder.tollgate(tollgate).concurrency(2);
        // Every worker gets as many connections as the next.
        builder.edit_listener(|listener| {
            listener["connection_balance_config"] = json!({ "exact_balance": {} });
        })
    });
    Ok(metered.await?)
}

/// One request at once for each caller; others wait so long for it, so many at each worker.
fn one_at_once(depth: u64, timeout: &str) -> Value {
    configuration(json!({
        "one": {
            "concurrency": 1,
            "counters": [{ "expression": "auth.identity.userid" }],
            "onExceeded": { "queue": { "depth": depth, "timeout": timeout } },
        },
    }))
}

/// Asks in the background; the client leaves when the task is aborted.
fn ask(
    metered: &Metered,
    client: &Client,
    id: &str,
    chat: Chat,
) -> JoinHandle<reqwest::Result<Response>> {
    let chat = chat.header(CALLER, "alice").header("x-test-id", id);
    let request = chat.request(client, metered.envoy.address());
    tokio::spawn(request.send())
}

/// A chat that the provider has and never answers.
fn endless() -> Chat {
    Chat::default().header("x-mock-silent", 1)
}

async fn queued(metered: &Metered, waiting: u64) -> Outcome {
    let stat = metered
        .envoy
        .wait_for_stat(QUEUED, |queued| queued == waiting);
    stat.await?;
    Ok(())
}

#[tokio::test]
async fn requests_wait_until_there_is_room_or_they_leave() -> Outcome {
    for holds in [false, true] {
        let metered = start(one_at_once(4, "1m"), holds).await?;
        for (round, protocol) in Protocol::ALL.into_iter().enumerate() {
            // Each has a connection of its own, so both workers have some of them.
            let clients: Vec<Client> = (0..4).map(|_| client(protocol)).collect();
            let [one, two, three, four] = &clients[..] else {
                return Err("four clients".into());
            };
            let id = |name: &str| format!("{holds} {round} {name}");
            let before = metered.llm.requests();
            let first = ask(&metered, one, &id("first"), endless());
            metered.llm.wait_for_requests(before + 1).await?;
            let second = ask(&metered, two, &id("second"), Chat::default());
            let third = ask(&metered, three, &id("third"), Chat::default().stream(false));
            let fourth = ask(&metered, four, &id("fourth"), Chat::default());
            queued(&metered, 3).await?;
            fourth.abort();
            queued(&metered, 2).await?;
            let entry = metered.envoy.logged(&id("fourth")).await?;
            assert_eq!(entry.tollgate("decision"), None, "{entry:?}");
            assert_eq!(metered.llm.requests(), before + 1);

            first.abort();
            for (name, asking) in [("second", second), ("third", third)] {
                let answer = asking.await??;
                assert_eq!(answer.status(), 200, "{name}");
                answer.bytes().await?;
                let entry = metered.envoy.logged(&id(name)).await?;
                assert_eq!(entry.tollgate("decision"), Some("queued"), "{entry:?}");
                assert_eq!(entry.tollgate("limit"), Some("one"));
                assert_eq!(entry.tollgate_number("total_tokens"), Some(100));
            }
            queued(&metered, 0).await?;
        }
        metered.check().await?;
    }
    Ok(())
}

#[tokio::test]
async fn who_waits_in_vain_or_finds_no_place_is_refused() -> Outcome {
    for holds in [false, true] {
        let metered = start(one_at_once(1, "2s"), holds).await?;
        let first = ask(&metered, &client(Protocol::Http2), "first", endless());
        metered.llm.wait_for_requests(1).await?;
        // Connections go to the two workers in turn: of four at once, two find no place.
        let clients: Vec<Client> = (0..4).map(|_| client(Protocol::Http1)).collect();
        let asking: Vec<_> = clients
            .iter()
            .enumerate()
            .map(|(index, client)| {
                ask(&metered, client, &format!("other {index}"), Chat::default())
            })
            .collect();
        for (index, asking) in asking.into_iter().enumerate() {
            let answer = asking.await??;
            assert_eq!(answer.status(), 429);
            assert!(answer.headers().contains_key("retry-after"));
            let body: Value = answer.json().await?;
            assert!(body["error"]["message"].is_string(), "{body}");
            let entry = metered.envoy.logged(&format!("other {index}")).await?;
            assert_eq!(entry.tollgate("decision"), Some("denied"), "{entry:?}");
        }
        queued(&metered, 0).await?;
        assert_eq!(metered.llm.requests(), 1);
        first.abort();
        metered.envoy.logged("first").await?;
        let after = ask(&metered, &client(Protocol::Http1), "after", Chat::default());
        assert_eq!(after.await??.status(), 200);
        metered.check().await?;
    }
    Ok(())
}

#[tokio::test]
async fn another_model_is_asked_where_the_first_has_no_room() -> Outcome {
    let limit = |model: &str, tokens: u64, action: Value| {
        json!({
            "when": [{ "predicate": format!("llm.model == '{model}'") }],
            "rates": [{ "limit": tokens, "window": "1h" }],
            "counters": [{ "expression": "auth.identity.userid" }],
            "onExceeded": action,
        })
    };
    let alternatives = json!({ "alternatives": [
        { "model": "middle" },
        { "model": "small-and-cheap", "headers": { "x-to": "elsewhere" } },
    ] });
    let metered = start(
        configuration(json!({
            "large": limit("large", 100, alternatives),
            "middle": limit("middle", 0, json!("deny")),
            "small": limit("small-and-cheap", 200, json!("deny")),
        })),
        true,
    )
    .await?;
    for protocol in Protocol::ALL {
        for stream in [false, true] {
            let client = client(protocol);
            let caller = format!("{protocol:?} {stream}");
            let chat = Chat::default().field("model", "large");
            let chat = if stream { chat.stream(false) } else { chat };
            let chat = chat.header(CALLER, &caller);
            for (number, (status, decision, model)) in [
                (200, "admitted", "large"),
                (200, "alternative", "small-and-cheap"),
                (200, "alternative", "small-and-cheap"),
                (429, "denied", ""),
            ]
            .into_iter()
            .enumerate()
            {
                let id = format!("{caller} {number}");
                let exchange = metered.exchange(&client, &id, chat.clone()).await?;
                assert_eq!(exchange.status, status, "{id}");
                let entry = &exchange.entry;
                assert_eq!(entry.tollgate("decision"), Some(decision), "{id}");
                let told = exchange.headers.get("x-tollgate-alternative");
                let told = told.map(|told| told.to_str().unwrap_or_default());
                assert_eq!(told, (decision == "alternative").then_some(model), "{id}");
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
                // The rest is as it was, but for the report that every stream is asked for.
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
async fn a_limit_that_allows_more_tells_of_it() -> Outcome {
    let metered = start(
        configuration(json!({
            "tokens": {
                "rates": [{ "limit": 150, "window": "1h" }],
                "counters": [{ "expression": "auth.identity.userid" }],
                "onExceeded": "allow",
            },
        })),
        false,
    )
    .await?;
    let client = client(Protocol::Http1);
    let mut told = Vec::new();
    for id in ["1", "2", "3", "4"] {
        let chat = Chat::default().header(CALLER, "alice");
        let exchange = metered.exchange(&client, id, chat).await?;
        assert_eq!(exchange.status, 200);
        assert_eq!(exchange.entry.tollgate("decision"), Some("admitted"));
        told.push(exchange.headers.contains_key("x-ratelimit-alert"));
    }
    assert_eq!(told, [false, false, true, true]);
    let alerts = "wasmcustom.tollgate.alerts.policy=default/llm.limit=tokens";
    assert_eq!(metered.envoy.stat(alerts).await?, 1);
    metered.check().await?;
    Ok(())
}
