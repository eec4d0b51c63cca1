//! Resources that carry plugin configurations to Envoy: those of Istio and Envoy Gateway, and Envoy's own configuration.

#[cfg(test)]
mod tests;

use crate::bounds;
use crate::envoy_yaml;
use crate::error::{ErrorKind, Invalid, ValidationErrors};
use crate::json::{self, Json};
use crate::path::Path;
use crate::resources;
use std::borrow::Cow;

/// The suffix of the type of a Wasm filter, and of the two types of its configuration.
const WASM: &str = "/envoy.extensions.filters.http.wasm.v3.Wasm";
const STRING_VALUE: &str = "/google.protobuf.StringValue";
const STRUCT: &str = "/google.protobuf.Struct";

/// Fields of which Envoy's configuration, or a part of it, has at least one.
const ENVOY_FIELDS: [&str; 8] = [
    "static_resources",
    "dynamic_resources",
    "resources",
    "configs",
    "filter_chains",
    "http_filters",
    "typed_config",
    "@type",
];

const NO_FILTER: &str = "found no Wasm filter with a `configuration` that is a StringValue or a Struct; \
     expected one, or the plugin configuration by itself";
const SEVERAL_FILTERS: &str = "found several Wasm filters with a configuration, none with \"tollgate\" in its name or with \
     \"policies\"; pass the plugin configuration of one by itself";

const PLUGIN_CANNOT_HOLD_HEADERS: &str = "needs Envoy's `allow_on_headers_stop_iteration`, which a WasmPlugin cannot set: requests with a body would hang; \
     use an EnvoyFilter that sets it, or remove `holdHeaders`";
const EXTENSION_CANNOT_HOLD_HEADERS: &str = "needs Envoy's `allow_on_headers_stop_iteration`, which a TrafficExtension cannot set: requests with a body would \
     hang; use an EnvoyFilter that sets it, or remove `holdHeaders`";
const POLICY_CANNOT_HOLD_HEADERS: &str = "needs Envoy's `allow_on_headers_stop_iteration`, which an EnvoyExtensionPolicy cannot set: requests with a body would \
     hang; use an EnvoyPatchPolicy that sets it, or remove `holdHeaders`";
const FILTER_CANNOT_HOLD_HEADERS: &str = "needs `allow_on_headers_stop_iteration: true` beside `configuration` in the Wasm filter's `config`: requests with a \
     body would hang without it";

/// A plugin configuration in a carrier.
pub(crate) struct Carried<'j> {
    /// The configuration: what it is, or the JSON text of it.
    value: &'j Json,
    /// The path to it in the file.
    pub(crate) path: String,
    /// The kind of carrier.
    pub(crate) carrier: Carrier,
    /// The settings of the plugin, which has `value` in one of its fields.
    pub(crate) plugin: &'j Json,
    /// The path to `plugin` in the file.
    pub(crate) plugin_path: String,
    /// The filter chain that it is in, if that is known.
    pub(crate) chain: Option<Chain<'j>>,
    /// The phase of Istio's that it is in, if that is set.
    pub(crate) phase: Option<&'j str>,
    /// The patch of an `EnvoyFilter` that it is in.
    pub(crate) patch: Option<&'j Json>,
    /// Whether one of its names contains "tollgate", or it has policies.
    is_tollgate: bool,
}

/// The HTTP filters among which a plugin is.
#[derive(Clone, Copy)]
pub(crate) struct Chain<'j> {
    /// The HTTP connection manager.
    pub(crate) manager: &'j Json,
    /// Its filters.
    pub(crate) filters: &'j [Json],
    /// The position of the plugin.
    pub(crate) position: usize,
}

/// The kinds of resources that carry a plugin configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Carrier {
    /// Of Istio.
    WasmPlugin,
    /// The newer form of a `WasmPlugin`.
    TrafficExtension,
    /// Of Istio or, as an `EnvoyPatchPolicy`, of Envoy Gateway.
    EnvoyFilter,
    /// Of Envoy Gateway.
    EnvoyExtensionPolicy,
    /// Envoy's own configuration, which alone Envoy itself reads as a file.
    Envoy,
}

/// The part of a carrier that is searched.
#[derive(Clone, Copy)]
struct Place<'j> {
    carrier: Carrier,
    chain: Option<Chain<'j>>,
    patch: Option<&'j Json>,
}

/// What is found in the documents of a file.
#[derive(Default)]
struct Search<'j> {
    found: Vec<Carried<'j>>,
    /// Whether there is a carrier.
    has_carriers: bool,
    /// The errors of carriers without a configuration, which count only if no other has one.
    errors: ValidationErrors,
}

// === impl Carrier ===

impl Carrier {
    fn of(document: &Json) -> Option<Self> {
        if let Some(kind) = text(document, "kind") {
            return match kind {
                "WasmPlugin" => Some(Self::WasmPlugin),
                "TrafficExtension" => Some(Self::TrafficExtension),
                "EnvoyFilter" | "EnvoyPatchPolicy" => Some(Self::EnvoyFilter),
                "EnvoyExtensionPolicy" => Some(Self::EnvoyExtensionPolicy),
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

impl Carried<'_> {
    /// Returns the configuration. Errors have their path in it.
    pub(crate) fn configuration(
        &self,
        errors: &mut ValidationErrors,
    ) -> Result<Cow<'_, Json>, Invalid> {
        match self.value {
            Json::String(text) => json::parse(text.as_bytes(), errors).map(Cow::Owned),
            value => Ok(Cow::Borrowed(value)),
        }
    }

    /// Returns whether the configuration is a text within the carrier.
    pub(crate) const fn is_text(&self) -> bool {
        matches!(self.value, Json::String(_))
    }

    /// Checks that the carrier permits what the configuration needs. Errors have their path in the configuration.
    pub(crate) fn check(&self, configuration: &Json, errors: &mut ValidationErrors) {
        let reason = match self.carrier {
            Carrier::WasmPlugin => PLUGIN_CANNOT_HOLD_HEADERS,
            Carrier::TrafficExtension => EXTENSION_CANNOT_HOLD_HEADERS,
            Carrier::EnvoyExtensionPolicy => POLICY_CANNOT_HOLD_HEADERS,
            Carrier::EnvoyFilter | Carrier::Envoy => {
                let setting = self.plugin.field("allow_on_headers_stop_iteration");
                if matches!(setting, Some(Json::Bool(true))) {
                    return;
                }
                FILTER_CANNOT_HOLD_HEADERS
            }
        };
        if let Some(Json::Bool(true)) = configuration.field("holdHeaders") {
            let path = Path::Root.field("holdHeaders");
            errors.push(&path, ErrorKind::Malformed(reason));
        }
    }
}

/// Parses the documents of a file. One of Envoy's own configuration has the types that Envoy gives it.
pub(crate) fn documents(yaml: &[u8], errors: &mut ValidationErrors) -> Result<Vec<Json>, Invalid> {
    match yaml_of_envoy(yaml) {
        Some(document) => Ok(vec![document]),
        None => json::parse_yaml(yaml, errors),
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

/// Finds the plugin configurations that are in carriers; none if there are no carriers.
///
/// Of several Wasm plugins, those of other modules are left out.
pub(crate) fn find<'j>(
    documents: &'j [Json],
    errors: &mut ValidationErrors,
) -> Result<Vec<Carried<'j>>, Invalid> {
    let mut search = Search::default();
    if let [document] = documents {
        search.resource(document, &Path::Root);
    } else {
        let root = Path::Root.field("documents");
        for (position, document) in documents.iter().enumerate() {
            search.resource(document, &root.item(position));
        }
    }
    let mut found = search.found;
    if found.len() > 1 {
        found.retain(|carried| carried.is_tollgate);
        if found.is_empty() {
            return Err(errors.push(&Path::Root, ErrorKind::Malformed(SEVERAL_FILTERS)));
        }
    }
    if !found.is_empty() || !search.has_carriers {
        return Ok(found);
    }
    if search.errors.is_empty() {
        return Err(errors.push(&Path::Root, ErrorKind::Malformed(NO_FILTER)));
    }
    errors.append(search.errors);
    Err(Invalid)
}

// === impl Search ===

impl<'j> Search<'j> {
    /// Searches a resource, or those of a list. It recurses as deep as documents nest, which the parser bounds.
    fn resource(&mut self, json: &'j Json, path: &Path<'_>) {
        if resources::is_list(json) {
            let path = path.field("items");
            for (position, item) in items(json, "items").iter().enumerate() {
                self.resource(item, &path.item(position));
            }
            return;
        }
        let Some(carrier) = Carrier::of(json) else {
            return;
        };
        self.has_carriers = true;
        let spec = json.field("spec").unwrap_or(&Json::Null);
        let path_of_spec = path.field("spec");
        match carrier {
            Carrier::WasmPlugin => self.plugin(json, spec, "pluginConfig", carrier, &path_of_spec),
            // One with a Lua script is none.
            Carrier::TrafficExtension if spec.field("lua").is_some() => {}
            Carrier::TrafficExtension => {
                let wasm = spec.field("wasm").unwrap_or(&Json::Null);
                let path = path_of_spec.field("wasm");
                self.plugin(json, wasm, "pluginConfig", carrier, &path);
            }
            Carrier::EnvoyExtensionPolicy => {
                let path = path_of_spec.field("wasm");
                for (position, wasm) in items(spec, "wasm").iter().enumerate() {
                    self.plugin(json, wasm, "config", carrier, &path.item(position));
                }
            }
            Carrier::EnvoyFilter | Carrier::Envoy => {
                let place = Place {
                    carrier,
                    chain: None,
                    patch: None,
                };
                self.envoy(json, place, path);
            }
        }
    }

    /// Adds a plugin of a Kubernetes resource, with the name of the field that has its configuration.
    fn plugin(
        &mut self,
        resource: &'j Json,
        plugin: &'j Json,
        field: &str,
        carrier: Carrier,
        path: &Path<'_>,
    ) {
        let Some(value) = plugin.field(field) else {
            self.errors
                .push(&path.field(field), ErrorKind::MissingField);
            return;
        };
        let metadata = resource.field("metadata").unwrap_or(&Json::Null);
        let image = plugin.field("code").and_then(|code| code.field("image"));
        let names = [
            text(plugin, "name").or_else(|| text(metadata, "name")),
            text(plugin, "pluginName"),
            text(plugin, "rootID"),
            text(plugin, "url"),
            image.and_then(|image| text(image, "url")),
        ];
        self.found.push(Carried {
            value,
            path: path.field(field).to_string(),
            carrier,
            plugin,
            plugin_path: path.to_string(),
            phase: resource.field("spec").and_then(|spec| text(spec, "phase")),
            chain: None,
            patch: None,
            is_tollgate: is_tollgate(&names, value),
        });
    }

    /// Searches Envoy's configuration for Wasm filters. It recurses as deep as documents nest, which the parser bounds.
    fn envoy(&mut self, json: &'j Json, place: Place<'j>, path: &Path<'_>) {
        match json {
            Json::Object(_) if has_type(json, WASM) => self.filter(json, place, path),
            Json::Object(entries) => {
                for (name, value) in entries {
                    let path = path.field(name);
                    match (name.as_str(), value) {
                        ("http_filters", Json::Array(filters)) => {
                            for (position, filter) in filters.iter().enumerate() {
                                let chain = Some(Chain {
                                    manager: json,
                                    filters,
                                    position,
                                });
                                self.envoy(filter, Place { chain, ..place }, &path.item(position));
                            }
                        }
                        ("patch", _) => {
                            let place = Place {
                                patch: Some(json),
                                ..place
                            };
                            self.envoy(value, place, &path);
                        }
                        _ => self.envoy(value, place, &path),
                    }
                }
            }
            Json::Array(items) => {
                for (position, item) in items.iter().enumerate() {
                    self.envoy(item, place, &path.item(position));
                }
            }
            _ => {}
        }
    }

    fn filter(&mut self, json: &'j Json, place: Place<'j>, path: &Path<'_>) {
        // A TypedStruct, as older control planes write it, has the message in its `value`.
        let inner = path.field("value");
        let (json, path) = match json.field("value") {
            Some(value) => (value, &inner),
            None => (json, path),
        };
        let path = path.field("config");
        let Some(plugin) = json.field("config") else {
            return;
        };
        let Some(configuration) = plugin.field("configuration") else {
            return;
        };
        let Some(value) = configuration.field("value") else {
            return;
        };
        if !has_type(configuration, STRING_VALUE) && !has_type(configuration, STRUCT) {
            return;
        }
        let vm = plugin.field("vm_config").unwrap_or(&Json::Null);
        let names = [
            text(plugin, "name"),
            text(plugin, "root_id"),
            text(vm, "vm_id"),
        ];
        self.found.push(Carried {
            value,
            path: path.field("configuration").field("value").to_string(),
            carrier: place.carrier,
            plugin,
            plugin_path: path.to_string(),
            phase: None,
            chain: place.chain,
            patch: place.patch,
            is_tollgate: is_tollgate(&names, value),
        });
    }
}

/// Returns whether a plugin is tollgate, by its names or by its configuration.
fn is_tollgate(names: &[Option<&str>], configuration: &Json) -> bool {
    let mut names = names.iter().flatten();
    names.any(|name| name.contains("tollgate"))
        || match configuration {
            Json::String(text) => text.contains("TokenRateLimitPolicy"),
            value => {
                value.field("policies").is_some()
                    || text(value, "kind") == Some("TokenRateLimitPolicy")
            }
        }
}

/// Returns whether a message has a type with this suffix.
pub(crate) fn has_type(json: &Json, suffix: &str) -> bool {
    ["@type", "type_url"]
        .iter()
        .any(|key| text(json, key).is_some_and(|found| found.ends_with(suffix)))
}

/// Returns the text in a field.
pub(crate) fn text<'j>(json: &'j Json, field: &str) -> Option<&'j str> {
    match json.field(field) {
        Some(Json::String(text)) => Some(text),
        _ => None,
    }
}

/// Returns the items of the list in a field; none if there is no list.
pub(crate) fn items<'j>(json: &'j Json, field: &str) -> &'j [Json] {
    match json.field(field) {
        Some(Json::Array(items)) => items,
        _ => &[],
    }
}
