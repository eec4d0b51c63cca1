//! Envoy's HTTP filters.

use super::clusters;
use super::options::{Cidr, Jwks, Module};
use super::plan::{ExtAuthz, Jwt, Plan};
use super::policy;
use super::yaml::{List, Map, Yaml};

/// The type of a Wasm filter.
pub(super) const WASM: &str = "type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm";

/// Returns an HTTP filter.
fn filter(name: &str, kind: &str, settings: Map) -> Map {
    let kind = format!("type.googleapis.com/envoy.extensions.filters.http.{kind}");
    Map::default().field("name", name).field(
        "typed_config",
        Map::default().field("@type", kind).extend(settings),
    )
}

/// Returns tollgate, loaded from a file in Envoy's container, or from what istio-agent downloads.
pub(super) fn tollgate(plan: &Plan) -> Map {
    Map::default()
        .field("name", "tollgate")
        .field("typed_config", wasm(plan))
}

/// Returns the settings of tollgate.
pub(super) fn wasm(plan: &Plan) -> Map {
    let policy = Map::default()
        .note(
            "A text, which Envoy passes on as it is. In a Struct of a YAML file it would make texts of decimals and \
             booleans of `yes` and `on`.",
        )
        .field("@type", "type.googleapis.com/google.protobuf.StringValue")
        .field("value", Yaml::Block(policy::text(&plan.document)));
    let mut plugin = Map::default()
        .field("name", "tollgate")
        .field("root_id", "tollgate")
        .note(
            "Envoy loads a module that has trapped again. With FAIL_CLOSED the worker answers 503 from then on, with FAIL_OPEN \
             requests pass unmetered.",
        )
        .field("failure_policy", "FAIL_RELOAD");
    if plan.holds_headers {
        plugin = plugin
            .note("Required by `holdHeaders` of the policy, and only with it.")
            .field("allow_on_headers_stop_iteration", true);
    }
    let plugin = plugin
        .field(
            "vm_config",
            Map::default()
                .note(
                    "The owner of counters and their secret: a name that no other module has. Listeners with the same \
                     `vm_id` and policy share counters.",
                )
                .field("vm_id", &plan.name)
                .field("runtime", "envoy.wasm.runtime.v8")
                .field("code", code(plan)),
        )
        .field("configuration", policy);
    Map::default().field("@type", WASM).field("config", plugin)
}

fn code(plan: &Plan) -> Map {
    let url = match &plan.module {
        Module::Path(path) => {
            let file = Map::default().field("filename", path);
            return Map::default().field("local", file.on_one_line());
        }
        Module::Image(image) => format!("oci://{image}"),
        Module::Url(url) => url.clone(),
    };
    Map::default().field(
        "remote",
        Map::default()
            .note("istio-agent downloads it and names Envoy a local file, so that no cluster is needed.")
            .field(
                "http_uri",
                Map::default()
                    .field("uri", url)
                    .field("timeout", "30s")
                    .field("cluster", "_"),
            )
            .field_if("sha256", plan.sha256.as_ref()),
    )
}

/// Returns the filter that verifies tokens and writes their claims to its metadata.
pub(super) fn jwt_authn(jwt: &Jwt) -> Map {
    let provider = Map::default()
        .field("issuer", &jwt.issuer)
        .extend(audiences(jwt))
        .note("The key of the metadata that has the claims, which the policy reads as `auth`.")
        .field("payload_in_metadata", &jwt.key)
        .note("The token is not sent to the upstream.")
        .field("forward", false);
    let provider = match &jwt.jwks {
        Jwks::Path(path) => {
            let file = Map::default().field("filename", path);
            provider.field("local_jwks", file.on_one_line())
        }
        Jwks::Url(url, _) => provider.field(
            "remote_jwks",
            Map::default()
                .field(
                    "http_uri",
                    Map::default()
                        .field("uri", url)
                        .field("cluster", clusters::JWKS)
                        .field("timeout", "5s"),
                )
                .field("cache_duration", "600s"),
        ),
    };
    let everything = Map::default()
        .field("match", Map::default().field("prefix", "/"))
        .field("requires", Map::default().field("provider_name", "issuer"));
    filter(
        "envoy.filters.http.jwt_authn",
        "jwt_authn.v3.JwtAuthentication",
        Map::default()
            .field("providers", Map::default().field("issuer", provider))
            .note("Requests without a valid token are answered with a 401 before tollgate, and are not counted.")
            .field("rules", List::default().item(everything.on_one_line())),
    )
}

/// Returns the audiences of tokens, in the field that Envoy, Istio and Envoy Gateway have for them.
pub(super) fn audiences(jwt: &Jwt) -> Map {
    if jwt.audiences.is_empty() {
        return Map::default().note(
            "Tokens of the issuer are valid whatever their audience: --audience restricts them.",
        );
    }
    Map::default().field("audiences", List::default().items(&jwt.audiences))
}

/// Returns the filter that calls an authorization service.
pub(super) fn ext_authz(authorization: &ExtAuthz) -> Map {
    let service = Map::default()
        .field(
            "envoy_grpc",
            Map::default().field("cluster_name", &authorization.name),
        )
        .field("timeout", "1s");
    filter(
        "envoy.filters.http.ext_authz",
        "ext_authz.v3.ExtAuthz",
        Map::default()
            .field("transport_api_version", "V3")
            .field("grpc_service", service.on_one_line())
            .note("Requests are answered with a 403 while the service does not answer.")
            .field("failure_mode_allow", false)
            .note(
                "No `with_request_body`: the service decides by the headers, and bodies are not limited to the size that it \
                 would buffer.",
            ),
    )
}

/// Returns the filter that removes headers from what clients send.
pub(super) fn header_mutation(headers: &[String]) -> Map {
    let removals = headers
        .iter()
        .map(|header| Map::default().field("remove", header));
    let removals = List::default().items(removals.map(Map::on_one_line));
    filter(
        "envoy.filters.http.header_mutation",
        "header_mutation.v3.HeaderMutation",
        Map::default().field(
            "mutations",
            Map::default().field("request_mutations", removals),
        ),
    )
}

/// Returns the filter that rejects headers that do not come from a proxy in front.
pub(super) fn trusted_headers(headers: &[String], proxies: &[Cidr]) -> Map {
    let present = headers.iter().map(|header| {
        let header = Map::default()
            .field("name", header)
            .field("present_match", true);
        Map::default().field("header", header).on_one_line()
    });
    let ranges = proxies.iter().map(|proxy| {
        let range = Map::default()
            .field("address_prefix", proxy.address.to_string())
            .field("prefix_len", u64::from(proxy.prefix));
        Map::default()
            .field("direct_remote_ip", range)
            .on_one_line()
    });
    let any = |field: &str, list: List| Map::default().field(field, list);
    let policy = Map::default()
        .field(
            "permissions",
            List::default().item(
                Map::default().field("or_rules", any("rules", List::default().items(present))),
            ),
        )
        .field(
            "principals",
            List::default().item(Map::default().field(
                "not_id",
                Map::default().field("or_ids", any("ids", List::default().items(ranges))),
            )),
        );
    filter(
        "envoy.filters.http.rbac",
        "rbac.v3.RBAC",
        Map::default().field(
            "rules",
            Map::default().field("action", "DENY").field(
                "policies",
                Map::default().field("identity-of-others", policy),
            ),
        ),
    )
}

/// Returns the router, the last filter.
pub(super) fn router() -> Map {
    filter(
        "envoy.filters.http.router",
        "router.v3.Router",
        Map::default(),
    )
}
