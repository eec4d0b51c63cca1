use super::{Source, parse_source};
use crate::json::Json;

const POLICY: &str = r"{ apiVersion: kuadrant.io/v1alpha1, kind: TokenRateLimitPolicy, metadata: { name: NAME },
  spec: { targetRef: { group: gateway.networking.k8s.io, kind: TARGET, name: llm },
    limits: { all: { rates: [ { limit: 10, window: 1m } ] } } } }";

const ROUTE: &str = "{ apiVersion: gateway.networking.k8s.io/v1, kind: HTTPRoute, metadata: { name: llm }, \
                     spec: { rules: [ { } ] } }";

fn policy(name: &str, target: &str) -> String {
    POLICY.replace("NAME", name).replace("TARGET", target)
}

fn source(yaml: &str) -> Source {
    parse_source(yaml.as_bytes()).unwrap()
}

/// Returns the names of the policies and the number of routes of the document.
fn parts(source: &Source) -> (Vec<String>, usize) {
    let items = |field| match source.document.field(field) {
        Some(Json::Array(items)) => items.clone(),
        _ => Vec::new(),
    };
    let name = |policy: &Json| match policy.field("metadata").and_then(|meta| meta.field("name")) {
        Some(Json::String(name)) => name.clone(),
        other => panic!("{other:?}"),
    };
    let policies = items("policies").iter().map(name).collect();
    (policies, items("routes").len())
}

#[test]
fn every_form_becomes_the_long_form() {
    let (one, two) = (policy("one", "Gateway"), policy("two", "HTTPRoute"));
    for (yaml, policies, routes) in [
        (one.clone(), vec!["one"], 0),
        (
            format!("{one}\n---\n{two}\n---\n{ROUTE}"),
            vec!["one", "two"],
            1,
        ),
        (
            format!("{{ kind: List, apiVersion: v1, items: [ {one}, {ROUTE} ] }}"),
            vec!["one"],
            1,
        ),
        (
            format!("failureMode: allow\npolicies: [ {one} ]"),
            vec!["one"],
            0,
        ),
        (
            format!("kind: WasmPlugin\nspec:\n  pluginConfig: {one}"),
            vec!["one"],
            0,
        ),
        (
            format!(
                "kind: EnvoyExtensionPolicy\nspec:\n  wasm: [ {{ config: {{ policies: [ {one} ] }} }} ]"
            ),
            vec!["one"],
            0,
        ),
    ] {
        let source = source(&yaml);
        assert_eq!(
            parts(&source),
            (policies.iter().map(ToString::to_string).collect(), routes),
            "{yaml}"
        );
    }
}

#[test]
fn settings_are_kept_in_their_order() {
    let yaml = format!(
        "failureMode: allow\npolicies: [ {} ]\nholdHeaders: true",
        policy("one", "Gateway")
    );
    let source = source(&yaml);
    let Json::Object(fields) = &source.document else {
        panic!("{source:?}");
    };
    let names: Vec<&str> = fields.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["failureMode", "policies", "holdHeaders"]);
    assert!(source.sets("holdHeaders") && !source.sets("auth"));
}

#[test]
fn policy_rejected_by_kuadrant_is_left_out() {
    let dated = |name: &str, year| {
        let metadata = format!("name: {name}, creationTimestamp: \"{year}-01-01T00:00:00Z\"");
        policy("NAME", "Gateway").replace("name: NAME", &metadata)
    };
    let yaml = format!(
        "{}\n---\n{}\n---\n{ROUTE}",
        dated("newer", 2026),
        dated("older", 2025)
    );
    assert_eq!(parts(&source(&yaml)), (vec!["older".to_owned()], 1));
}

#[test]
fn text_of_a_string_value_is_read() {
    let yaml = format!(
        "name: tollgate\ntyped_config:\n  \"@type\": type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm\n  config:\n    \
         configuration:\n      \"@type\": type.googleapis.com/google.protobuf.StringValue\n      value: '{}'\n",
        serde_json::to_string(
            &serde_norway::from_str::<serde_json::Value>(&policy("one", "Gateway")).unwrap()
        )
        .unwrap()
    );
    assert_eq!(parts(&source(&yaml)).0, ["one"]);
}

#[test]
fn reading_auth_is_noticed() {
    let yaml = policy("one", "Gateway");
    assert!(!source(&yaml).reads_auth());
    let counted = yaml.replace(
        "all: {",
        "all: { counters: [ { expression: auth.identity.sub } ],",
    );
    assert!(source(&counted).reads_auth());
}

#[test]
fn invalid_configuration_is_reported_as_by_check() {
    let yaml = policy("one", "Gateway").replace("window: 1m", "window: 60");
    let errors = parse_source(yaml.as_bytes()).unwrap_err();
    let expected = crate::parse_file(yaml.as_bytes()).unwrap_err();
    assert_eq!(errors.to_string(), expected.to_string());
}
