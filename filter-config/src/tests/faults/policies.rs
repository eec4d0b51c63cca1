//! Policies that are wrong.

#![allow(clippy::too_many_lines)] // Tables.

use serde_json::{Value, json};

use super::{refusal, refused};
use crate::tests::{set, tutorial};

#[test]
fn policies_that_are_wrong() {
    let limit = "/spec/limits/free";
    let wide = "x".repeat(300);
    let limits_of_another: Value = json!({ "limits": tutorial()["spec"]["limits"] });
    refused(
        &tutorial(),
        [
            (
                "/kind",
                Some(json!("RateLimitPolicy")),
                "kind: expected \"TokenRateLimitPolicy\", found \"RateLimitPolicy\"",
            ),
            ("/kind", None, "kind: required, but missing"),
            (
                "/apiVersion",
                Some(json!("kuadrant.io/v1")),
                "apiVersion: expected \"kuadrant.io/v1alpha1\", found \"kuadrant.io/v1\"",
            ),
            ("/apiVersion", None, "apiVersion: required, but missing"),
            ("/metadata", None, "metadata: required, but missing"),
            (
                "/metadata/name",
                None,
                "metadata.name: required, but missing",
            ),
            (
                "/metadata/name",
                Some(json!("")),
                "metadata.name: must not be empty",
            ),
            (
                "/metadata/name",
                Some(json!("a/b")),
                "metadata.name: a name must not contain \"/\"",
            ),
            (
                "/metadata/name",
                Some(json!("a\nb")),
                "metadata.name: a name must not contain white space or control characters",
            ),
            (
                "/metadata/name",
                Some(json!(wide)),
                "metadata.name: too many bytes: 300, at most 253",
            ),
            (
                "/metadata/namespace",
                Some(json!(7)),
                "metadata.namespace: expected a string, found 7",
            ),
            (
                "/metadata/nam",
                Some(json!("a")),
                "metadata.nam: unknown field, did you mean \"name\"?",
            ),
            ("/stauts", Some(json!({})), "stauts: unknown field"),
            ("/spec", None, "spec: required, but missing"),
            (
                "/spec",
                Some(json!([])),
                "spec: expected an object, found a list",
            ),
            (
                "/spec/targetRef",
                None,
                "spec.targetRef: required, but missing",
            ),
            (
                "/spec/targetRef/kind",
                Some(json!("Service")),
                "spec.targetRef.kind: expected \"Gateway\" or \"HTTPRoute\", found \"Service\"",
            ),
            (
                "/spec/targetRef/group",
                Some(json!("")),
                "spec.targetRef.group: expected \"gateway.networking.k8s.io\", found \"\"",
            ),
            (
                "/spec/targetRef/namespace",
                Some(json!("a")),
                "spec.targetRef.namespace: unknown field",
            ),
            (
                "/spec/limit",
                Some(json!({})),
                "spec.limit: unknown field, did you mean \"limits\"?",
            ),
            ("/spec/limits", None, "spec.limits: required, but missing"),
            (
                "/spec/limits",
                Some(json!({})),
                "spec.limits: must not be empty",
            ),
            (
                "/spec/limits",
                Some(json!(null)),
                "spec.limits: expected an object, found null",
            ),
            (
                "/spec/defaults",
                Some(limits_of_another.clone()),
                "spec.limits: cannot be given together with \"defaults\"",
            ),
            (
                "/spec/overrides",
                Some(limits_of_another.clone()),
                "spec.limits: cannot be given together with \"overrides\"",
            ),
            (
                "/spec/dataExtraction",
                Some(json!({ "request": {} })),
                "spec.dataExtraction.request: unknown field",
            ),
            (
                "/spec/dataExtraction",
                Some(json!({ "response": { "totaltokens": [] } })),
                "spec.dataExtraction.response.totaltokens: unknown field, did you mean \"totalTokens\"?",
            ),
            (
                "/spec/dataExtraction",
                Some(json!({ "response": { "totalTokens": [] } })),
                "spec.dataExtraction.response.totalTokens: must not be empty",
            ),
            (
                "/spec/dataExtraction",
                Some(json!({ "response": { "totalTokens": "/n" } })),
                "spec.dataExtraction.response.totalTokens: expected a list, found \"/n\"",
            ),
            (
                "/spec/dataExtraction",
                Some(json!({ "response": { "totalTokens": ["/n", "n"] } })),
                "spec.dataExtraction.response.totalTokens[1]: expected a JSON pointer such as \"/usage/total_tokens\", found \"n\"",
            ),
            (
                "/spec/dataExtraction",
                Some(json!({ "response": { "totalTokens": vec!["/n"; 9] } })),
                "spec.dataExtraction.response.totalTokens: too many JSON pointers: 9, at most 8",
            ),
            (
                &format!("{limit}/dataExtraction"),
                Some(json!({})),
                "spec.limits.free.dataExtraction: unknown field",
            ),
            (
                "/spec/limits/",
                Some(json!({ "rates": [{ "limit": 1, "window": "1s" }] })),
                "spec.limits[\"\"]: a limit must have a name",
            ),
            (
                "/spec/limits/a b",
                Some(json!({ "rates": [{ "limit": 1, "window": "1s" }] })),
                "spec.limits[\"a b\"]: a name must not contain white space or control characters",
            ),
            (
                &format!("/spec/limits/{wide}"),
                Some(json!({ "rates": [{ "limit": 1, "window": "1s" }] })),
                &format!(
                    "spec.limits[\"{}…\"]: too many bytes: 300, at most 253",
                    "x".repeat(64)
                ),
            ),
            (
                limit,
                Some(json!("1m")),
                "spec.limits.free: expected an object, found \"1m\"",
            ),
            (
                &format!("{limit}/whem"),
                Some(json!([])),
                "spec.limits.free.whem: unknown field, did you mean \"when\"?",
            ),
            (
                &format!("{limit}/rates"),
                None,
                "spec.limits.free.rates: required, but missing",
            ),
            (
                &format!("{limit}/rates"),
                Some(json!([])),
                "spec.limits.free.rates: must not be empty",
            ),
            (
                &format!("{limit}/rates"),
                Some(json!({ "limit": 1, "window": "1m" })),
                "spec.limits.free.rates: expected a list, found an object",
            ),
            (
                &format!("{limit}/rates"),
                Some(
                    (1..=17)
                        .map(|n| json!({ "limit": 1, "window": format!("{n}m") }))
                        .collect(),
                ),
                "spec.limits.free.rates: too many rates: 17, at most 16",
            ),
            (
                &format!("{limit}/rates/1"),
                Some(json!({ "limit": 1, "window": "60s" })),
                "spec.limits.free.rates[1].window: the window 60s is given already at spec.limits.free.rates[0]",
            ),
            (
                &format!("{limit}/rates/0/limit"),
                None,
                "spec.limits.free.rates[0].limit: required, but missing",
            ),
            (
                &format!("{limit}/rates/0/limit"),
                Some(json!(-1)),
                "spec.limits.free.rates[0].limit: expected a whole number from 0 to 9007199254740991, found -1",
            ),
            (
                &format!("{limit}/rates/0/limit"),
                Some(json!(1.5)),
                "spec.limits.free.rates[0].limit: expected a whole number from 0 to 9007199254740991, found 1.5",
            ),
            (
                &format!("{limit}/rates/0/limit"),
                Some(json!(true)),
                "spec.limits.free.rates[0].limit: expected a whole number from 0 to 9007199254740991, found true",
            ),
            (
                &format!("{limit}/rates/0/limit"),
                Some(json!(u64::MAX)),
                "spec.limits.free.rates[0].limit: expected a whole number from 0 to 9007199254740991, found 18446744073709551615",
            ),
            (
                &format!("{limit}/rates/0/limit"),
                Some(json!("quota")),
                "spec.limits.free.rates[0].limit: unknown variable \"quota\"",
            ),
            (
                &format!("{limit}/rates/0/window"),
                None,
                "spec.limits.free.rates[0].window: required, but missing",
            ),
            (
                &format!("{limit}/rates/0/window"),
                Some(json!("0s")),
                "spec.limits.free.rates[0].window: a window must be longer than zero, found \"0s\"",
            ),
            (
                &format!("{limit}/rates/0/window"),
                Some(json!("-1m")),
                "spec.limits.free.rates[0].window: a window must not be negative, found \"-1m\"",
            ),
            (
                &format!("{limit}/rates/0/window"),
                Some(json!("60")),
                "spec.limits.free.rates[0].window: a number without a unit, expected one of ns, us, ms, s, m, h, d, w, found \"60\"",
            ),
            (
                &format!("{limit}/rates/0/window"),
                Some(json!("1 minute")),
                "spec.limits.free.rates[0].window: unknown unit, expected one of ns, us, ms, s, m, h, d, w, found \"1 minute\"",
            ),
            (
                &format!("{limit}/rates/0/window"),
                Some(json!("2y")),
                "spec.limits.free.rates[0].window: unknown unit, expected one of ns, us, ms, s, m, h, d, w, found \"2y\"",
            ),
            (
                &format!("{limit}/rates/0/window"),
                Some(json!("367d")),
                "spec.limits.free.rates[0].window: a window must not be longer than a year (366d), found \"367d\"",
            ),
            (
                &format!("{limit}/rates/0/window"),
                Some(json!(60)),
                "spec.limits.free.rates[0].window: expected a duration such as \"1m\", found 60",
            ),
            (
                &format!("{limit}/rates/0/algorithm"),
                Some(json!("leaky")),
                "spec.limits.free.rates[0].algorithm: expected \"fixed\", \"calendar\", \"sliding\" or \"bucket\", found \"leaky\"",
            ),
            (
                &format!("{limit}/rates/0"),
                Some(json!({ "limit": 1, "window": "7m", "algorithm": "calendar" })),
                "spec.limits.free.rates[0].window: the calendar has no such window, expected one that divides a day such as \"1m\", \"1h\" or \"1d\", or \"1w\", or \"30d\" for a month",
            ),
            (
                &format!("{limit}/rates/1"),
                Some(json!({ "limit": 1, "window": "1m", "algorithm": "bucket" })),
                "spec.limits.free.rates[1].window: the window 1m is given already at spec.limits.free.rates[0]",
            ),
            (
                &format!("{limit}/rates/0/unit"),
                Some(json!("m")),
                "spec.limits.free.rates[0].unit: unknown field",
            ),
            (
                &format!("{limit}/when"),
                Some(json!("true")),
                "spec.limits.free.when: expected a list, found \"true\"",
            ),
            (
                &format!("{limit}/when"),
                Some(vec![json!({ "predicate": "true" }); 33].into()),
                "spec.limits.free.when: too many predicates: 33, at most 32",
            ),
            (
                &format!("{limit}/when/0"),
                Some(json!("true")),
                "spec.limits.free.when[0]: expected an object, found \"true\"",
            ),
            (
                &format!("{limit}/when/0/predicate"),
                None,
                "spec.limits.free.when[0].predicate: required, but missing",
            ),
            (
                &format!("{limit}/when/0/predicate"),
                Some(json!(" \n")),
                "spec.limits.free.when[0].predicate: must not be empty",
            ),
            (
                &format!("{limit}/when/0/predicate"),
                Some(json!(true)),
                "spec.limits.free.when[0].predicate: expected a string, found true",
            ),
            (
                &format!("{limit}/when/0/predicate"),
                Some(json!(format!("\"{}\" == \"\"", "x".repeat(4096)))),
                "spec.limits.free.when[0].predicate: too many bytes: 4104, at most 4096",
            ),
            (
                &format!("{limit}/when/0/expression"),
                Some(json!("true")),
                "spec.limits.free.when[0].expression: unknown field",
            ),
            (
                &format!("{limit}/counters"),
                Some(vec![json!({ "expression": "auth.a" }); 17].into()),
                "spec.limits.free.counters: too many counters: 17, at most 16",
            ),
            (
                &format!("{limit}/counters/0/expression"),
                Some(json!("usage.input_tokens")),
                "spec.limits.free.counters[0].expression: `usage` is known only after the response; a counter sees only the request",
            ),
            (
                &format!("{limit}/counters/0/expression"),
                Some(json!("auth.identity.")),
                "spec.limits.free.counters[0].expression: not CEL, line 1, column 15: no viable alternative at input '.'",
            ),
        ],
    );
}

#[test]
fn limits_that_are_wrong_beyond_their_rates() {
    let policy = tutorial();
    for (field, value, expected) in [
        (
            "concurrency",
            json!(0),
            "concurrency: expected a whole number from 1 to 1000000, found 0",
        ),
        (
            "concurrency",
            json!(1_000_001),
            "concurrency: expected a whole number from 1 to 1000000, found 1000001",
        ),
        (
            "concurrency",
            json!("20"),
            "concurrency: expected a whole number from 1 to 1000000, found \"20\"",
        ),
        (
            "shadow",
            json!("yes"),
            "shadow: expected true or false, found \"yes\"",
        ),
        (
            "alertAt",
            json!(0),
            "alertAt: expected a fraction from 0.000001 to 0.999999, found 0",
        ),
        (
            "alertAt",
            json!(1),
            "alertAt: expected a fraction from 0.000001 to 0.999999, found 1",
        ),
        (
            "alertAt",
            json!(80),
            "alertAt: expected a fraction from 0.000001 to 0.999999, found 80",
        ),
        (
            "alertAt",
            json!(-0.5),
            "alertAt: expected a fraction from 0.000001 to 0.999999, found -0.5",
        ),
        (
            "alertAt",
            json!(0.999_999_9),
            "alertAt: expected a fraction from 0.000001 to 0.999999, found 0.9999999",
        ),
        (
            "alertAt",
            json!(1e300),
            &format!(
                "alertAt: expected a fraction from 0.000001 to 0.999999, found {}",
                1e300
            ),
        ),
        (
            "alertAt",
            json!("80%"),
            "alertAt: expected a fraction from 0.000001 to 0.999999, found \"80%\"",
        ),
        (
            "reservation",
            json!(500),
            "reservation: expected an object, found 500",
        ),
        (
            "reservation",
            json!({ "tokens": 500 }),
            "reservation.tokens: unknown field",
        ),
        (
            "reservation",
            json!({ "amount": 500 }),
            "reservation.amount: expected a string, found 500",
        ),
        (
            "reservation",
            json!({ "amount": "'many'" }),
            "reservation.amount: an amount has to be a number of tokens, this is a string",
        ),
        (
            "reservation",
            json!({ "amount": "true" }),
            "reservation.amount: an amount has to be a number of tokens, this is a boolean",
        ),
        (
            "reservation",
            json!({ "amount": "request.path" }),
            "reservation.amount: an amount has to be a number of tokens, this is a string",
        ),
        (
            "counters",
            json!([{ "expression": "request.headers" }]),
            "counters[0].expression: a counter has to be a string, a number or a boolean, this is a map",
        ),
        (
            "counters",
            json!([{ "expression": "auth.a" }, { "expression": "[1]" }, { "expression": "{}" }]),
            "counters[1].expression: a counter has to be a string, a number or a boolean, this is a list\n\
             spec.limits.free.counters[2].expression: a counter has to be a string, a number or a boolean, this is a map",
        ),
        (
            "counters",
            json!([{ "expression": "auth.groups.split(',')" }]),
            "counters[0].expression: a counter has to be a string, a number or a boolean, this is a list",
        ),
        (
            "reservation",
            json!({ "amount": "-1" }),
            "reservation.amount: an amount has to be a number of tokens, this is a negative number",
        ),
        (
            "reservation",
            json!({ "amount": "usage.total_tokens" }),
            "reservation.amount: `usage` is known only after the response; a reservation sees only the request",
        ),
        (
            "reservation",
            json!({ "amount": "llm.max_tokens", "ttl": "0s" }),
            "reservation.amount: unknown field \"max_tokens\" of \"llm\"\n\
             spec.limits.free.reservation.ttl: expected a duration from \"1s\" to \"24h\", found \"0s\"",
        ),
        (
            "reservation",
            json!({ "ttl": 30 }),
            "reservation.ttl: expected a duration from \"1s\" to \"24h\", found 30",
        ),
        (
            "reservation",
            json!({ "ttl": "30" }),
            "reservation.ttl: a number without a unit, expected one of ns, us, ms, s, m, h, d, w, found \"30\"",
        ),
        (
            "reservation",
            json!({ "ttl": "999ms" }),
            "reservation.ttl: expected a duration from \"1s\" to \"24h\", found \"999ms\"",
        ),
        (
            "reservation",
            json!({ "ttl": "25h" }),
            "reservation.ttl: expected a duration from \"1s\" to \"24h\", found \"25h\"",
        ),
        (
            "reservation",
            json!({ "ttl": "400d" }),
            "reservation.ttl: expected a duration from \"1s\" to \"24h\", found \"400d\"",
        ),
        (
            "reservation",
            json!({ "ttl": "duration(request.headers['x-ttl'])" }),
            "reservation.ttl: expected a duration from \"1s\" to \"24h\", found \"duration(request.headers['x-ttl'])\"",
        ),
    ] {
        let pointer = format!("/spec/limits/free/{field}");
        let expected = format!("spec.limits.free.{expected}");
        refused(
            &policy,
            [(pointer.as_str(), Some(value), expected.as_str())],
        );
    }
    let mut document = policy;
    set(
        &mut document,
        "/spec/limits/free",
        Some(json!({ "concurrency": 4, "rates": [] })),
    );
    assert_eq!(
        refusal(document.to_string().as_bytes()),
        "spec.limits.free.rates: must not be empty"
    );
}

#[test]
fn sources_of_limits_that_exclude_each_other() {
    let rules = tutorial()["spec"]["limits"].clone();
    let spec = |fields: Value| {
        let mut document = tutorial();
        set(&mut document, "/spec/limits", None);
        for (name, value) in fields.as_object().unwrap() {
            set(&mut document, &format!("/spec/{name}"), Some(value.clone()));
        }
        refusal(document.to_string().as_bytes())
    };
    let limits = json!({ "limits": rules });
    for (fields, expected) in [
        (
            json!({ "defaults": limits, "overrides": limits }),
            "spec.defaults: cannot be given together with \"overrides\"",
        ),
        (
            json!({ "defaults": limits, "when": [] }),
            "spec.when: cannot be given together with \"defaults\"",
        ),
        (
            json!({ "overrides": limits, "when": [] }),
            "spec.when: cannot be given together with \"overrides\"",
        ),
        (
            json!({ "defaults": limits, "dataExtraction": {} }),
            "spec.dataExtraction: cannot be given together with \"defaults\"",
        ),
        (
            json!({ "overrides": limits, "dataExtraction": {} }),
            "spec.dataExtraction: cannot be given together with \"overrides\"",
        ),
        (
            json!({ "defaults": {} }),
            "spec.defaults.limits: required, but missing",
        ),
        (
            json!({ "overrides": { "limits": {} } }),
            "spec.overrides.limits: must not be empty",
        ),
        (
            json!({ "overrides": { "limits": rules, "strategy": "replace" } }),
            "spec.overrides.strategy: expected \"atomic\" or \"merge\", found \"replace\"",
        ),
        (
            json!({ "defaults": { "limits": rules, "limit": 1 } }),
            "spec.defaults.limit: unknown field, did you mean \"limits\"?",
        ),
    ] {
        assert_eq!(spec(fields), expected);
    }
}
