//! Clusters that the file does not define.

use crate::carrier::{self, Carried, Carrier};
use crate::configuration::Configuration;
use crate::error::ValidationErrors;
use crate::json::Json;
use crate::path::Path;
use crate::storage::Storage;
use crate::suggestion;
use crate::warning::{Notice, WarningCode};

/// The suffix of the type of a cluster.
const CLUSTER: &str = "/envoy.config.cluster.v3.Cluster";

/// The clusters of a file.
#[derive(Default)]
struct Clusters<'j> {
    names: Vec<&'j str>,
    /// Whether Envoy gets further clusters from elsewhere.
    are_dynamic: bool,
}

/// Checks the cluster of the rate limit service, if the file is one that defines clusters.
pub(super) fn check(
    carried: &Carried<'_>,
    configuration: &Configuration,
    documents: &[Json],
    errors: &mut ValidationErrors,
) {
    let Storage::Remote(remote) = &configuration.storage else {
        return;
    };
    if !matches!(carried.carrier, Carrier::Envoy | Carrier::EnvoyFilter) {
        return;
    }
    let mut clusters = Clusters::default();
    let is_bootstrap = documents
        .iter()
        .any(|document| document.field("static_resources").is_some());
    for document in documents {
        clusters.add(document);
    }
    let name = remote.cluster.as_str();
    if clusters.are_dynamic
        || clusters.names.contains(&name)
        // A file without clusters leaves them to others; Istio has one for each service.
        || (clusters.names.is_empty() && !is_bootstrap)
        || name.starts_with("outbound|")
    {
        return;
    }
    let suggestion = suggestion::did_you_mean(name, clusters.names);
    let notice = Notice::new(
        WarningCode::UnknownCluster,
        format!("found no cluster {name:?} in this file{suggestion}"),
        "define it in `clusters`, with `http2_protocol_options`, or correct the name",
    );
    let path = Path::At(&carried.path);
    let path = path.field("storage");
    errors.warn(&path.field("cluster"), notice);
}

// === impl Clusters ===

impl<'j> Clusters<'j> {
    /// Adds the clusters in a part of a document. It recurses as deep as documents nest, which the parser bounds.
    fn add(&mut self, json: &'j Json) {
        match json {
            Json::Object(entries) => {
                if carrier::has_type(json, CLUSTER) {
                    self.names.extend(carrier::text(json, "name"));
                }
                if carrier::text(json, "applyTo") == Some("CLUSTER") {
                    let value = json.field("patch").and_then(|patch| patch.field("value"));
                    self.names
                        .extend(value.and_then(|value| carrier::text(value, "name")));
                }
                for (name, value) in entries {
                    match name.as_str() {
                        "clusters" => {
                            let clusters = carrier::items(json, "clusters").iter();
                            self.names.extend(
                                clusters.filter_map(|cluster| carrier::text(cluster, "name")),
                            );
                        }
                        "cds_config" => self.are_dynamic = true,
                        _ => {}
                    }
                    self.add(value);
                }
            }
            Json::Array(items) => items.iter().for_each(|item| self.add(item)),
            _ => {}
        }
    }
}
