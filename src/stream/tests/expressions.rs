//! Expressions that hostile requests make expensive.

use crate::host::HeaderMap;
use crate::stream::Next;
use crate::stream::tests::harness::{Envoy, completion, configuration, request, send};
use serde_json::{Value, json};

/// Returns the status of the rejection of a request with these headers, if it is rejected.
fn rejected(envoy: &Envoy, headers: &[(&'static str, &str)]) -> Option<u16> {
    let mut stream = envoy.stream();
    let all = [&request("alice")[..], headers].concat();
    envoy.host.set_headers(HeaderMap::Request, &all);
    let next = stream.on_request_headers(true);
    let status = envoy.host.replies.borrow().last().map(|reply| reply.status);
    stream.on_response_headers(false);
    envoy.body(&mut stream, &completion(1), true);
    stream.on_log();
    status.filter(|_| next == Next::Pause)
}

/// Returns a configuration with predicates of the limit.
fn with_predicate(predicate: &str, rest: &str) -> String {
    let when = json!([{ "predicate": predicate }]);
    configuration(&format!(r#", "when": {when}"#), rest)
}

const EXPENSIVE: [&str; 4] = [
    r#"request.headers["x-g"].replace("a", request.headers["x-h"]) != """#,
    r#"request.headers["x-g"].split("a").exists(g, g in request.headers["x-h"].split("a"))"#,
    r#"request.headers["x-g"].split("").exists(g, request.headers["x-h"].contains(g + "b"))"#,
    r#"request.headers["x-g"].matches("(?i).*a.*b.*c.*d.*e.*f.*g.*h")"#,
];

#[test]
fn exhausted_evaluation_follows_failure_mode() {
    let (one, other) = ("a".repeat(29 << 10), "a".repeat(28 << 10));
    let headers = [("x-g", one.as_str()), ("x-h", other.as_str())];
    for predicate in EXPENSIVE {
        for (mode, status, decision) in [
            ("deny", Some(500), "failed"),
            ("allow", None, "failed_open"),
        ] {
            let rest = format!(r#", "failureMode": "{mode}""#);
            let envoy = Envoy::with(&with_predicate(predicate, &rest));
            assert_eq!(rejected(&envoy, &headers), status, "{predicate}");
            assert_eq!(envoy.state("tollgate.decision").as_deref(), Some(decision));
            assert_eq!(envoy.host.metric("tollgate.evaluation_errors"), 1);
            let usual = [("x-g", "a"), ("x-h", "b")];
            assert_eq!(rejected(&envoy, &usual), None, "{predicate}");
        }
    }
}

#[test]
fn exhausted_evaluation_names_its_setting() {
    let long = "a".repeat(29 << 10);
    let envoy = Envoy::with(&with_predicate(EXPENSIVE[0], ""));
    rejected(&envoy, &[("x-g", &long), ("x-h", &long)]);
    assert!(
        envoy
            .log
            .lines()
            .iter()
            .any(|(_, line)| line.contains("expressions.steps"))
    );
}

#[test]
fn more_fuel_is_configured() {
    let text = "a".repeat(4000);
    let predicate = r#"request.headers["x-g"].matches("(a|b|c|d|e|f|g|h|i|j)*x")"#;
    for (steps, status) in [(1_000, Some(500)), (1_000_000, None)] {
        let rest = format!(r#", "expressions": {{ "steps": {steps} }}"#);
        let envoy = Envoy::with(&with_predicate(predicate, &rest));
        assert_eq!(rejected(&envoy, &[("x-g", &text)]), status, "{steps}");
    }
}

#[test]
fn evaluations_of_exchange_share_fuel() {
    // Each takes less than its own fuel.
    let predicate = r#"request.headers["x-g"].split("").exists(g, g == "b" && g != "c")"#;
    let limit = json!({
        "rates": [{ "limit": 1000, "window": "1m" }],
        "when": [{ "predicate": predicate }],
    });
    let mut json: Value = serde_json::from_str(&configuration("", "")).unwrap();
    let limits = &mut json["policies"][0]["spec"]["limits"];
    *limits = json!({ "l0": limit });
    let header = "a".repeat(5000);
    let envoy = Envoy::with(&json.to_string());
    assert_eq!(rejected(&envoy, &[("x-g", &header)]), None);
    for index in 1..60 {
        json["policies"][0]["spec"]["limits"][format!("l{index}")] = limit.clone();
    }
    let envoy = Envoy::with(&json.to_string());
    assert_eq!(rejected(&envoy, &[("x-g", &header)]), Some(500));
    assert_eq!(rejected(&envoy, &[("x-g", "a,b")]), None);
}

/// Returns the tokens that are charged for an exchange of `tokens` that reserves `reserved`, and whose cost
/// exhausts its fuel.
fn charged_for_exhausted_cost(reserved: u64, tokens: u64) -> u64 {
    let cost = "usage.raw.list.exists(a, usage.raw.list.exists(b, a == -b)) ? 0 : 1";
    let mut json: Value = serde_json::from_str(&configuration("", "")).unwrap();
    let limits = &mut json["policies"][0]["spec"]["limits"];
    limits["free"]["cost"] = json!(cost);
    limits["free"]["reservation"] = json!({ "amount": reserved.to_string() });
    let envoy = Envoy::with(&json.to_string());
    let mut stream = envoy.stream();
    assert_eq!(send(&envoy, &mut stream, "{}"), Next::Continue);
    let list: Vec<u32> = (1..2000).collect();
    let body = completion(tokens).replace(
        "\"total_tokens\"",
        &format!("\"list\":{list:?},\"total_tokens\""),
    );
    stream.on_response_headers(false);
    envoy.body(&mut stream, &body, true);
    stream.on_log();
    assert_eq!(envoy.host.metric("tollgate.evaluation_errors"), 1);
    let mut next = envoy.stream();
    assert_eq!(send(&envoy, &mut next, "{}"), Next::Continue);
    next.standings()[0].used
}

#[test]
fn exhausted_cost_is_charged_as_tokens() {
    assert_eq!(charged_for_exhausted_cost(0, 40), 40);
}

#[test]
fn exhausted_cost_is_charged_at_least_as_reserved() {
    assert_eq!(charged_for_exhausted_cost(30, 10), 30);
    assert_eq!(charged_for_exhausted_cost(30, 40), 40);
}

/// Returns an expression of this value that takes about 700 steps.
fn slow(value: &str) -> String {
    let list = vec!["1"; 110].join(",");
    format!("[{list}].exists(a, a == 2) ? {value} : {value}")
}

#[test]
fn waiting_takes_no_fuel() {
    for mode in ["deny", "allow"] {
        let spec = json!({
            "reservation": { "amount": slow("20") },
            "onExceeded": { "queue": { "depth": 9, "timeout": "10m" } },
        });
        let spec = spec.to_string();
        let spec = spec.strip_prefix('{').and_then(|it| it.strip_suffix('}'));
        let spec = format!(", {}", spec.unwrap_or_default());
        let rest = format!(r#", "failureMode": "{mode}", "expressions": {{ "steps": 1000 }}"#);
        let envoy = Envoy::with(&configuration(&spec, &rest));
        let (mut first, mut second) = (envoy.stream(), envoy.stream());
        assert_eq!(send(&envoy, &mut first, "{}"), Next::Continue);
        let mut other = envoy.stream();
        assert_eq!(send(&envoy, &mut other, "{}"), Next::Continue);
        assert_eq!(send(&envoy, &mut second, "{}"), Next::Watermark);
        for _ in 0..500 {
            envoy.tick(&mut [&mut second]);
        }
        assert_eq!((envoy.queued(), envoy.replies()), (1, 0), "{mode}");
        envoy.answer(&mut first, 1);
        envoy.tick(&mut [&mut second]);
        assert_eq!((envoy.resumed(), envoy.queued()), (1, 0), "{mode}");
        assert_eq!(second.reserved(), [20], "{mode}");
        assert_eq!(envoy.host.metric("tollgate.evaluation_errors"), 0);
        envoy.answer(&mut second, 1);
        assert_eq!(envoy.state("tollgate.decision").as_deref(), Some("queued"));
    }
}

#[test]
fn identity_takes_no_fuel_of_costs() {
    let mut json: Value = serde_json::from_str(&configuration("", "")).unwrap();
    let limit = &mut json["policies"][0]["spec"]["limits"]["free"];
    limit["counters"] = json!([{ "expression": slow("auth.user") }]);
    limit["cost"] = json!(slow("20"));
    limit["reservation"] = json!({ "amount": "30" });
    limit["onExceeded"] = json!({ "queue": { "depth": 9, "timeout": "10m" } });
    json["expressions"] = json!({ "steps": 1000 });
    let envoy = Envoy::with(&json.to_string());
    let (mut first, mut second) = (envoy.stream(), envoy.stream());
    assert_eq!(send(&envoy, &mut first, "{}"), Next::Continue);
    assert_eq!(send(&envoy, &mut second, "{}"), Next::Watermark);
    envoy.answer(&mut first, 1);
    envoy.tick(&mut [&mut second]);
    envoy.answer(&mut second, 1);
    assert_eq!(envoy.state("tollgate.decision").as_deref(), Some("queued"));
    assert_eq!(envoy.host.metric("tollgate.evaluation_errors"), 0);
}

#[test]
fn fallbacks_share_fuel_of_exchange() {
    let mut json: Value = serde_json::from_str(&configuration("", "")).unwrap();
    let alternative = |index: u32| json!({ "headers": { "x-route": index.to_string() } });
    let alternatives: Vec<Value> = (0..4).map(alternative).collect();
    let limit = &mut json["policies"][0]["spec"]["limits"]["free"];
    limit["counters"] = json!([{ "expression": slow("auth.user") }]);
    limit["onExceeded"] = json!({ "alternatives": alternatives });
    json["expressions"] = json!({ "steps": 1000 });
    json["holdHeaders"] = json!(true);
    let envoy = Envoy::with(&json.to_string());
    let mut first = envoy.stream();
    assert_eq!(first.on_request_headers(true), Next::Continue);
    envoy.answer(&mut first, 60);
    assert_eq!(envoy.stream().on_request_headers(true), Next::Pause);
    let errors = envoy.log.lines().into_iter();
    let errors = errors.filter(|(_, line)| line.contains("evaluations of one exchange"));
    assert!(errors.count() > 0, "the second fallback has no fuel left");
}

#[test]
fn long_paths_find_no_route_by_pattern() {
    for (mode, status) in [("deny", Some(500)), ("allow", None)] {
        let mut json: Value = serde_json::from_str(&configuration("", "")).unwrap();
        json["failureMode"] = json!(mode);
        json["routes"] = json!([{
            "apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute",
            "metadata": { "name": "route" },
            "spec": {
                "hostnames": ["llm"],
                "rules": [{ "matches": [{
                    "path": { "type": "RegularExpression", "value": "/(a|b|c|d)*/.*/.*/.*x" }
                }] }]
            }
        }]);
        let envoy = Envoy::with(&json.to_string());
        assert_eq!(rejected(&envoy, &[]), None);
        let mut stream = envoy.stream();
        let path = format!("/{}", "a/".repeat(28 << 10));
        let mut headers = request("alice");
        headers[1] = (":path", &path);
        envoy.host.set_headers(HeaderMap::Request, &headers);
        let next = stream.on_request_headers(true);
        let found = envoy.host.replies.borrow().last().map(|reply| reply.status);
        assert_eq!(found.filter(|_| next == Next::Pause), status);
    }
}
