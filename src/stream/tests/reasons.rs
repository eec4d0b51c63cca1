//! Reasons and limits in access logs: why an exchange was rejected, not limited or not decided on.

use crate::host::HostError;
use crate::host::double::Call;
use crate::stream::Next;
use crate::stream::tests::harness::{
    BODY_WHEN, Envoy, SECOND, completion, configuration, send, with_queue,
};
use serde_json::{Value, json};

/// Returns a configuration with these limits, and with whatever else is given.
fn with_limits(limits: &Value, rest: &str) -> Envoy {
    let mut json: Value = serde_json::from_str(&configuration("", rest)).unwrap();
    json["policies"][0]["spec"]["limits"] = limits.clone();
    Envoy::with(&json.to_string())
}

/// Returns a limit with these predicates.
fn limit(when: &[&str]) -> Value {
    let when = when
        .iter()
        .map(|predicate| json!({ "predicate": predicate }));
    json!({ "rates": [{ "limit": 50, "window": "1m" }], "when": when.collect::<Value>() })
}

fn reason(envoy: &Envoy) -> String {
    envoy.state("tollgate.reason").unwrap_or_default()
}

#[test]
fn rejection_names_limit_and_use() {
    let spec = r#", "requests": [{ "limit": 9, "window": "1h" }]"#;
    let envoy = Envoy::with(&configuration(spec, ""));
    envoy.exchange(60);
    assert_eq!(envoy.state("tollgate.reason"), None);
    assert_eq!(
        envoy.state("tollgate.limits"),
        None,
        "it was admitted as usual"
    );
    envoy.exchange(1);
    assert_eq!(
        reason(&envoy),
        "test/llm/free: 60 used and 0 reserved of 50 tokens per 1m"
    );
    let limits = envoy.state("tollgate.limits").unwrap();
    assert_eq!(
        limits,
        "test/llm/free=60/50 tokens per 1m; test/llm/free=1/9 requests per 1h"
    );
}

#[test]
fn unmatched_exchange_names_false_predicates() {
    for (limits, expected) in [
        (
            json!({ "free": limit(&["true", "auth.user == 'bob'"]) }),
            "no limit applies: free.when[1] is false",
        ),
        (
            json!({ "free": limit(&["request.headers['x-plan'] == 'pro'"]) }),
            "no limit applies: free.when[0] is false, a value is missing",
        ),
        (
            json!({
                "a": limit(&["false"]), "b": limit(&["false"]), "c": limit(&["false"]), "d": limit(&["false"]),
                "e": limit(&["false"])
            }),
            "no limit applies: a.when[0] is false; b.when[0] is false; c.when[0] is false; 2 more",
        ),
    ] {
        let envoy = with_limits(&limits, "");
        envoy.exchange(1);
        assert_eq!(envoy.state("tollgate.decision").unwrap(), "unmatched");
        assert_eq!(reason(&envoy), expected);
    }
}

#[test]
fn limits_left_out_by_index_have_their_predicate() {
    let names = ["a", "b", "c", "d", "e", "f"];
    let limits = names.iter().map(|name| {
        let of_user = format!("auth.user == '{name}'");
        (
            (*name).to_owned(),
            limit(&["request.method == 'POST'", &of_user]),
        )
    });
    let envoy = with_limits(&limits.collect(), "");
    envoy.exchange(1);
    let expected =
        "no limit applies: a.when[1] is false; b.when[1] is false; c.when[1] is false; 3 more";
    assert_eq!(reason(&envoy), expected);
    let mut headers = crate::stream::tests::harness::request("a").to_vec();
    headers[0].1 = "PUT";
    let mut stream = envoy.stream();
    envoy
        .host
        .set_headers(crate::host::HeaderMap::Request, &headers);
    stream.on_request_headers(true);
    stream.on_log();
    let expected =
        "no limit applies: a.when[0] is false; b.when[0] is false; c.when[0] is false; 3 more";
    assert_eq!(reason(&envoy), expected);
}

#[test]
fn unmatched_exchange_elsewhere_has_decision_only() {
    let envoy = with_limits(&json!({ "free": limit(&["false"]) }), "");
    let mut stream = envoy.stream();
    let headers = [
        (":method", "GET"),
        (":path", "/index.html"),
        (":authority", "llm"),
    ];
    envoy
        .host
        .set_headers(crate::host::HeaderMap::Request, &headers);
    stream.on_request_headers(true);
    stream.on_log();
    assert_eq!(
        envoy.host.filter_state.borrow().len(),
        1,
        "one call to Envoy"
    );
}

#[test]
fn failed_exchange_names_expression_and_error() {
    let envoy = with_limits(
        &json!({ "free": limit(&["request.headers['x-n'] > 1"]) }),
        "",
    );
    let mut stream = envoy.stream();
    let headers = [
        (":method", "GET"),
        (":path", "/"),
        (":authority", "llm"),
        ("x-n", "1"),
    ];
    envoy
        .host
        .set_headers(crate::host::HeaderMap::Request, &headers);
    stream.on_request_headers(true);
    stream.on_log();
    assert_eq!(envoy.state("tollgate.decision").unwrap(), "failed");
    let reason = reason(&envoy);
    assert!(
        reason.starts_with("policy test/llm: limits.free.when[0]: "),
        "{reason}"
    );
    let envoy = Envoy::new();
    envoy
        .host
        .fail(Call::SetSharedData, 1_000, HostError::InternalFailure);
    envoy.exchange(1);
    let reason = self::reason(&envoy);
    assert!(reason.starts_with("counters: "), "{reason}");
}

#[test]
fn request_that_leaves_queue_has_limit_and_time() {
    let envoy = with_queue(1, "");
    let mut first = envoy.stream();
    assert_eq!(first.on_request_headers(true), Next::Continue);
    let mut queued = envoy.stream();
    assert_eq!(queued.on_request_headers(true), Next::Pause);
    envoy.wait(SECOND + SECOND / 2);
    queued.on_log();
    assert_eq!(envoy.state("tollgate.decision").unwrap(), "abandoned");
    assert_eq!(envoy.state("tollgate.limit").unwrap(), "free");
    assert_eq!(envoy.state("tollgate.queue_ms").unwrap(), "1500");
    assert_eq!(reason(&envoy), "ended while it was queued");
}

#[test]
fn admitted_and_rejected_requests_have_queue_time() {
    for (seconds, decision) in [(2, "queued"), (5, "denied")] {
        let envoy = with_queue(1, "");
        let mut first = envoy.stream();
        first.on_request_headers(true);
        let mut queued = envoy.stream();
        queued.on_request_headers(true);
        envoy.wait(seconds * SECOND);
        if decision == "queued" {
            envoy.answer(&mut first, 1);
        }
        envoy.host.filter_state.borrow_mut().clear();
        envoy.tick(&mut [&mut queued]);
        queued.on_log();
        assert_eq!(envoy.state("tollgate.decision").unwrap(), decision);
        let waited = envoy.state("tollgate.queue_ms").unwrap();
        assert_eq!(waited, (seconds * 1_000).to_string());
    }
}

#[test]
fn requested_model_is_in_record_where_it_differs() {
    let envoy = Envoy::with(&configuration("", r#", "accessLog": "both""#));
    for (requested, differs) in [("m", false), ("alias", true)] {
        let mut stream = envoy.stream();
        send(
            &envoy,
            &mut stream,
            &format!("{{\"model\":\"{requested}\",\"max_tokens\":5}}"),
        );
        envoy.answer(&mut stream, 7);
        assert_eq!(envoy.state("tollgate.model").unwrap(), "m");
        assert_eq!(
            envoy.state("tollgate.requested_model"),
            None,
            "a call to Envoy"
        );
        let records = envoy.host.records.borrow();
        let record = String::from_utf8_lossy(&records["tollgate"]);
        assert_eq!(record.contains("requested_model"), differs);
        assert!(
            record.contains("limits") && record.contains("test/llm/free"),
            "{record}"
        );
    }
}

#[test]
fn abandoned_body_and_long_names_are_cleaned() {
    let envoy = Envoy::with(&configuration(BODY_WHEN, ""));
    let mut stream = envoy.stream();
    stream.on_request_headers(false);
    stream.on_log();
    assert_eq!(reason(&envoy), "ended while its body was awaited");
    let pricing = r#", "unpriced": "reject", "pricing": { "m": { "input": 1, "output": 1 } }"#;
    let budget = r#", "budgets": [{ "usd": "1", "window": "1h" }]"#;
    let envoy = Envoy::with(&configuration(budget, pricing));
    let name = "a\\u0000b\\n".repeat(2_000);
    let mut stream = envoy.stream();
    send(
        &envoy,
        &mut stream,
        &format!("{{\"model\":\"{name}\",\"max_tokens\":5}}"),
    );
    envoy.body(&mut stream, &completion(1), true);
    stream.on_log();
    let reason = reason(&envoy);
    assert!(
        reason.len() <= 1_024 && !reason.contains(char::is_control),
        "{reason}"
    );
}
