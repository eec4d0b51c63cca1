//! The JSON Schema of the configuration, for editors and for checks before the filter's own. It is generated from the
//! schemas and the bounds of the readers.
//!
//! `UPDATE_SCHEMA=1 cargo test -p filter-config schema` writes it.

mod limits;
mod policies;
mod routes;
mod settings;
mod shapes;

use serde_json::{Value, json};

const WRITTEN: &str = include_str!("../../../docs/configuration.schema.json");

#[test]
fn documented_schema_matches_the_readers() {
    let schema = configuration();
    if std::env::var_os("UPDATE_SCHEMA").is_some() {
        let path = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../docs/configuration.schema.json"
        );
        std::fs::write(path, format!("{schema:#}\n")).unwrap();
        return;
    }
    let written: Value = serde_json::from_str(WRITTEN).unwrap();
    assert_eq!(
        written, schema,
        "write it again: UPDATE_SCHEMA=1 cargo test -p filter-config schema"
    );
}

fn configuration() -> Value {
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Configuration of tollgate",
        "description": "A TokenRateLimitPolicy, or policies with the other settings beside them. Expressions and names are checked further when the filter reads them.",
        "type": "object",
        "if": { "properties": { "kind": { "pattern": "List$" } }, "required": ["kind"] },
        "then": { "$ref": "#/$defs/list" },
        "else": {
            "if": { "anyOf": [
                { "required": ["kind"] },
                { "required": ["apiVersion"] },
                { "required": ["spec"] }
            ] },
            "then": { "$ref": "#/$defs/policy" },
            "else": { "$ref": "#/$defs/longForm" }
        },
        "$defs": {
            "list": policies::resources(),
            "longForm": settings::long_form(),
            "policy": policies::policy(),
            "route": routes::route(),
            "when": policies::when(),
            "limits": limits::limits(),
            "limit": limits::limit(),
            "rate": limits::rate(),
            "dataExtraction": policies::data_extraction()
        }
    })
}
