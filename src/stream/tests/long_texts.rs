//! Texts of clients and upstreams that are long: what is kept of them, and what they are counted as.

use crate::host::HeaderMap;
use crate::host::double::Call;
use crate::stream::tests::costs::envoy_with;
use crate::stream::tests::harness::{Envoy, send};
use crate::stream::{Next, Stream};
use prost::Message;
use prost_types::{Struct, Value, value::Kind};
use serde_json::json;
use std::collections::BTreeMap;

const LONG: usize = 20_000;

/// Returns two long texts that differ only at their ends.
fn long() -> [String; 2] {
    ["a", "b"].map(|end| format!("{}{end}", "m".repeat(LONG)))
}

#[test]
fn long_models_have_counters_of_their_own() {
    let limit = json!({
        "rates": [{ "limit": 50, "window": "1m" }], "counters": [{ "expression": "llm.model" }]
    });
    let envoy = envoy_with(&limit, &json!({}));
    let exhaust = |model: &str| {
        let mut stream = envoy.stream();
        let body = format!(r#"{{"model":"{model}","max_tokens":1}}"#);
        let next = send(&envoy, &mut stream, &body);
        if next == Next::Continue {
            envoy.answer(&mut stream, 60);
        }
        next == Next::Continue
    };
    let [one, other] = long();
    assert!(exhaust(&one) && !exhaust(&one), "one counter for one model");
    assert!(
        exhaust(&other) && !exhaust(&other),
        "and another for another"
    );
}

#[test]
fn model_of_response_is_cut_in_telemetry() {
    let envoy = Envoy::new();
    let mut stream = envoy.stream();
    send(&envoy, &mut stream, r#"{"model":"m"}"#);
    stream.on_response_headers(false);
    let [model, _] = long();
    let body = format!(
        r#"{{"object":"chat.completion","model":"{model}","choices":[],"usage":{{"prompt_tokens":1,"completion_tokens":1}}}}"#
    );
    envoy.body(&mut stream, &body, true);
    stream.on_log();
    assert_eq!(envoy.state("tollgate.model").unwrap().len(), 160);
    let metrics = envoy.host.metrics.borrow();
    assert!(metrics.iter().all(|(name, _)| name.len() < 200));
    assert!(envoy.log.lines().iter().all(|(_, line)| line.len() < 1_000));
}

/// Returns the dynamic metadata of a caller with a long claim.
fn metadata(claim: &str) -> Vec<u8> {
    let text = |text: &str| Value {
        kind: Some(Kind::StringValue(text.to_owned())),
    };
    let claims = [("user", "alice"), ("tier", "gold"), ("long", claim)];
    let fields = claims.map(|(name, value)| (name.to_owned(), text(value)));
    let claims = Struct {
        fields: fields.into(),
    };
    let namespace = "envoy.filters.http.jwt_authn".to_owned();
    let filter_metadata = BTreeMap::from([(namespace, claims.encode_to_vec())]);
    crate::attributes::Metadata { filter_metadata }.encode_to_vec()
}

/// Sends a request of a caller with a claim, without its response. Returns how often metadata was read.
fn send_with_claim(envoy: &Envoy, claim: &str) -> (Stream, usize) {
    let mut stream = envoy.stream();
    envoy.host.set_property(&["metadata"], &metadata(claim));
    let before = envoy.host.count(Call::Property);
    assert_eq!(send(envoy, &mut stream, r#"{"model":"m"}"#), Next::Continue);
    let reads = envoy.host.count(Call::Property) - before;
    envoy.host.properties.borrow_mut().clear();
    (stream, reads)
}

fn with_claims(limit: &serde_json::Value) -> Envoy {
    let sources = json!([{ "metadata": "envoy.filters.http.jwt_authn" }]);
    envoy_with(
        limit,
        &json!({ "auth": sources, "usage": { "includeUsage": "never" } }),
    )
}

#[test]
fn large_claims_are_read_again_for_body() {
    let envoy = with_claims(&json!({
        "rates": [{ "limit": 5000, "window": "1m" }],
        "when": [{ "predicate": "auth.tier == 'gold'" }],
        "counters": [{ "expression": "auth.user" }, { "expression": "llm.model" }]
    }));
    let (_, reads) = send_with_claim(&envoy, "short");
    assert_eq!(reads, 1);
    let [long, _] = long();
    let (_, reads) = send_with_claim(&envoy, &long);
    assert_eq!(reads, 2, "not kept while the request waits for its body");
}

#[test]
fn claims_of_costs_are_kept_to_the_end() {
    let [long, _] = long();
    for claim in ["short", &long] {
        let envoy = with_claims(&json!({
            "rates": [{ "limit": 1000, "window": "1m" }],
            "cost": "auth.tier == 'gold' ? usage.total_tokens * 3 : usage.total_tokens",
            "counters": [{ "expression": "auth.user" }]
        }));
        let (mut stream, _) = send_with_claim(&envoy, claim);
        envoy.answer(&mut stream, 100);
        let mut next = envoy.stream();
        envoy.host.set_property(&["metadata"], &metadata(claim));
        send(&envoy, &mut next, r#"{"model":"m"}"#);
        assert_eq!(next.standings()[0].used, 300, "{}", claim.len());
    }
}

#[test]
fn long_path_is_read_by_cost_at_end() {
    let envoy = envoy_with(
        &json!({
            "rates": [{ "limit": 1000, "window": "1m" }],
            "cost": "request.path.endsWith('?tier=1') ? usage.total_tokens * 3 : 0",
        }),
        &json!({}),
    );
    let mut stream = envoy.stream();
    let path = format!("/{}/v1/chat/completions?tier=1", "p".repeat(LONG));
    let headers = [(":method", "POST"), (":path", &path), (":authority", "llm")];
    envoy.host.set_headers(HeaderMap::Request, &headers);
    stream.on_request_headers(true);
    envoy.host.headers.borrow_mut().remove(&HeaderMap::Request);
    envoy.answer(&mut stream, 100);
    let mut next = envoy.stream();
    next.on_request_headers(true);
    assert_eq!(next.standings()[0].used, 300);
}

#[test]
fn predicate_reads_body_beside_costs() {
    let envoy = envoy_with(
        &json!({ "rates": [{ "limit": 1000, "window": "1m" }], "cost": "usage.total_tokens" }),
        &json!({ "usage": { "includeUsage": "requestBodyJSON('/metadata/team') == 't'" } }),
    );
    let mut stream = envoy.stream();
    let body = r#"{"model":"m","stream":true,"metadata":{"team":"t"}}"#;
    assert_eq!(send(&envoy, &mut stream, body), Next::Continue);
    assert!(envoy.sent().contains("include_usage"), "{}", envoy.sent());
}
