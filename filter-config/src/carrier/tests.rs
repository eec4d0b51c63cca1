//! Tests of configurations in carriers.

use serde_json::{Value, json};

use crate::{fixtures, parse_carried};

fn policy(window: &str) -> Value {
    let limits = json!({ "all": { "rates": [{ "limit": 1000, "window": window }] } });
    fixtures::policy("llm", &json!({ "limits": limits }))
}

/// The number of limits in a document, or its errors.
fn found(document: &Value) -> Result<usize, String> {
    let configuration = parse_carried(document.to_string().as_bytes());
    let configuration = configuration.map_err(|errors| errors.to_string())?;
    Ok(configuration
        .policies
        .iter()
        .map(|policy| policy.limits.len())
        .sum())
}

fn wasm_plugin(configuration: &Value) -> Value {
    json!({
        "apiVersion": "extensions.istio.io/v1alpha1", "kind": "WasmPlugin", "metadata": { "name": "tollgate" },
        "spec": { "url": "oci://registry.example.com/tollgate:0.1.0", "pluginConfig": configuration },
    })
}

fn traffic_extension(configuration: &Value) -> Value {
    json!({
        "apiVersion": "extensions.istio.io/v1alpha1", "kind": "TrafficExtension", "metadata": { "name": "tollgate" },
        "spec": { "phase": "STATS", "wasm": {
            "url": "oci://registry.example.com/tollgate:0.1.0", "pluginConfig": configuration,
        } },
    })
}

fn extension_policy(configuration: &Value) -> Value {
    json!({
        "apiVersion": "gateway.envoyproxy.io/v1alpha1", "kind": "EnvoyExtensionPolicy",
        "metadata": { "name": "tollgate" },
        "spec": { "wasm": [
            { "name": "other", "config": { "a": 1 } },
            { "name": "tollgate", "rootID": "tollgate", "config": configuration },
        ] },
    })
}

/// An entry of `http_filters`.
fn filter(name: &str, configuration: &Value) -> Value {
    let kind = if configuration.is_string() {
        "StringValue"
    } else {
        "Struct"
    };
    json!({ "name": name, "typed_config": {
        "@type": "type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm",
        "config": { "name": name, "root_id": "", "configuration": {
            "@type": format!("type.googleapis.com/google.protobuf.{kind}"), "value": configuration,
        } },
    } })
}

fn bootstrap(filters: &[Value]) -> Value {
    json!({ "static_resources": { "listeners": [{ "filter_chains": [{ "filters": [{
        "typed_config": { "http_filters": filters },
    }] }] }] } })
}

fn envoy_filter(filter: &Value) -> Value {
    json!({
        "apiVersion": "networking.istio.io/v1alpha3", "kind": "EnvoyFilter",
        "spec": { "configPatches": [{ "applyTo": "HTTP_FILTER", "patch": { "value": filter } }] },
    })
}

#[test]
fn configurations_are_found_in_every_carrier() {
    let policy = policy("1h");
    let text = Value::from(policy.to_string());
    let router = json!({ "name": "envoy.filters.http.router", "typed_config": {} });
    let typed_struct = json!({ "typed_config": {
        "@type": "type.googleapis.com/xds.type.v3.TypedStruct",
        "type_url": "type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm",
        "value": filter("tollgate", &policy)["typed_config"],
    } });
    for document in [
        policy.clone(),
        json!({ "policies": [policy] }),
        wasm_plugin(&policy),
        wasm_plugin(&json!({ "policies": [policy] })),
        traffic_extension(&policy),
        extension_policy(&policy),
        json!({ "kind": "List", "items": [wasm_plugin(&policy)] }),
        json!({ "resources": [bootstrap(&[filter("tollgate", &policy)])["static_resources"]["listeners"][0]] }),
        json!({ "resources": [{
            "@type": "type.googleapis.com/envoy.config.core.v3.TypedExtensionConfig",
            "name": "tollgate", "typed_config": filter("tollgate", &policy)["typed_config"],
        }] }),
        json!({ "configs": [{ "dynamic_listeners": [bootstrap(&[filter("tollgate", &policy)])] }] }),
        filter("limits", &policy),
        envoy_filter(&filter("tollgate", &policy)),
        envoy_filter(&filter("tollgate", &text)),
        envoy_filter(&typed_struct),
        bootstrap(&[filter("tollgate", &text), router.clone()]),
        bootstrap(&[
            filter("other", &json!({ "a": 1 })),
            filter("my-tollgate", &policy),
            router,
        ]),
    ] {
        assert_eq!(found(&document), Ok(1), "{document}");
    }
}

#[test]
fn only_yaml_of_envoy_has_its_types() {
    let configuration = |alert: &str| {
        format!(
            "{{ policies: [ {{ apiVersion: kuadrant.io/v1alpha1, kind: TokenRateLimitPolicy, metadata: {{ name: llm }}, \
             spec: {{ targetRef: {{ group: gateway.networking.k8s.io, kind: Gateway, name: llm }}, \
             limits: {{ a: {{ shadow: {alert}, rates: [ {{ limit: 5000000000, window: 1m }} ], alertAt: 0.8 }} }} }} }} ] }}"
        )
    };
    let in_envoy = |configuration: &str| {
        format!(
            "typed_config:\n  '@type': type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm\n  config: {{ \
             configuration: {{ '@type': type.googleapis.com/google.protobuf.Struct, value: {configuration} }} }}"
        )
    };
    let found = |yaml: &str| match parse_carried(yaml.as_bytes()) {
        Ok(configuration) => {
            let limit = &configuration.policies[0].limits[0];
            format!(
                "{:?} {} {:?}",
                limit.alert_at, limit.shadow, limit.rates[0].limit
            )
        }
        Err(errors) => errors.to_string(),
    };
    let valid = "Some(800000) true Fixed(5000000000)";
    assert_eq!(found(&in_envoy(&configuration("yes"))), valid);
    assert_eq!(found(&in_envoy(&configuration("true"))), valid);
    assert_eq!(found(&in_envoy(&configuration("!!bool \"yes\""))), valid);
    assert_eq!(found(&configuration("true")), valid);
    assert_eq!(
        found(&configuration("yes")),
        "policies[0].spec.limits.a.shadow: found \"yes\", expected true or false"
    );
    let path = "typed_config.config.configuration.value.policies[0].spec.limits.a.shadow";
    assert_eq!(
        found(&in_envoy(&configuration("'yes'"))),
        format!("{path}: found \"yes\", expected true or false")
    );
    let json: Value = serde_norway::from_str(&in_envoy(&configuration("yes"))).unwrap();
    assert_eq!(
        found(&json.to_string()),
        format!("{path}: found \"yes\", expected true or false"),
        "a file with JSON"
    );
}

#[test]
fn errors_have_their_path_in_the_carrier() {
    let wrong = policy("0s");
    let error = "spec.limits.all.rates[0].window: invalid duration \"0s\", expected more than zero";
    let value = "config.configuration.value";
    let chain = "static_resources.listeners[0].filter_chains[0].filters[0]";
    for (document, expected) in [
        (wrong.clone(), error.to_owned()),
        (wasm_plugin(&wrong), format!("spec.pluginConfig.{error}")),
        (
            envoy_filter(&filter("tollgate", &wrong)),
            format!("spec.configPatches[0].patch.value.typed_config.{value}.{error}"),
        ),
        (
            bootstrap(&[filter("tollgate", &Value::from(wrong.to_string()))]),
            format!("{chain}.typed_config.http_filters[0].typed_config.{value}.{error}"),
        ),
        (
            traffic_extension(&wrong),
            format!("spec.wasm.pluginConfig.{error}"),
        ),
        (
            extension_policy(&wrong),
            format!("spec.wasm[1].config.{error}"),
        ),
        (
            json!({ "kind": "List", "items": [wasm_plugin(&wrong)] }),
            format!("items[0].spec.pluginConfig.{error}"),
        ),
        (
            wasm_plugin(&json!({})),
            "spec.pluginConfig.policies: missing required field".to_owned(),
        ),
    ] {
        assert_eq!(found(&document), Err(expected));
    }
    let text = bootstrap(&[filter("tollgate", &json!("policies: []"))]);
    let message = found(&text).unwrap_err();
    let path = format!(
        "{chain}.typed_config.http_filters[0].typed_config.{value}: found YAML, expected JSON; "
    );
    assert!(message.starts_with(&path), "{message}");
}

#[test]
fn held_headers_need_the_carriers_permission() {
    let configuration = json!({ "policies": [policy("1h")], "holdHeaders": true });
    let path = "spec.pluginConfig.holdHeaders";
    let message = found(&wasm_plugin(&configuration)).unwrap_err();
    assert!(message.starts_with(path), "{message}");
    assert!(message.contains("use an EnvoyFilter"), "{message}");
    let not_held = json!({ "policies": [policy("1h")], "holdHeaders": false });
    assert_eq!(found(&wasm_plugin(&not_held)), Ok(1));

    let value = "typed_config.config.configuration.value.holdHeaders";
    let text = Value::from(configuration.to_string());
    for carried in [&configuration, &text] {
        let mut filter = filter("tollgate", carried);
        for allowed in [None, Some(false), Some(true)] {
            if let Some(allowed) = allowed {
                filter["typed_config"]["config"]["allow_on_headers_stop_iteration"] =
                    allowed.into();
            }
            for (document, path) in [
                (
                    bootstrap(&[filter.clone()]),
                    "static_resources.listeners[0].filter_chains[0].filters[0].typed_config.http_filters[0]",
                ),
                (envoy_filter(&filter), "spec.configPatches[0].patch.value"),
            ] {
                if allowed == Some(true) {
                    assert_eq!(found(&document), Ok(1));
                    continue;
                }
                let message = found(&document).unwrap_err();
                let path = format!("{path}.{value}: needs `allow_on_headers_stop_iteration: true`");
                assert!(message.starts_with(&path), "{message}");
            }
        }
    }
}

#[test]
fn missing_and_ambiguous_configurations_are_rejected() {
    let mut without = wasm_plugin(&json!({}));
    without["spec"] = json!({});
    assert_eq!(
        found(&without).unwrap_err(),
        "spec.pluginConfig: missing required field"
    );
    let message = found(&bootstrap(&[])).unwrap_err();
    assert!(
        message.contains("found no Wasm filter with a `configuration`"),
        "{message}"
    );
    let others = ["one", "another"].map(|name| filter(name, &json!({ "a": 1 })));
    let message = found(&bootstrap(&others)).unwrap_err();
    assert!(
        message.contains("found several Wasm filters with a configuration"),
        "{message}"
    );
    let two = ["one", "another"].map(|name| filter(name, &policy("1h")));
    let message = found(&bootstrap(&two)).unwrap_err();
    assert!(
        message.contains("found several plugin configurations"),
        "{message}"
    );
}
