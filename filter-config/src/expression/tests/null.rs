//! Tests of missing values in predicates, by the table of the configuration reference.

use cel::Value;
use cel::common::value::CowVal;
use cel::context::VariableResolver;
use serde_json::{Value as Json, json};

use super::documentation::part;
use super::predicate;
use crate::expression::testing::{Nothing, evaluate};
use crate::expression::{Failure, REQUEST_BODY};

/// A request with these values of `auth`, headers and body.
struct Request([Json; 3]);

impl VariableResolver for Request {
    fn resolve<'b>(&'b self, variable: &str) -> Option<CowVal<'b, 'b>> {
        let Self([auth, headers, body]) = self;
        let json = match variable {
            "auth" => auth,
            "request.headers" => headers,
            REQUEST_BODY => body,
            _ => return None,
        };
        let value: Value = cel::to_value(json).ok()?;
        value.try_into().ok().map(CowVal::Owned)
    }
}

/// Requests without the values that the table reads: by what is absent or null.
fn requests() -> Vec<(&'static str, Box<dyn VariableResolver>)> {
    let request = |auth, body| Box::new(Request([auth, json!({}), body])) as Box<_>;
    let claims = json!({
        "tier": null, "roles": null, "groups": null, "level": null, "is_admin": null
    });
    vec![
        ("nothing", Box::new(Nothing)),
        ("no identity", request(json!({}), json!({}))),
        ("no claims", request(json!({ "identity": {} }), json!([]))),
        (
            "null",
            request(json!({ "identity": claims }), json!({ "stream": null })),
        ),
    ]
}

/// The rows of the table: expressions, and whether they hold.
fn rows() -> Vec<(String, bool)> {
    let rows = part("null").lines().skip(2).map(|row| {
        let cells: Vec<&str> = row.split(" | ").collect();
        let [_, expression, result] = cells.as_slice() else {
            panic!("{row}");
        };
        let expression = expression.trim_matches('`').replace("\\|", "|");
        match *result {
            "holds |" => (expression, true),
            "does not hold |" => (expression, false),
            _ => panic!("{row}"),
        }
    });
    rows.collect()
}

#[test]
fn reference_says_what_null_is() {
    let rows = rows();
    assert!(rows.len() > 30, "{rows:?}");
    for (name, request) in &requests() {
        for (source, expected) in &rows {
            let distinguishes_absence = source.contains("has(") || source.contains(".?");
            if *name == "null" && distinguishes_absence {
                continue;
            }
            let expression = predicate(source);
            match evaluate(&expression, &**request) {
                Ok(Value::Bool(found)) => assert_eq!(found, *expected, "{name}: {source}"),
                Ok(Value::Null) | Err(Failure::Missing) => {
                    assert!(!expected, "{name}: {source}");
                }
                other => panic!("{name}: {source}: {other:?}"),
            }
        }
    }
}

/// Returns whether a predicate is false for a missing value.
fn is_missing(source: &str, request: &dyn VariableResolver) -> bool {
    matches!(
        evaluate(&predicate(source), request),
        Ok(Value::Null) | Err(Failure::Missing)
    )
}

#[test]
fn false_for_absence_is_reported() {
    for (source, expected) in rows() {
        if !expected {
            assert!(is_missing(&source, &Nothing), "{source}");
        }
    }
    let claims = json!({ "tier": "gold", "none": null });
    let request = Request([claims, json!({}), json!({})]);
    for (source, expected) in [
        ("auth.tier == 'silver'", false),
        ("auth.tier != 'gold'", false),
        ("auth.none == 'gold'", false),
        ("auth.absent == 'gold'", true),
        ("has(auth.absent)", false),
        ("auth.?absent.orValue('') == 'gold'", false),
        // Another operand is what makes it false.
        ("auth.absent != 'gold' && auth.tier == 'silver'", false),
        ("auth.tier == 'silver' && auth.absent == 'gold'", false),
        ("auth.absent == 'gold' && auth.tier == 'silver'", true),
        ("auth.tier == 'gold' && auth.absent == 'gold'", true),
        ("auth.tier == 'silver' || auth.absent == 'gold'", true),
        ("auth.absent == 'gold' || auth.tier == 'silver'", true),
        ("auth.absent < 5 && auth.tier == 'silver'", false),
        (
            "auth.absent == 'gold' || (auth.none != '' && auth.tier == 'silver')",
            true,
        ),
    ] {
        assert_eq!(is_missing(source, &request), expected, "{source}");
    }
}

#[test]
fn other_errors_of_predicates_remain_errors() {
    let request = Request([json!({ "tier": "gold" }), json!({}), json!({})]);
    for source in [
        "auth.tier > 1",
        "auth.tier.name == 'gold'",
        "auth.tier.exists(x, true)",
        "'a' in auth.tier",
        "1 / 0 == 1 || auth.absent == 1",
        "auth.absent == 1 || 1 / 0 == 1",
        "{1.5: 1} == {}",
    ] {
        let found = evaluate(&predicate(source), &request);
        assert!(
            matches!(found, Err(Failure::Execution(_))),
            "{source}: {found:?}"
        );
    }
}

#[test]
fn null_is_no_key_of_a_literal() {
    assert!(is_missing("{auth.tier: 1} == {}", &Nothing));
}
