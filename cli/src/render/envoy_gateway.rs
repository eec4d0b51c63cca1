//! Resources of Envoy Gateway.

use super::clusters;
use super::filters;
use super::kubernetes::{gateway_ref, resource, target};
use super::options::{Address, Jwks, Module};
use super::plan::{Identity, Plan, Target};
use super::policy;
use super::yaml::{List, Map};

const VERSION: &str = "gateway.envoyproxy.io/v1alpha1";

/// Where filters are inserted: before the router of every filter chain of a listener.
const ROUTER: &str = "..http_filters[?(@.name=='envoy.filters.http.router')]";

const ENABLED: &str = "Envoy Gateway applies an EnvoyPatchPolicy only with `extensionApis: { enableEnvoyPatchPolicy: true }` in its \
                       own configuration.";

/// Returns the documents.
pub(super) fn documents(plan: &Plan) -> Vec<(String, Map)> {
    let mut documents = Vec::new();
    documents.extend(stripped_headers(plan));
    documents.extend(authentication(plan));
    documents.extend(reference_grant(plan));
    if let Module::Path(_) = plan.module {
        documents.push(patch_policy(plan));
    } else {
        documents.push(extension_policy(plan));
        documents.extend(cluster_policy(plan));
    }
    documents
}

fn extension_policy(plan: &Plan) -> (String, Map) {
    let wasm = Map::default()
        .field("name", "tollgate")
        .field("rootID", "tollgate")
        .field("code", code(plan))
        .note("With true, requests pass unmetered after the module has trapped.")
        .field("failOpen", false);
    let wasm = match &plan.service {
        Some(service) if service.address.is_none() => wasm.note(unknown_cluster(&service.cluster)),
        _ => wasm,
    };
    let wasm = wasm.field("config", policy::yaml(&plan.document));
    let spec = target(plan, "selector", "matchLabels").field("wasm", List::default().item(wasm));
    let comment = "tollgate as an EnvoyExtensionPolicy, as `tollgate render --to envoy-gateway` prints it. Envoy Gateway places it after \
                   authentication, and normalizes paths by default.\nAn EnvoyExtensionPolicy can set neither `failure_policy: FAIL_RELOAD` \
                   (a worker answers 503 after the module has trapped) nor `vm_id` and `allow_on_headers_stop_iteration`: the policy must \
                   not have `holdHeaders`. An EnvoyPatchPolicy can, which loads the module from a path in Envoy's container: `--module \
                   /path`.";
    (
        comment.to_owned(),
        resource(plan, VERSION, "EnvoyExtensionPolicy", "", spec),
    )
}

fn code(plan: &Plan) -> Map {
    match &plan.module {
        Module::Image(image) => {
            let secret = plan.pull_secret.as_ref();
            let secret =
                secret.map(|secret| Map::default().field("kind", "Secret").field("name", secret));
            let image = Map::default()
                .field("url", image)
                .field_if("sha256", plan.sha256.as_ref())
                .field_if("pullSecretRef", secret);
            Map::default().field("type", "Image").field("image", image)
        }
        Module::Url(url) | Module::Path(url) => {
            let http = Map::default()
                .field("url", url)
                .field_if("sha256", plan.sha256.as_ref());
            Map::default().field("type", "HTTP").field("http", http)
        }
    }
}

fn patch_policy(plan: &Plan) -> (String, Map) {
    let gateway = match &plan.target {
        Target::Gateway(gateway) => gateway.as_str(),
        _ => "",
    };
    let operation = Map::default()
        .field("op", "add")
        .note("Before the router, and so after authentication.")
        .field("jsonPath", ROUTER)
        .field("value", filters::tollgate(plan));
    let filter = Map::default()
        .field("type", "type.googleapis.com/envoy.config.listener.v3.Listener")
        .note("The listener as Envoy Gateway names it: `egctl config envoy-proxy listener` prints the names.")
        .field("name", format!("{}/{gateway}/{}", plan.namespace, plan.listener))
        .field("operation", operation);
    let patches = List::default().item(filter);
    let patches = match &plan.service {
        Some(service) => match &service.address {
            Some(address) => patches.item(cluster(&service.cluster, address)),
            None => patches.note(unknown_cluster(&service.cluster)),
        },
        None => patches,
    };
    let comment = format!(
        "tollgate as an EnvoyPatchPolicy, as `tollgate render --to envoy-gateway` prints it for a module in Envoy's container, where an \
         EnvoyProxy resource mounts it. Envoy Gateway normalizes paths by default.\n{ENABLED}"
    );
    (comment, json_patches(plan, "", patches))
}

fn json_patches(plan: &Plan, suffix: &str, patches: List) -> Map {
    let target = match &plan.target {
        Target::Gateway(gateway) => Map::default().field("targetRef", gateway_ref(gateway)),
        _ => Map::default(),
    };
    let spec = target
        .field("type", "JSONPatch")
        .field("jsonPatches", patches);
    resource(plan, VERSION, "EnvoyPatchPolicy", suffix, spec)
}

/// Returns the policy that adds the cluster of the rate limit service, if its address is known.
fn cluster_policy(plan: &Plan) -> Option<(String, Map)> {
    let service = plan.service.as_ref()?;
    let address = service.address.as_ref()?;
    let comment = format!(
        "The rate limit service that `storage` names. It enforces the limits that it knows: `tollgate limits FILE` prints them for \
         limitador.\n{ENABLED}"
    );
    let patches = List::default().item(cluster(&service.cluster, address));
    Some((comment, json_patches(plan, "-storage", patches)))
}

fn cluster(name: &str, address: &Address) -> Map {
    let operation = Map::default()
        .field("op", "add")
        .field("path", "")
        .field("value", clusters::grpc(name, address));
    Map::default()
        .field(
            "type",
            "type.googleapis.com/envoy.config.cluster.v3.Cluster",
        )
        .field("name", name)
        .field("operation", operation)
}

fn unknown_cluster(name: &str) -> String {
    format!(
        "The rate limit service is the cluster {name:?}, which Envoy has to know; --rate-limit-service HOST:PORT defines it."
    )
}

/// Returns the policy that removes the headers of `auth` from what clients send.
fn stripped_headers(plan: &Plan) -> Option<(String, Map)> {
    if plan.stripped.is_empty() {
        return None;
    }
    let removed = Map::default().field("remove", List::default().items(&plan.stripped));
    let spec = target(plan, "selector", "matchLabels").field(
        "headers",
        Map::default().field("earlyRequestHeaders", removed),
    );
    let comment = "The policy reads the identity from these headers, which authentication sets: clients must not send them.";
    let policy = resource(plan, VERSION, "ClientTrafficPolicy", "", spec);
    Some((comment.to_owned(), policy))
}

fn authentication(plan: &Plan) -> Option<(String, Map)> {
    let (comment, settings) = match &plan.identity {
        Identity::Jwt(jwt) => {
            let keys = match &jwt.jwks {
                Jwks::Url(url, _) | Jwks::Path(url) => url,
            };
            let provider = Map::default()
                .field("name", "issuer")
                .field("issuer", &jwt.issuer)
                .extend(filters::audiences(jwt))
                .field("remoteJWKS", Map::default().field("uri", keys));
            (
                "Verifies tokens, rejects requests without one, and writes the claims to a key of envoy.filters.http.jwt_authn that \
                 is the issuer, which `auth` of the policy reads.",
                Map::default().field(
                    "jwt",
                    Map::default().field("providers", List::default().item(provider)),
                ),
            )
        }
        Identity::ExtAuthz(authorization) => (
            "Calls the authorization service. What it returns as dynamic metadata is `auth`.",
            Map::default().field("extAuth", ext_auth(authorization.service.as_ref()?)),
        ),
        Identity::Headers { proxies, .. } => {
            let ranges = List::default().items(proxies.iter().map(ToString::to_string));
            let rule = Map::default()
                .field("name", "proxy-in-front")
                .field("action", "Allow")
                .field("principal", Map::default().field("clientCIDRs", ranges));
            let authorization = Map::default()
                .field("defaultAction", "Deny")
                .field("rules", List::default().item(rule));
            (
                "The policy reads the identity from headers that a proxy in front sets, and which it has to remove from what its own \
                 clients send. Envoy Gateway cannot reject these headers alone, so that no other address is admitted.",
                Map::default().field("authorization", authorization),
            )
        }
        Identity::None => return None,
    };
    let policy = resource(
        plan,
        VERSION,
        "SecurityPolicy",
        "",
        target(plan, "selector", "matchLabels").extend(settings),
    );
    Some((comment.to_owned(), policy))
}

fn ext_auth(address: &Address) -> Map {
    let (name, namespace) = service(address);
    let service = Map::default()
        .field("name", name)
        .field_if("namespace", namespace)
        .field("port", address.port);
    Map::default()
        .note("Requests are rejected while the service does not answer.")
        .field("failOpen", false)
        .field(
            "grpc",
            Map::default().field("backendRefs", List::default().item(service)),
        )
}

/// Returns the name and the namespace of a service of Kubernetes.
fn service(address: &Address) -> (&str, Option<&str>) {
    let mut labels = address.host.split('.');
    (labels.next().unwrap_or_default(), labels.next())
}

/// Returns what permits the use of an authorization service in another namespace.
fn reference_grant(plan: &Plan) -> Option<(String, Map)> {
    let Identity::ExtAuthz(authorization) = &plan.identity else {
        return None;
    };
    let (name, namespace) = service(authorization.service.as_ref()?);
    let namespace = namespace.filter(|namespace| *namespace != plan.namespace)?;
    let metadata = Map::default()
        .field("name", &plan.name)
        .field("namespace", namespace);
    let from = Map::default()
        .field("group", "gateway.envoyproxy.io")
        .field("kind", "SecurityPolicy")
        .field("namespace", &plan.namespace);
    let to = Map::default()
        .field("group", "")
        .field("kind", "Service")
        .field("name", name);
    let spec = Map::default()
        .field("from", List::default().item(from))
        .field("to", List::default().item(to));
    let grant = Map::default()
        .field("apiVersion", "gateway.networking.k8s.io/v1beta1")
        .field("kind", "ReferenceGrant")
        .field("metadata", metadata)
        .field("spec", spec);
    let comment = "Permits the use of the service in its namespace.";
    Some((comment.to_owned(), grant))
}
