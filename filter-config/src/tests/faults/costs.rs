//! Costs, dynamic limits, requests, money and exports that are wrong.

#![allow(clippy::too_many_lines)] // Tables.

use serde_json::json;

use super::refused;
use crate::tests::{long_form, tutorial};

#[test]
fn costs_and_limits_that_are_wrong() {
    for (field, value, expected) in [
        ("cost", json!(2), "cost: expected a string, found 2"),
        (
            "cost",
            json!("true"),
            "cost: a cost has to be a number, this is a boolean",
        ),
        (
            "cost",
            json!("-1"),
            "cost: a cost has to be a number, this is a negative number",
        ),
        (
            "cost",
            json!("'a'"),
            "cost: a cost has to be a number, this is a string",
        ),
        (
            "cost",
            json!("usage.total_tokens > 5"),
            "cost: a cost has to be a number, this is a boolean",
        ),
        (
            "cost",
            json!("usage.estimated ? model : request.path"),
            "cost: a cost has to be a number, this is a string",
        ),
        (
            "cost",
            json!("usage.raw"),
            "cost: a cost has to be a number, this is a map",
        ),
        (
            "cost",
            json!("usage.input_token"),
            "cost: unknown field \"input_token\" of \"usage\", did you mean \"input_tokens\"?",
        ),
        (
            "cost",
            json!("llm_input_token"),
            "cost: unknown variable \"llm_input_token\"",
        ),
        (
            "cost",
            json!("responseBodyJSON('/id')"),
            "cost: `responseBodyJSON` is not supported, as the body of a response is not kept; the provider's usage object is `usage.raw`",
        ),
        (
            "cost",
            json!("size(usage)"),
            "cost: \"usage\" cannot be used as a whole, only its fields can, such as \"usage.input_tokens\"",
        ),
        (
            "whenMissing",
            json!("ignore"),
            "whenMissing: expected \"skip\" or \"refuse\", found \"ignore\"",
        ),
        ("requests", json!([]), "requests: must not be empty"),
        (
            "requests",
            json!([{ "limit": 1, "window": "1s", "usd": 1 }]),
            "requests[0].usd: unknown field",
        ),
        (
            "requests",
            json!([{ "limit": 1, "window": "1s" }, { "limit": 2, "window": "1000ms" }]),
            "requests[1].window: the window 1000ms is given already at spec.limits.free.requests[0]",
        ),
        (
            "rates/0/limit",
            json!("usage.total_tokens"),
            "rates[0].limit: `usage` is known only after the response; a limit sees only the request",
        ),
        (
            "rates/0/limit",
            json!("input_tokens"),
            "rates[0].limit: unknown variable \"input_tokens\"",
        ),
        (
            "rates/0/limit",
            json!("[50]"),
            "rates[0].limit: a limit has to be a number, this is a list",
        ),
        (
            "rates/0/limit",
            json!("request.headers['x-count']"),
            "rates[0].limit: a limit has to be a number, this is a string",
        ),
        (
            "rates/0/limit",
            json!("int(request.headers['x-count'])"),
            "rates[0].max: required, but missing: the limit is what the caller says, expected a bound, or \"none\" to let him have any",
        ),
        (
            "rates/0/limit",
            json!("has(llm.model) ? size(llm.model) : 10"),
            "rates[0].max: required, but missing: the limit is what the caller says, expected a bound, or \"none\" to let him have any",
        ),
        (
            "rates/0/max",
            json!(5),
            "rates[0].max: only for a limit that is an expression",
        ),
        (
            "rates/0/min",
            json!(5),
            "rates[0].min: only for a limit that is an expression",
        ),
        (
            "rates/0/minWindow",
            json!("1m"),
            "rates[0].minWindow: only for a window that is an expression",
        ),
        (
            "rates/0",
            json!({ "limit": "auth.n", "window": "1m", "max": 5, "min": 6 }),
            "rates[0].min: must not be more than \"max\"",
        ),
        (
            "rates/0",
            json!({ "limit": "auth.n", "window": "1m", "max": "any" }),
            "rates[0].max: expected a whole number or \"none\", found \"any\"",
        ),
        (
            "rates/0/window",
            json!("request.headers['x-window']"),
            "rates[0].minWindow: required, but missing: the window is what the caller says, expected the shortest that he may choose",
        ),
        (
            "rates/0/window",
            json!("[1]"),
            "rates[0].window: a window has to be a duration or a number of seconds, this is a list",
        ),
        (
            "rates/0/window",
            json!("request.time"),
            "rates[0].window: a window has to be a duration or a number of seconds, this is a timestamp",
        ),
        (
            "rates/0",
            json!({ "limit": 1, "window": "auth.window", "algorithm": "calendar" }),
            "rates[0].window: the calendar has no such window, expected one that divides a day such as \"1m\", \"1h\" or \"1d\", or \"1w\", or \"30d\" for a month",
        ),
        (
            "rates/0",
            json!({ "limit": 1, "window": "auth.window", "algorithm": "sliding" }),
            "rates[0].window: a computed window takes the algorithm \"fixed\"",
        ),
        ("budgets", json!([]), "budgets: must not be empty"),
        (
            "budgets",
            json!([{ "usd": "$5", "window": "1h" }]),
            "budgets[0].usd: not an amount of US dollars, expected one such as \"100.00\" with at most 9 digits behind the point",
        ),
        (
            "budgets",
            json!([{ "usd": -5, "window": "1h" }]),
            "budgets[0].usd: expected an amount of US dollars from 0.00 to 1000000000.00, found -5",
        ),
        (
            "budgets",
            json!([{ "usd": 1e10, "window": "1h" }]),
            "budgets[0].usd: expected an amount of US dollars from 0.00 to 1000000000.00, found 10000000000",
        ),
        (
            "budgets",
            json!([{ "usd": 5, "window": "auth.window" }]),
            "budgets[0].window: not a duration, expected numbers with units such as \"30s\", \"1h30m\", \"500ms\", \"7d\" or \"2w\", found \"auth.window\"",
        ),
    ] {
        let pointer = format!("/spec/limits/free/{field}");
        let expected = format!("spec.limits.free.{expected}");
        refused(
            &tutorial(),
            [(pointer.as_str(), Some(value), expected.as_str())],
        );
    }
    let budgets = json!([{ "usd": 5, "window": "1h" }]);
    refused(
        &tutorial(),
        [
            (
                "/spec/limits/free/budgets",
                Some(budgets),
                "pricing: required, but missing: the limit \"free\" of \"gateway-system/token-limits\" needs the prices of models",
            ),
            (
                "/spec/limits/free/cost",
                Some(json!("usage.usd * 100")),
                "pricing: required, but missing: the limit \"free\" of \"gateway-system/token-limits\" needs the prices of models",
            ),
        ],
    );
}

#[test]
fn prices_and_exports_that_are_wrong() {
    refused(
        &long_form(),
        [
            ("/pricing", Some(json!({})), "pricing: must not be empty"),
            (
                "/pricing",
                Some(json!({ "gpt-4o": { "input": 2.5 } })),
                "pricing.gpt-4o.output: required, but missing",
            ),
            (
                "/pricing",
                Some(json!({ "gpt-4o": { "input": "2,5", "output": 10 } })),
                "pricing.gpt-4o.input: not an amount of US dollars, expected one such as \"100.00\" with at most 9 digits behind the point",
            ),
            (
                "/pricing",
                Some(json!({ "gpt-4o": { "input": 2.5, "output": 10, "cached": 1 } })),
                "pricing.gpt-4o.cached: unknown field",
            ),
            (
                "/pricing",
                Some(json!({ "a b": { "input": 2.5, "output": 10 } })),
                "pricing[\"a b\"]: a name must not contain white space or control characters",
            ),
            (
                "/unpriced",
                Some(json!("free")),
                "pricing: required, but missing",
            ),
            (
                "/export",
                Some(json!({ "a.b": "usage.input_tokens" })),
                "export[\"a.b\"]: a cost must have a name of letters, digits, _ and -",
            ),
            ("/export", Some(json!({})), "export: must not be empty"),
            (
                "/export",
                Some(json!({ "a": "usage.usd" })),
                "pricing: required, but missing: the cost \"a\" needs the prices of models",
            ),
            (
                "/hitsAddend",
                Some(json!("a")),
                "hitsAddend: expected the name of a cost in \"export\", found \"a\"",
            ),
        ],
    );
    let mut priced = long_form();
    priced["pricing"] = json!({ "gpt-4o": { "input": 2.5, "output": 10 } });
    refused(
        &priced,
        [
            (
                "/unpriced",
                Some(json!("default")),
                "pricing.default: required, but missing",
            ),
            (
                "/unpriced",
                Some(json!("skip")),
                "unpriced: expected \"refuse\", \"free\" or \"default\", found \"skip\"",
            ),
        ],
    );
    priced["pricing"]["default"] = json!({ "input": 1, "output": 1 });
    refused(
        &priced,
        [(
            "/unpriced",
            Some(json!("free")),
            "pricing.default: never used, as \"unpriced\" says otherwise",
        )],
    );
}
