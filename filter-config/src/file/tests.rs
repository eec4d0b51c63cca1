//! Tests of files with several configurations.

use serde_json::json;

use crate::{fixtures, parse_file};

fn plugin(name: &str, window: &str) -> String {
    let limits = json!({ "all": { "rates": [{ "limit": 1000, "window": window }] } });
    let policy = fixtures::policy("llm", &json!({ "limits": limits }));
    let plugin = json!({ "kind": "WasmPlugin", "metadata": { "name": name }, "spec": { "pluginConfig": policy } });
    plugin.to_string()
}

#[test]
fn each_configuration_of_a_file_is_checked() {
    let yaml = format!("{}\n---\n{}", plugin("a", "1h"), plugin("b", "1m"));
    let found = parse_file(yaml.as_bytes()).unwrap();
    let paths: Vec<Option<&str>> = found.iter().map(|found| found.path.as_deref()).collect();
    let path = |position| format!("documents[{position}].spec.pluginConfig");
    assert_eq!(paths, [Some(&*path(0)), Some(&*path(1))]);

    let yaml = format!("{}\n---\n{}", plugin("a", "0s"), plugin("b", "-1s"));
    let errors = parse_file(yaml.as_bytes()).unwrap_err();
    let at: Vec<&str> = errors.iter().map(crate::ValidationError::path).collect();
    let window = |position| format!("{}.spec.limits.all.rates[0].window", path(position));
    assert_eq!(at, [window(0), window(1)]);
}

#[test]
fn plugins_of_other_modules_are_left_out() {
    let other =
        json!({ "kind": "WasmPlugin", "spec": { "pluginConfig": { "basic_auth_rules": [] } } });
    let lua = json!({ "kind": "TrafficExtension", "spec": { "lua": { "inlineCode": "" } } });
    let yaml = format!("{other}\n---\n{lua}\n---\n{}", plugin("limits", "1h"));
    let found = parse_file(yaml.as_bytes()).unwrap();
    assert_eq!(found.len(), 1);
    assert_eq!(
        found[0].path.as_deref(),
        Some("documents[2].spec.pluginConfig")
    );
}
