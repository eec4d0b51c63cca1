//! The schema of a `TokenRateLimitPolicy`.

use serde_json::{Map, Value, json};

use super::shapes::{cel, described, list, nullable, object, pointers, resource_name};
use crate::{bounds, limit, policy, resource, resources};

pub(super) fn policy() -> Value {
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
    let of_spec = ["limits", "dataExtraction"];
    let section = |given: &str, others: &[&str]| {
        let others = others
            .iter()
            .map(|other| ((*other).to_owned(), json!({ "type": "null" })));
        let mut properties: Map<String, Value> = others.collect();
        properties.insert(given.to_owned(), json!({ "type": "object" }));
        json!({ "required": [given], "properties": properties })
    };
    spec["oneOf"] = json!([
        section("limits", &["defaults", "overrides"]),
        section("defaults", &[&of_spec[..], &["overrides"]].concat()),
        section("overrides", &[&of_spec[..], &["defaults"]].concat())
    ]);
    object(
        &policy::POLICY,
        &["apiVersion", "kind", "metadata", "spec"],
        &json!({
            "apiVersion": { "const": "kuadrant.io/v1alpha1" },
            "kind": { "const": "TokenRateLimitPolicy" },
            "metadata": metadata(),
            "spec": spec
        }),
    )
}

/// A list of Kubernetes. Resources of other kinds in it are left out.
pub(super) fn resources() -> Value {
    let of_kind = |kind: &str, schema: &str| {
        json!({
            "if": { "properties": { "kind": { "const": kind } }, "required": ["kind"] },
            "then": { "$ref": schema }
        })
    };
    let item = json!({
        "type": "object",
        "required": ["kind"],
        "allOf": [
            of_kind("TokenRateLimitPolicy", "#/$defs/policy"),
            of_kind("HTTPRoute", "#/$defs/route")
        ]
    });
    object(
        &resources::LIST,
        &["kind", "items"],
        &json!({
            "apiVersion": { "type": "string" },
            "kind": { "type": "string" },
            "items": { "type": "array", "items": item }
        }),
    )
}

/// The metadata of a policy or a route.
pub(super) fn metadata() -> Value {
    let mut metadata = object(
        &resource::METADATA,
        &[],
        &json!({
            "name": resource_name(),
            "generateName": described("The name, without a name.", resource_name()),
            "namespace": resource_name(),
            "creationTimestamp": { "description": "When it was created: of two policies for one target, the older applies." }
        }),
    );
    metadata["anyOf"] = json!([
        { "required": ["name"], "properties": { "name": { "type": "string" } } },
        { "required": ["generateName"], "properties": { "generateName": { "type": "string" } } }
    ]);
    metadata
}

pub(super) fn data_extraction() -> Value {
    let pointers = pointers(&bounds::TOTAL_TOKENS);
    let total_tokens = described(
        "JSON pointers to the total of tokens, tried in order.",
        pointers.clone(),
    );
    let response = json!({
        "description": "JSON pointers to numbers in a response, by their names. Only totalTokens has an effect.",
        "type": "object",
        "maxProperties": bounds::EXTRACTED_NUMBERS,
        "properties": { "totalTokens": nullable(&total_tokens) },
        "additionalProperties": nullable(&pointers)
    });
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
