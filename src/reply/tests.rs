//! Responses in every style.

mod formats;
mod names;
mod upstreams;
mod waits;

use super::Responder;
use super::openai::duration;
use crate::host::double::{Double, SentReply};
use crate::host::{HeaderMap, Host, is_header_value};
use crate::ledger::{Admission, Charge, Rejection};
use crate::policies::{Policies, RateIndex};
use limits::{Nanos, Reservation, Standing, Timestamp};
use proptest::prelude::*;
use serde_json::{Value, json};
use std::rc::Rc;
use usage_meter::request::Endpoint;

const SECOND: u64 = 1_000_000_000;
const NOW: Timestamp = Timestamp::new(1_000_000 * SECOND);

struct Envoy {
    host: Rc<Double>,
    policies: Rc<Policies>,
    responder: Responder,
}

impl Envoy {
    /// Returns a policy with these limits, and these replies.
    fn with(limits: &Value, replies: &Value) -> Self {
        let configuration = json!({
            "policies": [{
                "apiVersion": "kuadrant.io/v1alpha1", "kind": "TokenRateLimitPolicy",
                "metadata": { "name": "llm", "namespace": "test" },
                "spec": {
                    "targetRef": { "group": "gateway.networking.k8s.io", "kind": "Gateway", "name": "g" },
                    "limits": limits
                }
            }],
            "pricing": { "default": { "input": 1, "output": 2 } },
            "replies": replies
        });
        Self::of(&configuration)
    }

    fn of(configuration: &Value) -> Self {
        let host = Rc::new(Double::default());
        host.clock.set(NOW.as_u64());
        let configuration = filter_config::parse(configuration.to_string().as_bytes()).unwrap();
        let envoy: Rc<dyn Host> = host.clone();
        let policies = Rc::new(Policies::compile(&envoy, configuration).unwrap());
        let responder = Responder::new(envoy, policies.clone());
        Self {
            host,
            policies,
            responder,
        }
    }

    /// Returns the headers of an admitted response. `used` has the use of each rate, and the seconds after
    /// which it is reset.
    fn admitted(&self, used: &[(u64, u64)]) -> Vec<String> {
        let host = &self.host;
        host.set_headers(HeaderMap::Response, &[(":status", "200")]);
        let charges = used.iter().enumerate();
        let charges = charges
            .map(|(rate, &(used, seconds))| self.charge(rate, used, Nanos::from_secs(seconds)));
        let admission = Admission::of(charges.collect());
        let upstream = host.headers(HeaderMap::Response).unwrap();
        let has_quotas = self
            .responder
            .apply_upstream_headers(&admission, &upstream, 200);
        self.responder.annotate(&admission, None, has_quotas);
        let headers = host.headers.borrow();
        let headers = headers[&HeaderMap::Response].iter().skip(1);
        headers
            .map(|(name, value)| format!("{name}: {}", str::from_utf8(value).unwrap()))
            .collect()
    }

    fn charge(&self, rate: usize, used: u64, reset: Nanos) -> Charge {
        let index = RateIndex::new(rate);
        let rate = self.policies.rate(index).unwrap();
        let mut counter = Reservation::new(rate.counters, 1, rate.max, 0);
        counter.standing = Standing {
            limit: rate.max,
            used,
            reserved: 0,
            resets_at: NOW.saturating_add(reset),
        };
        Charge {
            rate: index,
            unit: rate.unit,
            is_enforced: true,
            ttl: Charge::DEFAULT_TTL,
            counter,
        }
    }

    /// Returns the rejection of a request to a path by a rate that is reset after a time.
    fn rejected(&self, path: &str, rate: usize, reset: u64) -> SentReply {
        let max = self.policies.rate(RateIndex::new(rate)).unwrap().max;
        self.rejected_charge(path, self.charge(rate, max, Nanos::new(reset)))
    }

    /// Returns the rejection of a request to a path because of a charge.
    fn rejected_charge(&self, path: &str, charge: Charge) -> SentReply {
        self.rejected_with(path, charge, &[])
    }

    /// Returns the rejection of a request to a path because of a charge, with headers of a rate limit service.
    fn rejected_with(
        &self,
        path: &str,
        charge: Charge,
        service_headers: &[(String, Vec<u8>)],
    ) -> SentReply {
        let rejection = Rejection { charge, now: NOW };
        let endpoint = Endpoint::of_path(path);
        let endpoint = endpoint.as_ref();
        assert!(self.responder.reject(&rejection, endpoint, service_headers));
        self.host.replies.borrow().last().unwrap().clone()
    }
}

/// Returns a limit of 50 a minute and 1000 a day, another of 200 in 90 minutes and 3 at once.
fn limits() -> Value {
    json!({
        "free": { "rates": [{ "limit": 50, "window": "1m" }, { "limit": 1000, "window": "1d" }] },
        "all": { "rates": [{ "limit": 200, "window": "90m" }], "concurrency": 3 },
        "watched": { "rates": [{ "limit": 1, "window": "1h" }], "shadow": true }
    })
}

/// How they stand, by the order of their names: 150 left and none in flight, 30 and 20 left.
const USED: &[(u64, u64)] = &[(50, 90), (0, 0), (20, 59), (980, 80_000), (0, 3_600)];

#[test]
fn draft_03_names_the_most_constrained_limit() {
    let envoy = Envoy::with(&limits(), &json!({ "headers": "draft-03" }));
    assert_eq!(
        envoy.admitted(USED),
        [
            "x-ratelimit-limit: 1000, 1000;w=86400;name=\"free\"",
            "x-ratelimit-remaining: 20",
            "x-ratelimit-reset: 80000",
        ]
    );
}

#[test]
fn ietf_lists_all_limits() {
    let envoy = Envoy::with(&limits(), &json!({ "headers": "ietf" }));
    assert_eq!(
        envoy.admitted(USED),
        [
            "ratelimit-policy: \"all/90m\";q=200;w=5400;qu=\"tokens\", \
             \"all/concurrent-requests\";q=3;qu=\"concurrent-requests\", \
             \"free/1m\";q=50;w=60;qu=\"tokens\", \"free/1d\";q=1000;w=86400;qu=\"tokens\"",
            "ratelimit: \"all/90m\";r=150;t=90, \"all/concurrent-requests\";r=2, \
             \"free/1m\";r=30;t=59, \"free/1d\";r=20;t=80000",
        ]
    );
    let reply = envoy.rejected("/v1/chat/completions", 0, 90 * SECOND);
    assert_eq!(
        reply.header("ratelimit"),
        Some("\"all/90m\";r=0;t=90"),
        "the limit that rejects"
    );
    assert_eq!(reply.header("x-should-retry"), Some("false"));
}

#[test]
fn ietf_names_one_limit_without_separators() {
    for (limit, policy, standing) in [
        (
            json!({ "rates": [{ "limit": 50, "window": "1m" }] }),
            r#"ratelimit-policy: "free";q=50;w=60;qu="tokens""#,
            r#"ratelimit: "free";r=20;t=59"#,
        ),
        (
            json!({ "concurrency": 50 }),
            r#"ratelimit-policy: "free";q=50;qu="concurrent-requests""#,
            r#"ratelimit: "free";r=19"#,
        ),
    ] {
        let envoy = Envoy::with(&json!({ "free": limit }), &json!({ "headers": "ietf" }));
        assert_eq!(envoy.admitted(&[(30, 59)]), [policy, standing]);
        assert_eq!(envoy.admitted(&[]), [""; 0], "no limit applies");
    }
}

#[test]
fn ietf_lists_at_most_sixteen_limits() {
    let rates: Vec<Value> = (1..=16)
        .map(|minutes| json!({ "limit": 9_007_199_254_740_991_u64, "window": format!("{minutes}m") }))
        .collect();
    let limits = json!({ "a": { "rates": rates }, "b": { "rates": rates } });
    let envoy = Envoy::with(&limits, &json!({ "headers": "ietf" }));
    let mut used = vec![(5, 7); 32];
    used[31] = (9_007_199_254_740_990, 7);
    let headers = envoy.admitted(&used);
    assert!(
        headers[0].starts_with("ratelimit-policy: \"a/1m\";q=999999999999999;w=60;"),
        "{headers:?}"
    );
    assert!(
        headers[1].ends_with(", \"b/16m\";r=1;t=7"),
        "the one with the least left is among them: {headers:?}"
    );
    assert_eq!(headers[1].matches("r=").count(), 16);
}

#[test]
fn openai_headers_name_tokens_and_requests() {
    let envoy = Envoy::with(&limits(), &json!({ "headers": "openai" }));
    assert_eq!(
        envoy.admitted(USED),
        [
            "x-ratelimit-limit-tokens: 1000",
            "x-ratelimit-remaining-tokens: 20",
            "x-ratelimit-reset-tokens: 22h13m20s",
        ]
    );
    let reply = envoy.rejected("/v1/chat/completions", 2, 1_500_000_000);
    assert_eq!(reply.header("x-ratelimit-limit-tokens"), Some("50"));
    assert_eq!(reply.header("x-ratelimit-remaining-tokens"), Some("0"));
    assert_eq!(reply.header("x-ratelimit-reset-tokens"), Some("1.5s"));
    assert_eq!(reply.header("retry-after"), Some("2"));
    assert_eq!(reply.header("retry-after-ms"), Some("1500"));
    let reply = envoy.rejected("/v1/chat/completions", 1, 0);
    assert_eq!(reply.header("x-ratelimit-limit-requests"), Some("3"));
    assert_eq!(
        reply.header("retry-after"),
        Some("1"),
        "the end of requests in flight is unknown"
    );
}

#[test]
fn requests_and_budgets_have_their_own_headers() {
    let limits = json!({ "all": {
        "rates": [{ "limit": 200, "window": "1m" }],
        "requests": [{ "limit": 10, "window": "1m" }],
        "budgets": [{ "usd": "5.00", "window": "24h" }]
    } });
    let used = &[(50, 30), (4, 20), (1_250_000_000, 3_600)];
    let budget = [
        "x-budget-limit: 5.00",
        "x-budget-used: 1.25",
        "x-budget-remaining: 3.75",
        "x-budget-reset: 1003600",
    ];
    for (style, expected) in [
        (
            "openai",
            &[
                "x-ratelimit-limit-requests: 10",
                "x-ratelimit-remaining-requests: 6",
                "x-ratelimit-reset-requests: 20s",
                "x-ratelimit-limit-tokens: 200",
                "x-ratelimit-remaining-tokens: 150",
                "x-ratelimit-reset-tokens: 30s",
            ][..],
        ),
        (
            "ietf",
            &[
                "ratelimit-policy: \"all/1m\";q=200;w=60;qu=\"tokens\", \
                 \"all/requests/1m\";q=10;w=60;qu=\"requests\"",
                "ratelimit: \"all/1m\";r=150;t=30, \"all/requests/1m\";r=6;t=20",
            ],
        ),
        (
            "draft-03",
            &[
                "x-ratelimit-limit: 10, 10;w=60;name=\"all\"",
                "x-ratelimit-remaining: 6",
                "x-ratelimit-reset: 20",
            ],
        ),
    ] {
        let envoy = Envoy::with(&limits, &json!({ "headers": style }));
        assert_eq!(
            envoy.admitted(used),
            [&budget[..], expected].concat(),
            "{style}"
        );
    }
    let template = json!({ "body": "{max} {remaining} {window}", "contentType": "text/plain" });
    let reply = Envoy::with(&limits, &template).rejected("/", 2, SECOND);
    assert_eq!(reply.body, "5.00 0.00 24h");
    assert_eq!(reply.header("x-budget-limit"), Some("5.00"));
    assert_eq!(reply.header("x-ratelimit-limit"), None);
}

#[test]
fn no_quota_headers_unless_configured() {
    for replies in [json!({}), json!({ "headers": "none" })] {
        let envoy = Envoy::with(&limits(), &replies);
        assert!(envoy.admitted(USED).is_empty(), "{replies}");
    }
    let envoy = Envoy::with(&limits(), &json!({ "headers": "none" }));
    let reply = envoy.rejected("/", 0, SECOND);
    assert_eq!(reply.header("x-ratelimit-limit"), None);
    assert_eq!(reply.header("retry-after"), Some("1"));
}

#[test]
fn errors_have_the_format_of_the_callers_api() {
    let body = |replies: &Value, path: &str| -> Value {
        let envoy = Envoy::with(&limits(), replies);
        serde_json::from_str(&envoy.rejected(path, 2, SECOND).body).unwrap()
    };
    let auto = json!({});
    for path in ["/v1/chat/completions", "/"] {
        let error = &body(&auto, path)["error"];
        assert_eq!(error["code"], "rate_limit_exceeded", "{path}");
        assert_eq!(error["type"], "tokens");
        assert!(error["param"].is_null() && error["message"].is_string());
    }
    let anthropic = body(&auto, "/v1/messages?beta=true");
    assert_eq!(anthropic["type"], "error");
    assert_eq!(anthropic["error"]["type"], "rate_limit_error");
    let message = anthropic["error"]["message"].as_str().unwrap();
    assert!(message.contains("50 tokens per 1m"), "{message}");
    let gemini = body(
        &json!({ "status": 503 }),
        "/v1beta/models/gemini-2.0-flash:streamGenerateContent?alt=sse",
    );
    assert_eq!(gemini["error"]["code"], 503);
    assert_eq!(gemini["error"]["status"], "RESOURCE_EXHAUSTED");
    // A configured format wins over that of the path.
    let fixed = body(&json!({ "error": "anthropic" }), "/v1/chat/completions");
    assert_eq!(fixed, anthropic);

    let envoy = Envoy::with(&limits(), &auto);
    envoy
        .responder
        .fail(Endpoint::of_path("/v1/messages").as_ref());
    let reply = envoy.host.replies.borrow().last().unwrap().clone();
    assert_eq!(reply.status, 500);
    let failed: Value = serde_json::from_str(&reply.body).unwrap();
    assert_eq!(failed["error"]["type"], "api_error");
}

#[test]
fn body_template_is_rendered() {
    let limits = json!({ "a\"b\\c": { "rates": [{ "limit": 50, "window": "1m30s" }] } });
    let template = r#"{"limit": "{limit}", "policy": "{policy}", "window": "{window}",
        "message": "{message}", "numbers": [{max}, {remaining}, {reset}, {retryAfter}], "as is": "{x}"}"#;
    let replies = json!({ "body": template });
    let reply = Envoy::with(&limits, &replies).rejected("/", 0, 90 * SECOND);
    let body: Value = serde_json::from_str(&reply.body).unwrap();
    assert_eq!(body["limit"], "a\"b\\c");
    assert_eq!(body["policy"], "test/llm");
    assert_eq!(body["window"], "1m30s");
    assert_eq!(body["numbers"], json!([50, 0, 90, 90]));
    assert_eq!(body["as is"], "{x}");
    let message = body["message"].as_str().unwrap();
    assert!(message.contains("a\"b\\c"), "{message}");

    let replies = json!({ "body": "{limit}: wait {retryAfter} s", "contentType": "text/plain" });
    let reply = Envoy::with(&limits, &replies).rejected("/", 0, 90 * SECOND);
    assert_eq!(reply.body, "a\"b\\c: wait 90 s");
}

#[test]
fn durations_have_the_form_of_go() {
    for (milliseconds, text) in [
        (0, "0s"),
        (6, "6ms"),
        (999, "999ms"),
        (1_000, "1s"),
        (1_020, "1.02s"),
        (8_640, "8.64s"),
        (90_000, "1m30s"),
        (360_001, "6m0.001s"),
        (3_600_000, "1h0m0s"),
        (90_061_500, "25h1m1.5s"),
    ] {
        assert_eq!(duration(Nanos::from_millis(milliseconds)), text);
    }
    assert_eq!(duration(Nanos::new(1)), "1ms", "rounded up");
    assert_eq!(duration(Nanos::MAX), "5124095h34m33.71s");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever the names of a limit and policy contain, header names and values are valid.
    #[test]
    fn header_names_and_values_are_always_valid(
        limit in r"[^\s\p{C}]{1,20}|[\x21-\x7e]{1,20}",
        style in 0_usize..6,
        used in any::<u64>(),
        reset in 0_u64..1_000_000_000,
    ) {
        let style = [
            json!("draft-03"),
            json!("ietf"),
            json!("openai"),
            json!("anthropic"),
            json!("auto"),
            json!({ "limit": "x-{limit}-{policy}", "retryAfter": "x-{limit}-{window}" }),
        ][style].clone();
        let limits = json!({ limit: { "rates": [{ "limit": 50, "window": "1m" }], "alertAt": 0.1 } });
        let envoy = Envoy::with(&limits, &json!({ "headers": style }));
        envoy.admitted(&[(used, reset)]);
        let written = envoy.host.headers.borrow()[&HeaderMap::Response].clone();
        let rejected = envoy.rejected("/", 0, reset).headers;
        let rejected = rejected.into_iter().map(|(name, value)| (name, value.into_bytes()));
        for (name, value) in written.into_iter().skip(1).chain(rejected) {
            let is_name = |byte: u8| byte.is_ascii_graphic()
                && !byte.is_ascii_uppercase()
                && !b"\"(),/:;<=>?@[\\]{}".contains(&byte);
            prop_assert!(!name.is_empty() && name.bytes().all(is_name), "{name:?}");
            prop_assert!(is_header_value(&value) && value.is_ascii(), "{value:?}");
        }
    }
}

/// Returns a reply as text: status, headers and body.
fn shown(reply: &SentReply) -> String {
    let headers = reply.headers.iter();
    let headers: Vec<String> = headers
        .map(|(name, value)| format!("{name}: {value}"))
        .collect();
    format!("{}\n{}\n\n{}", reply.status, headers.join("\n"), reply.body)
}

#[test]
fn rejections_in_each_header_style() {
    let styles = ["none", "draft-03", "ietf", "openai", "anthropic"];
    let replies = styles.map(|style| {
        let envoy = Envoy::with(&limits(), &json!({ "headers": style }));
        format!("# {style}\n{}", shown(&envoy.rejected("/", 2, 30 * SECOND)))
    });
    insta::assert_snapshot!(replies.join("\n\n"));
}

#[test]
fn failures_have_no_retry_after() {
    let envoy = Envoy::with(&limits(), &json!({}));
    let endpoint = Endpoint::of_path("/v1/chat/completions");
    envoy.responder.fail(endpoint.as_ref());
    envoy.responder.reject_unpriced(endpoint.as_ref(), "m-1");
    let replies = envoy.host.replies.borrow();
    let replies: Vec<String> = replies.iter().map(shown).collect();
    insta::assert_snapshot!(replies.join("\n\n"));
}
