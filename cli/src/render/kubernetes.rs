//! What resources of Kubernetes have in common.

use super::plan::{Plan, Target};
use super::yaml::{List, Map};

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

/// Returns what a resource is attached to: a Gateway, or the pods that labels in a field of a selector select.
pub(super) fn target(plan: &Plan, selector: &str, field: &str) -> Map {
    match &plan.target {
        Target::Gateway(gateway) => {
            let references = List::default().item(gateway_ref(gateway));
            Map::default().field("targetRefs", references)
        }
        Target::Labels(labels) => {
            let labels = labels.iter();
            let labels = labels.fold(Map::default(), |map, label| {
                map.field(&label.key, &label.value)
            });
            Map::default().field(selector, Map::default().field(field, labels))
        }
        Target::None => Map::default(),
    }
}

/// Returns a reference to a Gateway.
pub(super) fn gateway_ref(gateway: &str) -> Map {
    Map::default()
        .field("group", GATEWAYS)
        .field("kind", "Gateway")
        .field("name", gateway)
}
