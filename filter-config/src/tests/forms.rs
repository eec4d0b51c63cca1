//! What is read from configurations that are right.

use serde_json::{Value, json};

use super::{long_form, set, tutorial};
use crate::{
    Algorithm, AuthSource, Configuration, ErrorShape, Exceeded, Expression, FailureMode,
    IncludeUsage, Limit, OnMissing, Queue, QuotaHeaders, Rate, RateLimit, RateWindow, Replies,
    Storage, Unpriced, UsageSettings, Usd, WhenMissing, parse,
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
                .map(|rate| format!("{} in {}", fixed(rate), rate.window.as_str()))
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

/// The limit of a rate that is the same for all requests.
fn fixed(rate: &Rate) -> u64 {
    match &rate.limit {
        RateLimit::Fixed(limit) => *limit,
        RateLimit::Computed { .. } => panic!("{rate:?}"),
    }
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
    let RateWindow::Fixed(window) = &policy.limits[0].rates[0].window else {
        panic!("{policy:?}");
    };
    assert_eq!(window.as_nanos(), 60_000_000_000);
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
            fixed(&configuration.policies[0].limits[0].rates[0]),
            50,
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

#[test]
fn a_limit_has_costs_requests_and_budgets_beside_rates_or_alone() {
    let limit = limit_with(&json!({
        "cost": "usage.output_tokens * 1.5",
        "requests": [{ "limit": 10, "window": "1s" }, { "limit": 500, "window": "1m" }],
        "whenMissing": "skip"
    }));
    assert_eq!(limit.cost.unwrap().source(), "usage.output_tokens * 1.5");
    assert_eq!(limit.requests.len(), 2);
    assert_eq!(limit.when_missing, Some(WhenMissing::Skip));
    let limit = limit_with(&json!({
        "rates": null, "requests": [{ "limit": 1, "window": "1s" }]
    }));
    assert!(limit.rates.is_empty() && limit.cost.is_none() && limit.when_missing.is_none());
    let mut document = long_form();
    let budgets = json!([{ "usd": "100.00", "window": "24h", "algorithm": "sliding" }]);
    set(
        &mut document,
        "/policies/0/spec/limits/free",
        Some(json!({ "budgets": budgets })),
    );
    let prices = json!({ "gpt-4o": { "input": 2.5, "output": 10 } });
    set(&mut document, "/pricing", Some(prices));
    let configuration = read(&document);
    let budget = &configuration.policies[0].limits[0].budgets[0];
    assert_eq!(budget.usd, Usd(100_000_000_000));
    assert_eq!(budget.algorithm, Algorithm::Sliding);
    let pricing = configuration.pricing.unwrap();
    assert_eq!(pricing.unpriced, Unpriced::Refuse);
    assert_eq!(pricing.of("gpt-4o").unwrap().input, Usd(2_500_000_000));
}

#[test]
fn limits_and_windows_can_be_computed_within_bounds() {
    let rate = |fields: Value| {
        let mut limit = limit_with(&json!({ "rates": [fields] }));
        limit.rates.remove(0)
    };
    for (fields, bounds) in [
        (
            json!({ "limit": "int(request.headers['x-count'])", "max": 500, "min": 1, "window": "1m" }),
            (1, 500),
        ),
        (
            json!({ "limit": "int(request.headers['x-count'])", "max": "none", "window": "1m" }),
            (0, 9_007_199_254_740_991),
        ),
        (
            json!({ "limit": "{'free': 50, 'gold': 200}[auth.tier]", "window": "1m" }),
            (0, 9_007_199_254_740_991),
        ),
        (
            json!({ "limit": "request.path == '/a' ? 1 : 2", "window": "1m" }),
            (0, 9_007_199_254_740_991),
        ),
    ] {
        match rate(fields).limit {
            RateLimit::Computed { min, max, .. } => assert_eq!((min, max), bounds),
            RateLimit::Fixed(limit) => panic!("{limit}"),
        }
    }
    for (window, min_window, nanos) in [
        ("auth.window", None, 1_000_000_000),
        ("auth.gold ? '1h' : '1m'", Some("1m"), 60_000_000_000),
        (
            "duration(request.headers['x-window'])",
            Some("10s"),
            10_000_000_000,
        ),
    ] {
        let mut fields = json!({ "limit": 1, "window": window });
        if let Some(min_window) = min_window {
            set(&mut fields, "/minWindow", Some(json!(min_window)));
        }
        match rate(fields).window {
            RateWindow::Computed { min, .. } => assert_eq!(min, nanos, "{window}"),
            RateWindow::Fixed(fixed) => panic!("{fixed}"),
        }
    }
}

#[test]
fn costs_can_be_told_of_and_one_of_them_to_the_rate_limit_filter() {
    let mut document = long_form();
    let costs =
        json!({ "input": "usage.input_tokens", "custom": "has(usage.raw.a) ? usage.raw.a : 0" });
    set(&mut document, "/export", Some(costs));
    set(&mut document, "/hitsAddend", Some(json!("custom")));
    let configuration = read(&document);
    let names: Vec<&str> = configuration
        .exports
        .iter()
        .map(|export| export.name.as_str())
        .collect();
    assert_eq!(names.len(), 2);
    assert_eq!(names[configuration.hits_addend.unwrap()], "custom");
}

#[test]
fn a_limit_says_what_becomes_of_a_request_that_does_not_fit() {
    let action = |action: Value| {
        let mut document = long_form();
        set(&mut document, "/holdHeaders", Some(json!(true)));
        let place = "/policies/0/spec/limits/free/onExceeded";
        set(&mut document, place, Some(action));
        let mut configuration = read(&document);
        configuration.policies.remove(0).limits.remove(0)
    };
    assert_eq!(limit(&tutorial()).on_exceeded, Exceeded::Deny);
    assert_eq!(action(json!("deny")).on_exceeded, Exceeded::Deny);
    let allow = action(json!("allow"));
    assert_eq!(allow.on_exceeded, Exceeded::Allow);
    assert!(!allow.refuses());
    let queue = action(json!({ "queue": { "depth": 3, "timeout": "1.5s" } }));
    assert_eq!(
        queue.queue(),
        Some(Queue {
            depth: 3,
            timeout: 1_500_000_000
        })
    );
    assert!(queue.refuses());
    let alternatives = action(json!({ "alternatives": [
        { "model": "small" },
        { "model": "other/small", "headers": { "X-To": "b c" } },
        { "headers": { "x-to": "d" } }
    ] }));
    let alternatives: Vec<(Option<&str>, usize)> = alternatives
        .alternatives()
        .iter()
        .map(|alternative| (alternative.model.as_deref(), alternative.headers.len()))
        .collect();
    assert_eq!(
        alternatives,
        [(Some("small"), 0), (Some("other/small"), 1), (None, 1)]
    );
}

/// The first limit of a policy.
fn limit(document: &Value) -> Limit {
    read(document).policies.remove(0).limits.remove(0)
}
