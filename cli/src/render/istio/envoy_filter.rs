//! `EnvoyFilter`s: tollgate itself, or what a `WasmPlugin` takes beside it.

use crate::render::kubernetes::{resource, target};
use crate::render::options::{Form, Module};
use crate::render::plan::Plan;
use crate::render::yaml::{List, Map};
use crate::render::{clusters, envoy, filters};

const VERSION: &str = "networking.istio.io/v1alpha3";
const MANAGER: &str = "envoy.filters.network.http_connection_manager";

/// Returns the `EnvoyFilter` that has tollgate.
pub(super) fn tollgate(plan: &Plan) -> (String, Map) {
    let patches = headers(plan, List::default())
        .note("Predicates on the path see what the upstream sees. Bedrock needs KEEP_UNCHANGED: its paths contain `%2F`.")
        .item(paths());
    let patches = match plan.module {
        Module::Path(_) => patches
            .note(
                "Before the router, and so after Istio's authentication and authorization, whose results the limits read. The \
                 file has to be in the container of the gateway.",
            )
            .item(before_router(filters::tollgate(plan))),
        _ => patches
            .note("The filter by its name. No request is served before the module has arrived.")
            .item(before_router(discovered()))
            .item(extension(plan)),
    };
    let comment =
        "tollgate as an EnvoyFilter, as `tollgate render --to istio-envoyfilter` prints it."
            .to_owned();
    (comment, envoy_filter(plan, "", cluster(plan, patches)))
}

/// Returns the `EnvoyFilter` that the form takes beside it, if it takes one.
pub(super) fn beside(plan: &Plan) -> Option<(String, Map)> {
    let is_needed = !plan.stripped.is_empty() || defines_cluster(plan);
    is_needed.then(|| {
        let resource = match plan.form {
            Form::IstioTrafficextension => "a TrafficExtension",
            _ => "a WasmPlugin",
        };
        let patches = cluster(plan, headers(plan, List::default()));
        let comment = format!("What {resource} cannot express.");
        (comment, envoy_filter(plan, "-gateway", patches))
    })
}

fn envoy_filter(plan: &Plan, suffix: &str, patches: List) -> Map {
    let target = target(plan, "workloadSelector", "labels");
    resource(
        plan,
        VERSION,
        "EnvoyFilter",
        suffix,
        target.field("configPatches", patches),
    )
}

fn defines_cluster(plan: &Plan) -> bool {
    plan.service
        .as_ref()
        .is_some_and(|service| service.address.is_some())
}

/// Adds the patch that removes the headers of `auth` from what clients send.
fn headers(plan: &Plan, patches: List) -> List {
    if plan.stripped.is_empty() {
        return patches;
    }
    patches
        .note("The policy reads the identity from these headers, which authentication sets: clients must not send them.")
        .item(patch(
            "HTTP_FILTER",
            in_manager(Map::default()),
            "INSERT_FIRST",
            filters::header_mutation(&plan.stripped),
        ))
}

/// Adds the patch with the cluster of the rate limit service.
fn cluster(plan: &Plan, patches: List) -> List {
    let Some(service) = &plan.service else {
        return patches;
    };
    let Some(address) = &service.address else {
        return patches.note(format!(
            "The rate limit service is the cluster {:?}, which the gateway has to know: Istio has one for each port of a service, \
             outbound|PORT||NAME.NAMESPACE.svc.cluster.local.",
            service.cluster
        ));
    };
    patches
        .note(
            "The rate limit service that `storage` names. It enforces the limits that it knows: `tollgate limits FILE` prints them \
             for limitador.",
        )
        .item(patch(
            "CLUSTER",
            Map::default().field("context", "GATEWAY"),
            "ADD",
            clusters::grpc(&service.cluster, address),
        ))
}

fn paths() -> Map {
    let kind = "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager";
    let settings = Map::default().field("@type", kind).extend(envoy::paths());
    patch(
        "NETWORK_FILTER",
        in_manager(Map::default()),
        "MERGE",
        Map::default().field("typed_config", settings),
    )
}

fn before_router(filter: Map) -> Map {
    let router = Map::default().field("name", "envoy.filters.http.router");
    let place = in_manager(Map::default().field("subFilter", router));
    patch("HTTP_FILTER", place, "INSERT_BEFORE", filter)
}

/// Returns the filter whose settings are discovered.
fn discovered() -> Map {
    let source = Map::default()
        .field("ads", Map::default())
        .field("initial_fetch_timeout", "0s")
        .field("resource_api_version", "V3");
    Map::default().field("name", "tollgate").field(
        "config_discovery",
        Map::default()
            .field("config_source", source.on_one_line())
            .field("type_urls", List::default().item(filters::WASM)),
    )
}

/// Returns the settings of the filter, whose module istio-agent downloads.
fn extension(plan: &Plan) -> Map {
    patch(
        "EXTENSION_CONFIG",
        Map::default().field("context", "GATEWAY"),
        "ADD",
        filters::tollgate(plan),
    )
}

/// Returns the place of a patch in the gateway's HTTP connection managers.
fn in_manager(filter: Map) -> Map {
    let filter = Map::default().field("name", MANAGER).extend(filter);
    let chain = Map::default().field("filter", filter);
    Map::default()
        .field("context", "GATEWAY")
        .field("listener", Map::default().field("filterChain", chain))
}

fn patch(apply_to: &str, place: Map, operation: &str, value: Map) -> Map {
    Map::default()
        .field("applyTo", apply_to)
        .field("match", place)
        .field(
            "patch",
            Map::default()
                .field("operation", operation)
                .field("value", value),
        )
}
