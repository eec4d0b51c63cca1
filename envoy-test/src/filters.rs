//! HTTP filters and clusters in Envoy's configuration language.

use std::{net::SocketAddr, path::PathBuf};

use serde_json::{Value, json};

use crate::workspace;

/// Where Envoy's `ext_authz` filter leaves what the authorisation service answered.
pub const EXT_AUTHZ: &str = "envoy.filters.http.ext_authz";

const TYPE: &str = "type.googleapis.com";

/// The tollgate filter: its plugin configuration and how Envoy is to run it.
#[derive(Debug, Clone)]
pub struct Tollgate {
    configuration: Value,
    encoding: Encoding,
    module: PathBuf,
    vm_id: String,
    holds_headers: bool,
}

/// The protobuf type in which Envoy is given the plugin configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// `google.protobuf.StringValue` with JSON text, as control planes send it. The plugin gets the text.
    StringValue,
    /// `google.protobuf.Struct`, the readable form in a configuration file. The plugin gets the message's
    /// protobuf encoding, not JSON, and every number is a double.
    Struct,
}

impl Tollgate {
    /// The module of [`workspace::module`] with this plugin configuration.
    #[must_use]
    pub fn new(configuration: Value) -> Self {
        Self {
            configuration,
            encoding: Encoding::StringValue,
            module: workspace::module(),
            vm_id: "tollgate".to_owned(),
            holds_headers: false,
        }
    }

    /// Gives the configuration in another encoding.
    #[must_use]
    pub fn encoding(mut self, encoding: Encoding) -> Self {
        self.encoding = encoding;
        self
    }

    /// Loads another module.
    #[must_use]
    pub fn module(mut self, path: impl Into<PathBuf>) -> Self {
        self.module = path.into();
        self
    }

    /// Sets the `vm_id`, by which Envoy also tells one set of shared data from another.
    #[must_use]
    pub fn vm_id(mut self, vm_id: impl Into<String>) -> Self {
        self.vm_id = vm_id.into();
        self
    }

    /// Sets Envoy's `allow_on_headers_stop_iteration`, the counterpart of the policy's `holdHeaders`.
    #[must_use]
    pub fn holds_headers(mut self, holds_headers: bool) -> Self {
        self.holds_headers = holds_headers;
        self
    }

    /// The filter as an entry of `http_filters`.
    #[must_use]
    pub fn filter(&self) -> Value {
        let configuration = match self.encoding {
            Encoding::Struct => json!({
                "@type": format!("{TYPE}/google.protobuf.Struct"),
                "value": self.configuration,
            }),
            Encoding::StringValue => json!({
                "@type": format!("{TYPE}/google.protobuf.StringValue"),
                "value": self.configuration.to_string(),
            }),
        };
        json!({
            "name": "tollgate",
            "typed_config": {
                "@type": format!("{TYPE}/envoy.extensions.filters.http.wasm.v3.Wasm"),
                "config": {
                    "name": "tollgate",
                    "root_id": "tollgate",
                    "vm_config": {
                        "vm_id": self.vm_id,
                        "runtime": "envoy.wasm.runtime.v8",
                        "code": { "local": { "filename": self.module } },
                    },
                    "configuration": configuration,
                    "failure_policy": "FAIL_RELOAD",
                    "allow_on_headers_stop_iteration": self.holds_headers,
                },
            },
        })
    }
}

/// Asks the authorisation service behind `cluster` over gRPC.
#[must_use]
pub fn ext_authz(cluster: &str) -> Value {
    filter(
        EXT_AUTHZ,
        "ext_authz.v3.ExtAuthz",
        json!({
            "transport_api_version": "V3",
            "grpc_service": { "envoy_grpc": { "cluster_name": cluster }, "timeout": "5s" },
        }),
    )
}

/// Envoy's own rate limit filter, asking the service behind `cluster`. The route says with which descriptors.
#[must_use]
pub fn rate_limit(cluster: &str, domain: &str) -> Value {
    filter(
        "envoy.filters.http.ratelimit",
        "ratelimit.v3.RateLimit",
        json!({
            "domain": domain,
            "failure_mode_deny": true,
            "timeout": "5s",
            "rate_limit_service": {
                "transport_api_version": "V3",
                "grpc_service": { "envoy_grpc": { "cluster_name": cluster } },
            },
        }),
    )
}

/// Sets the dynamic metadata of every request: `namespace` to `value`, an object.
#[must_use]
pub fn set_metadata(namespace: &str, value: &Value) -> Value {
    filter(
        "envoy.filters.http.set_metadata",
        "set_metadata.v3.Config",
        json!({ "metadata": [{ "metadata_namespace": namespace, "value": value, "allow_overwrite": true }] }),
    )
}

/// Copies a request header, where there is one, into the dynamic metadata as a string.
#[must_use]
pub fn header_to_metadata(header: &str, namespace: &str, key: &str) -> Value {
    filter(
        "envoy.filters.http.header_to_metadata",
        "header_to_metadata.v3.Config",
        json!({ "request_rules": [{
            "header": header,
            "on_header_present": { "metadata_namespace": namespace, "key": key, "type": "STRING" },
            "remove": false,
        }] }),
    )
}

/// Sets a filter state object of every request to the text that an access log `format` yields.
#[must_use]
pub fn set_filter_state(key: &str, format: &str) -> Value {
    filter(
        "envoy.filters.http.set_filter_state",
        "set_filter_state.v3.Config",
        json!({ "on_request_headers": [{
            "object_key": key,
            "factory_key": "envoy.string",
            "format_string": { "text_format_source": { "inline_string": format }, "omit_empty_values": true },
        }] }),
    )
}

/// Sends the request upstream; the last filter of every chain.
#[must_use]
pub fn router() -> Value {
    filter("envoy.filters.http.router", "router.v3.Router", json!({}))
}

/// An entry of `http_filters`; `kind` is its message below `envoy.extensions.filters.http`.
fn filter(name: &str, kind: &str, mut configuration: Value) -> Value {
    configuration["@type"] = json!(format!("{TYPE}/envoy.extensions.filters.http.{kind}"));
    json!({ "name": name, "typed_config": configuration })
}

/// A cluster of one endpoint, spoken to in HTTP/2 (as gRPC needs) or HTTP/1.1.
#[must_use]
pub fn cluster(name: &str, address: SocketAddr, http2: bool) -> Value {
    let protocol = if http2 {
        "http2_protocol_options"
    } else {
        "http_protocol_options"
    };
    json!({
        "name": name,
        "type": "STATIC",
        "connect_timeout": "5s",
        "typed_extension_protocol_options": {
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                "@type": format!("{TYPE}/envoy.extensions.upstreams.http.v3.HttpProtocolOptions"),
                "explicit_http_config": { protocol: {} },
            },
        },
        "load_assignment": {
            "cluster_name": name,
            "endpoints": [{ "lb_endpoints": [{ "endpoint": { "address": socket_address(address) } }] }],
        },
    })
}

/// An address as Envoy's `core.v3.Address`.
pub(crate) fn socket_address(address: SocketAddr) -> Value {
    json!({ "socket_address": { "address": address.ip().to_string(), "port_value": address.port() } })
}
