//! Storages that are wrong, and policies that a storage cannot enforce.

#![allow(clippy::too_many_lines)] // Tables.

use serde_json::{Value, json};

use super::refused;
use crate::tests::{long_form, set, tutorial};

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
fn storages_that_are_wrong() {
    refused(
        &limitador(),
        [
            (
                "/storage",
                Some(json!("limitador")),
                "storage: expected an object, found \"limitador\"",
            ),
            (
                "/storage/type",
                Some(json!("redis")),
                "storage.type: expected \"local\", \"limitador\" or \"envoy-rls\", found \"redis\"",
            ),
            (
                "/storage/type",
                Some(json!("local")),
                "storage.cluster: unknown field",
            ),
            (
                "/storage/cluster",
                None,
                "storage.cluster: required, but missing",
            ),
            (
                "/storage/cluster",
                Some(json!("c".repeat(1025))),
                "storage.cluster: too many bytes: 1025, at most 1024",
            ),
            (
                "/storage/cluster",
                Some(json!("a cluster")),
                "storage.cluster: a name must not contain white space or control characters",
            ),
            (
                "/storage/protocol",
                Some(json!("report")),
                "storage.protocol: expected \"reserve\" or \"check-report\", found \"report\"",
            ),
            (
                "/storage/domain",
                Some(json!("")),
                "storage.domain: must not be empty",
            ),
            (
                "/storage/domain",
                Some(json!("d".repeat(254))),
                "storage.domain: too many bytes: 254, at most 253",
            ),
            (
                "/storage/timeout",
                Some(json!("0s")),
                "storage.timeout: expected a duration of whole milliseconds from \"1ms\" to \"60000ms\", found \"0s\"",
            ),
            (
                "/storage/timeout",
                Some(json!("2m")),
                "storage.timeout: expected a duration of whole milliseconds from \"1ms\" to \"60000ms\", found \"2m\"",
            ),
            (
                "/storage/timeout",
                Some(json!(100)),
                "storage.timeout: expected a duration of whole milliseconds from \"1ms\" to \"60000ms\", found 100",
            ),
            (
                "/storage/flush",
                Some(json!("1500us")),
                "storage.flush: expected a duration of whole milliseconds from \"0ms\" to \"1000ms\", found \"1500us\"",
            ),
            (
                "/storage/flush",
                Some(json!("2s")),
                "storage.flush: expected a duration of whole milliseconds from \"0ms\" to \"1000ms\", found \"2s\"",
            ),
            (
                "/storage/failureMode",
                Some(json!("open")),
                "storage.failureMode: expected \"local\", \"allow\" or \"deny\", found \"open\"",
            ),
            (
                "/storage/maxCounters",
                Some(json!(1)),
                "storage.maxCounters: expected a whole number from 64 to 16777216, found 1",
            ),
            (
                "/storage/failuremode",
                Some(json!("deny")),
                "storage.failuremode: unknown field, did you mean \"failureMode\"?",
            ),
        ],
    );
    refused(
        &envoy_rls(),
        [
            (
                "/storage/domain",
                None,
                "storage.domain: required, but missing",
            ),
            (
                "/storage/protocol",
                Some(json!("reserve")),
                "storage.protocol: unknown field",
            ),
        ],
    );
}

#[test]
fn policies_that_a_service_cannot_enforce() {
    const RATE: &str = "/policies/0/spec/limits/free/rates/0";
    refused(
        &limitador(),
        [
            (
                RATE,
                Some(json!({ "limit": 1, "window": "1m", "algorithm": "sliding" })),
                "policies[0].spec.limits.free.rates[0].algorithm: not possible with this type of storage: its windows are fixed",
            ),
            (
                RATE,
                Some(json!({ "limit": 1, "window": "1500ms" })),
                "policies[0].spec.limits.free.rates[0].window: not possible with this type of storage: its windows are of whole seconds",
            ),
        ],
    );
    refused(
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
                "policies[0].spec.limits.free.requests[1].algorithm: not possible with this type of storage: its windows are fixed",
            ),
            (
                "/policies/0/spec/limits/free/requests",
                Some(json!([{ "limit": "auth.limit", "max": 9, "window": "1m" }])),
                "policies[0].spec.limits.free.requests[0].limit: not possible with this type of storage: its limits are numbers that it is given",
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
                "policies[0].spec.limits.free.rates[0].limit: not possible with this type of storage: its limits are numbers that it is given",
            ),
        ],
    );
    refused(
        &envoy_rls(),
        [(
            RATE,
            Some(json!({ "limit": 1, "window": "1h", "algorithm": "calendar" })),
            "policies[0].spec.limits.free.rates[0].algorithm: not possible with this type of storage: its windows are fixed",
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
    refused(
        &priced(limitador()),
        [
            (budgets, budget("1d", "fixed"), "accepted"),
            (
                budgets,
                budget("1d", "sliding"),
                "policies[0].spec.limits.free.budgets[0].algorithm: not possible with this type of storage: its windows are fixed",
            ),
            (
                budgets,
                budget("1500ms", "fixed"),
                "policies[0].spec.limits.free.budgets[0].window: not possible with this type of storage: its windows are of whole seconds",
            ),
        ],
    );
    refused(
        &priced(envoy_rls()),
        [
            (
                budgets,
                budget("1d", "fixed"),
                "policies[0].spec.limits.free.budgets: not possible with this type of storage: its numbers have no room for billionths of a dollar",
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
    refused(
        &limitador(),
        [(
            "/policies/0",
            Some(overridden),
            "policies[0].spec.overrides.limits.gold.rates[0].algorithm: not possible with this type of storage: its windows are fixed",
        )],
    );
}
