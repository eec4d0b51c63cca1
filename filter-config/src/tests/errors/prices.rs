//! Tests of invalid prices, budgets and exports.

use serde_json::json;

use crate::fixtures::{assert_errors, long_form};

#[test]
fn invalid_prices_and_exports_are_rejected() {
    assert_errors(
        &long_form(),
        [
            ("/pricing", Some(json!({})), "pricing: must not be empty"),
            (
                "/pricing",
                Some(json!({ "gpt-4o": { "input": 2.5 } })),
                "pricing.gpt-4o.output: missing required field",
            ),
            (
                "/pricing",
                Some(json!({ "gpt-4o": { "input": "2,5", "output": 10 } })),
                "pricing.gpt-4o.input: invalid amount \"2,5\", expected US dollars with at most 9 decimal places, e.g. \"100.00\"",
            ),
            (
                "/pricing",
                Some(json!({ "gpt-4o": { "input": 2.5, "output": 10, "cached": 1 } })),
                "pricing.gpt-4o.cached: unknown field, expected \"input\", \"cachedInput\", \"cacheWrite\", \"output\" or \"reasoning\"",
            ),
            (
                "/pricing",
                Some(json!({ "a b": { "input": 2.5, "output": 10 } })),
                "pricing[\"a b\"]: found \"a b\", expected a name without white space and control characters",
            ),
            (
                "/unpriced",
                Some(json!("free")),
                "pricing: missing required field",
            ),
            (
                "/export",
                Some(json!({ "a.b": "usage.input_tokens" })),
                "export[\"a.b\"]: invalid name, expected letters, digits, \"_\" and \"-\"",
            ),
            ("/export", Some(json!({})), "export: must not be empty"),
            (
                "/export",
                Some(json!({ "a": "usage.usd" })),
                "pricing: missing: the cost \"a\" needs the prices of models",
            ),
            (
                "/hitsAddend",
                Some(json!("a")),
                "hitsAddend: found \"a\", expected the name of a cost in \"export\"",
            ),
        ],
    );
    let mut priced = long_form();
    priced["pricing"] = json!({ "gpt-4o": { "input": 2.5, "output": 10 } });
    assert_errors(
        &priced,
        [
            (
                "/unpriced",
                Some(json!("default")),
                "pricing.default: missing required field",
            ),
            (
                "/unpriced",
                Some(json!("skip")),
                "unpriced: found \"skip\", expected \"reject\", \"free\" or \"default\"",
            ),
        ],
    );
    priced["pricing"]["default"] = json!({ "input": 1, "output": 1 });
    assert_errors(
        &priced,
        [(
            "/unpriced",
            Some(json!("free")),
            "pricing.default: has no effect with this value of \"unpriced\", remove it or set \"unpriced\" to \"default\"",
        )],
    );
}
