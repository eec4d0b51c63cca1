//! Tests of invalid costs, computed limits and computed windows.

#![expect(clippy::too_many_lines, reason = "the tests are tables")]

use serde_json::json;

use crate::fixtures::{assert_errors, tutorial};

#[test]
fn invalid_costs_and_computed_limits_are_rejected() {
    for (field, value, expected) in [
        ("cost", json!(2), "cost: found 2, expected a string"),
        (
            "cost",
            json!("true"),
            "cost: found a boolean, expected a number",
        ),
        (
            "cost",
            json!("-1"),
            "cost: found a negative number, expected a number",
        ),
        (
            "cost",
            json!("'a'"),
            "cost: found a string, expected a number",
        ),
        (
            "cost",
            json!("usage.total_tokens > 5"),
            "cost: found a boolean, expected a number",
        ),
        (
            "cost",
            json!("usage.estimated ? model : request.path"),
            "cost: found a string, expected a number",
        ),
        (
            "cost",
            json!("usage.raw"),
            "cost: found a map, expected a number",
        ),
        (
            "cost",
            json!("usage.input_token"),
            "cost: unknown field \"input_token\" of \"usage\", did you mean \"input_tokens\"?",
        ),
        (
            "cost",
            json!("llm_input_token"),
            "cost: unknown variable \"llm_input_token\", expected \"auth\", \"connection\", \"destination\", \"filter_state\", \"llm\", \"metadata\", \"request\", \"response\", \"route\", \"source\", \"usage\" or \"xds\"",
        ),
        (
            "cost",
            json!("responseBodyJSON('/id')"),
            "cost: `responseBodyJSON` is not supported, as response bodies are not kept; expected `usage.raw`, the provider's usage object",
        ),
        (
            "cost",
            json!("size(usage)"),
            "cost: found \"usage\" as a whole, expected one of its fields such as \"usage.input_tokens\"",
        ),
        (
            "whenMissing",
            json!("ignore"),
            "whenMissing: found \"ignore\", expected \"skip\" or \"reject\"",
        ),
        (
            "requests",
            json!([{ "limit": 1, "window": "1s", "usd": 1 }]),
            "requests[0].usd: unknown field, expected \"limit\", \"window\", \"algorithm\", \"min\", \"max\" or \"minWindow\"",
        ),
        (
            "requests",
            json!([{ "limit": 1, "window": "1s" }, { "limit": 2, "window": "1000ms", "algorithm": "bucket" }]),
            "requests[1].window: duplicate window \"1000ms\", already given at spec.limits.free.requests[0]",
        ),
        (
            "rates/0/limit",
            json!("usage.total_tokens"),
            "rates[0].limit: found `usage`, which is known only after the response; a limit can only use the request",
        ),
        (
            "rates/0/limit",
            json!("input_tokens"),
            "rates[0].limit: unknown variable \"input_tokens\", expected \"auth\", \"connection\", \"destination\", \"filter_state\", \"llm\", \"metadata\", \"request\", \"route\", \"source\" or \"xds\"",
        ),
        (
            "rates/0/limit",
            json!("[50]"),
            "rates[0].limit: found a list, expected a number",
        ),
        (
            "rates/0/limit",
            json!("request.headers['x-count']"),
            "rates[0].limit: found a string, expected a number",
        ),
        (
            "rates/0/limit",
            json!("int(request.headers['x-count'])"),
            "rates[0].max: missing: the client can choose the value of \"limit\", expected an upper bound, or \"none\" to allow any value",
        ),
        (
            "rates/0/limit",
            json!("has(llm.model) ? size(llm.model) : 10"),
            "rates[0].max: missing: the client can choose the value of \"limit\", expected an upper bound, or \"none\" to allow any value",
        ),
        (
            "rates/0/max",
            json!(5),
            "rates[0].max: has no effect on a fixed \"limit\", remove it or make \"limit\" an expression",
        ),
        (
            "rates/0/min",
            json!(5),
            "rates[0].min: has no effect on a fixed \"limit\", remove it or make \"limit\" an expression",
        ),
        (
            "rates/0/minWindow",
            json!("1m"),
            "rates[0].minWindow: has no effect on a fixed \"window\", remove it or make \"window\" an expression",
        ),
        (
            "rates/0",
            json!({ "limit": "auth.n", "window": "1m", "max": 5, "min": 6 }),
            "rates[0].min: must not be greater than \"max\"",
        ),
        (
            "rates/0",
            json!({ "limit": "auth.n", "window": "1m", "max": "any" }),
            "rates[0].max: found \"any\", expected a whole number or \"none\"",
        ),
        (
            "rates/0/window",
            json!("request.headers['x-window']"),
            "rates[0].minWindow: missing: the client can choose the value of \"window\", expected a lower bound such as \"1m\"",
        ),
        (
            "rates/0/window",
            json!("[1]"),
            "rates[0].window: found a list, expected a duration or a number of seconds",
        ),
        (
            "rates/0/window",
            json!("request.time"),
            "rates[0].window: found a timestamp, expected a duration or a number of seconds",
        ),
        (
            "rates/0",
            json!({ "limit": 1, "window": "auth.window", "algorithm": "calendar" }),
            "rates[0].window: no calendar period has this length, expected a fraction of a day such as \"1m\", \"1h\" or \"1d\", a week (\"1w\") or a month (\"30d\")",
        ),
        (
            "rates/0",
            json!({ "limit": 1, "window": "auth.window", "algorithm": "sliding" }),
            "rates[0].window: found an expression, expected a duration; only the algorithm \"fixed\" can have a computed window",
        ),
        (
            "budgets",
            json!([{ "usd": "$5", "window": "1h" }]),
            "budgets[0].usd: invalid amount \"$5\", expected US dollars with at most 9 decimal places, e.g. \"100.00\"",
        ),
        (
            "budgets",
            json!([{ "usd": -5, "window": "1h" }]),
            "budgets[0].usd: found -5, expected an amount of US dollars from 0.00 to 1000000000.00",
        ),
        (
            "budgets",
            json!([{ "usd": 1e10, "window": "1h" }]),
            "budgets[0].usd: found 10000000000, expected an amount of US dollars from 0.00 to 1000000000.00",
        ),
        (
            "budgets",
            json!([{ "usd": 5, "window": "auth.window" }]),
            "budgets[0].window: invalid duration \"auth.window\", expected e.g. \"60s\", \"1m\" or \"24h\" (units: ns, us, ms, s, m, h, d, w)",
        ),
    ] {
        let pointer = format!("/spec/limits/free/{field}");
        let expected = format!("spec.limits.free.{expected}");
        assert_errors(
            &tutorial(),
            [(pointer.as_str(), Some(value), expected.as_str())],
        );
    }
    let budgets = json!([{ "usd": 5, "window": "1h" }]);
    assert_errors(
        &tutorial(),
        [
            (
                "/spec/limits/free/budgets",
                Some(budgets),
                "pricing: missing: the limit \"free\" of \"gateway-system/token-limits\" needs the prices of models",
            ),
            (
                "/spec/limits/free/cost",
                Some(json!("usage.usd * 100")),
                "pricing: missing: the limit \"free\" of \"gateway-system/token-limits\" needs the prices of models",
            ),
        ],
    );
}
