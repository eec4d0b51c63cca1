//! Tests of rules of access.

use super::ModelPattern;
use crate::fixtures::{assert_errors, long_form, read, set};
use serde_json::json;

#[test]
fn patterns_match_whole_names() {
    for (pattern, name, expected) in [
        ("gpt-4o", "gpt-4o", true),
        ("gpt-4o", "gpt-4o-mini", false),
        ("gpt-4o", "GPT-4o", false),
        ("gpt-4o*", "gpt-4o", true),
        ("*-mini", "gpt-4o-mini", true),
        ("*-mini", "gpt-4o-mini-x", false),
        ("*", "", true),
        ("", "", true),
        ("a*a", "a", false),
        ("a*b*c", "abbc", true),
        ("a*b*b*c", "abc", false),
        ("meta-llama/**", "meta-llama/Llama", true),
    ] {
        let found = ModelPattern::new(pattern).matches(name);
        assert_eq!(found, expected, "{pattern} {name}");
    }
}

#[test]
fn rules_have_defaults() {
    let mut document = long_form();
    set(&mut document, "/access", Some(json!([{ "models": [] }])));
    let rule = &read(&document).access[0];
    assert!(rule.when.is_none());
    assert!(!rule.allows("m"));
    assert_eq!((rule.status, &*rule.code), (403, "model_not_allowed"));
    let rule =
        json!([{ "when": "true", "models": ["a*"], "else": { "status": 404, "code": "no" } }]);
    set(&mut document, "/access", Some(rule));
    let rule = &read(&document).access[0];
    assert!(rule.allows("ab"));
    assert_eq!((rule.status, &*rule.code), (404, "no"));
}

#[test]
fn limit_has_reply_of_its_own() {
    let mut document = long_form();
    let at = "/policies/0/spec/limits/free/reply";
    let reply = json!({ "status": 403, "code": "quota", "headers": { "X-Why": "free" } });
    set(&mut document, at, Some(reply));
    let reply = read(&document).policies[0].limits[0].reply.clone().unwrap();
    assert_eq!(
        (reply.status, reply.code.as_deref()),
        (Some(403), Some("quota"))
    );
    assert_eq!(reply.body, None);
    assert_eq!(reply.headers, [("x-why".to_owned(), "free".to_owned())]);
    let path = "policies[0].spec.limits.free.reply";
    assert_errors(
        &document,
        [
            (
                format!("{at}/status").as_str(),
                Some(json!(200)),
                format!("{path}.status: found 200, expected a whole number from 400 to 599").as_str(),
            ),
            (
                format!("{at}/contentType").as_str(),
                Some(json!("text/plain")),
                format!("{path}.contentType: unknown field, expected \"status\", \"code\", \"body\" or \"headers\"").as_str(),
            ),
        ],
    );
}

#[test]
fn invalid_rules_are_rejected() {
    let rule = |rule| Some(json!([rule]));
    assert_errors(
        &long_form(),
        [
            (
                "/access",
                Some(json!({})),
                "access: found an object, expected a list",
            ),
            (
                "/access",
                rule(json!({})),
                "access[0].models: missing required field",
            ),
            (
                "/access",
                rule(json!({ "models": [5] })),
                "access[0].models[0]: found 5, expected a string",
            ),
            (
                "/access",
                rule(json!({ "models": [], "else": { "status": 200 } })),
                "access[0].else.status: found 200, expected a whole number from 400 to 599",
            ),
            (
                "/access",
                rule(json!({ "models": [], "else": { "code": "a b" } })),
                "access[0].else.code: invalid code, expected letters, digits, \"_\", \"-\" and \".\"",
            ),
            (
                "/access",
                rule(json!({ "models": [], "model": "m" })),
                "access[0].model: unknown field, did you mean \"models\"?",
            ),
        ],
    );
}
