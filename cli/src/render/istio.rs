//! Resources of Istio.

mod authentication;
mod envoy_filter;

use super::kubernetes::{resource, target};
use super::options::{Form, Module};
use super::plan::{Plan, Service};
use super::policy;
use super::yaml::Map;

const VERSION: &str = "extensions.istio.io/v1alpha1";

/// Returns the documents.
pub(super) fn documents(plan: &Plan) -> Vec<(String, Map)> {
    let mut documents = authentication::documents(plan);
    documents.push(match plan.form {
        Form::IstioTrafficextension => traffic_extension(plan),
        Form::IstioEnvoyfilter => envoy_filter::tollgate(plan),
        _ => wasm_plugin(plan),
    });
    if plan.form != Form::IstioEnvoyfilter {
        documents.extend(envoy_filter::beside(plan));
    }
    documents
}

fn wasm_plugin(plan: &Plan) -> (String, Map) {
    let spec = target(plan, "selector", "matchLabels")
        .extend(source(plan))
        .extend(phase())
        .extend(plugin(plan));
    let comment = format!(
        "tollgate as a WasmPlugin, as `tollgate render --to istio-wasmplugin` prints it.\n{}",
        cannot("A WasmPlugin")
    );
    (comment, resource(plan, VERSION, "WasmPlugin", "", spec))
}

fn traffic_extension(plan: &Plan) -> (String, Map) {
    let spec = target(plan, "selector", "matchLabels")
        .extend(phase())
        .field("wasm", source(plan).extend(plugin(plan)));
    let comment = format!(
        "tollgate as a TrafficExtension, which Istio 1.30 and later have, as `tollgate render --to istio-trafficextension` prints \
         it.\n{}",
        cannot("A TrafficExtension")
    );
    (
        comment,
        resource(plan, VERSION, "TrafficExtension", "", spec),
    )
}

/// Returns what the two resources cannot set.
fn cannot(resource: &str) -> String {
    format!(
        "{resource} can set neither `vm_id` nor `allow_on_headers_stop_iteration`: other modules without a `vm_id` in the same proxy \
         share tollgate's counters, and the policy must not have `holdHeaders`. An EnvoyFilter can set both: `--to istio-envoyfilter`.\n\
         Predicates on the path see what the upstream sees only if Istio normalizes paths, in `meshConfig`:\n  \
         pathNormalization: {{ normalization: DECODE_AND_MERGE_SLASHES }}"
    )
}

fn phase() -> Map {
    Map::default()
        .note("After Istio's authentication and authorization, whose results the limits read.")
        .field("phase", "STATS")
}

/// Returns where the module is.
fn source(plan: &Plan) -> Map {
    let url = match &plan.module {
        Module::Path(path) => format!("file://{path}"),
        Module::Image(image) => format!("oci://{image}"),
        Module::Url(url) => url.clone(),
    };
    let is_file = matches!(plan.module, Module::Path(_));
    let is_image = matches!(plan.module, Module::Image(_));
    Map::default()
        .note_if(is_file, "A file in the container of the proxy.")
        .note_if(
            is_image,
            "`make image` builds the image: docs/deploying.md.",
        )
        .field("url", url)
        .field_if("sha256", plan.sha256.as_ref())
        .field_if("imagePullSecret", plan.pull_secret.as_ref())
}

/// Returns the settings of the plugin.
fn plugin(plan: &Plan) -> Map {
    Map::default()
        .field("pluginName", "tollgate")
        .note(
            "Loads the module again after it has trapped. Older versions of Istio have FAIL_CLOSE and FAIL_OPEN only: use FAIL_CLOSE \
             there, as FAIL_OPEN admits requests unmetered.",
        )
        .field("failStrategy", "FAIL_RELOAD")
        .extend(storage(plan.service.as_ref()))
        .field("pluginConfig", policy::yaml(&plan.document))
}

/// Returns a comment on the cluster of the rate limit service.
fn storage(service: Option<&Service>) -> Map {
    match service {
        Some(service) if service.address.is_none() => Map::default().note(format!(
            "The rate limit service is the cluster {:?}, which the gateway has to know: Istio has one for each port of a service, \
             outbound|PORT||NAME.NAMESPACE.svc.cluster.local.",
            service.cluster
        )),
        _ => Map::default(),
    }
}
