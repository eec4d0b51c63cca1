//! Any bytes are a configuration or have validation errors, and a configuration is the same as JSON, as YAML, as a Struct
//! and in what carries it to Envoy.
#![no_main]

use filter_config::{Configuration, ValidationErrors, parse, parse_carried, parse_yaml};
use libfuzzer_sys::fuzz_target;
use prost::Message;
use prost_types::{ListValue, Struct, Value as ProtobufValue, value::Kind};
use serde_json::{Value, json};
use std::rc::Rc;
use tollgate::{Double, Plugin};

type Parsed = Result<Configuration, ValidationErrors>;

/// Returns what distinguishes configurations: everything, or the errors.
fn printed(parsed: &Parsed) -> Result<String, String> {
    match parsed {
        Ok(configuration) => Ok(format!("{configuration:?}")),
        Err(errors) => Err(errors.to_string()),
    }
}

/// Returns why the filter rejects a configuration, if it does.
fn configured(bytes: &[u8]) -> Result<(), String> {
    let host = Rc::new(Double::default());
    match Plugin::configure(host, bytes) {
        Ok(_) => Ok(()),
        Err(error) => Err(error.to_string()),
    }
}

/// Returns a value as a protobuf message; `None` if it has numbers that are other numbers there.
fn message(value: &Value) -> Option<ProtobufValue> {
    let kind = match value {
        Value::Null => Kind::NullValue(0),
        Value::Bool(truth) => Kind::BoolValue(*truth),
        Value::Number(number) => {
            let double = number.as_f64()?;
            let is_exact = match number.as_u64() {
                Some(whole) => whole <= 1 << 53,
                None => number.is_f64(),
            };
            if !is_exact {
                return None;
            }
            Kind::NumberValue(double)
        }
        Value::String(text) => Kind::StringValue(text.clone()),
        Value::Array(values) => Kind::ListValue(ListValue {
            values: values.iter().map(message).collect::<Option<_>>()?,
        }),
        Value::Object(_) => Kind::StructValue(structure(value)?),
    };
    Some(ProtobufValue { kind: Some(kind) })
}

fn structure(value: &Value) -> Option<Struct> {
    let fields = value.as_object()?.iter();
    let fields = fields.map(|(name, value)| Some((name.clone(), message(value)?)));
    Some(Struct {
        fields: fields.collect::<Option<_>>()?,
    })
}

/// Returns a configuration in the resources that carry it.
fn carriers(configuration: &Value) -> [Value; 3] {
    let filter = |kind: &str, value: Value| {
        json!({
            "kind": "EnvoyFilter",
            "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm",
                "config": {
                    "configuration": { "@type": format!("type.googleapis.com/google.protobuf.{kind}"), "value": value },
                    "allow_on_headers_stop_iteration": true
                }
            }
        })
    };
    [
        json!({ "kind": "WasmPlugin", "spec": { "pluginConfig": configuration } }),
        filter("Struct", configuration.clone()),
        filter("StringValue", json!(configuration.to_string())),
    ]
}

fuzz_target!(|data: &[u8]| {
    let parsed = parse(data);
    if let Err(errors) = &parsed {
        assert!(!errors.to_string().is_empty());
    }
    // What the filter reads is what is checked.
    let from_json = printed(&parse_yaml(data));
    let Ok(value) = serde_json::from_slice::<Value>(data) else {
        return;
    };
    let expected = printed(&parsed);
    assert_eq!(from_json, expected, "as JSON for `check`");
    // From here on each key is there once, and the keys are sorted.
    let text = value.to_string();
    let parsed = parse(text.as_bytes());
    let expected = printed(&parsed);
    let yaml = serde_norway::to_string(&value).expect("JSON is YAML");
    assert_eq!(
        printed(&parse_yaml(yaml.as_bytes())),
        expected,
        "as YAML\n{yaml}"
    );
    let filter = configured(text.as_bytes());
    if let Err(errors) = &parsed {
        assert_eq!(filter, Err(errors.to_string()));
    }
    if let Some(structure) = structure(&value)
        && !structure.fields.is_empty()
    {
        let found = configured(&structure.encode_to_vec());
        assert_eq!(found.is_ok(), filter.is_ok(), "{found:?} {filter:?}");
    }
    if !value.is_object() {
        return;
    }
    for carrier in carriers(&value) {
        let carried = parse_carried(carrier.to_string().as_bytes());
        let holds = value.get("holdHeaders") == Some(&Value::Bool(true));
        let is_plugin = carrier["kind"] == "WasmPlugin";
        if holds && is_plugin {
            assert!(carried.is_err(), "a WasmPlugin cannot hold headers");
        } else {
            assert_eq!(carried.is_ok(), parsed.is_ok(), "{carrier} {carried:?}");
        }
        if let (Ok(mut carried), Ok(parsed)) = (carried, &parsed) {
            // The check of a file has more of them, also on the carrier.
            carried.warnings.clone_from(&parsed.warnings);
            assert_eq!(format!("{carried:?}"), format!("{parsed:?}"));
        }
    }
});
