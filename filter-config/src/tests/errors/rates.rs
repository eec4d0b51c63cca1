//! Tests of invalid rates.

#![expect(clippy::too_many_lines, reason = "the tests are tables")]

use serde_json::json;

use crate::fixtures::{assert_errors, tutorial};

#[test]
fn invalid_rates_are_rejected() {
    let limit = "/spec/limits/free";
    assert_errors(
        &tutorial(),
        [
            (
                format!("{limit}/rates").as_str(),
                Some(json!({ "limit": 1, "window": "1m" })),
                "spec.limits.free.rates: found an object, expected a list",
            ),
            (
                &format!("{limit}/rates"),
                Some(
                    (1..=65)
                        .map(|n| json!({ "limit": 1, "window": format!("{n}m") }))
                        .collect(),
                ),
                "spec.limits.free.rates: found 65 rates, expected at most 64",
            ),
            (
                &format!("{limit}/rates/1"),
                Some(json!({ "limit": "auth.limit", "window": "60s" })),
                "spec.limits.free.rates[1].window: duplicate window \"60s\", already given at spec.limits.free.rates[0]",
            ),
            (
                &format!("{limit}/rates/0/limit"),
                None,
                "spec.limits.free.rates[0].limit: missing required field",
            ),
            (
                &format!("{limit}/rates/0/limit"),
                Some(json!("1.5 M")),
                "spec.limits.free.rates[0].limit: found \"1.5 M\", expected a whole number such as 1500000, or an expression such as \"auth.identity.limit\"",
            ),
            (
                &format!("{limit}/rates/0/limit"),
                Some(json!("5,000")),
                "spec.limits.free.rates[0].limit: found \"5,000\", expected a whole number such as 5000, or an expression such as \"auth.identity.limit\"",
            ),
            (
                &format!("{limit}/rates/0/limit"),
                Some(json!("100k")),
                "spec.limits.free.rates[0].limit: found \"100k\", expected a whole number such as 100000, or an expression such as \"auth.identity.limit\"",
            ),
            (
                &format!("{limit}/rates/0/limit"),
                Some(json!(1.5)),
                "spec.limits.free.rates[0].limit: found 1.5, expected a whole number from 0 to 9007199254740991",
            ),
            (
                &format!("{limit}/rates/0/limit"),
                Some(json!(true)),
                "spec.limits.free.rates[0].limit: found true, expected a whole number from 0 to 9007199254740991",
            ),
            (
                &format!("{limit}/rates/0/limit"),
                Some(json!("quota")),
                "spec.limits.free.rates[0].limit: unknown variable \"quota\", expected \"auth\", \"connection\", \"destination\", \"filter_state\", \"llm\", \"metadata\", \"request\", \"route\", \"source\" or \"xds\"",
            ),
            (
                &format!("{limit}/rates/0/window"),
                None,
                "spec.limits.free.rates[0].window: missing required field",
            ),
            (
                &format!("{limit}/rates/0/window"),
                Some(json!("0s")),
                "spec.limits.free.rates[0].window: invalid duration \"0s\", expected more than zero",
            ),
            (
                &format!("{limit}/rates/0/window"),
                Some(json!("-1m")),
                "spec.limits.free.rates[0].window: invalid duration \"-1m\", expected more than zero",
            ),
            (
                &format!("{limit}/rates/0/window"),
                Some(json!("60")),
                "spec.limits.free.rates[0].window: invalid duration \"60\", expected a unit after each number, e.g. \"60s\" (units: ns, us, ms, s, m, h, d, w)",
            ),
            (
                &format!("{limit}/rates/0/window"),
                Some(json!("1 minute")),
                "spec.limits.free.rates[0].window: invalid duration \"1 minute\", did you mean \"1m\"?",
            ),
            (
                &format!("{limit}/rates/0/window"),
                Some(json!("2y")),
                "spec.limits.free.rates[0].window: invalid duration \"2y\", expected e.g. \"60s\", \"1m\" or \"24h\" (units: ns, us, ms, s, m, h, d, w)",
            ),
            (
                &format!("{limit}/rates/0/window"),
                Some(json!("367d")),
                "spec.limits.free.rates[0].window: invalid duration \"367d\", expected at most a year, \"366d\" or as Kuadrant writes it \"8784h\"; no window is longer",
            ),
            (
                &format!("{limit}/rates/0/window"),
                Some(json!("99999h")),
                "spec.limits.free.rates[0].window: invalid duration \"99999h\", expected at most a year, \"366d\" or as Kuadrant writes it \"8784h\"; no window is longer",
            ),
            (
                &format!("{limit}/rates/0/window"),
                Some(json!(60)),
                "spec.limits.free.rates[0].window: invalid duration 60, did you mean \"60s\"?",
            ),
            (
                &format!("{limit}/rates/0/algorithm"),
                Some(json!("leaky")),
                "spec.limits.free.rates[0].algorithm: found \"leaky\", expected \"fixed\", \"calendar\", \"sliding\" or \"bucket\"",
            ),
            (
                &format!("{limit}/rates/0"),
                Some(json!({ "limit": 1, "window": "7m", "algorithm": "calendar" })),
                "spec.limits.free.rates[0].window: no calendar period has this length, expected a fraction of a day such as \"1m\", \"1h\" or \"1d\", a week (\"1w\") or a month (\"30d\")",
            ),
            (
                &format!("{limit}/rates/1"),
                Some(json!({ "limit": 1, "window": "1m", "algorithm": "bucket" })),
                "spec.limits.free.rates[1].window: duplicate window \"1m\", already given at spec.limits.free.rates[0]",
            ),
            (
                &format!("{limit}/rates/0/unit"),
                Some(json!("m")),
                "spec.limits.free.rates[0].unit: unknown field, expected \"limit\", \"window\", \"algorithm\", \"min\", \"max\" or \"minWindow\"",
            ),
        ],
    );
}
