//! Envoy's configuration of HTTP filters and clusters.

use std::{net::SocketAddr, path::PathBuf};

use serde_json::{Value, json};

use crate::workspace;

/// The name of Envoy's `ext_authz` filter, which is also the namespace of its dynamic metadata.
pub const EXT_AUTHZ: &str = "envoy.filters.http.ext_authz";

/// How long Envoy and tollgate wait for a service of a test: longer than any answer takes on a busy machine. Tests of
/// timeouts set their own.
pub const TIMEOUT: &str = "60s";

const TYPE: &str = "type.googleapis.com";

/// The tollgate filter: its plugin configuration, its module and its VM.
#[derive(Debug, Clone)]
pub struct Tollgate {
    configuration: Value,
    encoding: Encoding,
    module: PathBuf,
    vm_id: String,
    holds_headers: bool,
}

/// The protobuf type of the plugin configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// `google.protobuf.StringValue` with JSON text, as control planes send it. The plugin receives the text.
    StringValue,
    /// `google.protobuf.Struct`, the readable form in a configuration file. The plugin receives the protobuf
    /// encoding of the message, not JSON, and every number is a double.
    Struct,
}

impl Tollgate {
    /// Returns the filter with the module of [`workspace::module`] and this plugin configuration.
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

    /// Sets the encoding of the plugin configuration.
    #[must_use]
    pub fn encoding(mut self, encoding: Encoding) -> Self {
        self.encoding = encoding;
        self
    }

    /// Sets the module.
    #[must_use]
    pub fn module(mut self, path: impl Into<PathBuf>) -> Self {
        self.module = path.into();
        self
    }

    /// Sets the `vm_id`, which also separates shared data.
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

    /// Returns the filter as an entry of `http_filters`.
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

/// Returns the filter that calls the authorization service in `cluster` over gRPC.
#[must_use]
pub fn ext_authz(cluster: &str) -> Value {
    filter(
        EXT_AUTHZ,
        "ext_authz.v3.ExtAuthz",
        json!({
            "transport_api_version": "V3",
            "grpc_service": { "envoy_grpc": { "cluster_name": cluster }, "timeout": TIMEOUT },
        }),
    )
}

/// Returns Envoy's own rate limit filter, which calls the service in `cluster`. The route has the descriptors.
#[must_use]
pub fn rate_limit(cluster: &str, domain: &str) -> Value {
    filter(
        "envoy.filters.http.ratelimit",
        "ratelimit.v3.RateLimit",
        json!({
            "domain": domain,
            "failure_mode_deny": true,
            "timeout": TIMEOUT,
            "rate_limit_service": {
                "transport_api_version": "V3",
                "grpc_service": { "envoy_grpc": { "cluster_name": cluster } },
            },
        }),
    )
}

/// Returns a filter that sets the dynamic metadata of `namespace` to `value`, an object.
#[must_use]
pub fn set_metadata(namespace: &str, value: &Value) -> Value {
    filter(
        "envoy.filters.http.set_metadata",
        "set_metadata.v3.Config",
        json!({ "metadata": [{ "metadata_namespace": namespace, "value": value, "allow_overwrite": true }] }),
    )
}

/// Returns Envoy's JWT filter, which requires a token of the key and issuer of `examples/envoy`, and writes its claims
/// to the key `payload` of its metadata.
#[must_use]
pub fn jwt_authn(payload: &str) -> Value {
    let keys = include_str!("../../examples/envoy/jwks.json");
    let provider = json!({
        "issuer": "https://issuer.example.com",
        "payload_in_metadata": payload,
        "local_jwks": { "inline_string": keys },
    });
    filter(
        "envoy.filters.http.jwt_authn",
        "jwt_authn.v3.JwtAuthentication",
        json!({
            "providers": { "issuer": provider },
            "rules": [{ "match": { "prefix": "/" }, "requires": { "provider_name": "issuer" } }],
        }),
    )
}

/// Returns a filter that copies a request header, if there is one, to the dynamic metadata as a string.
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

/// Returns a filter that sets a filter state object to the text that an access log `format` yields.
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

/// Returns the router, the last filter of every chain.
#[must_use]
pub fn router() -> Value {
    filter("envoy.filters.http.router", "router.v3.Router", json!({}))
}

/// Returns an entry of `http_filters`; `kind` is its message in `envoy.extensions.filters.http`.
fn filter(name: &str, kind: &str, mut configuration: Value) -> Value {
    configuration["@type"] = json!(format!("{TYPE}/envoy.extensions.filters.http.{kind}"));
    json!({ "name": name, "typed_config": configuration })
}

/// Returns a cluster of one endpoint that is reached by HTTP/2, which gRPC needs, or HTTP/1.1.
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
        "connect_timeout": TIMEOUT,
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

/// Returns an address as Envoy's `core.v3.Address`.
pub(crate) fn socket_address(address: SocketAddr) -> Value {
    json!({ "socket_address": { "address": address.ip().to_string(), "port_value": address.port() } })
}
