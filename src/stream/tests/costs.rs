//! Costs, requests and budgets.

use crate::host::{Buffer, HeaderMap};
use crate::stream::tests::harness::{Envoy, MINUTE, request};
use crate::stream::{Next, Stream};
use proptest::prelude::*;
use serde_json::{Value, json};

/// Returns a configuration with one limit, and whatever else is given.
pub(in crate::stream::tests) fn configuration(limit: &Value, rest: &Value) -> String {
    let mut configuration = json!({
        "policies": [{
            "apiVersion": "kuadrant.io/v1alpha1", "kind": "TokenRateLimitPolicy",
            "metadata": { "name": "llm", "namespace": "test" },
            "spec": {
                "targetRef": { "group": "gateway.networking.k8s.io", "kind": "Gateway", "name": "g" },
                "limits": { "free": limit }
            }
        }],
        "auth": [{ "header": { "user": "x-user" } }]
    });
    for (name, value) in rest.as_object().unwrap() {
        configuration[name] = value.clone();
    }
    configuration.to_string()
}

pub(in crate::stream::tests) fn envoy(limit: &Value) -> Envoy {
    envoy_with(limit, &json!({}))
}

pub(in crate::stream::tests) fn envoy_with(limit: &Value, rest: &Value) -> Envoy {
    Envoy::with(&configuration(limit, rest))
}

/// Prices at which a token of input costs 2500 billionths of a dollar, and one of output 10000.
pub(in crate::stream::tests) fn prices() -> Value {
    json!({ "gpt-4o*": { "input": 2.5, "cachedInput": 1.25, "output": 10 } })
}

/// Returns a usage report of a chat completion.
pub(in crate::stream::tests) fn usage(
    input: u64,
    output: u64,
    cached: u64,
    reasoning: u64,
) -> String {
    json!({
        "id": "1", "object": "chat.completion", "model": "gpt-4o-2024",
        "choices": [{ "message": { "content": "hi" } }],
        "usage": {
            "prompt_tokens": input, "completion_tokens": output, "total_tokens": input + output,
            "prompt_tokens_details": { "cached_tokens": cached },
            "completion_tokens_details": { "reasoning_tokens": reasoning },
            "custom": { "units": 7 }
        }
    })
    .to_string()
}

impl Envoy {
    /// Begins an exchange with these additional headers and this body; whether it was admitted.
    pub(in crate::stream::tests) fn begin(
        &self,
        headers: &[(&str, &str)],
        body: &str,
    ) -> (Stream, bool) {
        let mut stream = self.stream();
        let all: Vec<(&str, &str)> = request("alice")
            .into_iter()
            .chain(headers.iter().copied())
            .collect();
        self.host.set_headers(HeaderMap::Request, &all);
        let mut admitted = stream.on_request_headers(false) == Next::Continue;
        if admitted {
            self.host.set_buffer(Buffer::RequestBody, body.as_bytes());
            admitted = stream.on_request_body(body.len(), true) == Next::Continue;
        }
        (stream, admitted)
    }

    pub(in crate::stream::tests) fn end(&self, mut stream: Stream, answer: &str) {
        stream.on_response_headers(false);
        // The headers of a request that was passed on are gone.
        self.host.headers.borrow_mut().remove(&HeaderMap::Request);
        self.body(&mut stream, answer, true);
        stream.on_log();
    }

    /// Returns a whole exchange; whether it was admitted.
    pub(in crate::stream::tests) fn send_chat(
        &self,
        headers: &[(&str, &str)],
        answer: &str,
    ) -> bool {
        let (mut stream, admitted) = self.begin(headers, r#"{"model":"gpt-4o","max_tokens":1}"#);
        if admitted {
            self.end(stream, answer);
        } else {
            stream.on_log();
        }
        admitted
    }

    /// Returns the use of the counter of the last rejection.
    pub(in crate::stream::tests) fn used(&self) -> u64 {
        let log = self.log.lines();
        let mut lines = log.iter().rev();
        let line = lines.find(|(_, line)| line.starts_with("limit_rejected "));
        let (_, line) = line.expect("a rejection");
        let (_, used) = line.split_once(" used=").unwrap();
        let (number, _) = used.split_once(' ').unwrap();
        number.parse().unwrap()
    }

    pub(in crate::stream::tests) fn last_reply(&self) -> crate::host::double::SentReply {
        self.host.replies.borrow().last().expect("a reply").clone()
    }
}

/// What an exchange of so much costs under an expression.
pub(in crate::stream::tests) fn cost(expression: &str, answer: &str) -> u64 {
    let envoy = envoy_with(
        &json!({ "cost": expression, "rates": [{ "limit": 1, "window": "1m" }] }),
        &json!({ "pricing": prices() }),
    );
    assert!(
        envoy.send_chat(&[("x-tier", "gold")], answer),
        "{expression}"
    );
    if envoy.send_chat(&[], answer) {
        return 0;
    }
    envoy.used()
}

#[test]
fn cost_is_value_of_its_expression() {
    let answer = usage(100, 20, 40, 5);
    for (expression, expected) in [
        ("usage.total_tokens", 120),
        ("usage.input_tokens", 100),
        ("usage.output_tokens", 20),
        ("usage.cached_tokens", 40),
        ("usage.reasoning_tokens", 5),
        ("usage.cache_creation_tokens + 1", 1),
        // Names of other gateways.
        (
            "input_tokens - cached_input_tokens + output_tokens * 4",
            140,
        ),
        ("prompt_tokens + completion_tokens * uint(2)", 140),
        ("model == 'gpt-4o' ? input_tokens : 1", 100),
        // Fractions are rounded up, less than nothing is nothing.
        ("usage.output_tokens * 0.26", 6),
        ("usage.output_tokens - 100", 0),
        ("usage.usd * 1e6", 400),
        ("usage.raw.custom.units", 7),
        ("has(usage.raw.cost) ? usage.raw.cost : 3", 3),
        ("usage.raw.?total_tokens.orValue(0)", 120),
        ("usage.estimated ? 1 : 2", 2),
        // Of the request, though it is gone; and of the response.
        (r#"request.headers["x-tier"] == "gold" ? 8 : 9"#, 8),
        (r#"{"alice": 5, "bob": 6}[auth.user]"#, 5),
        (r#"requestBodyJSON("/max_tokens") + 10"#, 11),
        ("response.code == 200 ? 4 : 5", 4),
        (
            r#"response.headers["content-type"] == "application/json" ? 3 : 0"#,
            3,
        ),
        // What has no result, no place or no meaning is not free.
        ("usage.raw.nothing", 120),
        ("usage.raw.custom", 120),
        // What is implausible neither, and it does not exhaust the counter for others.
        ("usage.total_tokens * 9223372036854775807", 120),
        ("1099511627777", 120),
        ("1099511627776", 1_099_511_627_776),
    ] {
        assert_eq!(cost(expression, &answer), expected, "{expression}");
    }
}

#[test]
fn cost_without_result_at_admission_fails() {
    let envoy = envoy(&json!({
        "cost": "usage.total_tokens / int(request.headers['x-part'])",
        "rates": [{ "limit": 100, "window": "1m" }]
    }));
    for part in ["0", "half"] {
        assert!(!envoy.send_chat(&[("x-part", part)], ""));
        assert_eq!(envoy.last_reply().status, 500);
    }
    assert!(
        !envoy.send_chat(&[], ""),
        "what is missing is a failure, too"
    );
    assert_eq!(envoy.last_reply().status, 500);
}

#[test]
fn limits_on_all_kinds_count_one_exchange() {
    let costs = [
        "usage.input_tokens",
        "usage.output_tokens",
        "usage.cached_tokens",
    ];
    for (which, expected) in costs.iter().zip([100, 20, 40]) {
        let limit = |cost: &str, limit: u64| json!({ "cost": cost, "rates": [{ "limit": limit, "window": "1m" }] });
        let mut configuration: Value = serde_json::from_str(&configuration(
            &limit("usage.total_tokens", 9999),
            &json!({}),
        ))
        .unwrap();
        for cost in costs {
            let most = if cost == *which { 1 } else { 9999 };
            configuration["policies"][0]["spec"]["limits"][cost] = limit(cost, most);
        }
        let envoy = Envoy::with(&configuration.to_string());
        assert!(envoy.send_chat(&[], &usage(100, 20, 40, 0)));
        assert!(!envoy.send_chat(&[], ""));
        assert_eq!(envoy.used(), expected, "{which}");
    }
}

#[test]
fn unused_exchange_costs_only_constants() {
    for (expression, is_free) in [("usage.total_tokens + 5", true), ("5", false)] {
        let envoy =
            envoy(&json!({ "cost": expression, "rates": [{ "limit": 1, "window": "1m" }] }));
        let (mut stream, admitted) = envoy.begin(&[], "{}");
        assert!(admitted);
        envoy
            .host
            .set_headers(HeaderMap::Response, &[(":status", "404")]);
        stream.on_response_headers(true);
        stream.on_log();
        assert_eq!(
            envoy.send_chat(&[], &usage(1, 1, 0, 0)),
            is_free,
            "{expression}"
        );
    }
}

#[test]
fn expected_cost_is_reserved() {
    let envoy = envoy(&json!({
        "cost": "usage.output_tokens * 2",
        "rates": [{ "limit": 100, "window": "1m" }]
    }));
    let body = r#"{"model":"m","max_tokens":30}"#;
    let (_first, admitted) = envoy.begin(&[], body);
    assert!(admitted, "60 of 100 are held");
    let (_second, admitted) = envoy.begin(&[], body);
    assert!(!admitted, "another 60 do not fit");
    let (_third, admitted) = envoy.begin(&[], r#"{"model":"m","max_tokens":20}"#);
    assert!(admitted, "40 do");
}

#[test]
fn requests_are_counted_at_admission() {
    let envoy = envoy(&json!({ "requests": [{ "limit": 2, "window": "1m" }] }));
    let (first, admitted) = envoy.begin(&[], "{}");
    assert!(admitted);
    let (second, admitted) = envoy.begin(&[], "{}");
    assert!(admitted, "counted at admission, not at its end");
    assert!(!envoy.send_chat(&[], ""));
    let reply = envoy.last_reply();
    assert_eq!(
        reply.header("retry-after"),
        Some("60"),
        "no request in flight is waited for"
    );
    assert!(reply.body.contains("2 requests per 1m"), "{}", reply.body);
    envoy.end(first, &usage(1, 1, 0, 0));
    envoy.end(second, &usage(1, 1, 0, 0));
    envoy.host.clock.set(1_001 * MINUTE);
    assert!(envoy.send_chat(&[], &usage(1, 1, 0, 0)));
    assert!(
        envoy.send_chat(&[], &usage(1, 1, 0, 0)),
        "the end of the others was not counted again"
    );
    assert!(!envoy.send_chat(&[], ""));
}

#[test]
fn budget_admits_until_exhausted() {
    let envoy = envoy_with(
        &json!({ "budgets": [{ "usd": "0.001", "window": "24h", "algorithm": "sliding" }] }),
        &json!({ "pricing": prices(), "replies": { "headers": "draft-03" } }),
    );
    // 200 * 2500 + 20 * 10000 billionths.
    assert!(envoy.send_chat(&[], &usage(200, 20, 0, 0)));
    assert_eq!(envoy.state("tollgate.usd").as_deref(), Some("0.0007"));
    assert_eq!(
        envoy
            .host
            .metric("tollgate.usd_billionths.model=gpt-4o-2024"),
        700_000
    );
    let (stream, admitted) = envoy.begin(&[], r#"{"model":"gpt-4o","max_tokens":1}"#);
    assert!(admitted);
    envoy.end(stream, &usage(200, 20, 0, 0));
    let headers = envoy.host.headers.borrow()[&HeaderMap::Response].clone();
    let header = |name: &str| {
        let found = headers.iter().find(|(key, _)| key == name);
        found.map(|(_, value)| String::from_utf8_lossy(value).into_owned())
    };
    assert_eq!(header("x-budget-limit").as_deref(), Some("0.001"));
    assert_eq!(header("x-budget-used").as_deref(), Some("0.0007"));
    assert_eq!(header("x-budget-remaining").as_deref(), Some("0.0003"));
    assert!(header("x-budget-reset").is_some() && header("x-ratelimit-limit").is_none());
    assert!(!envoy.send_chat(&[], ""));
    let reply = envoy.last_reply();
    assert_eq!(reply.header("x-budget-used"), Some("0.0014"));
    assert_eq!(reply.header("x-budget-remaining"), Some("0.00"));
    assert!(reply.body.contains("0.001 USD per 24h"), "{}", reply.body);
}

#[test]
fn unpriced_model_is_rejected_free_or_default() {
    let limit = json!({ "budgets": [{ "usd": "0.001", "window": "24h" }] });
    let send_chat = |envoy: &Envoy, model: &str| {
        let (mut stream, admitted) = envoy.begin(&[], &format!(r#"{{"model":"{model}"}}"#));
        if admitted {
            let answer = usage(1000, 0, 0, 0).replace("gpt-4o-2024", model);
            envoy.end(stream, &answer);
        } else {
            stream.on_log();
        }
        admitted
    };
    let reject = envoy_with(&limit, &json!({ "pricing": prices() }));
    let name = format!("llama\\n{}", "x".repeat(100));
    assert!(!send_chat(&reject, &name));
    assert_eq!(reject.last_reply().status, 403);
    let line = reject.log.lines().last().unwrap().1.clone();
    let expected = format!(
        "model_unpriced policy=test/llm limit=free model=\"llama {}\"",
        "x".repeat(58)
    );
    assert_eq!(line, expected);
    assert_eq!(reject.state("tollgate.decision").as_deref(), Some("denied"));
    let free = envoy_with(&limit, &json!({ "pricing": prices(), "unpriced": "free" }));
    assert!(send_chat(&free, "llama") && send_chat(&free, "llama"));
    assert_eq!(free.host.metric("tollgate.unpriced"), 2);
    let mut with_default = prices();
    with_default["default"] = json!({ "input": 1, "output": 1 });
    let default = envoy_with(&limit, &json!({ "pricing": with_default }));
    assert!(send_chat(&default, "llama") && !send_chat(&default, "llama"));
}

#[test]
fn costs_are_exported_without_limits_too() {
    let rest = json!({
        "pricing": prices(),
        "export": { "input": "usage.input_tokens", "cents": "usage.usd * 100000" },
        "hitsAddend": "input"
    });
    let limit = json!({
        "rates": [{ "limit": 9999, "window": "1m" }],
        "when": [{ "predicate": "auth.user == 'bob'" }]
    });
    let envoy = envoy_with(&limit, &rest);
    assert!(envoy.send_chat(&[], &usage(100, 20, 0, 0)));
    assert_eq!(
        envoy.state("tollgate.decision").as_deref(),
        Some("unmatched")
    );
    assert_eq!(envoy.state("tollgate.cost.input").as_deref(), Some("100"));
    assert_eq!(envoy.state("tollgate.cost.cents").as_deref(), Some("45"));
    assert_eq!(envoy.state("tollgate.total_tokens").as_deref(), Some("120"));
    let hits = || {
        let state = envoy.host.envoy_filter_state.borrow();
        state.get("envoy.ratelimit.hits_addend").cloned()
    };
    assert_eq!(hits().as_deref(), Some("100"));
    let (mut stream, _) = envoy.begin(&[], "{}");
    envoy
        .host
        .set_headers(HeaderMap::Response, &[(":status", "503")]);
    stream.on_response_headers(true);
    stream.on_log();
    assert_eq!(hits().as_deref(), Some("0"), "what failed adds nothing");
}

#[test]
fn policy_without_costs_retains_nothing() {
    let envoy = envoy(&json!({ "rates": [{ "limit": 50, "window": "1m" }] }));
    let (stream, admitted) = envoy.begin(&[], "{}");
    assert!(admitted && !stream.retains_attributes());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn budget_use_is_sum_of_costs(
        exchanges in prop::collection::vec((1..5000_u64, 1..5000_u64, 0..5000_u64), 1..12),
    ) {
        let envoy = envoy_with(
            &json!({ "budgets": [{ "usd": "1000", "window": "24h" }] }),
            &json!({ "pricing": prices(), "replies": { "headers": "draft-03" } }),
        );
        let mut sum = 0;
        for (input, output, cached) in exchanges {
            let cached = cached.min(input);
            prop_assert!(envoy.send_chat(&[], &usage(input, output, cached, 0)));
            sum += (input - cached) * 2500 + cached * 1250 + output * 10_000;
        }
        let (stream, _) = envoy.begin(&[], "{}");
        envoy.end(stream, "");
        let headers = envoy.host.headers.borrow();
        let mut found = headers[&HeaderMap::Response].iter();
        let used = found.find(|(name, _)| name == "x-budget-used").unwrap();
        let used: filter_config::Usd = String::from_utf8_lossy(&used.1).parse().unwrap();
        prop_assert_eq!(used.0, sum);
    }

    #[test]
    fn hostile_header_keeps_limit_within_bounds(header in "[0-9.eE+-]{0,20}") {
        let envoy = envoy(&json!({ "rates": [{
            "limit": r#"double(request.headers["x-count"])"#, "window": "1m", "min": 10, "max": 100
        }] }));
        let admitted = envoy.send_chat(&[("x-count", &header)], &usage(100, 0, 0, 0));
        if admitted {
            prop_assert!(!envoy.send_chat(&[("x-count", &header)], ""), "100 are never less than it is");
            let headers = envoy.last_reply();
            let headers = headers.header("x-ratelimit-limit").unwrap();
            let (limit, _) = headers.split_once(',').unwrap();
            prop_assert!((10..=100).contains(&limit.parse::<u64>().unwrap()), "{}", headers);
        } else {
            prop_assert_eq!(envoy.last_reply().status, 500);
        }
    }
}
