//! Tests of errors and quota headers in the format of the API that is called.

use super::{Envoy, SECOND, USED, limits, shown};
use crate::host::{HeaderMap, Host};
use crate::ledger::Admission;
use limits::Nanos;
use serde_json::{Value, json};
use usage_meter::request::Endpoint;

/// APIs, each with a path.
const APIS: [(&str, &str); 9] = [
    ("OpenAI", "/v1/chat/completions"),
    ("Anthropic", "/v1/messages"),
    ("Gemini", "/v1beta/models/m:generateContent"),
    (
        "Vertex",
        "/v1/projects/p/locations/l/publishers/google/models/m:generateContent",
    ),
    (
        "Anthropic on Vertex",
        "/v1/projects/p/locations/l/publishers/anthropic/models/m:rawPredict",
    ),
    ("Bedrock", "/model/m/converse"),
    ("Anthropic on Bedrock", "/model/anthropic.claude-v2/invoke"),
    ("Ollama", "/api/chat"),
    ("Cohere", "/v2/chat"),
];

#[test]
fn rejections_in_each_error_format() {
    let envoy = Envoy::with(&limits(), &json!({}));
    let replies = APIS.map(|(api, path)| {
        let reply = envoy.rejected(path, 2, 1_500_000_000);
        format!("# {api}\n{}", shown(&reply))
    });
    insta::assert_snapshot!(replies.join("\n\n"));
}

#[test]
fn failures_in_each_error_format() {
    let envoy = Envoy::with(&limits(), &json!({}));
    let replies = APIS.map(|(api, path)| {
        let endpoint = Endpoint::of_path(path);
        let responder = &envoy.responder;
        responder.fail(endpoint.as_ref());
        responder.reject_unauthenticated(endpoint.as_ref(), Some("auth.identity.userid"));
        responder.reject_invalid(endpoint.as_ref());
        responder.reject_unpriced(endpoint.as_ref(), "m-1");
        responder.reject_overload(endpoint.as_ref());
        let replies = envoy.host.replies.take();
        let replies: Vec<String> = replies.iter().map(shown).collect();
        format!("# {api}\n{}", replies.join("\n"))
    });
    insta::assert_snapshot!(replies.join("\n\n"));
}

#[test]
fn mistral_clients_are_known_by_user_agent() {
    let envoy = Envoy::with(&limits(), &json!({}));
    let agent = vec!["request".to_owned(), "useragent".to_owned()];
    for (value, is_mistral, is_openai) in [
        ("mistral-client-python/1.9.3", true, false),
        ("ai-sdk/mistral/3.0.69 runtime/node.js/v20", true, false),
        ("ai/6.0.326 runtime/node.js/v20", true, true),
        ("curl/8", false, true),
    ] {
        let mut properties = envoy.host.properties.borrow_mut();
        properties.insert(agent.clone(), value.as_bytes().to_vec());
        drop(properties);
        let reply = envoy.rejected("/v1/chat/completions", 2, SECOND);
        let body: Value = serde_json::from_str(&reply.body).unwrap();
        assert_eq!(body["message"].is_string(), is_mistral, "{body}");
        assert_eq!(body["error"].is_object(), is_openai, "{body}");
    }
}

#[test]
fn configured_format_replaces_that_of_the_path() {
    for (format, pointer) in [
        ("bedrock", "/message"),
        ("ollama", "/error"),
        ("cohere", "/message"),
        ("mistral", "/message"),
        ("gemini", "/error/message"),
    ] {
        let envoy = Envoy::with(&limits(), &json!({ "error": format }));
        let reply = envoy.rejected("/v1/chat/completions", 2, SECOND);
        let body: Value = serde_json::from_str(&reply.body).unwrap();
        let message = body.pointer(pointer).and_then(Value::as_str);
        assert!(
            message.is_some_and(|text| text.contains("50 tokens per 1m")),
            "{body}"
        );
        let is_aws = reply.header("x-amzn-errortype") == Some("ThrottlingException");
        assert_eq!(is_aws, format == "bedrock", "{format}");
    }
}

#[test]
fn configured_format_of_bedrock_follows_the_model() {
    for settings in [json!({ "error": "bedrock" }), json!({})] {
        let envoy = Envoy::with(&limits(), &settings);
        for (path, has_error) in [
            ("/model/m/converse", false),
            ("/model/anthropic.claude-v2/invoke", true),
        ] {
            let reply = envoy.rejected(path, 2, SECOND);
            let body: Value = serde_json::from_str(&reply.body).unwrap();
            assert!(body["message"].is_string(), "{body}");
            // Anthropic's SDK for Bedrock reads either.
            assert_eq!(body["error"].is_object(), has_error, "{body}");
        }
    }
}

#[test]
fn exhausted_quotas_and_budgets_name_the_quota() {
    let limits = json!({ "all": {
        "rates": [{ "limit": 200, "window": "1h" }, { "limit": 900, "window": "24h" }],
        "requests": [{ "limit": 10, "window": "30d" }],
        "concurrency": 3,
        "budgets": [{ "usd": "5.00", "window": "1h" }]
    } });
    let envoy = Envoy::with(&limits, &json!({}));
    let code = |rate: usize| {
        let reply = envoy.rejected("/v1/chat/completions", rate, SECOND);
        let body: Value = serde_json::from_str(&reply.body).unwrap();
        let error = &body["error"];
        assert_eq!(
            error["code"] == "insufficient_quota",
            error["type"] == "insufficient_quota"
        );
        error["code"].as_str().unwrap().to_owned()
    };
    let rates = envoy.policies.rates().len();
    let codes: Vec<String> = (0..rates).map(code).collect();
    let quotas = codes.iter().filter(|code| *code == "insufficient_quota");
    assert_eq!((quotas.count(), rates), (3, 5), "{codes:?}");
    assert_eq!(codes[0], "rate_limit_exceeded");
    assert_eq!(codes[1], "insufficient_quota");
}

#[test]
fn reserved_budget_is_no_exhausted_quota() {
    let limits = json!({ "all": { "budgets": [{ "usd": "5.00", "window": "24h" }] } });
    let envoy = Envoy::with(&limits, &json!({}));
    let mut charge = envoy.charge(0, 1, Nanos::ZERO);
    charge.counter.standing.reserved = charge.counter.standing.limit;
    let reply = envoy.rejected_charge("/v1/chat/completions", charge);
    assert!(reply.body.contains("rate_limit_exceeded"), "{}", reply.body);
    assert_eq!(reply.header("retry-after"), Some("1"));
}

#[test]
fn quota_headers_follow_the_api() {
    let envoy = Envoy::with(&limits(), &json!({ "headers": "auto" }));
    for (path, expected) in [
        ("/v1/chat/completions", "x-ratelimit-limit-tokens"),
        (
            "/openai/deployments/d/chat/completions",
            "x-ratelimit-limit-tokens",
        ),
        ("/v1/messages", "anthropic-ratelimit-tokens-limit"),
        (
            "/model/anthropic.claude-v2/invoke",
            "anthropic-ratelimit-tokens-limit",
        ),
        ("/model/m/converse", "ratelimit"),
        ("/v1beta/models/m:generateContent", "ratelimit"),
        ("/unknown", "ratelimit"),
    ] {
        let families = [
            "x-ratelimit-limit-tokens",
            "anthropic-ratelimit-tokens-limit",
            "ratelimit",
        ];
        let reply = envoy.rejected(path, 2, SECOND);
        let written: Vec<&str> = families
            .into_iter()
            .filter(|name| reply.header(name).is_some())
            .collect();
        assert_eq!(written, [expected], "{path}");

        let host = &envoy.host;
        host.set_headers(HeaderMap::Response, &[(":status", "200")]);
        let admission = Admission::of(vec![envoy.charge(0, 1, Nanos::SECOND)]);
        let endpoint = Endpoint::of_path(path);
        envoy
            .responder
            .annotate(&admission, endpoint.as_ref(), true);
        let headers = host.headers(HeaderMap::Response).unwrap();
        let written: Vec<&str> = families
            .into_iter()
            .filter(|name| headers.get(name).is_some())
            .collect();
        assert_eq!(written, [expected], "{path}, admitted");
    }
}

#[test]
fn anthropic_headers_say_when_limits_are_reset() {
    let envoy = Envoy::with(&limits(), &json!({ "headers": "anthropic" }));
    assert_eq!(
        envoy.admitted(USED),
        [
            "anthropic-ratelimit-tokens-limit: 1000",
            "anthropic-ratelimit-tokens-remaining: 20",
            // The clock shows 1,000,000 s; 80,000 s are left.
            "anthropic-ratelimit-tokens-reset: 1970-01-13T12:00:00Z",
        ]
    );
}

#[test]
fn extra_headers_are_on_every_reply() {
    let replies = json!({ "extra": { "X-Docs": "https://example.com/limits", "x-ratelimit-reset": "never" } });
    let envoy = Envoy::with(&limits(), &replies);
    let endpoint = Endpoint::of_path("/v1/chat/completions");
    envoy.rejected("/v1/chat/completions", 2, SECOND);
    envoy.responder.fail(endpoint.as_ref());
    envoy.responder.reject_invalid(endpoint.as_ref());
    envoy.responder.reject_unpriced(endpoint.as_ref(), "m-1");
    envoy.responder.reject_overload(endpoint.as_ref());
    for reply in envoy.host.replies.borrow().iter() {
        assert_eq!(reply.header("x-docs"), Some("https://example.com/limits"));
        let resets: Vec<&str> = reply
            .headers
            .iter()
            .filter(|(name, _)| name == "x-ratelimit-reset")
            .map(|(_, value)| value.as_str())
            .collect();
        assert_eq!(resets, ["never"], "once");
    }
    assert!(
        envoy.admitted(USED).is_empty(),
        "not on responses of the upstream"
    );
}
