//! The schema of a `TokenRateLimitPolicy`.

use serde_json::{Value, json};

use super::shapes::{cel, described, list, object, pointers, resource_name};
use crate::{bounds, limit, policy, resource};

pub(super) fn policy() -> Value {
    let metadata = object(
        &resource::METADATA,
        &["name"],
        &json!({ "name": resource_name(), "namespace": resource_name() }),
    );
    let target = object(
        &policy::TARGET,
        &["group", "kind", "name"],
        &json!({
            "group": { "const": "gateway.networking.k8s.io" },
            "kind": { "enum": ["Gateway", "HTTPRoute"] },
            "name": resource_name(),
            "sectionName": resource_name()
        }),
    );
    let rules = object(
        &policy::RULES,
        &["limits"],
        &json!({
            "strategy": { "enum": ["atomic", "merge"], "default": "atomic" },
            "limits": { "$ref": "#/$defs/limits" },
            "when": { "$ref": "#/$defs/when" },
            "dataExtraction": { "$ref": "#/$defs/dataExtraction" }
        }),
    );
    let mut spec = object(
        &policy::SPEC,
        &["targetRef"],
        &json!({
            "targetRef": described("The resource that the policy is attached to.", target),
            "limits": { "$ref": "#/$defs/limits" },
            "when": { "$ref": "#/$defs/when" },
            "dataExtraction": { "$ref": "#/$defs/dataExtraction" },
            "defaults": rules,
            "overrides": rules
        }),
    );
    let alone = json!({ "when": false, "dataExtraction": false });
    spec["oneOf"] = json!([
        { "required": ["limits"] },
        { "required": ["defaults"], "properties": alone },
        { "required": ["overrides"], "properties": alone }
    ]);
    object(
        &policy::POLICY,
        &["apiVersion", "kind", "metadata", "spec"],
        &json!({
            "apiVersion": { "const": "kuadrant.io/v1alpha1" },
            "kind": { "const": "TokenRateLimitPolicy" },
            "metadata": metadata,
            "spec": spec
        }),
    )
}

pub(super) fn data_extraction() -> Value {
    let response = object(
        &policy::RESPONSE,
        &[],
        &json!({
            "totalTokens": described("JSON pointers to the total of tokens, tried in order.", pointers(&bounds::TOTAL_TOKENS))
        }),
    );
    object(
        &policy::DATA_EXTRACTION,
        &[],
        &json!({ "response": response }),
    )
}

pub(super) fn when() -> Value {
    let predicate = cel("has to be true for the limits to apply.");
    let predicate = object(
        &limit::PREDICATE,
        &["predicate"],
        &json!({ "predicate": predicate }),
    );
    list(0, bounds::PREDICATES, &predicate)
}
