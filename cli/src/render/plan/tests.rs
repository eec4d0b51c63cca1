use clap::Parser;
use filter_config::{Json, parse_source};

use super::{Identity, Plan, Target};
use crate::render::options::Options;

const POLICY: &str = r"
policies:
- apiVersion: kuadrant.io/v1alpha1
  kind: TokenRateLimitPolicy
  metadata: { name: llm, namespace: gateways }
  spec:
    targetRef: { group: gateway.networking.k8s.io, kind: Gateway, name: llm }
    limits:
      each-user:
        rates: [ { limit: 1000, window: 1h } ]
        counters: [ { expression: auth.identity.sub } ]
";

const IMAGE: &str = "--module oci://registry.example.com/tollgate:0.1.0";
const JWT: &str = "--identity jwt --issuer https://issuer --jwks https://issuer/keys";

fn plan(flags: &str, configuration: &str) -> Result<Plan, String> {
    let arguments = ["render", "--config", "-"]
        .into_iter()
        .chain(flags.split_whitespace());
    let options = Options::try_parse_from(arguments).map_err(|error| error.to_string())?;
    let source = parse_source(configuration.as_bytes()).unwrap();
    Plan::new(&options, source).map_err(|misuse| misuse.to_string())
}

/// Returns the text at a path of the plan's document.
fn text<'p>(plan: &'p Plan, path: &[&str]) -> Option<&'p str> {
    let mut json = &plan.document;
    for field in path {
        json = match json {
            Json::Array(items) => items.first()?,
            json => json,
        };
        json = json.field(field)?;
    }
    match json {
        Json::String(text) => Some(text),
        _ => None,
    }
}

#[test]
fn missing_flags_are_named() {
    let with = |settings: &str| format!("{POLICY}{settings}");
    let anonymous = POLICY.replace("auth.identity.sub", "source.remote_address");
    let route = anonymous.replace("kind: Gateway", "kind: HTTPRoute");
    let remote = with("storage: { type: limitador, cluster: limitador }\n");
    let header = with("auth: [ { header: { identity.sub: x-sub } } ]\n");
    let up = "--to envoy --upstream http://llm:80";
    for (flags, configuration, missing) in [
        ("--to envoy", &anonymous, "--upstream"),
        ("--to istio-wasmplugin", &anonymous, "--module"),
        (
            &format!("--to istio-wasmplugin {IMAGE}"),
            &route,
            "--gateway",
        ),
        (up, &POLICY.to_owned(), "--identity"),
        (
            &format!("{up} --identity jwt"),
            &POLICY.to_owned(),
            "--issuer",
        ),
        (
            &format!("{up} --identity jwt --issuer a"),
            &POLICY.to_owned(),
            "--jwks",
        ),
        (
            &format!("{up} --identity authorino"),
            &POLICY.to_owned(),
            "--authz-service",
        ),
        (
            &format!("--to istio-wasmplugin {IMAGE} --identity ext-authz"),
            &POLICY.to_owned(),
            "--authz-provider",
        ),
        (
            &format!("{up} --identity headers"),
            &header,
            "--trusted-proxy",
        ),
        (
            &format!("{up} --identity none"),
            &remote,
            "--rate-limit-service",
        ),
    ] {
        let error = plan(flags, configuration).unwrap_err();
        assert!(
            error.starts_with(&format!("{missing} is required")),
            "{flags}: {error}"
        );
    }
}

#[test]
fn flags_without_effect_are_rejected() {
    let anonymous = POLICY.replace("auth.identity.sub", "source.remote_address");
    let envoy = "--to envoy --upstream http://llm:80";
    let plugin = format!("--to istio-wasmplugin {IMAGE}");
    for (flags, flag) in [
        (format!("{envoy} --gateway llm"), "--gateway"),
        (format!("{envoy} --namespace llm"), "--namespace"),
        (format!("{envoy} --selector a=b"), "--selector"),
        (format!("{envoy} --pull-secret a"), "--pull-secret"),
        (format!("{envoy} {IMAGE}"), "--module"),
        (format!("{envoy} --sha256 {}", "a".repeat(64)), "--sha256"),
        (format!("{envoy} --issuer a"), "--issuer"),
        (format!("{envoy} --audience a"), "--audience"),
        (format!("{envoy} --trusted-proxy ::1"), "--trusted-proxy"),
        (
            format!("{envoy} --rate-limit-service a:1"),
            "--rate-limit-service",
        ),
        (
            format!("{envoy} --rate-limit-cluster a"),
            "--rate-limit-cluster",
        ),
        (format!("{plugin} --upstream http://llm:80"), "--upstream"),
        (
            format!("{plugin} --authz-service a:1 --identity authorino"),
            "--authz-service",
        ),
        (
            format!("{plugin} --identity jwt --issuer a --jwks /keys"),
            "--jwks",
        ),
        (
            format!("--to envoy-gateway {IMAGE} --selector a=b"),
            "--selector",
        ),
        (
            format!("--to istio-envoyfilter {IMAGE} --pull-secret a"),
            "--pull-secret",
        ),
    ] {
        let error = plan(&flags, &anonymous).unwrap_err();
        assert!(error.starts_with(flag), "{flags}: {error}");
    }
}

#[test]
fn held_headers_need_a_form_that_sets_them() {
    let holding = format!("{POLICY}holdHeaders: true\n");
    for (flags, is_possible) in [
        ("--to envoy --upstream http://llm:80", true),
        (&format!("--to istio-envoyfilter {IMAGE}"), true),
        ("--to envoy-gateway --module /tollgate.wasm", true),
        (&format!("--to istio-wasmplugin {IMAGE}"), false),
        (&format!("--to istio-trafficextension {IMAGE}"), false),
        (&format!("--to envoy-gateway {IMAGE}"), false),
    ] {
        let plan = plan(&format!("{flags} --identity none"), &holding);
        assert_eq!(plan.is_ok(), is_possible, "{flags}: {plan:?}");
        if let Err(error) = plan {
            assert!(error.contains("`holdHeaders`"), "{error}");
        }
    }
}

#[test]
fn clusters_of_envoy_have_different_names() {
    let configuration = format!("{POLICY}storage: {{ type: limitador, cluster: llm }}\n");
    let flags =
        "--to envoy --upstream http://llm:80 --identity none --rate-limit-service limitador:8081";
    let error = plan(flags, &configuration).unwrap_err();
    assert!(
        error.starts_with("--rate-limit-cluster is required"),
        "{error}"
    );
    let other = plan(
        &format!("{flags} --rate-limit-cluster limitador"),
        &configuration,
    );
    assert!(other.is_ok(), "{other:?}");
}

#[test]
fn target_and_namespace_are_those_of_the_policy() {
    let flags = format!("--to istio-wasmplugin {IMAGE} --identity none");
    let default = plan(&flags, POLICY).unwrap();
    assert!(
        matches!(&default.target, Target::Gateway(name) if name == "llm"),
        "{default:?}"
    );
    assert_eq!(default.namespace, "gateways");
    let other = plan(&format!("{flags} --gateway eu --namespace edge"), POLICY).unwrap();
    assert!(
        matches!(&other.target, Target::Gateway(name) if name == "eu"),
        "{other:?}"
    );
    assert_eq!(other.namespace, "edge");
    let labels = plan(&format!("{flags} --selector istio=ingressgateway"), POLICY).unwrap();
    assert!(
        matches!(&labels.target, Target::Labels(labels) if labels.len() == 1),
        "{labels:?}"
    );
}

#[test]
fn claims_of_tokens_become_the_identity() {
    let sources = ["auth", "metadata"];
    let gateway = plan(&format!("--to envoy-gateway {IMAGE} {JWT}"), POLICY).unwrap();
    assert_eq!(text(&gateway, &["auth", "key"]), Some("https://issuer"));
    let istio = plan(&format!("--to istio-wasmplugin {IMAGE} {JWT}"), POLICY).unwrap();
    assert_eq!(text(&istio, &["auth", "key"]), Some("payload"));
    assert_eq!(text(&istio, &["auth", "as"]), Some("identity"));
    assert_eq!(text(&istio, &sources), Some("envoy.filters.http.jwt_authn"));
    let envoy = plan(
        &format!("--to envoy --upstream http://llm:80 {JWT}"),
        POLICY,
    )
    .unwrap();
    assert_eq!(text(&envoy, &sources), None);
    assert!(
        matches!(&envoy.identity, Identity::Jwt(jwt) if jwt.key == "identity"),
        "{envoy:?}"
    );
}

#[test]
fn auth_of_the_configuration_is_kept() {
    let source = |key: &str| {
        format!(
            "{POLICY}auth: [ {{ metadata: envoy.filters.http.jwt_authn, key: {key}, as: identity }} ]\n"
        )
    };
    let envoy = plan(
        &format!("--to envoy --upstream http://llm:80 {JWT}"),
        &source("claims"),
    )
    .unwrap();
    assert!(
        matches!(&envoy.identity, Identity::Jwt(jwt) if jwt.key == "claims"),
        "{envoy:?}"
    );
    let flags = format!("--to istio-wasmplugin {IMAGE} {JWT}");
    let error = plan(&flags, &source("claims")).unwrap_err();
    assert!(
        error.contains("writes the claims to the key \"payload\""),
        "{error}"
    );
    assert!(plan(&flags, &source("payload")).is_ok());
}

#[test]
fn headers_that_a_filter_sets_are_stripped() {
    let configuration = format!(
        "{POLICY}auth: [ {{ header: {{ identity.sub: x-sub, identity.tier: x-tier }} }} ]\n"
    );
    let flags = "--to envoy --upstream http://llm:80 --identity";
    let authorized = plan(
        &format!("{flags} ext-authz --authz-service authz:9000"),
        &configuration,
    )
    .unwrap();
    assert_eq!(authorized.stripped, ["x-sub", "x-tier"]);
    let trusted = plan(
        &format!("{flags} headers --trusted-proxy 10.0.0.0/8"),
        &configuration,
    )
    .unwrap();
    assert_eq!(trusted.stripped, [""; 0]);
    assert!(matches!(&trusted.identity, Identity::Headers { headers, .. } if headers.len() == 2));
}

#[test]
fn cluster_of_the_service_can_be_replaced() {
    let configuration = format!("{POLICY}storage: {{ type: limitador, cluster: limitador }}\n");
    let cluster = "outbound|8081||limitador.kuadrant-system.svc.cluster.local";
    let flags = format!("--to istio-wasmplugin {IMAGE} --identity none");
    let replaced = plan(
        &format!("{flags} --rate-limit-cluster {cluster}"),
        &configuration,
    )
    .unwrap();
    assert_eq!(text(&replaced, &["storage", "cluster"]), Some(cluster));
    assert!(
        replaced
            .service
            .is_some_and(|service| service.address.is_none())
    );
    let kept = plan(&flags, &configuration).unwrap();
    assert_eq!(text(&kept, &["storage", "cluster"]), Some("limitador"));
}
