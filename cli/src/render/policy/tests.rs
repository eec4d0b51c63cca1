use filter_config::{Json, parse_source};
use serde_json::{Value, json};

use super::{text, yaml};
use crate::render::yaml::{Map, stream};

fn document(value: &Value) -> Json {
    let policy = json!({ "policies": [{
        "apiVersion": "kuadrant.io/v1alpha1", "kind": "TokenRateLimitPolicy", "metadata": { "name": "llm" },
        "spec": {
            "targetRef": { "group": "gateway.networking.k8s.io", "kind": "Gateway", "name": "llm" },
            "limits": { "all": value },
        },
    }] });
    parse_source(policy.to_string().as_bytes())
        .unwrap()
        .document
}

fn samples() -> Vec<Json> {
    vec![
        document(&json!({ "rates": [{ "limit": 10, "window": "1m" }], "alertAt": 0.8 })),
        document(
            &json!({ "rates": [{ "limit": 9_007_199_254_740_991_u64, "window": "1h" }], "alertAt": 0.1 }),
        ),
        document(&json!({
            "rates": [{ "limit": 10, "window": "1m" }, { "limit": 100, "window": "24h", "algorithm": "calendar" }],
            "when": [
                { "predicate": "auth.identity.groups.split(\",\").exists(g, g == \"free\")" },
                { "predicate": "llm.model != 'a'\n  && llm.stream == true\n" },
                { "predicate": "request.headers[\"x-é\"] == \"\u{7f}\\u2028\u{2028}\"" },
            ],
            "counters": [{ "expression": "source.remote_address" }],
            "shadow": true,
        })),
    ]
}

#[test]
fn yaml_is_the_same_document() {
    for sample in samples() {
        let written = stream(&[(String::new(), Map::default().field("config", yaml(&sample)))]);
        let read: Value = serde_norway::from_str(&written).unwrap();
        let expected: Value = serde_json::from_str(&text(&sample)).unwrap();
        assert_eq!(read["config"], expected, "{written}");
    }
}

#[test]
fn text_is_the_same_document() {
    for sample in samples() {
        let read = parse_source(text(&sample).as_bytes()).unwrap().document;
        assert_eq!(read, sample);
    }
}

#[test]
fn short_objects_are_on_one_line() {
    let text = text(&samples()[0]);
    let limit =
        "\"all\": { \"alertAt\": 0.8, \"rates\": [ { \"limit\": 10, \"window\": \"1m\" } ] }";
    assert!(text.contains(limit), "{text}");
    assert!(text.starts_with("{\n  \"policies\": [\n    {\n"), "{text}");
}
