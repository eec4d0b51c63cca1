//! What is read from configurations that are right.

use serde_json::{Value, json};

use super::{long_form, set, tutorial};
use crate::{
    Algorithm, AuthSource, Configuration, ErrorShape, Expression, FailureMode, IncludeUsage, Limit,
    OnMissing, QuotaHeaders, Replies, Storage, UsageSettings, parse,
};

fn read(document: &Value) -> Configuration {
    parse(document.to_string().as_bytes()).unwrap_or_else(|faults| panic!("{faults}"))
}

/// The limits of a policy in words: name, counters, predicates, rates.
fn limits(configuration: &Configuration) -> Vec<String> {
    let mut words = Vec::new();
    for policy in &configuration.policies {
        let predicates: Vec<&str> = policy.when.iter().map(Expression::source).collect();
        words.push(format!("{} when {predicates:?}", policy.name));
        for limit in &policy.limits {
            let rates: Vec<String> = limit
                .rates
                .iter()
                .map(|rate| format!("{} in {}", rate.limit, rate.window))
                .collect();
            words.push(format!(
                "{}: {} for {} when {}",
                limit.name,
                rates.join(", "),
                limit
                    .counters
                    .iter()
                    .map(Expression::source)
                    .collect::<String>(),
                limit.when.len(),
            ));
        }
    }
    words
}

#[test]
fn the_tutorials_policy_is_a_configuration() {
    let configuration = read(&tutorial());
    assert_eq!(
        limits(&configuration),
        [
            "gateway-system/token-limits when []",
            "free: 50 in 1m for auth.identity.userid when 2",
            "gold: 200 in 1m for auth.identity.userid when 2",
        ]
    );
    let policy = &configuration.policies[0];
    assert_eq!(policy.target.kind, "Gateway");
    assert_eq!(policy.target.name, "llm");
    assert_eq!(policy.limits[0].rates[0].window.as_nanos(), 60_000_000_000);
    assert_eq!(
        policy.limits[0].when[1].source(),
        "auth.identity.groups.split(\",\").exists(g, g == \"free\")"
    );
}

#[test]
fn every_field_of_the_long_form_has_a_default() {
    for configuration in [read(&tutorial()), read(&long_form())] {
        assert_eq!(
            configuration.storage,
            Storage::Local {
                max_counters: 65_536
            }
        );
        assert_eq!(configuration.failure_mode, FailureMode::Deny);
        assert_eq!(configuration.request_body.max_bytes, 262_144);
        assert_eq!(
            configuration.usage,
            UsageSettings {
                on_missing: OnMissing::Estimate,
                include_usage: IncludeUsage::Auto,
                paths: Vec::new(),
            }
        );
        assert_eq!(configuration.replies, Replies::default());
        assert!(!configuration.hold_headers);
        assert_eq!(
            configuration.auth,
            [
                AuthSource::Metadata("envoy.filters.http.ext_authz".to_owned()),
                AuthSource::Metadata("envoy.filters.http.jwt_authn".to_owned()),
                AuthSource::FilterState("kuadrant.auth".to_owned()),
            ]
        );
    }
}

#[test]
fn every_field_of_the_long_form_is_read() {
    let configuration = read(&json!({
        "policies": [tutorial()],
        "storage": { "type": "local", "maxCounters": 1024 },
        "failureMode": "allow",
        "auth": [
            { "metadata": "my.authz" },
            { "filterState": "my.auth" },
            { "header": { "identity.userid": "X-User-Id", "identity.groups": "x-groups" } }
        ],
        "holdHeaders": true,
        "requestBody": { "maxBytes": 1000 },
        "usage": { "onMissing": "ignore", "includeUsage": "never", "paths": ["/meter/tokens", "/a~1b/0"] },
        "replies": { "status": 503, "contentType": "text/plain", "body": "slow down", "error": "anthropic", "headers": "draft-03" }
    }));
    assert_eq!(configuration.storage, Storage::Local { max_counters: 1024 });
    assert_eq!(configuration.failure_mode, FailureMode::Allow);
    assert!(configuration.hold_headers);
    assert_eq!(configuration.request_body.max_bytes, 1000);
    assert_eq!(
        configuration.usage,
        UsageSettings {
            on_missing: OnMissing::Ignore,
            include_usage: IncludeUsage::Never,
            paths: vec!["/meter/tokens".to_owned(), "/a~1b/0".to_owned()],
        }
    );
    assert_eq!(
        configuration.replies,
        Replies {
            status: 503,
            content_type: Some("text/plain".to_owned()),
            body: Some("slow down".into()),
            error: ErrorShape::Anthropic,
            headers: Some(QuotaHeaders::Draft03),
        }
    );
    let AuthSource::Header(mut claims) = configuration.auth[2].clone() else {
        panic!("{:?}", configuration.auth);
    };
    claims.sort();
    let claim =
        |path: [&str; 2], header: &str| (path.map(str::to_owned).to_vec(), header.to_owned());
    assert_eq!(
        claims,
        [
            claim(["identity", "groups"], "x-groups"),
            claim(["identity", "userid"], "x-user-id"),
        ]
    );
}

#[test]
fn a_policy_alone_has_the_same_limits_bare_as_defaults_or_as_overrides() {
    let mut bare = tutorial();
    let when = json!([{ "predicate": "request.method == \"POST\"" }]);
    set(&mut bare, "/spec/when", Some(when.clone()));
    let expected = limits(&read(&bare));
    let rules = bare["spec"]["limits"].clone();
    for section in ["defaults", "overrides"] {
        for strategy in [None, Some("atomic"), Some("merge")] {
            let mut document = tutorial();
            set(&mut document, "/spec/limits", None);
            let mut body = json!({ "limits": rules, "when": when });
            set(&mut body, "/strategy", strategy.map(Value::from));
            set(&mut document, &format!("/spec/{section}"), Some(body));
            assert_eq!(limits(&read(&document)), expected);
        }
    }
}

#[test]
fn a_rate_has_the_algorithm_that_it_names_and_else_the_fixed_one() {
    let rates = json!([
        { "limit": 1, "window": "7m" },
        { "limit": 1, "window": "8m", "algorithm": "fixed" },
        { "limit": 1, "window": "30d", "algorithm": "calendar" },
        { "limit": 1, "window": "9m", "algorithm": "sliding" },
        { "limit": 1, "window": "10m", "algorithm": "bucket" }
    ]);
    let mut document = tutorial();
    set(&mut document, "/spec/limits/free/rates", Some(rates));
    let rates = &read(&document).policies[0].limits[0].rates;
    let algorithms: Vec<Algorithm> = rates.iter().map(|rate| rate.algorithm).collect();
    assert_eq!(
        algorithms,
        [
            Algorithm::Fixed,
            Algorithm::Fixed,
            Algorithm::Calendar,
            Algorithm::Sliding,
            Algorithm::Bucket,
        ]
    );
}

/// The first limit of the tutorial, with some fields changed or taken away.
fn limit_with(fields: &Value) -> Limit {
    let mut document = tutorial();
    for (name, value) in fields.as_object().unwrap() {
        let value = Some(value.clone()).filter(|value| !value.is_null());
        set(&mut document, &format!("/spec/limits/free/{name}"), value);
    }
    let mut limits = read(&document).policies.remove(0).limits;
    limits.remove(0)
}

#[test]
fn a_limit_has_only_its_rates_where_it_does_not_say_more() {
    let limit = limit_with(&json!({}));
    assert_eq!(limit.concurrency, None);
    assert_eq!(limit.alert_at, None);
    assert!(!limit.shadow);
    assert!(limit.reservation.is_none());
}

#[test]
fn a_limit_can_bound_the_requests_in_flight_beside_rates_or_alone() {
    let limit = limit_with(&json!({ "concurrency": 20 }));
    assert_eq!((limit.concurrency, limit.rates.len()), (Some(20), 1));
    let limit = limit_with(&json!({ "concurrency": 1_000_000, "rates": null }));
    assert_eq!((limit.concurrency, limit.rates.len()), (Some(1_000_000), 0));
}

#[test]
fn a_limit_can_be_a_shadow_and_can_tell_before_it_is_reached() {
    let limit = limit_with(&json!({ "shadow": true, "alertAt": 0.8 }));
    assert!(limit.shadow);
    assert_eq!(limit.alert_at, Some(800_000));
    for (value, expected) in [(0.000_001, 1), (0.29, 290_000), (0.999_999, 999_999)] {
        let limit = limit_with(&json!({ "alertAt": value }));
        assert_eq!(limit.alert_at, Some(expected), "{value}");
    }
}

#[test]
fn what_a_request_holds_and_for_how_long_can_be_said() {
    let reservation = |fields: Value| {
        let limit = limit_with(&json!({ "reservation": fields }));
        let reservation = limit.reservation.unwrap();
        let amount = reservation.amount.map(|amount| amount.source().to_owned());
        (amount, reservation.ttl)
    };
    assert_eq!(reservation(json!({})), (None, None));
    for amount in [
        "0",
        "uint(2000)",
        "llm.estimated_input_tokens + llm.?max_output_tokens.orValue(1000)",
        "requestBodyJSON('/max_tokens')",
        "request.headers['x-tier'] == 'gold' ? 10000 : 500",
    ] {
        let held = reservation(json!({ "amount": amount }));
        assert_eq!(held, (Some(amount.to_owned()), None));
    }
    for (ttl, seconds) in [
        ("1s", 1),
        ("1m30s", 90),
        ("1d", 86_400),
        ("duration('30s')", 30),
        ("duration( \"5m\" )", 300),
    ] {
        let nanos = Some(seconds * 1_000_000_000);
        assert_eq!(reservation(json!({ "ttl": ttl })), (None, nanos), "{ttl}");
    }
}

#[test]
fn where_the_total_of_tokens_is_stands_beside_the_limits() {
    let paths = ["/usage/total_tokens", "/usageMetadata/totalTokenCount"];
    let extraction = json!({ "response": { "totalTokens": paths } });
    let mut document = tutorial();
    assert_eq!(read(&document).policies[0].total_tokens, [""; 0]);
    set(&mut document, "/spec/dataExtraction", Some(json!({})));
    assert_eq!(read(&document).policies[0].total_tokens, [""; 0]);
    set(&mut document, "/spec/dataExtraction", Some(extraction));
    assert_eq!(read(&document).policies[0].total_tokens, paths);
    for section in ["defaults", "overrides"] {
        let mut document = document.clone();
        let mut rules = document["spec"].clone();
        set(&mut rules, "/targetRef", None);
        for field in ["limits", "dataExtraction"] {
            set(&mut document, &format!("/spec/{field}"), None);
        }
        set(&mut document, &format!("/spec/{section}"), Some(rules));
        assert_eq!(read(&document).policies[0].total_tokens, paths);
    }
}

#[test]
fn what_kubernetes_adds_to_a_policy_is_passed_over() {
    let mut document = tutorial();
    for (pointer, value) in [
        ("/metadata/uid", json!("a-b")),
        ("/metadata/generation", json!(3)),
        ("/metadata/resourceVersion", json!("12")),
        ("/metadata/creationTimestamp", json!(null)),
        ("/metadata/labels", json!({ "a": "b" })),
        (
            "/metadata/annotations",
            json!({ "kubectl.kubernetes.io/last-applied-configuration": "{}" }),
        ),
        ("/metadata/managedFields", json!([{ "manager": "kubectl" }])),
        ("/status", json!({ "conditions": [] })),
    ] {
        set(&mut document, pointer, Some(value));
    }
    assert_eq!(limits(&read(&document)), limits(&read(&tutorial())));
}

#[test]
fn a_whole_number_is_read_however_it_is_written() {
    let text = tutorial().to_string();
    for number in ["50", "50.0", "5e1", "0.5e2", "500E-1"] {
        let text = text.replace("\"limit\":50", &format!("\"limit\":{number}"));
        let configuration = parse(text.as_bytes()).unwrap();
        assert_eq!(
            configuration.policies[0].limits[0].rates[0].limit, 50,
            "{number}"
        );
    }
}

#[test]
fn the_namespace_is_default_where_none_is_given() {
    let mut document = tutorial();
    set(&mut document, "/metadata/namespace", None);
    assert_eq!(read(&document).policies[0].name, "default/token-limits");
}

#[test]
fn a_limit_can_do_without_counters_and_predicates_and_may_admit_nobody() {
    let mut document = tutorial();
    let limit = json!({ "rates": [{ "limit": 0, "window": "1w", "algorithm": "fixed" }] });
    set(
        &mut document,
        "/spec/limits",
        Some(json!({ "none": limit })),
    );
    assert_eq!(limits(&read(&document))[1], "none: 0 in 1w for  when 0");
}
