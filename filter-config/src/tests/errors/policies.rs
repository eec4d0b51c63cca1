//! Tests of invalid policies.

#![expect(clippy::too_many_lines, reason = "the tests are tables")]

use serde_json::{Map, Value, json};

use crate::fixtures::{assert_errors, errors_of, set, tutorial};

#[test]
fn invalid_policies_are_rejected() {
    let wide = "x".repeat(300);
    let limits_of_another: Value = json!({ "limits": tutorial()["spec"]["limits"] });
    assert_errors(
        &tutorial(),
        [
            (
                "/kind",
                Some(json!("RateLimitPolicy")),
                "kind: found \"RateLimitPolicy\", expected \"TokenRateLimitPolicy\"",
            ),
            ("/kind", None, "kind: missing required field"),
            (
                "/apiVersion",
                Some(json!("kuadrant.io/v1")),
                "apiVersion: found \"kuadrant.io/v1\", expected \"kuadrant.io/v1alpha1\"",
            ),
            ("/apiVersion", None, "apiVersion: missing required field"),
            ("/metadata", None, "metadata: missing required field"),
            (
                "/metadata/name",
                None,
                "metadata.name: missing required field",
            ),
            (
                "/metadata/name",
                Some(json!("")),
                "metadata.name: must not be empty",
            ),
            (
                "/metadata/name",
                Some(json!("a/b")),
                "metadata.name: invalid name, expected no \"/\"",
            ),
            (
                "/metadata/name",
                Some(json!("a\nb")),
                "metadata.name: found \"a\\nb\", expected a name without white space and control characters",
            ),
            (
                "/metadata/name",
                Some(json!(wide)),
                "metadata.name: found 300 bytes, expected at most 253",
            ),
            (
                "/metadata/namespace",
                Some(json!(7)),
                "metadata.namespace: found 7, expected a string",
            ),
            (
                "/metadata/nam",
                Some(json!("a")),
                "metadata.nam: unknown field, did you mean \"name\"?",
            ),
            (
                "/stauts",
                Some(json!({})),
                "stauts: unknown field, expected \"apiVersion\", \"kind\", \"metadata\" or \"spec\"",
            ),
            ("/spec", None, "spec: missing required field"),
            (
                "/spec",
                Some(json!([])),
                "spec: found a list, expected an object",
            ),
            (
                "/spec/targetRef",
                None,
                "spec.targetRef: missing required field",
            ),
            (
                "/spec/targetRef/kind",
                Some(json!("Service")),
                "spec.targetRef.kind: found \"Service\", expected \"Gateway\" or \"HTTPRoute\"",
            ),
            (
                "/spec/targetRef/group",
                Some(json!("")),
                "spec.targetRef.group: found \"\", expected \"gateway.networking.k8s.io\"",
            ),
            (
                "/spec/targetRef/namespace",
                Some(json!("a")),
                "spec.targetRef.namespace: unknown field, expected \"group\", \"kind\", \"name\" or \"sectionName\"",
            ),
            (
                "/spec/limit",
                Some(json!({})),
                "spec.limit: unknown field, did you mean \"limits\"?",
            ),
            ("/spec/limits", None, "spec.limits: missing required field"),
            (
                "/spec/limits",
                Some(json!({})),
                "spec.limits: must not be empty",
            ),
            (
                "/spec/limits",
                Some(json!(null)),
                "spec.limits: missing required field",
            ),
            (
                "/spec/limits",
                Some(json!({ "free": null })),
                "spec.limits: must not be empty",
            ),
            (
                "/spec/defaults",
                Some(limits_of_another.clone()),
                "spec.limits: conflicts with \"defaults\", remove one of them",
            ),
            (
                "/spec/overrides",
                Some(limits_of_another.clone()),
                "spec.limits: conflicts with \"overrides\", remove one of them",
            ),
            (
                "/spec/dataExtraction",
                Some(json!({ "request": {} })),
                "spec.dataExtraction.request: unknown field, expected \"response\"",
            ),
            (
                "/spec/dataExtraction",
                Some(json!({ "response": { "output": "/n" } })),
                "spec.dataExtraction.response.output: found \"/n\", expected a list",
            ),
            (
                "/spec/dataExtraction",
                Some(
                    json!({ "response": (0..17).map(|n| (format!("n{n}"), json!(["/n"]))).collect::<Map<_, _>>() }),
                ),
                "spec.dataExtraction.response: found 17 names, expected at most 16",
            ),
            (
                "/spec/dataExtraction",
                Some(json!({ "response": { "totalTokens": [] } })),
                "spec.dataExtraction.response.totalTokens: must not be empty",
            ),
            (
                "/spec/dataExtraction",
                Some(json!({ "response": { "totalTokens": "/n" } })),
                "spec.dataExtraction.response.totalTokens: found \"/n\", expected a list",
            ),
            (
                "/spec/dataExtraction",
                Some(json!({ "response": { "totalTokens": ["/n", "n"] } })),
                "spec.dataExtraction.response.totalTokens[1]: found \"n\", expected a JSON pointer such as \"/usage/total_tokens\"",
            ),
            (
                "/spec/dataExtraction",
                Some(json!({ "response": { "totalTokens": vec!["/n"; 9] } })),
                "spec.dataExtraction.response.totalTokens: found 9 JSON pointers, expected at most 8",
            ),
        ],
    );
}

#[test]
fn conflicting_sections_are_rejected() {
    let rules = tutorial()["spec"]["limits"].clone();
    let spec = |fields: Value| {
        let mut document = tutorial();
        set(&mut document, "/spec/limits", None);
        for (name, value) in fields.as_object().unwrap() {
            set(&mut document, &format!("/spec/{name}"), Some(value.clone()));
        }
        errors_of(document.to_string().as_bytes())
    };
    let limits = json!({ "limits": rules });
    for (fields, expected) in [
        (
            json!({ "defaults": limits, "overrides": limits }),
            "spec.defaults: conflicts with \"overrides\", remove one of them",
        ),
        (
            json!({ "defaults": limits, "when": [{ "predicate": "1" }] }),
            "spec.when[0].predicate: found a number, expected a boolean",
        ),
        (
            json!({ "defaults": limits, "dataExtraction": {} }),
            "spec.dataExtraction: conflicts with \"defaults\", remove one of them",
        ),
        (
            json!({ "overrides": limits, "dataExtraction": {} }),
            "spec.dataExtraction: conflicts with \"overrides\", remove one of them",
        ),
        (
            json!({ "defaults": {} }),
            "spec.defaults.limits: missing required field",
        ),
        (
            json!({ "overrides": { "limits": {} } }),
            "spec.overrides.limits: must not be empty",
        ),
        (
            json!({ "overrides": { "limits": rules, "strategy": "replace" } }),
            "spec.overrides.strategy: found \"replace\", expected \"atomic\" or \"merge\"",
        ),
        (
            json!({ "defaults": { "limits": rules, "limit": 1 } }),
            "spec.defaults.limit: unknown field, did you mean \"limits\"?",
        ),
    ] {
        assert_eq!(spec(fields), expected);
    }
}
