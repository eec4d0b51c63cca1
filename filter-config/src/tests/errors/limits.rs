//! Tests of invalid limits.

#![expect(clippy::too_many_lines, reason = "the tests are tables")]

use serde_json::json;

use crate::fixtures::{assert_errors, tutorial};

#[test]
fn invalid_names_predicates_and_counters_are_rejected() {
    let limit = "/spec/limits/free";
    let wide = "x".repeat(300);
    assert_errors(
        &tutorial(),
        [
            (
                "/spec/limits/free/dataExtraction",
                Some(json!({})),
                "spec.limits.free.dataExtraction: unknown field, expected \"rates\", \"when\", \"counters\", \"whenMissing\", \"cost\", \"requests\", \"budgets\", \"concurrency\", \"alertAt\", \"shadow\", \"onExceeded\", \"reservation\", \"cap\", \"capMin\", \"capMax\", \"capParts\" or \"reply\"",
            ),
            (
                "/spec/limits/",
                Some(json!({ "rates": [{ "limit": 1, "window": "1s" }] })),
                "spec.limits[\"\"]: found an empty name, expected the name of the limit",
            ),
            (
                "/spec/limits/a\tb",
                Some(json!({ "rates": [{ "limit": 1, "window": "1s" }] })),
                "spec.limits[\"a\\tb\"]: found \"a\\tb\", expected a name without control characters",
            ),
            (
                &format!("/spec/limits/{wide}"),
                Some(json!({ "rates": [{ "limit": 1, "window": "1s" }] })),
                &format!(
                    "spec.limits[\"{}…\"]: found 300 bytes, expected at most 253",
                    "x".repeat(64)
                ),
            ),
            (
                limit,
                Some(json!("1m")),
                "spec.limits.free: found \"1m\", expected an object",
            ),
            (
                &format!("{limit}/whem"),
                Some(json!([])),
                "spec.limits.free.whem: unknown field, did you mean \"when\"?",
            ),
            (
                &format!("{limit}/when"),
                Some(json!("true")),
                "spec.limits.free.when: found \"true\", expected a list",
            ),
            (
                &format!("{limit}/when"),
                Some(vec![json!({ "predicate": "true" }); 1025].into()),
                "spec.limits.free.when: found 1025 predicates, expected at most 1024",
            ),
            (
                &format!("{limit}/when/0"),
                Some(json!("true")),
                "spec.limits.free.when[0]: found \"true\", expected an object",
            ),
            (
                &format!("{limit}/when/0/predicate"),
                None,
                "spec.limits.free.when[0].predicate: missing required field",
            ),
            (
                &format!("{limit}/when/0/predicate"),
                Some(json!(" \n")),
                "spec.limits.free.when[0].predicate: must not be empty",
            ),
            (
                &format!("{limit}/when/0/predicate"),
                Some(json!(true)),
                "spec.limits.free.when[0].predicate: found true, expected a string",
            ),
            (
                &format!("{limit}/when/0/predicate"),
                Some(json!(format!("\"{}\" == \"\"", "x".repeat(4096)))),
                "spec.limits.free.when[0].predicate: found 4104 bytes, expected at most 4096",
            ),
            (
                &format!("{limit}/when/0/expression"),
                Some(json!("true")),
                "spec.limits.free.when[0].expression: unknown field, expected \"predicate\"",
            ),
            (
                &format!("{limit}/counters"),
                Some(vec![json!({ "expression": "auth.a" }); 1025].into()),
                "spec.limits.free.counters: found 1025 counters, expected at most 1024",
            ),
            (
                &format!("{limit}/counters/0/expression"),
                Some(json!("usage.input_tokens")),
                "spec.limits.free.counters[0].expression: found `usage`, which is known only after the response; a counter can only use the request",
            ),
            (
                &format!("{limit}/counters/0/expression"),
                Some(json!("auth.identity.")),
                "spec.limits.free.counters[0].expression: invalid CEL at line 1, column 15: unexpected end, expected the rest of the expression",
            ),
        ],
    );
}

#[test]
fn invalid_limit_fields_are_rejected() {
    let policy = tutorial();
    for (field, value, expected) in [
        (
            "concurrency",
            json!(0),
            "concurrency: found 0, expected a whole number from 1 to 1000000",
        ),
        (
            "concurrency",
            json!(1_000_001),
            "concurrency: found 1000001, expected a whole number from 1 to 1000000",
        ),
        (
            "concurrency",
            json!("20s"),
            "concurrency: found \"20s\", expected a whole number from 1 to 1000000",
        ),
        (
            "shadow",
            json!("yes"),
            "shadow: found \"yes\", expected true or false",
        ),
        (
            "alertAt",
            json!(0),
            "alertAt: found 0, expected a fraction from 0.000001 to 0.999999",
        ),
        (
            "alertAt",
            json!(1),
            "alertAt: found 1, expected a fraction from 0.000001 to 0.999999",
        ),
        (
            "alertAt",
            json!(80),
            "alertAt: found 80, expected a fraction from 0.000001 to 0.999999",
        ),
        (
            "alertAt",
            json!(-0.5),
            "alertAt: found -0.5, expected a fraction from 0.000001 to 0.999999",
        ),
        (
            "alertAt",
            json!(0.999_999_9),
            "alertAt: found 0.9999999, expected a fraction from 0.000001 to 0.999999",
        ),
        (
            "alertAt",
            json!(1e300),
            &format!(
                "alertAt: found {}, expected a fraction from 0.000001 to 0.999999",
                1e300
            ),
        ),
        (
            "alertAt",
            json!("80%"),
            "alertAt: found \"80%\", expected a fraction from 0.000001 to 0.999999",
        ),
        (
            "reservation",
            json!(500),
            "reservation: found 500, expected an object",
        ),
        (
            "reservation",
            json!({ "tokens": 500 }),
            "reservation.tokens: unknown field, expected \"amount\", \"ttl\" or \"max\"",
        ),
        (
            "reservation",
            json!({ "max": 0 }),
            "reservation.max: found 0, expected a whole number from 1 to 9007199254740991",
        ),
        (
            "reservation",
            json!({ "amount": 0.5 }),
            "reservation.amount: found 0.5, expected a whole number or an expression such as \"llm.max_output_tokens\"",
        ),
        (
            "reservation",
            json!({ "amount": -1 }),
            "reservation.amount: found -1, expected a whole number or an expression such as \"llm.max_output_tokens\"",
        ),
        (
            "reservation",
            json!({ "amount": "'many'" }),
            "reservation.amount: found a string, expected a number of tokens",
        ),
        (
            "reservation",
            json!({ "amount": "true" }),
            "reservation.amount: found a boolean, expected a number of tokens",
        ),
        (
            "reservation",
            json!({ "amount": "request.path" }),
            "reservation.amount: found a string, expected a number of tokens",
        ),
        (
            "counters",
            json!([{ "expression": "request.headers" }]),
            "counters[0].expression: found a map, expected a string, a number or a boolean",
        ),
        (
            "counters",
            json!([{ "expression": "auth.a" }, { "expression": "[1]" }, { "expression": "{}" }]),
            "counters[1].expression: found a list, expected a string, a number or a boolean\n\
             spec.limits.free.counters[2].expression: found a map, expected a string, a number or a boolean",
        ),
        (
            "counters",
            json!([{ "expression": "auth.groups.split(',')" }]),
            "counters[0].expression: found a list, expected a string, a number or a boolean",
        ),
        (
            "reservation",
            json!({ "amount": "-1" }),
            "reservation.amount: found \"-1\", expected a whole number or an expression such as \"llm.max_output_tokens\"",
        ),
        (
            "reservation",
            json!({ "amount": "1.5" }),
            "reservation.amount: found \"1.5\", expected a whole number or an expression such as \"llm.max_output_tokens\"",
        ),
        (
            "reservation",
            json!({ "amount": 1.5 }),
            "reservation.amount: found 1.5, expected a whole number or an expression such as \"llm.max_output_tokens\"",
        ),
        (
            "reservation",
            json!({ "amount": "- 1" }),
            "reservation.amount: found a negative number, expected a number of tokens",
        ),
        (
            "reservation",
            json!({ "amount": "usage.total_tokens" }),
            "reservation.amount: found `usage`, which is known only after the response; a reservation can only use the request",
        ),
        (
            "reservation",
            json!({ "amount": "llm.max_tokens", "ttl": "0s" }),
            "reservation.amount: unknown field \"max_tokens\" of \"llm\", expected \"api\", \"estimated_input_tokens\", \"max_output_tokens\", \"model\", \"provider\" or \"stream\"\n\
             spec.limits.free.reservation.ttl: found \"0s\", expected a duration from \"1s\" to \"24h\", or an expression that yields one",
        ),
        (
            "reservation",
            json!({ "ttl": 30 }),
            "reservation.ttl: invalid duration 30, did you mean \"30s\"?",
        ),
        (
            "reservation",
            json!({ "ttl": "30" }),
            "reservation.ttl: invalid duration \"30\", expected a unit after each number, e.g. \"60s\" (units: ns, us, ms, s, m, h, d, w)",
        ),
        (
            "reservation",
            json!({ "ttl": "999ms" }),
            "reservation.ttl: found \"999ms\", expected a duration from \"1s\" to \"24h\", or an expression that yields one",
        ),
        (
            "reservation",
            json!({ "ttl": "25h" }),
            "reservation.ttl: found \"25h\", expected a duration from \"1s\" to \"24h\", or an expression that yields one",
        ),
        (
            "reservation",
            json!({ "ttl": "400d" }),
            "reservation.ttl: found \"400d\", expected a duration from \"1s\" to \"24h\", or an expression that yields one",
        ),
        (
            "reservation",
            json!({ "ttl": "duration(request.headers['x-ttl']" }),
            "reservation.ttl: invalid CEL at line 1, column 34: unexpected end, expected \")\"",
        ),
        (
            "reservation",
            json!({ "ttl": "[1]" }),
            "reservation.ttl: found a list, expected a duration or a number of seconds",
        ),
        (
            "reservation",
            json!({ "ttl": "usage.total_tokens" }),
            "reservation.ttl: found `usage`, which is known only after the response; a lifetime can only use the request",
        ),
    ] {
        let pointer = format!("/spec/limits/free/{field}");
        let expected = format!("spec.limits.free.{expected}");
        assert_errors(
            &policy,
            [(pointer.as_str(), Some(value), expected.as_str())],
        );
    }
}
