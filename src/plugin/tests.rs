//! Configuration: what is read, which counters it has, and what workers share.

use super::{Plugin, structure};
use crate::host::HostError;
use crate::host::double::{Call, Double};
use crate::memory::handed_out;
use filter_config::Usd;
use prost::Message;
use prost_types::{ListValue, Struct, Value, value::Kind};
use std::rc::Rc;

fn policy(limit: u64, window: &str, counter: &str) -> String {
    serde_json::json!({
        "apiVersion": "kuadrant.io/v1alpha1", "kind": "TokenRateLimitPolicy",
        "metadata": { "name": "llm", "namespace": "test" },
        "spec": {
            "targetRef": { "group": "gateway.networking.k8s.io", "kind": "Gateway", "name": "g" },
            "limits": { "free": {
                "rates": [{ "limit": limit, "window": window }],
                "counters": [{ "expression": counter }]
            } }
        }
    })
    .to_string()
}

fn structure_of(json: &serde_json::Value) -> Value {
    let kind = match json {
        serde_json::Value::Null => Kind::NullValue(0),
        serde_json::Value::Bool(bool) => Kind::BoolValue(*bool),
        serde_json::Value::Number(number) => Kind::NumberValue(number.as_f64().unwrap()),
        serde_json::Value::String(string) => Kind::StringValue(string.clone()),
        serde_json::Value::Array(items) => Kind::ListValue(ListValue {
            values: items.iter().map(structure_of).collect(),
        }),
        serde_json::Value::Object(fields) => Kind::StructValue(Struct {
            fields: fields
                .iter()
                .map(|(k, v)| (k.clone(), structure_of(v)))
                .collect(),
        }),
    };
    Value { kind: Some(kind) }
}

#[test]
fn configuration_is_json_or_struct() {
    let json = policy(50, "1m", "auth.user");
    let Some(Kind::StructValue(structure)) =
        structure_of(&serde_json::from_str(&json).unwrap()).kind
    else {
        panic!("an object");
    };
    for bytes in [
        json.clone().into_bytes(),
        format!("\n{{\n{}", &json[1..]).into_bytes(),
        structure.encode_to_vec(),
    ] {
        let plugin = Plugin::configure(Rc::new(Double::default()), &bytes).unwrap();
        let rates = plugin.parts.policies.rates();
        assert_eq!(rates.len(), 1);
        assert_eq!(rates[0].max, 50);
    }
    assert_eq!(*structure::json(b"\nnot a struct"), *b"\nnot a struct");
}

#[test]
fn validation_errors_have_paths() {
    let json = policy(50, "1x", "atuh.user");
    let invalid = Plugin::configure(Rc::new(Double::default()), json.as_bytes());
    let report = invalid.err().unwrap().to_string();
    assert!(
        report.contains("spec.limits.free.rates[0].window: "),
        "{report}"
    );
    assert!(
        report.contains("spec.limits.free.counters[0].expression: "),
        "{report}"
    );
}

#[test]
fn counter_identity_depends_on_expression_and_window() {
    let host = Rc::new(Double::default());
    let rate = |json: String| {
        let plugin = Plugin::configure(host.clone(), json.as_bytes()).unwrap();
        plugin.parts.policies.rates()[0].counters
    };
    let first = rate(policy(50, "1m", "auth.user"));
    assert_eq!(
        first,
        rate(policy(70, "60s", "auth.user")),
        "the value is not part of the identity"
    );
    assert_ne!(first, rate(policy(50, "2m", "auth.user")));
    assert_ne!(first, rate(policy(50, "1m", "auth.other")));
}

#[test]
fn workers_share_hash_secret_and_envoys_do_not() {
    let key = |host: &Rc<Double>| {
        let json = policy(50, "1m", "auth.user");
        let plugin = Plugin::configure(host.clone(), json.as_bytes()).unwrap();
        let mut hasher = plugin.parts.policies.hasher();
        hasher.value(b"alice");
        hasher.finish()
    };
    let host = Rc::new(Double::default());
    assert_eq!(key(&host), key(&host));
    assert_ne!(key(&host), key(&Rc::new(Double::default())));
}

#[test]
fn value_boundaries_are_hashed() {
    let json = policy(50, "1m", "auth.user");
    let plugin = Plugin::configure(Rc::new(Double::default()), json.as_bytes()).unwrap();
    let hash = |values: &[&str]| {
        let mut hasher = plugin.parts.policies.hasher();
        for value in values {
            hasher.value(value.as_bytes());
        }
        hasher.finish()
    };
    assert_ne!(hash(&["ab", "c"]), hash(&["a", "bc"]));
    assert_ne!(hash(&["a", ""]), hash(&["a"]));
}

#[test]
fn failing_host_rejects_configuration() {
    for call in [Call::SetSharedData, Call::DefineMetric] {
        let host = Rc::new(Double::default());
        host.fail(call, 1, HostError::InternalFailure);
        let json = policy(50, "1m", "auth.user");
        assert!(
            Plugin::configure(host, json.as_bytes()).is_err(),
            "{call:?}"
        );
    }
}

/// Returns the bytes that are allocated, and the calls that are made, to configure so many limits.
fn configuring(limits: usize) -> [usize; 2] {
    let limit = |index: usize| {
        let predicate = format!("auth.groups.split(\",\").exists(g, g == \"group-{index}\")");
        let limit = serde_json::json!({
            "rates": [{ "limit": 50, "window": "1m" }],
            "when": [{ "predicate": predicate }, { "predicate": "request.method == \"POST\"" }],
            "counters": [{ "expression": format!("auth.user{index}") }]
        });
        (format!("limit-{index}"), limit)
    };
    let limits: serde_json::Map<_, _> = (1_000..1_000 + limits).map(limit).collect();
    let mut policy: serde_json::Value = serde_json::from_str(&policy(50, "1m", "1")).unwrap();
    policy["spec"]["limits"] = limits.into();
    let json = policy.to_string();
    let host = Rc::new(Double::default());
    let before = handed_out();
    Plugin::configure(host.clone(), json.as_bytes()).unwrap();
    [handed_out() - before, host.calls.borrow().len()]
}

#[test]
fn configuring_takes_proportionally_more_for_more_limits() {
    let [few, many] = [10, 1_000].map(configuring);
    for (what, few, many) in [("bytes", few[0], many[0]), ("calls", few[1], many[1])] {
        assert!(many < few * 120, "{what}: {few} for 10, {many} for 1,000");
    }
}

/// Returns the names in a table of the reference.
fn documented(table: &str) -> Vec<String> {
    let reference = include_str!("../../docs/observability.md");
    let (_, rest) = reference.split_once(&format!("<!-- {table} -->")).unwrap();
    let (table, _) = rest
        .split_once(&format!("<!-- end of {table} -->"))
        .unwrap();
    let mut names: Vec<String> = table
        .lines()
        .filter_map(|line| Some(line.strip_prefix("| `")?.split_once('`')?.0.to_owned()))
        .collect();
    names.sort();
    names
}

/// Returns the metrics that were defined, without the values of their tags.
fn defined(host: &Double) -> Vec<String> {
    let metrics = host.metrics.borrow();
    let names = metrics.iter().map(|(name, _)| {
        let parts = name.split('.').map(|part| match part.split_once('=') {
            Some((tag @ ("policy" | "limit" | "model" | "unit"), _)) => format!("{tag}=*"),
            _ => part.to_owned(),
        });
        parts.collect::<Vec<_>>().join(".")
    });
    let mut names: Vec<_> = names.collect();
    names.sort();
    names
}

#[test]
fn reference_lists_every_metric() {
    let host = Rc::new(Double::default());
    let policy = policy(50, "1m", "auth.user");
    let plugin = Plugin::configure(host.clone(), policy.as_bytes()).unwrap();
    let usage = usage_meter::Usage::default();
    let telemetry = &plugin.parts.telemetry;
    telemetry.tokens(Some("m"), &usage, Some(Usd(1)));
    let of_all = defined(&host);
    assert_eq!(of_all, documented("metrics"));
    assert_eq!(
        host.count(Call::SetTickPeriod),
        1,
        "metrics are written from the tick"
    );

    let host = Rc::new(Double::default());
    let storage = r#"{ "type": "limitador", "cluster": "limitador" }"#;
    let json = format!(r#"{{ "policies": [{policy}], "storage": {storage} }}"#);
    let plugin = Plugin::configure(host.clone(), json.as_bytes()).unwrap();
    let telemetry = &plugin.parts.telemetry;
    telemetry.tokens(Some("m"), &usage, Some(Usd(1)));
    let mut of_services = defined(&host);
    of_services.retain(|name| !of_all.contains(name));
    assert_eq!(of_services, documented("metrics of a service"));
    assert_eq!(host.count(Call::SetTickPeriod), 1);
}
