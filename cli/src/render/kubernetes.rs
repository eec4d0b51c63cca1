//! What resources of Kubernetes have in common.

use super::plan::Plan;
use super::yaml::{List, Map, Yaml};

/// The group of a Gateway.
pub(super) const GATEWAYS: &str = "gateway.networking.k8s.io";

/// Returns a resource, with a suffix to its name.
pub(super) fn resource(plan: &Plan, version: &str, kind: &str, suffix: &str, spec: Map) -> Map {
    let metadata = Map::default()
        .field("name", format!("{}{suffix}", plan.name))
        .field("namespace", &plan.namespace);
    Map::default()
        .field("apiVersion", version)
        .field("kind", kind)
        .field("metadata", metadata)
        .field("spec", spec)
}

/// Returns `targetRefs` with a Gateway.
pub(super) fn target_refs(gateway: &str) -> Yaml {
    Yaml::List(List::default().item(gateway_ref(gateway)))
}

/// Returns a reference to a Gateway.
pub(super) fn gateway_ref(gateway: &str) -> Map {
    Map::default()
        .field("group", GATEWAYS)
        .field("kind", "Gateway")
        .field("name", gateway)
}
