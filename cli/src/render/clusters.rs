//! Envoy's clusters.

use super::options::{Address, Upstream};
use super::yaml::{List, Map};

/// The cluster of the server or provider.
pub(super) const UPSTREAM: &str = "llm";
/// The cluster of the server that has the keys of an issuer.
pub(super) const JWKS: &str = "jwks";

/// The cluster of Authorino.
pub(super) const AUTHORINO: &str = "authorino";
/// The cluster of another authorization service.
pub(super) const EXT_AUTHZ: &str = "ext-authz";

/// The clusters beside that of a rate limit service.
pub(super) const OTHERS: [&str; 4] = [UPSTREAM, JWKS, AUTHORINO, EXT_AUTHZ];

/// The certificates of public authorities, where Debian and Envoy's images have them.
const AUTHORITIES: &str = "/etc/ssl/certs/ca-certificates.crt";

/// Returns the cluster of a gRPC service.
pub(super) fn grpc(name: &str, address: &Address) -> Map {
    start(name)
        .note("gRPC needs HTTP/2.")
        .field(
            "typed_extension_protocol_options",
            Map::default().field(
                "envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
                Map::default()
                    .field(
                        "@type",
                        "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
                    )
                    .field(
                        "explicit_http_config",
                        Map::default().field("http2_protocol_options", Map::default()).on_one_line(),
                    ),
            ),
        )
        .note("Calls of all requests wait here.")
        .field(
            "circuit_breakers",
            Map::default().field(
                "thresholds",
                List::default().item(
                    Map::default()
                        .field("max_requests", 4096_u64)
                        .field("max_pending_requests", 4096_u64)
                        .on_one_line(),
                ),
            ),
        )
        .field("load_assignment", endpoints(name, address))
}

/// Returns the cluster of a server that speaks HTTP.
pub(super) fn http(name: &str, server: &Upstream) -> Map {
    let cluster = start(name).field("load_assignment", endpoints(name, &server.address));
    if server.is_tls {
        cluster.field("transport_socket", tls(&server.address.host))
    } else {
        cluster
    }
}

fn start(name: &str) -> Map {
    Map::default()
        .field("name", name)
        .field("type", "STRICT_DNS")
        .field("connect_timeout", "5s")
        .field("per_connection_buffer_limit_bytes", 1_048_576_u64)
}

fn endpoints(name: &str, address: &Address) -> Map {
    let endpoint = Map::default().field(
        "endpoint",
        Map::default().field("address", socket_address(address)),
    );
    Map::default().field("cluster_name", name).field(
        "endpoints",
        List::default().item(
            Map::default().field("lb_endpoints", List::default().item(endpoint.on_one_line())),
        ),
    )
}

/// Returns the transport socket that verifies the certificate of a host.
fn tls(host: &str) -> Map {
    let name = List::default().item(
        Map::default()
            .field("san_type", "DNS")
            .field("matcher", Map::default().field("exact", host)),
    );
    Map::default()
        .field("name", "envoy.transport_sockets.tls")
        .field(
        "typed_config",
        Map::default()
            .field(
                "@type",
                "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext",
            )
            .field("sni", host)
            .field(
                "common_tls_context",
                Map::default()
                    .note("Without both, Envoy accepts every certificate.")
                    .field(
                        "validation_context",
                        Map::default()
                            .field(
                                "trusted_ca",
                                Map::default().field("filename", AUTHORITIES).on_one_line(),
                            )
                            .field("match_typed_subject_alt_names", name.on_one_line()),
                    ),
            ),
    )
}

/// Returns Envoy's form of an address.
pub(super) fn socket_address(address: &Address) -> Map {
    Map::default().field(
        "socket_address",
        Map::default()
            .field("address", &address.host)
            .field("port_value", address.port),
    )
}
