//! What a plugin configuration is carried in: a `WasmPlugin` of Istio, an `EnvoyFilter`, or Envoy's own configuration.
//!
//! Whoever checks a configuration mostly has it in one of these. It is found where it is plain; where it is not, what
//! to give is said.

#[cfg(test)]
mod tests;

use crate::fault::{FaultKind, Faults};
use crate::json::{self, Json};
use crate::path::Path;

/// The last part of the types by which Envoy knows a Wasm filter, and the text and the tree that it may be given.
const WASM: &str = "/envoy.extensions.filters.http.wasm.v3.Wasm";
const STRING_VALUE: &str = "/google.protobuf.StringValue";
const STRUCT: &str = "/google.protobuf.Struct";

const NONE: &str = "an Envoy configuration without a Wasm filter that has a `configuration`, a StringValue or a Struct; \
     expected one, or the plugin configuration by itself";
const SEVERAL: &str = "several Wasm filters have a configuration, and not just one of them has tollgate in its name; \
     expected the plugin configuration of one by itself";

const PLUGIN_HOLDS_NOTHING: &str = "needs Envoy's `allow_on_headers_stop_iteration`, which a WasmPlugin cannot set, and without it requests with a \
     body hang; expected an EnvoyFilter that sets it, or no `holdHeaders`";
const HOLDS_NOTHING: &str = "needs `allow_on_headers_stop_iteration: true` beside `configuration` in the Wasm filter's `config`, and without it \
     requests with a body hang";

/// A plugin configuration in a document, and the path to it.
pub(crate) struct Carried {
    /// The configuration.
    pub(crate) document: Json,
    /// The path to it, as faults show it.
    pub(crate) path: String,
    /// Why Envoy lets the filter hold no headers, unless it does.
    holds_nothing: Option<&'static str>,
}

/// A Wasm filter with a configuration.
struct Filter<'j> {
    /// The path to the configuration's value.
    path: String,
    value: &'j Json,
    is_tollgate: bool,
    /// Whether Envoy lets it hold headers.
    may_hold_headers: bool,
}

// === impl Carried ===

impl Carried {
    /// Adds a fault, with the path in the configuration, if what carries it keeps it from what it wants.
    pub(crate) fn check(&self, faults: &mut Faults) {
        let holds = matches!(self.document.field("holdHeaders"), Some(Json::Bool(true)));
        if let (true, Some(why)) = (holds, self.holds_nothing) {
            let path = Path::Root.field("holdHeaders");
            faults.push(&path, FaultKind::Malformed(why));
        }
    }
}

/// Takes the plugin configuration out of what carries it; gives a document back that is not known to carry one. On
/// failure it adds a fault and yields nothing.
pub(crate) fn unwrap(document: Json, faults: &mut Faults) -> Option<Result<Carried, Json>> {
    let root = Path::Root;
    let kind = match document.field("kind") {
        Some(Json::String(kind)) => kind.as_str(),
        _ => "",
    };
    if kind == "WasmPlugin" {
        let spec = root.field("spec");
        let path = spec.field("pluginConfig");
        let Some(found) = document
            .into_field("spec")
            .and_then(|spec| spec.into_field("pluginConfig"))
        else {
            faults.push(&path, FaultKind::Missing);
            return None;
        };
        let path = path.to_string();
        return Some(Ok(Carried {
            document: found,
            path,
            holds_nothing: Some(PLUGIN_HOLDS_NOTHING),
        }));
    }
    let is_envoys = [
        "static_resources",
        "dynamic_resources",
        "resources",
        "filter_chains",
        "typed_config",
    ]
    .iter()
    .any(|name| document.field(name).is_some());
    if kind != "EnvoyFilter" && !is_envoys {
        return Some(Err(document));
    }
    let mut filters = Vec::new();
    search(&document, &root, &mut filters);
    let is_one = filters.len() <= 1;
    filters.retain(|filter| is_one || filter.is_tollgate);
    let [filter] = filters.as_slice() else {
        let fault = if is_one { NONE } else { SEVERAL };
        faults.push(&root, FaultKind::Malformed(fault));
        return None;
    };
    let path = filter.path.clone();
    let holds_nothing = (!filter.may_hold_headers).then_some(HOLDS_NOTHING);
    // A text is the JSON that the filter gets.
    let document = match filter.value {
        Json::String(text) => {
            let mut of_text = Faults::default();
            let document = json::parse(text.as_bytes(), &mut of_text);
            *faults = of_text.below(&path);
            document?
        }
        value => value.clone(),
    };
    Some(Ok(Carried {
        document,
        path,
        holds_nothing,
    }))
}

/// Finds the Wasm filters that have a configuration. It recurses as deep as documents nest, which the parser bounds.
fn search<'j>(json: &'j Json, path: &Path<'_>, found: &mut Vec<Filter<'j>>) {
    match json {
        Json::Object(entries) => {
            if is_of(json, WASM) {
                filter(json, path, found);
                return;
            }
            for (name, value) in entries {
                search(value, &path.field(name), found);
            }
        }
        Json::Array(items) => {
            for (position, item) in items.iter().enumerate() {
                search(item, &path.item(position), found);
            }
        }
        _ => {}
    }
}

fn filter<'j>(json: &'j Json, path: &Path<'_>, found: &mut Vec<Filter<'j>>) {
    // A TypedStruct, as older control planes write it, has the message in its `value`.
    let inner = path.field("value");
    let (json, path) = match json.field("value") {
        Some(value) => (value, &inner),
        None => (json, path),
    };
    let Some(config) = json.field("config") else {
        return;
    };
    let Some(configuration) = config.field("configuration") else {
        return;
    };
    let Some(value) = configuration.field("value") else {
        return;
    };
    if !is_of(configuration, STRING_VALUE) && !is_of(configuration, STRUCT) {
        return;
    }
    let vm = config.field("vm_config").and_then(|vm| vm.field("vm_id"));
    let names = [config.field("name"), config.field("root_id"), vm];
    let is_tollgate = names
        .into_iter()
        .any(|name| matches!(name, Some(Json::String(name)) if name.contains("tollgate")));
    let may_hold_headers = matches!(
        config.field("allow_on_headers_stop_iteration"),
        Some(Json::Bool(true))
    );
    let config = path.field("config");
    let configuration = config.field("configuration");
    found.push(Filter {
        path: configuration.field("value").to_string(),
        value,
        is_tollgate,
        may_hold_headers,
    });
}

/// Whether a message says that it is of this type.
fn is_of(json: &Json, name: &str) -> bool {
    ["@type", "type_url"]
        .iter()
        .any(|key| matches!(json.field(key), Some(Json::String(found)) if found.ends_with(name)))
}
