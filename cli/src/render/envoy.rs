//! Envoy's own configuration.

use super::clusters;
use super::filters;
use super::options::Jwks;
use super::plan::{Identity, Plan};
use super::yaml::{List, Map};

/// The labels of the metrics.
const LABELS: [&str; 7] = [
    "decision", "policy", "limit", "kind", "model", "unit", "reason",
];

/// The keys of the filter state in the access log.
const LOGGED: [&str; 8] = [
    "decision",
    "limit",
    "model",
    "input_tokens",
    "output_tokens",
    "total_tokens",
    "cached_tokens",
    "estimated",
];

/// Returns the documents.
pub(super) fn documents(plan: &Plan) -> Vec<(String, Map)> {
    let comment = "Envoy with tollgate, as `tollgate render --to envoy` prints it. Check it after changes with `tollgate check --strict \
                   FILE` and `envoy --mode validate --config-path FILE`, which loads the module.";
    vec![(comment.to_owned(), bootstrap(plan))]
}

fn bootstrap(plan: &Plan) -> Map {
    let node = Map::default()
        .field("id", &plan.name)
        .field("cluster", &plan.name);
    let admin = Map::default().field("address", clusters::socket_address(&plan.admin));
    Map::default()
        .field("node", node.on_one_line())
        .note("Without authentication: not for other machines.")
        .field("admin", admin.on_one_line())
        .note("Makes labels of the `.key=value` parts in the names of tollgate's metrics.")
        .field("stats_config", Map::default().field("stats_tags", stats_tags()))
        .note(
            "A caller can open connections without bound, and each can hold memory: as many as the machine can hold. \
             Actions on Envoy's heap depend on the memory of the machine: docs/security.md.",
        )
        .field("overload_manager", overload_manager())
        .field(
            "static_resources",
            Map::default()
                .field("listeners", List::default().item(listener(plan)))
                .field("clusters", all_clusters(plan)),
        )
}

fn stats_tags() -> List {
    let tags = LABELS.iter().map(|label| {
        Map::default()
            .field("tag_name", *label)
            .field(
                "regex",
                format!(r"^wasmcustom\.tollgate\..*?(\.{label}=([^.]+))"),
            )
            .on_one_line()
    });
    List::default().items(tags)
}

fn overload_manager() -> Map {
    let monitor = Map::default()
        .field("name", "envoy.resource_monitors.global_downstream_max_connections")
        .field(
            "typed_config",
            Map::default()
                .field(
                    "@type",
                    "type.googleapis.com/envoy.extensions.resource_monitors.downstream_connections.v3.DownstreamConnectionsConfig",
                )
                .field("max_active_downstream_connections", 10_000_u64),
        );
    Map::default().field("resource_monitors", List::default().item(monitor))
}

fn listener(plan: &Plan) -> Map {
    let manager = Map::default()
        .field("name", "envoy.filters.network.http_connection_manager")
        .field("typed_config", connection_manager(plan));
    Map::default()
        .field("name", "tollgate")
        .field("address", clusters::socket_address(&plan.listen).on_one_line())
        .note(format!(
            "What one connection may have in Envoy's buffers, and what the module reads of a response at once. It does not bound \
             request bodies: tollgate itself holds up to {} bytes of one (`requestBody.maxBytes`). A `buffer` filter would have \
             to take as many.",
            plan.max_bytes
        ))
        .field("per_connection_buffer_limit_bytes", 1_048_576_u64)
        .note("Without TLS: terminate it in front, or add a `transport_socket` with a certificate.")
        .field(
            "filter_chains",
            List::default().item(Map::default().field("filters", List::default().item(manager))),
        )
}

fn connection_manager(plan: &Plan) -> Map {
    Map::default()
        .field(
            "@type",
            "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        )
        .field("stat_prefix", "tollgate")
        .note(
            "The address of a client is that of its connection, not what it writes into x-forwarded-for. Behind a proxy that cannot be \
             bypassed, `xff_num_trusted_hops` makes it that of the proxy's client.",
        )
        .field("use_remote_address", true)
        .note("Predicates on the path see what the upstream sees. Bedrock needs KEEP_UNCHANGED: its paths contain `%2F`.")
        .extend(paths())
        .note("`llm.example.com.` is `llm.example.com` for predicates on the host.")
        .field("strip_trailing_host_dot", true)
        .note("Bounds on what one caller makes Envoy hold: docs/security.md.")
        .field("max_request_headers_kb", 60_u64)
        .field(
            "common_http_protocol_options",
            Map::default()
                .field("max_headers_count", 100_u64)
                .note("Some upstreams take `x_user_id` for `x-user-id`.")
                .field("headers_with_underscores_action", "REJECT_REQUEST"),
        )
        .field(
            "http2_protocol_options",
            Map::default()
                .field("max_concurrent_streams", 100_u64)
                .field("initial_stream_window_size", 65_536_u64)
                .field("initial_connection_window_size", 1_048_576_u64),
        )
        .field("request_headers_timeout", "10s")
        .note("The largest upload has to end in this time.")
        .field("request_timeout", "60s")
        .note("Streams of a model that reasons unseen are idle.")
        .field("stream_idle_timeout", "300s")
        .field("access_log", List::default().item(access_log(plan)))
        .field("route_config", routes(plan))
        .note(
            "The order matters: what authenticates comes before tollgate, so that `auth` has a value, and the router is last. \
             Browsers need the `cors` filter as the first: docs/deploying.md.",
        )
        .field("http_filters", http_filters(plan))
}

/// Returns the settings of a connection manager that normalize paths.
pub(super) fn paths() -> Map {
    Map::default()
        .field("normalize_path", true)
        .field("merge_slashes", true)
        .field("path_with_escaped_slashes_action", "UNESCAPE_AND_REDIRECT")
}

fn access_log(plan: &Plan) -> Map {
    let format = Map::default()
        .field("time", "%START_TIME%")
        .field("path", "%REQ(:PATH)%")
        .field("status", "%RESPONSE_CODE%")
        .field("details", "%RESPONSE_CODE_DETAILS%");
    let format = user(format, &plan.identity);
    let format = if plan.access_log.has_keys() {
        LOGGED.iter().fold(format, |format, key| {
            format.field(key, format!("%FILTER_STATE(wasm.tollgate.{key}:PLAIN)%"))
        })
    } else {
        format.field("tollgate", "%FILTER_STATE(wasm.tollgate:TYPED)%")
    };
    // Also a record leaves exported costs under their keys.
    let format = plan.exports.iter().fold(format, |format, name| {
        let key = format!("cost.{name}");
        let value = format!("%FILTER_STATE(wasm.tollgate.{key}:PLAIN)%");
        format.field(&key, value)
    });
    Map::default()
        .field("name", "envoy.access_loggers.stdout")
        .field(
            "typed_config",
            Map::default()
                .field(
                    "@type",
                    "type.googleapis.com/envoy.extensions.access_loggers.stream.v3.StdoutAccessLog",
                )
                .field("log_format", Map::default().field("json_format", format)),
        )
}

/// Adds the caller to a format of access logs, where the identity names it.
fn user(format: Map, identity: &Identity) -> Map {
    // Other characters have a meaning in the format.
    let is_plain = |name: &str| {
        let is_word = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        name.bytes().all(is_word)
    };
    match identity {
        Identity::Jwt(jwt) if is_plain(&jwt.key) => {
            let key = &jwt.key;
            let claim = format!("%DYNAMIC_METADATA(envoy.filters.http.jwt_authn:{key}:sub)%");
            format.field("user", claim)
        }
        Identity::Headers { headers, .. } if headers.iter().all(|header| is_plain(header)) => {
            let value = |header: &String| format!("%REQ({header})%");
            match headers.as_slice() {
                [header] => format.field("user", value(header)),
                headers => {
                    let headers = headers.iter().fold(Map::default(), |map, header| {
                        map.field(header, value(header))
                    });
                    format.field("user", headers)
                }
            }
        }
        Identity::None => format,
        _ => format.note("Reports per user need a field with the caller: docs/observability.md."),
    }
}

fn routes(plan: &Plan) -> Map {
    let is_tls = plan
        .upstream
        .as_ref()
        .is_some_and(|upstream| upstream.is_tls);
    let action = Map::default()
        .field("cluster", clusters::UPSTREAM)
        .note("Envoy's default of 15 s is too short for models.")
        .field("timeout", "600s")
        .field_if(
            "host_rewrite_literal",
            plan.upstream
                .as_ref()
                .filter(|_| is_tls)
                .map(|upstream| &upstream.address.host),
        );
    let route = Map::default()
        .field("match", Map::default().field("prefix", "/").on_one_line())
        .field("route", action);
    let routes = List::default()
        .note_if(
            plan.chooses_routes,
            "The policy has fallbacks that set headers: add the routes that these headers choose before this one.",
        )
        .item(route);
    let host = Map::default()
        .field("name", "tollgate")
        .field("domains", List::default().item("*").on_one_line())
        .note_if(
            is_tls,
            "The key of a provider is not part of this output: `request_headers_to_add` here adds it: docs/deploying.md.",
        )
        .field("routes", routes);
    Map::default().field("virtual_hosts", List::default().item(host))
}

fn http_filters(plan: &Plan) -> List {
    let mut chain = List::default();
    if !plan.stripped.is_empty() {
        chain = chain
            .note("The policy reads the identity from these headers, which a filter below sets: clients must not send them.")
            .item(filters::header_mutation(&plan.stripped));
    }
    chain = match &plan.identity {
        Identity::Jwt(jwt) => chain.item(filters::jwt_authn(jwt)),
        Identity::ExtAuthz(service) => chain
            .note(
                "What the service returns as dynamic metadata is `auth`. Where it answers itself, with a 403, requests are neither \
                 limited nor metered.",
            )
            .item(filters::ext_authz(service)),
        Identity::Headers { headers, proxies } => chain
            .note(
                "The policy reads the identity from headers that a proxy in front sets. From all other addresses they are \
                 answered with a 403: a client could claim any identity. The proxy has to remove them from what its own clients \
                 send.",
            )
            .item(filters::trusted_headers(headers, proxies)),
        Identity::None => chain,
    };
    chain
        .note_if(
            plan.has_hits_addend,
            "`hitsAddend` of the policy is for Envoy's `ratelimit` filter, which is not part of this output: add it here.",
        )
        .item(filters::tollgate(plan))
        .item(filters::router())
}

fn all_clusters(plan: &Plan) -> List {
    let mut clusters = List::default();
    if let Some(upstream) = &plan.upstream {
        clusters = clusters.item(clusters::http(clusters::UPSTREAM, upstream));
    }
    if let Identity::Jwt(jwt) = &plan.identity
        && let Jwks::Url(_, server) = &jwt.jwks
    {
        clusters = clusters.item(clusters::http(clusters::JWKS, server));
    }
    if let Identity::ExtAuthz(authorization) = &plan.identity
        && let Some(address) = &authorization.service
    {
        clusters = clusters.item(clusters::grpc(&authorization.name, address));
    }
    if let Some(service) = &plan.service
        && let Some(address) = &service.address
    {
        clusters = clusters
            .note(
                "The rate limit service that `storage` names. It enforces the limits that it knows: `tollgate limits FILE` \
                 prints them for limitador.",
            )
            .item(clusters::grpc(&service.cluster, address));
    }
    clusters
}
