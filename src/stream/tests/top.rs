//! Lists of the largest counters at the usage endpoint.

use crate::host::double::Call;
use crate::host::{HeaderMap, HostError};
use crate::plugin::Plugin;
use crate::stream::Next;
use crate::stream::tests::harness::{Envoy, MINUTE, completion, configuration};
use serde_json::{Value, json};
use std::rc::Rc;

const PATH: &str = "/.tollgate/usage";
const SETTINGS: &str = r#", "usageEndpoint": { "path": "/.tollgate/usage" },
    "admin": { "when": "request.headers[\"x-role\"] == \"admin\"" }"#;
const SECOND: u64 = 1_000_000_000;

/// Returns a filter that tracks so many counters of a limit with this counter expression.
fn tracking(top: usize, counter: &str, spec: &str) -> Envoy {
    let rest = format!(r#"{SETTINGS}, "track": {{ "top": {top} }}"#);
    let configuration = configuration(spec, &rest);
    let counter = serde_json::to_string(counter).unwrap();
    let configuration = configuration.replace(r#""auth.user""#, &counter);
    Envoy::with(&configuration.replace(r#""limit": 50"#, r#""limit": 5000"#))
}

/// Completes an exchange of so many tokens with another request header.
fn exchange(envoy: &Envoy, user: &str, other: (&str, &str), tokens: u64) {
    let mut stream = envoy.stream();
    let headers = [
        (":method", "POST"),
        (":path", "/v1/chat/completions"),
        (":authority", "llm"),
        ("x-user", user),
        other,
    ];
    envoy.host.set_headers(HeaderMap::Request, &headers);
    assert_eq!(stream.on_request_headers(true), Next::Continue);
    stream.on_response_headers(false);
    envoy.body(&mut stream, &completion(tokens), true);
    stream.on_log();
}

fn chat(envoy: &Envoy, user: &str, tokens: u64) {
    exchange(envoy, user, ("x-other", "-"), tokens);
}

/// Returns the status and the body of the answer to a request with a query.
fn ask_as(envoy: &Envoy, role: &str, query: &str) -> (u16, Value) {
    let mut stream = envoy.stream();
    let path = format!("{PATH}{query}");
    let headers = [
        (":method", "GET"),
        (":path", path.as_str()),
        (":authority", "llm"),
        ("x-role", role),
    ];
    envoy.host.set_headers(HeaderMap::Request, &headers);
    assert_eq!(stream.on_request_headers(true), Next::Pause);
    stream.on_response_headers(false);
    stream.on_log();
    let replies = envoy.host.replies.borrow();
    let reply = replies.last().unwrap();
    (reply.status, serde_json::from_str(&reply.body).unwrap())
}

fn ask(envoy: &Envoy, query: &str) -> (u16, Value) {
    ask_as(envoy, "admin", query)
}

/// Returns the values of the listed counters with what they have used.
fn listed(envoy: &Envoy) -> Vec<(String, u64)> {
    let (status, answer) = ask(envoy, "?top=50");
    assert_eq!(status, 200, "{answer}");
    let entries = answer["top"].as_array().unwrap().iter();
    let entries = entries.map(|entry| {
        let values = entry["counter"].as_object().unwrap().values();
        let values: Vec<&str> = values.map(|value| value.as_str().unwrap()).collect();
        (values.join(","), entry["used"].as_u64().unwrap())
    });
    entries.collect()
}

fn entry(name: &str, used: u64) -> Value {
    json!({
        "policy": "test/llm", "limit": "free", "counter": { "auth.user": name },
        "used": used, "error": 0, "unit": "tokens"
    })
}

fn user(name: &str, used: u64) -> (String, u64) {
    (name.to_owned(), used)
}

/// Moves the clock on, and ticks.
fn tick(envoy: &Envoy, after: u64) {
    envoy.host.clock.set(envoy.host.clock.get() + after);
    envoy.plugin.on_tick();
}

#[test]
fn largest_counters_come_first() {
    let envoy = tracking(10, "auth.user", "");
    for (user, tokens) in [("alice", 30), ("bob", 50), ("carol", 20), ("alice", 40)] {
        chat(&envoy, user, tokens);
    }
    let (status, answer) = ask(&envoy, "?top=50");
    let expected = json!({ "top": [entry("alice", 70), entry("bob", 50), entry("carol", 20)] });
    assert_eq!((status, &answer), (200, &expected));
    tick(&envoy, SECOND);
    let (_, answer) = ask(&envoy, "?top=50&policy=test%2Fllm&limit=free");
    assert_eq!(answer, expected, "once it is shared");
    let (_, answer) = ask(&envoy, "?top=1");
    assert_eq!(answer, json!({ "top": [entry("alice", 70)] }));
}

#[test]
fn displaced_counters_show_as_errors() {
    let envoy = tracking(2, "auth.user", "");
    for (user, tokens) in [("alice", 30), ("bob", 55), ("carol", 20)] {
        chat(&envoy, user, tokens);
    }
    let (_, answer) = ask(&envoy, "?top=50");
    let carol = &answer["top"][1];
    assert_eq!(answer["top"][0], entry("bob", 55));
    assert_eq!(carol["counter"]["auth.user"], "carol");
    assert_eq!((&carol["used"], &carol["error"]), (&json!(50), &json!(30)));
}

#[test]
fn workers_list_the_same() {
    let envoy = tracking(10, "auth.user", "");
    let json = configuration("", &format!(r#"{SETTINGS}, "track": {{ "top": 10 }}"#));
    let json = json.replace(r#""limit": 50"#, r#""limit": 5000"#);
    let plugin = Plugin::configure(envoy.host.clone(), json.as_bytes()).unwrap();
    let other = Envoy {
        host: Rc::clone(&envoy.host),
        plugin: Rc::new(plugin),
        log: crate::host::log_capture::LogCapture::start(),
        streams: std::cell::Cell::new(1_000),
    };
    chat(&envoy, "alice", 30);
    chat(&other, "bob", 20);
    chat(&other, "alice", 5);
    tick(&envoy, SECOND);
    tick(&other, SECOND);
    let expected = [user("alice", 35), user("bob", 20)];
    assert_eq!(listed(&envoy), expected);
    assert_eq!(listed(&other), expected);
}

#[test]
fn failed_write_is_tried_again() {
    let envoy = tracking(10, "auth.user", "");
    chat(&envoy, "alice", 30);
    envoy
        .host
        .fail(Call::SetSharedData, 1, HostError::InternalFailure);
    tick(&envoy, SECOND);
    assert_eq!(listed(&envoy), [user("alice", 30)]);
    chat(&envoy, "alice", 10);
    tick(&envoy, SECOND);
    tick(&envoy, SECOND);
    assert_eq!(listed(&envoy), [user("alice", 40)]);
}

#[test]
fn last_exchange_of_old_configuration_counts() {
    let mut envoy = tracking(10, "auth.user", "");
    let mut stream = envoy.stream();
    assert_eq!(stream.on_request_headers(true), Next::Continue);
    // The same Envoy gets a new configuration during the exchange.
    let json = configuration("", &format!(r#"{SETTINGS}, "track": {{ "top": 10 }}"#));
    let json = json.replace(r#""limit": 50"#, r#""limit": 5000"#);
    let plugin = Plugin::configure(envoy.host.clone(), json.as_bytes()).unwrap();
    let old = std::mem::replace(&mut envoy.plugin, Rc::new(plugin));
    assert!(old.drain());
    drop(old);
    stream.on_response_headers(false);
    envoy.body(&mut stream, &completion(30), true);
    stream.on_log();
    drop(stream);
    assert_eq!(listed(&envoy), [user("alice", 30)]);
}

#[test]
fn former_consumers_fade() {
    let envoy = tracking(10, "auth.user", "");
    chat(&envoy, "alice", 30);
    tick(&envoy, MINUTE);
    chat(&envoy, "bob", 20);
    assert_eq!(listed(&envoy), [user("alice", 30), user("bob", 20)]);
    tick(&envoy, MINUTE);
    assert_eq!(listed(&envoy), [user("bob", 20)]);
    tick(&envoy, MINUTE);
    assert_eq!(listed(&envoy), []);
}

#[test]
fn rejected_requests_are_not_listed() {
    let envoy = Envoy::with(&configuration(
        "",
        &format!(r#"{SETTINGS}, "track": {{ "top": 10 }}"#),
    ));
    assert!(envoy.exchange(60));
    assert!(!envoy.exchange(60));
    assert_eq!(listed(&envoy), [user("alice", 60)]);
}

#[test]
fn requests_are_counted_once() {
    let rest = format!(r#"{SETTINGS}, "track": {{ "top": 10 }}"#);
    let json = configuration("", &rest);
    let json = json.replace(
        r#""rates": [{ "limit": 50,"#,
        r#""requests": [{ "limit": 50,"#,
    );
    let envoy = Envoy::with(&json);
    envoy.exchange(10);
    envoy.exchange(10);
    let (_, answer) = ask(&envoy, "?top=1");
    let entry = &answer["top"][0];
    assert_eq!(
        (&entry["used"], &entry["unit"]),
        (&json!(2), &json!("requests"))
    );
}

#[test]
fn credentials_are_withheld_in_lists() {
    for counter in [
        "request.headers[\"x-api-key\"]",
        "request.headers[\"x-api-key\"].lowerAscii()",
        "request.headers[\"authorization\"]",
    ] {
        let envoy = tracking(10, counter, "");
        let name = if counter.contains("auth") {
            "authorization"
        } else {
            "x-api-key"
        };
        exchange(&envoy, "alice", (name, "sk-hidden"), 30);
        assert_eq!(listed(&envoy), [user("[withheld]", 30)], "{counter}");
        tick(&envoy, SECOND);
        let shared = envoy.host.shared.borrow();
        let mut values = shared.values();
        let has = |value: &[u8]| value.windows(9).any(|part| part == b"sk-hidden");
        assert!(!values.any(|(value, _)| has(value)));
    }
}

#[test]
fn texts_of_counters_are_bounded() {
    let envoy = tracking(10, "request.headers[\"x-other\"]", "");
    let long = "é".repeat(500);
    exchange(&envoy, "alice", ("x-other", &long), 30);
    exchange(&envoy, "alice", ("x-other", "tab\there"), 20);
    let expected = [user(&"é".repeat(64), 30), user("tabhere", 20)];
    assert_eq!(listed(&envoy), expected);
}

#[test]
fn only_administrators_list_counters() {
    let envoy = tracking(10, "auth.user", "");
    chat(&envoy, "alice", 30);
    let (status, answer) = ask_as(&envoy, "user", "?top=50");
    assert_eq!(status, 403);
    assert!(!answer.to_string().contains("alice"));
}

#[test]
fn malformed_top_queries_are_rejected() {
    let envoy = tracking(10, "auth.user", "");
    for (query, expected) in [
        ("?top", 400),
        ("?top=0", 400),
        ("?top=1001", 400),
        ("?top=-1", 400),
        ("?top=1&top=2", 400),
        ("?top=99999999999999999999999", 400),
        ("?top=5&limit=other", 404),
        ("?top=5&policy=free&limit=free", 404),
        ("?top=5&limit=free&limit=free", 404),
    ] {
        let (status, answer) = ask(&envoy, query);
        assert_eq!(status, expected, "{query}: {answer}");
        assert!(answer["error"].is_string());
    }
}

#[test]
fn without_tracking_no_list_exists() {
    let envoy = Envoy::with(&configuration("", SETTINGS));
    envoy.exchange(30);
    let (status, _) = ask(&envoy, "?top=5");
    assert_eq!(status, 404);
    tick(&envoy, SECOND);
    let shared = envoy.host.shared.borrow();
    assert!(!shared.keys().any(|key| key.starts_with(b"tolltops")));
}

#[test]
fn full_worker_counts_without_growing() {
    let rest =
        format!(r#"{SETTINGS}, "track": {{ "top": 100 }}, "memory": {{ "perWorker": "32MiB" }}"#);
    let envoy = Envoy::with(&configuration("", &rest));
    chat(&envoy, "alice", 30);
    let held = vec![0_u8; (25 << 20) - crate::memory::allocated()];
    chat(&envoy, "bob", 20);
    drop(held);
    let (_, answer) = ask(&envoy, "?top=50");
    let entry = &answer["top"][0];
    assert_eq!((&entry["used"], &entry["error"]), (&json!(50), &json!(30)));
    assert_eq!(answer["top"].as_array().unwrap().len(), 1);
}
