//! Resources that carry a plugin configuration to Envoy: a `WasmPlugin` of Istio, an `EnvoyFilter`, or Envoy's own
//! configuration.

#[cfg(test)]
mod tests;

use crate::bounds;
use crate::envoy_yaml;
use crate::error::{ErrorKind, Invalid, ValidationErrors};
use crate::json::{self, Json};
use crate::path::Path;

/// The suffix of the type of a Wasm filter, and of the two types of its configuration.
const WASM: &str = "/envoy.extensions.filters.http.wasm.v3.Wasm";
const STRING_VALUE: &str = "/google.protobuf.StringValue";
const STRUCT: &str = "/google.protobuf.Struct";

/// Fields of which Envoy's configuration has at least one.
const ENVOY_FIELDS: [&str; 5] = [
    "static_resources",
    "dynamic_resources",
    "resources",
    "filter_chains",
    "typed_config",
];

const NO_FILTER: &str = "found no Wasm filter with a `configuration` that is a StringValue or a Struct; \
     expected one, or the plugin configuration by itself";
const SEVERAL_FILTERS: &str = "found several Wasm filters with a configuration, expected exactly one with \"tollgate\" \
     in its name; pass the plugin configuration of one by itself";

const SEVERAL_CARRIERS: &str = "found several documents that carry a plugin configuration, expected one; pass each by \
     itself";

const PLUGIN_CANNOT_HOLD_HEADERS: &str = "needs Envoy's `allow_on_headers_stop_iteration`, which a WasmPlugin cannot set: requests with a body would hang; \
     use an EnvoyFilter that sets it, or remove `holdHeaders`";
const FILTER_CANNOT_HOLD_HEADERS: &str = "needs `allow_on_headers_stop_iteration: true` beside `configuration` in the Wasm filter's `config`: requests with a \
     body would hang without it";

/// A document, without its carrier if it has one.
pub(crate) enum Unwrapped {
    /// Documents that are not known to carry a configuration.
    Bare(Vec<Json>),
    /// A configuration that was in a carrier.
    Carried(Carried),
}

/// A plugin configuration in a carrier.
pub(crate) struct Carried {
    /// The configuration.
    pub(crate) configuration: Json,
    /// The path to it in the carrier.
    pub(crate) path: String,
    /// Why Envoy does not let the filter hold headers, if it does not.
    cannot_hold_headers: Option<&'static str>,
}

/// A Wasm filter with a configuration.
struct Filter<'j> {
    /// The path to `value`.
    path: String,
    /// The configuration.
    value: &'j Json,
    /// Whether one of its names contains "tollgate".
    is_tollgate: bool,
    /// Whether Envoy lets it hold headers.
    may_hold_headers: bool,
}

/// The kinds of resources that carry a plugin configuration.
enum Carrier {
    WasmPlugin,
    EnvoyFilter,
    /// Envoy's own configuration, which alone Envoy itself reads as a file.
    Envoy,
}

// === impl Carrier ===

impl Carrier {
    fn of(document: &Json) -> Option<Self> {
        if let Some(Json::String(kind)) = document.field("kind") {
            return match kind.as_str() {
                "WasmPlugin" => Some(Self::WasmPlugin),
                "EnvoyFilter" => Some(Self::EnvoyFilter),
                _ => None,
            };
        }
        let mut fields = ENVOY_FIELDS.iter();
        fields
            .any(|name| document.field(name).is_some())
            .then_some(Self::Envoy)
    }
}

// === impl Carried ===

impl Carried {
    /// Checks that the carrier permits what the configuration needs. Errors have their path in the configuration.
    pub(crate) fn check(&self, errors: &mut ValidationErrors) {
        let field = self.configuration.field("holdHeaders");
        if let (Some(Json::Bool(true)), Some(reason)) = (field, self.cannot_hold_headers) {
            let path = Path::Root.field("holdHeaders");
            errors.push(&path, ErrorKind::Malformed(reason));
        }
    }
}

/// Reads documents, and takes the plugin configuration out of its carrier, if one of them is one.
pub(crate) fn unwrap(yaml: &[u8], errors: &mut ValidationErrors) -> Result<Unwrapped, Invalid> {
    if let Some(document) = yaml_of_envoy(yaml) {
        return wasm_filter(&document, errors).map(Unwrapped::Carried);
    }
    let mut documents = json::parse_yaml(yaml, errors)?;
    if documents.len() > 1 {
        return unwrap_one_of(documents, errors);
    }
    let Some(document) = documents.pop() else {
        return Ok(Unwrapped::Bare(documents));
    };
    match Carrier::of(&document) {
        Some(Carrier::WasmPlugin) => wasm_plugin(document, errors).map(Unwrapped::Carried),
        Some(Carrier::EnvoyFilter | Carrier::Envoy) => {
            wasm_filter(&document, errors).map(Unwrapped::Carried)
        }
        None => Ok(Unwrapped::Bare(vec![document])),
    }
}

/// Returns the document that Envoy reads of a YAML file, if that is its own configuration. What is wrong with the file is
/// left to the reader of all others, and so is a file whose indentation only more tolerant parsers accept.
fn yaml_of_envoy(yaml: &[u8]) -> Option<Json> {
    if yaml.len() > bounds::CONFIGURATION_BYTES || json::is_json(yaml) {
        return None;
    }
    let document = envoy_yaml::parse(std::str::from_utf8(yaml).ok()?).ok()?;
    matches!(Carrier::of(&document), Some(Carrier::Envoy)).then_some(document)
}

/// Takes the plugin configuration out of the one of several documents that carries one, if there is one.
fn unwrap_one_of(
    documents: Vec<Json>,
    errors: &mut ValidationErrors,
) -> Result<Unwrapped, Invalid> {
    let mut carried = Vec::new();
    for (position, document) in documents.iter().enumerate() {
        // What is wrong with a document counts only if no other has a configuration.
        let mut of_document = ValidationErrors::default();
        let found = match Carrier::of(document) {
            Some(Carrier::WasmPlugin) => wasm_plugin(document.clone(), &mut of_document),
            Some(_) => wasm_filter(document, &mut of_document),
            None => continue,
        };
        let root = Path::Root.field("documents");
        let path = root.item(position).to_string();
        carried.push(match found {
            Ok(carried) => Ok(Carried {
                path: format!("{path}.{}", carried.path),
                ..carried
            }),
            Err(Invalid) => Err(of_document.below(&path)),
        });
    }
    let mut valid: Vec<Carried> = Vec::new();
    let mut invalid = None;
    for found in carried {
        match found {
            Ok(carried) => valid.push(carried),
            Err(errors) => invalid = Some(errors),
        }
    }
    match (valid.len(), valid.pop(), invalid) {
        (1, Some(carried), _) => Ok(Unwrapped::Carried(carried)),
        (0, _, Some(invalid)) => {
            *errors = invalid;
            Err(Invalid)
        }
        (0, _, None) => Ok(Unwrapped::Bare(documents)),
        _ => Err(errors.push(&Path::Root, ErrorKind::Malformed(SEVERAL_CARRIERS))),
    }
}

fn wasm_plugin(document: Json, errors: &mut ValidationErrors) -> Result<Carried, Invalid> {
    let root = Path::Root;
    let spec = root.field("spec");
    let path = spec.field("pluginConfig");
    let configuration = document
        .into_field("spec")
        .and_then(|spec| spec.into_field("pluginConfig"))
        .ok_or_else(|| errors.push(&path, ErrorKind::MissingField))?;
    Ok(Carried {
        configuration,
        path: path.to_string(),
        cannot_hold_headers: Some(PLUGIN_CANNOT_HOLD_HEADERS),
    })
}

fn wasm_filter(document: &Json, errors: &mut ValidationErrors) -> Result<Carried, Invalid> {
    let mut filters = Vec::new();
    search(document, &Path::Root, &mut filters);
    let is_one = filters.len() <= 1;
    filters.retain(|filter| is_one || filter.is_tollgate);
    let [filter] = filters.as_slice() else {
        let message = if is_one { NO_FILTER } else { SEVERAL_FILTERS };
        return Err(errors.push(&Path::Root, ErrorKind::Malformed(message)));
    };
    let path = filter.path.clone();
    // Envoy gives the filter a text as it is, and a Struct as JSON.
    let configuration = match filter.value {
        Json::String(text) => {
            let mut of_text = ValidationErrors::default();
            let configuration = json::parse(text.as_bytes(), &mut of_text);
            *errors = of_text.below(&path);
            configuration?
        }
        value => value.clone(),
    };
    Ok(Carried {
        configuration,
        path,
        cannot_hold_headers: (!filter.may_hold_headers).then_some(FILTER_CANNOT_HOLD_HEADERS),
    })
}

/// Finds the Wasm filters that have a configuration. It recurses as deep as documents nest, which the parser bounds.
fn search<'j>(json: &'j Json, path: &Path<'_>, found: &mut Vec<Filter<'j>>) {
    match json {
        Json::Object(entries) => {
            if has_type(json, WASM) {
                found.extend(filter(json, path));
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

fn filter<'j>(json: &'j Json, path: &Path<'_>) -> Option<Filter<'j>> {
    // A TypedStruct, as older control planes write it, has the message in its `value`.
    let inner = path.field("value");
    let (json, path) = match json.field("value") {
        Some(value) => (value, &inner),
        None => (json, path),
    };
    let config = json.field("config")?;
    let configuration = config.field("configuration")?;
    let value = configuration.field("value")?;
    if !has_type(configuration, STRING_VALUE) && !has_type(configuration, STRUCT) {
        return None;
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
    let path = path.field("config");
    let path = path.field("configuration");
    Some(Filter {
        path: path.field("value").to_string(),
        value,
        is_tollgate,
        may_hold_headers,
    })
}

/// Returns whether a message has a type with this suffix.
fn has_type(json: &Json, suffix: &str) -> bool {
    ["@type", "type_url"]
        .iter()
        .any(|key| matches!(json.field(key), Some(Json::String(found)) if found.ends_with(suffix)))
}
