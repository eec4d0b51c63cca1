//! Tests of valid configurations, in both forms.

use std::time::Duration;

use serde_json::{Value, json};
use usage_meter::{UsageNumber, UsagePointer};

use crate::fixtures::{errors_of, long_form, read, set, tutorial};
use crate::{
    AccessLog, AuthSource, Configuration, ErrorFormatSetting, Expression, FailureMode,
    IncludeUsage, MeteredExchanges, Methods, OnMissing, QuotaHeaders, Rate, RateLimit, RateWindow,
    Replies, Storage, UpstreamHeaders, UsageSettings, parse,
};

/// The policies with their predicates, and their limits with rates, counters and the number of predicates.
fn limits(configuration: &Configuration) -> Vec<String> {
    let mut lines = Vec::new();
    for policy in &configuration.policies {
        let predicates: Vec<&str> = policy.when.iter().map(Expression::source).collect();
        lines.push(format!("{} when {predicates:?}", policy.name));
        for limit in &policy.limits {
            let rates: Vec<String> = limit
                .rates
                .iter()
                .map(|rate| format!("{} in {}", fixed(rate), rate.window.as_str()))
                .collect();
            lines.push(format!(
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
    lines
}

/// The limit of a rate that is not computed.
fn fixed(rate: &Rate) -> u64 {
    match &rate.limit {
        RateLimit::Fixed(limit) => *limit,
        RateLimit::Computed { .. } => panic!("{rate:?}"),
    }
}

#[test]
fn tutorial_policy_is_a_configuration() {
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
fn settings_have_defaults() {
    for configuration in [read(&tutorial()), read(&long_form())] {
        assert_eq!(
            configuration.storage,
            Storage::Local {
                max_counters: 65_536
            }
        );
        assert_eq!(configuration.failure_mode, FailureMode::Deny);
        assert_eq!(configuration.request_body.max_bytes, 8 * 1024 * 1024);
        assert_eq!(configuration.request_body.worker_bytes, 256 * 1024 * 1024);
        assert_eq!(configuration.memory.per_worker, 512 * 1024 * 1024);
        let UsageSettings {
            on_missing,
            include_usage,
            paths,
            methods,
            background_ttl,
            meter,
        } = configuration.usage;
        assert_eq!(on_missing, OnMissing::Estimate);
        assert_eq!(meter, MeteredExchanges::Limited);
        assert!(matches!(include_usage, IncludeUsage::Auto));
        assert!(paths.is_empty());
        assert_eq!(methods, Methods::default());
        assert_eq!(background_ttl, Duration::from_secs(3600));
        assert_eq!(configuration.replies, Replies::default());
        assert_eq!(configuration.access_log, AccessLog::Keys);
        assert!(!configuration.hold_headers);
        assert_eq!(
            configuration.auth,
            [
                AuthSource::metadata("envoy.filters.http.ext_authz"),
                AuthSource::metadata("envoy.filters.http.jwt_authn"),
                AuthSource::FilterState("kuadrant.auth".to_owned()),
            ]
        );
    }
}

#[test]
fn every_setting_is_read() {
    let configuration = read(&json!({
        "policies": [tutorial()],
        "storage": { "type": "local", "maxCounters": 1024 },
        "failureMode": "allow",
        "auth": [
            { "metadata": "my.authz", "key": ["https://issuer.example.com", "claims"], "as": "identity" },
            { "filterState": "my.auth" },
            { "header": { "identity.userid": "X-User-Id", "identity.groups": "x-groups" } }
        ],
        "holdHeaders": true,
        "requestBody": { "maxBytes": 1000 },
        "usage": { "onMissing": "ignore", "includeUsage": "never", "paths": ["/meter/tokens", "/a~1b/0/n"], "methods": ["POST", "GET"], "backgroundTtl": "90s", "meter": "all" },
        "replies": { "status": 503, "contentType": "text/plain", "body": "slow down", "error": "anthropic", "headers": "draft-03", "maxRetryAfter": "10m",
            "upstreamHeaders": "prefix", "extra": { "X-Gateway": "llm 1" } },
        "accessLog": "both"
    }));
    assert_eq!(configuration.storage, Storage::Local { max_counters: 1024 });
    assert_eq!(configuration.failure_mode, FailureMode::Allow);
    assert_eq!(configuration.access_log, AccessLog::Both);
    assert!(configuration.hold_headers);
    assert_eq!(configuration.request_body.max_bytes, 1000);
    let usage = &configuration.usage;
    assert_eq!(usage.on_missing, OnMissing::Ignore);
    assert!(matches!(usage.include_usage, IncludeUsage::Never));
    let pointers = ["/meter/tokens", "/a~1b/0/n"];
    let paths = pointers.map(|pointer| (UsageNumber::Total, pointer.parse().unwrap()));
    assert_eq!(usage.paths, paths);
    assert_eq!(usage.background_ttl, Duration::from_secs(90));
    assert_eq!(usage.meter, MeteredExchanges::All);
    let charged = ["POST", "PUT", "GET", "post"].map(|method| {
        let listed = configuration.usage.methods.are_charged(method.as_bytes());
        (listed, Methods::default().are_charged(method.as_bytes()))
    });
    let expected = [(true, true), (false, true), (true, false), (false, true)];
    assert_eq!(charged, expected, "as listed, and by default");
    assert_eq!(
        configuration.replies,
        Replies {
            status: 503,
            content_type: Some("text/plain".to_owned()),
            body: Some("slow down".into()),
            error: ErrorFormatSetting::Anthropic,
            headers: Some(QuotaHeaders::Draft03),
            max_retry_after: Duration::from_secs(600),
            upstream_headers: Some(UpstreamHeaders::Prefix),
            extra: vec![("x-gateway".to_owned(), "llm 1".to_owned())],
        }
    );
    assert_eq!(
        configuration.auth[0],
        AuthSource::Metadata {
            namespace: "my.authz".to_owned(),
            keys: vec!["https://issuer.example.com".to_owned(), "claims".to_owned()],
            becomes: vec!["identity".to_owned()],
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
fn sections_do_not_change_a_single_policy() {
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
fn total_token_pointers_are_read() {
    let paths = ["/usage/total_tokens", "/usageMetadata/totalTokenCount"];
    let extraction = json!({ "response": { "totalTokens": paths } });
    let mut document = tutorial();
    let total_tokens = |document: &Value| -> Vec<String> {
        let pointers = &read(document).policies[0].total_tokens;
        pointers
            .iter()
            .map(|pointer| pointer.as_str().to_owned())
            .collect()
    };
    assert_eq!(total_tokens(&document), [""; 0]);
    set(&mut document, "/spec/dataExtraction", Some(json!({})));
    assert_eq!(total_tokens(&document), [""; 0]);
    set(&mut document, "/spec/dataExtraction", Some(extraction));
    assert_eq!(total_tokens(&document), paths);
    for section in ["defaults", "overrides"] {
        let mut document = document.clone();
        let mut rules = document["spec"].clone();
        set(&mut rules, "/targetRef", None);
        for field in ["limits", "dataExtraction"] {
            set(&mut document, &format!("/spec/{field}"), None);
        }
        set(&mut document, &format!("/spec/{section}"), Some(rules));
        assert_eq!(total_tokens(&document), paths);
    }
}

#[test]
fn usage_paths_are_read_by_number() {
    let mut document = long_form();
    let paths = json!({
        "total": "/meter/0/all",
        "input": ["/meter/0/in + /meter/1/in", "/in"],
        "output": ["/out"],
    });
    set(&mut document, "/usage", Some(json!({ "paths": paths })));
    let read: Vec<(UsageNumber, UsagePointer)> = read(&document).usage.paths;
    let read: Vec<_> = read
        .iter()
        .map(|(number, pointer)| (*number, pointer.as_str()))
        .collect();
    assert_eq!(
        read,
        [
            (UsageNumber::Input, "/meter/0/in + /meter/1/in"),
            (UsageNumber::Input, "/in"),
            (UsageNumber::Output, "/out"),
            (UsageNumber::Total, "/meter/0/all"),
        ]
    );
}

#[test]
fn kubernetes_metadata_is_ignored() {
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
fn integers_are_read_in_any_notation() {
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
fn namespace_defaults_to_default() {
    let mut document = tutorial();
    set(&mut document, "/metadata/namespace", None);
    assert_eq!(read(&document).policies[0].name, "default/token-limits");
}

#[test]
fn counters_and_predicates_are_optional() {
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
fn exports_and_hits_addend_are_read() {
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
fn include_usage_can_be_a_predicate() {
    let predicate = "llm.model.startsWith('mistral') ? false : true";
    let configuration = read(&json!({
        "policies": [tutorial()],
        "usage": { "includeUsage": predicate },
    }));
    let found = configuration.usage.include_usage.predicate();
    assert_eq!(found.map(Expression::source), Some(predicate));
}

const MEBIBYTE: usize = 1 << 20;

#[test]
fn sizes_are_bytes_or_have_units() {
    let settings = |memory: &str, bodies: serde_json::Value| {
        let configuration = read(&json!({
            "policies": [tutorial()],
            "memory": { "perWorker": memory },
            "requestBody": bodies,
        }));
        let bodies = configuration.request_body;
        (configuration.memory.per_worker, bodies.worker_bytes)
    };
    let bodies = json!({ "workerBytes": "65536KiB" });
    assert_eq!(settings("768MiB", bodies), (768 * MEBIBYTE, 64 * MEBIBYTE));
    let bodies = json!({ "workerBytes": 1000 });
    assert_eq!(settings("67108864", bodies), (64 * MEBIBYTE, 1000));
    // Half of the worker's memory is for bodies.
    assert_eq!(
        settings("64MiB", json!({ "maxBytes": "1MiB" })),
        (64 * MEBIBYTE, 32 * MEBIBYTE)
    );
}

#[test]
fn held_bodies_fit_into_worker_memory() {
    let document = json!({
        "policies": [tutorial()],
        "memory": { "perWorker": "64MiB" },
        "requestBody": { "workerBytes": "65MiB" },
    });
    assert_eq!(
        errors_of(document.to_string().as_bytes()),
        "requestBody.workerBytes: must not be greater than \"memory.perWorker\", lower it or raise that"
    );
}
