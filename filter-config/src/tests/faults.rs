//! Every kind of bad configuration: the path and the message of its fault.

mod costs;
mod exceeded;
mod expressions;
mod long_form;
mod policies;
mod routes;
mod storage;

use serde_json::{Value, json};

use super::{long_form, set, tutorial};
use crate::{bounds, parse};

fn refusal(bytes: &[u8]) -> String {
    match parse(bytes) {
        Ok(_) => "accepted".to_owned(),
        Err(faults) => faults.to_string(),
    }
}

/// Changes `document` in one place at a time and compares what it is refused with.
fn refused<'a>(document: &Value, cases: impl IntoIterator<Item = Case<'a>>) {
    let mut wrong = Vec::new();
    for (pointer, value, expected) in cases {
        let shown = format!("{pointer} = {value:?}");
        let mut document = document.clone();
        set(&mut document, pointer, value);
        let found = refusal(document.to_string().as_bytes());
        if found != expected {
            wrong.push(format!(
                "{shown}\n    expected {expected}\n    found    {found}"
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The place, what is put there, and the faults that it is to be refused with.
type Case<'a> = (&'a str, Option<Value>, &'a str);

#[test]
fn documents_that_are_no_configuration() {
    let policy = tutorial().to_string();
    let nested = format!("{}{}", "[".repeat(1000), "]".repeat(1000));
    let large = format!(
        "{{\"policies\":[]{}}}",
        " ".repeat(bounds::CONFIGURATION_BYTES)
    );
    for (bytes, expected) in [
        (
            "",
            "configuration: empty, expected a TokenRateLimitPolicy or an object with \"policies\"",
        ),
        (
            " \n",
            "configuration: empty, expected a TokenRateLimitPolicy or an object with \"policies\"",
        ),
        (
            "\u{feff}{}",
            "configuration: starts with a byte order mark, which JSON does not allow",
        ),
        (
            "{",
            "configuration: not JSON: EOF while parsing an object at line 1 column 1",
        ),
        (
            "kind: TokenRateLimitPolicy",
            "configuration: not JSON: expected value at line 1 column 1",
        ),
        (
            &format!("{policy} x"),
            &format!(
                "configuration: not JSON: trailing characters at line 1 column {}",
                policy.len() + 2
            ),
        ),
        (
            &nested,
            "configuration: not JSON: recursion limit exceeded at line 1 column 128",
        ),
        (
            &large,
            "configuration: too many bytes: 1048591, at most 1048576",
        ),
        (
            "[]",
            "configuration: expected a TokenRateLimitPolicy or an object with \"policies\", found a list",
        ),
        ("{}", "policies: required, but missing"),
        (
            r#"{"policies": [], "policies": []}"#,
            "policies: given more than once\npolicies: must not be empty",
        ),
        (
            &policy.replace("\"window\":\"1m\"", "\"window\":\"1m\",\"window\":\"2m\""),
            "spec.limits.free.rates[0].window: given more than once\n\
             spec.limits.gold.rates[0].window: given more than once",
        ),
        (
            &policy.replace("\"gold\":{", "\"free\":{"),
            "spec.limits.free: given more than once",
        ),
    ] {
        assert_eq!(refusal(bytes.as_bytes()), expected);
    }
    assert_eq!(
        refusal(b"{\"policies\": \"\xff\"}"),
        "configuration: not JSON: invalid unicode code point at line 1 column 15"
    );
}

#[test]
fn all_faults_are_told_in_one_report() {
    let mut document = long_form();
    for (pointer, value) in [
        ("/failureMode", json!("open")),
        ("/policies/0/kind", json!("Policy")),
        ("/policies/0/spec/limits/free/rates/0/window", json!("0s")),
        (
            "/policies/0/spec/limits/gold/when/1/predicate",
            json!("atuh.a"),
        ),
        ("/replies", json!({ "status": 42 })),
    ] {
        set(&mut document, pointer, Some(value));
    }
    assert_eq!(
        refusal(document.to_string().as_bytes()),
        "policies[0].kind: expected \"TokenRateLimitPolicy\", found \"Policy\"\n\
         policies[0].spec.limits.free.rates[0].window: a window must be longer than zero, found \"0s\"\n\
         policies[0].spec.limits.gold.when[1].predicate: unknown variable \"atuh\", did you mean \"auth\"?\n\
         failureMode: expected \"deny\" or \"allow\", found \"open\"\n\
         replies.status: expected a whole number from 400 to 599, found 42"
    );
}

#[test]
fn a_report_of_very_many_faults_counts_those_it_leaves_out() {
    let fields: serde_json::Map<String, Value> =
        (0..1000).map(|n| (format!("field{n}"), json!(1))).collect();
    let report = refusal(Value::Object(fields).to_string().as_bytes());
    assert_eq!(report.lines().count(), bounds::FAULTS + 1);
    assert!(report.ends_with("\nand 937 more"), "{report}");
}
