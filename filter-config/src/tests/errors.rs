//! Tests of invalid configurations: the path and the message of each error.

mod computed;
mod expressions;
mod limits;
mod long_form;
mod on_exceeded;
mod policies;
mod prices;
mod rates;
mod routes;
mod storage;

use serde_json::{Value, json};

use crate::bounds;
use crate::fixtures::{errors_of, long_form, set, tutorial};

#[test]
fn malformed_documents_are_rejected() {
    let policy = tutorial().to_string();
    let nested = format!("{}{}", "[".repeat(1000), "]".repeat(1000));
    let large = format!(
        "{{\"policies\":[]{}}}",
        " ".repeat(bounds::CONFIGURATION_BYTES)
    );
    for (bytes, expected) in [
        (
            "",
            "configuration: found an empty document, expected a TokenRateLimitPolicy or an object with \"policies\"",
        ),
        (
            " \n",
            "configuration: found an empty document, expected a TokenRateLimitPolicy or an object with \"policies\"",
        ),
        (
            "\u{feff}{}",
            "configuration: found a byte order mark, expected JSON; save the document as UTF-8 without one",
        ),
        (
            "{",
            "configuration: invalid JSON: EOF while parsing an object at line 1 column 1",
        ),
        (
            "kind: TokenRateLimitPolicy",
            "configuration: found YAML, expected JSON; convert it, or give it to Envoy as a google.protobuf.Struct instead of a StringValue",
        ),
        (
            "policies",
            "configuration: invalid JSON: expected value at line 1 column 1",
        ),
        (
            &format!("{policy} x"),
            &format!(
                "configuration: invalid JSON: trailing characters at line 1 column {}",
                policy.len() + 2
            ),
        ),
        (
            &nested,
            "configuration: invalid JSON: recursion limit exceeded at line 1 column 128",
        ),
        (
            &large,
            "configuration: found 1048591 bytes, expected at most 1048576",
        ),
        (
            "[]",
            "configuration: found a list, expected a TokenRateLimitPolicy or an object with \"policies\"",
        ),
        ("{}", "policies: missing required field"),
        (
            r#"{"policies": [], "policies": []}"#,
            "policies: duplicate field, expected it once\npolicies: must not be empty",
        ),
        (
            &policy.replace("\"window\":\"1m\"", "\"window\":\"1m\",\"window\":\"2m\""),
            "spec.limits.free.rates[0].window: duplicate field, expected it once\n\
             spec.limits.gold.rates[0].window: duplicate field, expected it once",
        ),
        (
            &policy.replace("\"gold\":{", "\"free\":{"),
            "spec.limits.free: duplicate field, expected it once",
        ),
    ] {
        assert_eq!(errors_of(bytes.as_bytes()), expected);
    }
    assert_eq!(
        errors_of(b"{\"policies\": \"\xff\"}"),
        "configuration: invalid JSON: invalid unicode code point at line 1 column 15"
    );
}

#[test]
fn all_errors_are_in_one_report() {
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
        errors_of(document.to_string().as_bytes()),
        "policies[0].kind: found \"Policy\", expected \"TokenRateLimitPolicy\"\n\
         policies[0].spec.limits.free.rates[0].window: invalid duration \"0s\", expected more than zero\n\
         policies[0].spec.limits.gold.when[1].predicate: unknown variable \"atuh\", did you mean \"auth\"?\n\
         failureMode: found \"open\", expected \"deny\" or \"allow\"\n\
         replies.status: found 42, expected a whole number from 400 to 599"
    );
}

#[test]
fn long_reports_count_omitted_errors() {
    let fields: serde_json::Map<String, Value> =
        (0..1000).map(|n| (format!("field{n}"), json!(1))).collect();
    let report = errors_of(Value::Object(fields).to_string().as_bytes());
    assert_eq!(report.lines().count(), bounds::VALIDATION_ERRORS + 1);
    assert!(report.ends_with("\nand 937 more"), "{report}");
}
