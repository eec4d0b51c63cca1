//! The schema of an `HTTPRoute`.

use serde_json::{Value, json};

use super::policies;
use super::shapes::{list, name, object, resource_name, text};
use crate::{bounds, route};

pub(super) fn route() -> Value {
    let label = "[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?";
    let hostname = json!({
        "type": "string",
        "maxLength": bounds::NAME_BYTES,
        "pattern": format!(r"^(\*\.)?{label}(\.{label})*$")
    });
    let value = text(bounds::ROUTE_VALUE_BYTES);
    let path = object(
        &route::PATH,
        &[],
        &json!({
            "type": {
                "enum": ["Exact", "PathPrefix", "RegularExpression"],
                "default": "PathPrefix"
            },
            "value": value
        }),
    );
    let named = object(
        &route::NAMED,
        &["name", "value"],
        &json!({
            "type": { "enum": ["Exact", "RegularExpression"], "default": "Exact" },
            "name": name(),
            "value": value
        }),
    );
    let named = list(0, bounds::ROUTE_NAMED, &named);
    let found = object(
        &route::MATCH,
        &[],
        &json!({ "path": path, "method": name(), "headers": named, "queryParams": named }),
    );
    let rule = object(
        &route::RULE,
        &[],
        &json!({ "name": resource_name(), "matches": list(0, bounds::ROUTE_MATCHES, &found) }),
    );
    let spec = object(
        &route::SPEC,
        &[],
        &json!({
            "hostnames": list(0, bounds::ROUTE_HOSTNAMES, &hostname),
            "rules": list(0, bounds::ROUTE_RULES, &rule)
        }),
    );
    object(
        &route::ROUTE,
        &["apiVersion", "kind", "metadata", "spec"],
        &json!({
            "apiVersion": { "enum": route::VERSIONS },
            "kind": { "const": "HTTPRoute" },
            "metadata": policies::metadata(),
            "spec": spec
        }),
    )
}
