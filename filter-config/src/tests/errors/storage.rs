//! Tests of invalid storages, and of policies that a storage does not support.

#![expect(clippy::too_many_lines, reason = "the tests are tables")]

use serde_json::{Value, json};

use crate::fixtures::{assert_errors, long_form, set, tutorial};

/// A long form with a limitador.
fn limitador() -> Value {
    let mut document = long_form();
    let storage = json!({ "type": "limitador", "cluster": "limitador" });
    set(&mut document, "/storage", Some(storage));
    document
}

/// A long form with an Envoy rate limit service.
fn envoy_rls() -> Value {
    let mut document = long_form();
    let storage = json!({ "type": "envoy-rls", "cluster": "ratelimit", "domain": "llm" });
    set(&mut document, "/storage", Some(storage));
    document
}

#[test]
fn invalid_storages_are_rejected() {
    assert_errors(
        &limitador(),
        [
            (
                "/storage",
                Some(json!("limitador")),
                "storage: found \"limitador\", expected an object",
            ),
            (
                "/storage/type",
                Some(json!("redis")),
                "storage.type: found \"redis\", expected \"local\", \"limitador\" or \"envoy-rls\"",
            ),
            (
                "/storage/type",
                Some(json!("local")),
                "storage.cluster: unknown field, expected \"type\" or \"maxCounters\"",
            ),
            (
                "/storage/cluster",
                None,
                "storage.cluster: missing required field",
            ),
            (
                "/storage/cluster",
                Some(json!("c".repeat(1025))),
                "storage.cluster: found 1025 bytes, expected at most 1024",
            ),
            (
                "/storage/cluster",
                Some(json!("a cluster")),
                "storage.cluster: found \"a cluster\", expected a name without white space and control characters",
            ),
            (
                "/storage/protocol",
                Some(json!("report")),
                "storage.protocol: found \"report\", expected \"reserve\" or \"check-report\"",
            ),
            (
                "/storage/domain",
                Some(json!("")),
                "storage.domain: must not be empty",
            ),
            (
                "/storage/domain",
                Some(json!("d".repeat(254))),
                "storage.domain: found 254 bytes, expected at most 253",
            ),
            (
                "/storage/timeout",
                Some(json!("0s")),
                "storage.timeout: found \"0s\", expected a duration of whole milliseconds from \"1ms\" to \"60000ms\"",
            ),
            (
                "/storage/timeout",
                Some(json!("2m")),
                "storage.timeout: found \"2m\", expected a duration of whole milliseconds from \"1ms\" to \"60000ms\"",
            ),
            (
                "/storage/timeout",
                Some(json!(100)),
                "storage.timeout: invalid duration 100, did you mean \"100ms\"?",
            ),
            (
                "/storage/flush",
                Some(json!("1500us")),
                "storage.flush: found \"1500us\", expected a duration of whole milliseconds from \"0ms\" to \"1000ms\"",
            ),
            (
                "/storage/flush",
                Some(json!("2s")),
                "storage.flush: found \"2s\", expected a duration of whole milliseconds from \"0ms\" to \"1000ms\"",
            ),
            (
                "/storage/lease",
                Some(json!(1000)),
                "storage.lease: found 1000, expected an object",
            ),
            (
                "/storage/lease",
                Some(json!({ "ttl": "10s" })),
                "storage.lease.amount: missing required field",
            ),
            (
                "/storage/lease",
                Some(json!({ "amount": 0 })),
                "storage.lease.amount: found 0, expected a whole number from 1 to 100000000000",
            ),
            (
                "/storage/lease",
                Some(json!({ "amount": 1000, "requests": 1_000_001 })),
                "storage.lease.requests: found 1000001, expected a whole number from 1 to 1000000",
            ),
            (
                "/storage/lease",
                Some(json!({ "amount": 1000, "ttl": "31s" })),
                "storage.lease.ttl: found \"31s\", expected a duration of whole milliseconds from \"1000ms\" to \"30000ms\"",
            ),
            (
                "/storage/lease",
                Some(json!({ "amount": 1000, "tll": "9s" })),
                "storage.lease.tll: unknown field, did you mean \"ttl\"?",
            ),
            (
                "/storage/failureMode",
                Some(json!("open")),
                "storage.failureMode: found \"open\", expected \"local\", \"allow\" or \"deny\"",
            ),
            (
                "/storage/maxCounters",
                Some(json!(1)),
                "storage.maxCounters: found 1, expected a whole number from 64 to 16777216",
            ),
            (
                "/storage/failuremode",
                Some(json!("deny")),
                "storage.failuremode: unknown field, did you mean \"failureMode\"?",
            ),
        ],
    );
    let mut leased = limitador();
    set(
        &mut leased,
        "/storage/lease",
        Some(json!({ "amount": 1000 })),
    );
    assert_errors(
        &leased,
        [
            (
                "/storage/protocol",
                Some(json!("check-report")),
                "storage.lease: not supported with \"protocol\": \"check-report\", expected \"type\": \"limitador\" and \"protocol\": \"reserve\", or no \"lease\"",
            ),
            (
                "/storage",
                Some(json!({ "type": "local", "lease": { "amount": 1000 } })),
                "storage.lease: not supported with \"type\": \"local\", expected \"type\": \"limitador\" and \"protocol\": \"reserve\", or no \"lease\"",
            ),
        ],
    );
    assert_errors(
        &envoy_rls(),
        [
            (
                "/storage/lease",
                Some(json!({ "amount": 1000 })),
                "storage.lease: not supported with \"type\": \"envoy-rls\", expected \"type\": \"limitador\" and \"protocol\": \"reserve\", or no \"lease\"",
            ),
            (
                "/storage/domain",
                None,
                "storage.domain: missing required field",
            ),
            (
                "/storage/protocol",
                Some(json!("reserve")),
                "storage.protocol: unknown field, expected \"type\", \"cluster\", \"domain\", \"timeout\", \"failureMode\", \"flush\" or \"maxCounters\"",
            ),
        ],
    );
}

#[test]
fn policies_unsupported_by_a_service_are_rejected() {
    const RATE: &str = "/policies/0/spec/limits/free/rates/0";
    assert_errors(
        &limitador(),
        [
            (
                RATE,
                Some(json!({ "limit": 1, "window": "1m", "algorithm": "sliding" })),
                "policies[0].spec.limits.free.rates[0].algorithm: not supported by this type of storage, expected \"fixed\"",
            ),
            (
                RATE,
                Some(json!({ "limit": 1, "window": "1500ms" })),
                "policies[0].spec.limits.free.rates[0].window: not supported by this type of storage, expected whole seconds",
            ),
        ],
    );
    assert_errors(
        &limitador(),
        [
            (
                "/policies/0/spec/limits/free/requests",
                Some(json!([{ "limit": 1, "window": "1m" }])),
                "accepted",
            ),
            (
                "/policies/0/spec/limits/free/requests",
                Some(
                    json!([{ "limit": 1, "window": "1m" }, { "limit": 9, "window": "1h", "algorithm": "bucket" }]),
                ),
                "policies[0].spec.limits.free.requests[1].algorithm: not supported by this type of storage, expected \"fixed\"",
            ),
            (
                "/policies/0/spec/limits/free/requests",
                Some(json!([{ "limit": "auth.limit", "max": 9, "window": "1m" }])),
                "policies[0].spec.limits.free.requests[0].limit: not supported by this type of storage, expected a number",
            ),
            (
                "/policies/0/spec/limits/free/onExceeded",
                Some(json!({ "queue": { "depth": 1, "timeout": "1s" } })),
                "accepted",
            ),
            (
                "/policies/0/spec/limits/free/onExceeded",
                Some(json!("allow")),
                "accepted",
            ),
            (
                RATE,
                Some(json!({ "limit": "auth.limit", "max": 9, "window": "1m" })),
                "policies[0].spec.limits.free.rates[0].limit: not supported by this type of storage, expected a number",
            ),
        ],
    );
    assert_errors(
        &envoy_rls(),
        [(
            RATE,
            Some(json!({ "limit": 1, "window": "1h", "algorithm": "calendar" })),
            "policies[0].spec.limits.free.rates[0].algorithm: not supported by this type of storage, expected \"fixed\"",
        )],
    );
    let budgets = "/policies/0/spec/limits/free/budgets";
    let priced = |mut document: Value| {
        let pricing = json!({ "gpt-4o": { "input": 1, "output": 2 } });
        set(&mut document, "/pricing", Some(pricing));
        document
    };
    let budget = |window: &str, algorithm: &str| {
        Some(json!([{ "usd": 1, "window": window, "algorithm": algorithm }]))
    };
    assert_errors(
        &priced(limitador()),
        [
            (budgets, budget("1d", "fixed"), "accepted"),
            (
                budgets,
                budget("1d", "sliding"),
                "policies[0].spec.limits.free.budgets[0].algorithm: not supported by this type of storage, expected \"fixed\"",
            ),
            (
                budgets,
                budget("1500ms", "fixed"),
                "policies[0].spec.limits.free.budgets[0].window: not supported by this type of storage, expected whole seconds",
            ),
        ],
    );
    assert_errors(
        &priced(envoy_rls()),
        [
            (
                budgets,
                budget("1d", "fixed"),
                "policies[0].spec.limits.free.budgets: not supported by this type of storage, expected none: its counters are too small for billionths of a dollar",
            ),
            (
                "/policies/0/spec/limits/free/requests",
                Some(json!([{ "limit": 1, "window": "1m" }])),
                "accepted",
            ),
        ],
    );
    let mut overridden = tutorial();
    let mut limits = overridden["spec"]["limits"].take();
    limits["gold"]["rates"][0]["algorithm"] = json!("bucket");
    overridden["spec"].as_object_mut().unwrap().remove("limits");
    overridden["spec"]["overrides"] = json!({ "limits": limits });
    assert_errors(
        &limitador(),
        [(
            "/policies/0",
            Some(overridden),
            "policies[0].spec.overrides.limits.gold.rates[0].algorithm: not supported by this type of storage, expected \"fixed\"",
        )],
    );
}
