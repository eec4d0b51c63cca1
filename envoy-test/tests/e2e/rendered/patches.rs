//! The patches of an `EnvoyFilter` and an `EnvoyPatchPolicy`, applied as Istio and Envoy Gateway apply them.

use std::path::Path;

use serde_json::{Value, json};

use super::Result;

const MANAGER: &str = "envoy.filters.network.http_connection_manager";
const ROUTER: &str = "envoy.filters.http.router";

/// The parts of a gateway's configuration that are patched.
pub(super) struct Gateway {
    /// The HTTP connection manager.
    manager: Value,
    clusters: Vec<Value>,
}

// === impl Gateway ===

impl Gateway {
    /// Returns a gateway without filters but the router.
    pub(super) fn new() -> Self {
        let router = "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router";
        Self {
            manager: json!({
                "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
                "stat_prefix": "gateway",
                "route_config": {},
                "http_filters": [{ "name": ROUTER, "typed_config": { "@type": router } }],
            }),
            clusters: Vec::new(),
        }
    }

    /// Applies the patches of a document. Those without patches change nothing.
    pub(super) fn apply(&mut self, document: &Value) -> Result<()> {
        let list = |path: &str| {
            document
                .pointer(path)
                .and_then(Value::as_array)
                .into_iter()
                .flatten()
        };
        for patch in list("/spec/configPatches") {
            self.patch_of_istio(patch)?;
        }
        for patch in list("/spec/jsonPatches") {
            self.patch_of_envoy_gateway(patch)?;
        }
        Ok(())
    }

    /// Inserts a filter before the router.
    pub(super) fn insert(&mut self, filter: Value) -> Result<()> {
        let filters = self.chain()?;
        let router = filters.iter().position(|filter| filter["name"] == ROUTER);
        filters.insert(router.ok_or("no router")?, filter);
        Ok(())
    }

    /// Returns the names of the filters.
    pub(super) fn filters(&self) -> Vec<&str> {
        let filters = self.manager["http_filters"]
            .as_array()
            .into_iter()
            .flatten();
        filters
            .filter_map(|filter| filter["name"].as_str())
            .collect()
    }

    /// Returns the names of the clusters.
    pub(super) fn clusters(&self) -> Vec<&str> {
        self.clusters
            .iter()
            .filter_map(|cluster| cluster["name"].as_str())
            .collect()
    }

    /// Returns the configuration of an Envoy. Modules that an agent downloads are this file.
    pub(super) fn bootstrap(&self, module: &Path) -> Value {
        let mut manager = self.manager.clone();
        for filter in manager["http_filters"].as_array_mut().into_iter().flatten() {
            let code = filter.pointer_mut("/typed_config/config/vm_config/code");
            if let Some(code) = code.filter(|code| code.get("remote").is_some()) {
                *code = json!({ "local": { "filename": module } });
            }
        }
        json!({ "static_resources": {
            "listeners": [{
                "name": "gateway",
                "address": { "socket_address": { "address": "127.0.0.1", "port_value": 0 } },
                "filter_chains": [{ "filters": [{ "name": MANAGER, "typed_config": manager }] }],
            }],
            "clusters": self.clusters,
        } })
    }

    fn chain(&mut self) -> Result<&mut Vec<Value>> {
        Ok(self.manager["http_filters"]
            .as_array_mut()
            .ok_or("no filters")?)
    }

    fn patch_of_istio(&mut self, patch: &Value) -> Result<()> {
        let value = patch["patch"]["value"].clone();
        let operation = patch["patch"]["operation"].as_str().ok_or("no operation")?;
        let place = &patch["match"]["listener"]["filterChain"]["filter"];
        assert_eq!(patch["match"]["context"], "GATEWAY");
        match (patch["applyTo"].as_str().ok_or("no applyTo")?, operation) {
            ("NETWORK_FILTER", "MERGE") => {
                assert_eq!(place["name"], MANAGER);
                let settings = value["typed_config"].as_object().ok_or("no settings")?;
                for (name, value) in settings {
                    self.manager[name] = value.clone();
                }
            }
            ("HTTP_FILTER", "INSERT_FIRST") => self.chain()?.insert(0, value),
            ("HTTP_FILTER", "INSERT_BEFORE") => {
                assert_eq!(place["name"], MANAGER);
                assert_eq!(place["subFilter"]["name"], ROUTER);
                self.insert(value)?;
            }
            ("EXTENSION_CONFIG", "ADD") => {
                let mut filters = self.chain()?.iter_mut();
                let filter = filters.find(|filter| filter["name"] == value["name"]);
                let filter = filter.ok_or("no filter of that name")?;
                let types = filter["config_discovery"]["type_urls"].as_array();
                assert_eq!(types, Some(&vec![value["typed_config"]["@type"].clone()]));
                *filter = value;
            }
            ("CLUSTER", "ADD") => self.clusters.push(value),
            other => return Err(format!("unexpected patch {other:?}").into()),
        }
        Ok(())
    }

    fn patch_of_envoy_gateway(&mut self, patch: &Value) -> Result<()> {
        let operation = &patch["operation"];
        let value = operation["value"].clone();
        assert_eq!(operation["op"], "add");
        let kind = patch["type"].as_str().ok_or("no type")?;
        match kind.rsplit('.').next() {
            // The path to the router, before which an item is added.
            Some("Listener") => {
                let router = format!("..http_filters[?(@.name=='{ROUTER}')]");
                assert_eq!(operation["jsonPath"], router.as_str());
                assert_eq!(patch["name"], "gateways/llm/http");
                self.insert(value)
            }
            Some("Cluster") => {
                assert_eq!(operation["path"], "");
                assert_eq!(patch["name"], value["name"]);
                self.clusters.push(value);
                Ok(())
            }
            other => Err(format!("unexpected type {other:?}").into()),
        }
    }
}
