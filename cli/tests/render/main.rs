//! `tollgate render`, as a user calls it.

mod access_log;
mod published;
mod schema;

use std::{
    collections::BTreeSet,
    io::Write,
    process::{Command, Output, Stdio},
};

use clap::Parser;
use filter_config::{limitador, parse_carried, parse_file};
use serde::Deserialize;
use serde_json::{Value, json};
use tollgate_cli::render::{self as library, Rendered, options::Options};

/// A policy without warnings, whose identity is the claim `sub`.
const POLICY: &str = r#"
policies:
- apiVersion: kuadrant.io/v1alpha1
  kind: TokenRateLimitPolicy
  metadata: { name: llm, namespace: gateways }
  spec:
    targetRef: { group: gateway.networking.k8s.io, kind: Gateway, name: llm }
    limits:
      each-user:
        rates: [ { limit: 1000, window: 1h } ]
        alertAt: 0.8
        counters: [ { expression: auth.identity.sub } ]
      off-hours:
        shadow: true
        rates: [ { limit: 9007199254740991, window: 24h } ]
        when:
        - predicate: |
            llm.model.startsWith("gpt-")
            && auth.identity.tier == 'on'
"#;

const STORAGE: &str = "storage: { type: limitador, cluster: limitador }\n";
const HEADERS: &str = "auth: [ { header: { identity.sub: x-sub, identity.tier: x-tier } } ]\n";

const HEADERS_AND_TOKENS: &str =
    "auth: [ { metadata: envoy.filters.http.jwt_authn }, { header: { identity.sub: x-sub } } ]\n";

/// The forms, each with the module that it takes.
const FORMS: [&str; 7] = [
    "envoy --upstream https://api.example.com",
    "istio-wasmplugin --module oci://registry.example.com/tollgate:0.1.0 --pull-secret registry",
    "istio-trafficextension --module https://example.com/tollgate.wasm --selector istio=ingressgateway",
    "istio-envoyfilter --module oci://registry.example.com/tollgate:0.1.0",
    "istio-envoyfilter --module /tollgate.wasm --selector istio=ingressgateway",
    "envoy-gateway --module oci://registry.example.com/tollgate:0.1.0 --pull-secret registry",
    "envoy-gateway --module /etc/tollgate.wasm",
];

/// Runs `tollgate` with these arguments and this standard input.
fn tollgate(arguments: &[&str], input: &str) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_tollgate"))
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    // A command that rejects its arguments does not read it.
    let _ = stdin.write_all(input.as_bytes());
    drop(stdin);
    child.wait_with_output().unwrap()
}

/// Runs `tollgate render` with these flags.
fn render(form: &str, flags: &str, configuration: &str) -> Output {
    let fixed = ["render", "--config", "-", "--to"];
    let arguments = fixed
        .into_iter()
        .chain(form.split_whitespace())
        .chain(flags.split_whitespace());
    tollgate(&arguments.collect::<Vec<_>>(), configuration)
}

/// Returns what the same flags render, without a process.
fn in_process(form: &str, flags: &str, configuration: &str) -> Rendered {
    let fixed = ["render", "--config", "-", "--to"].into_iter();
    let flags = form.split_whitespace().chain(flags.split_whitespace());
    let options = Options::try_parse_from(fixed.chain(flags)).unwrap();
    library::render(&options, configuration.as_bytes())
        .unwrap_or_else(|error| panic!("{options:?}: {error}"))
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

fn documents(yaml: &str) -> Vec<Value> {
    let documents = serde_norway::Deserializer::from_str(yaml);
    documents
        .map(|document| Value::deserialize(document).unwrap())
        .collect()
}

/// Returns every combination of a form with a source of identities and a storage: the form, the other flags, and the
/// configuration.
fn combinations() -> Vec<(&'static str, String, String)> {
    let mut combinations = Vec::new();
    for form in FORMS {
        let (is_envoy, is_istio) = (form.starts_with("envoy "), form.starts_with("istio"));
        let authz = |provider: &str| {
            if is_istio {
                format!("--identity {provider} --authz-provider authz")
            } else {
                format!("--identity {provider} --authz-service authz.auth:50051")
            }
        };
        let jwt = "--identity jwt --issuer https://issuer.example.com --jwks https://issuer.example.com/jwks";
        let mut identities = vec![
            (jwt.to_owned(), ""),
            (format!("{jwt} --audience llm,models"), HEADERS_AND_TOKENS),
            (authz("authorino"), ""),
            (authz("ext-authz"), HEADERS),
            (
                "--identity headers --trusted-proxy 10.0.0.0/8,fd00::/8".to_owned(),
                HEADERS,
            ),
        ];
        if !is_envoy {
            identities.push(("--identity none".to_owned(), ""));
        }
        for (identity, settings) in identities {
            let service = "--rate-limit-service limitador.kuadrant-system:8081";
            let istio =
                "--rate-limit-cluster outbound|8081||limitador.kuadrant-system.svc.cluster.local";
            let mut storages = vec![("", ""), (STORAGE, service)];
            if !is_envoy {
                storages.push((STORAGE, istio));
            }
            for (storage, flags) in storages {
                let configuration = format!("{POLICY}{settings}{storage}");
                combinations.push((form, format!("{identity} {flags}"), configuration));
            }
        }
    }
    combinations
}

#[test]
fn output_is_valid_without_warnings() {
    for (form, flags, configuration) in combinations() {
        let context = format!("{form} {flags}");
        let rendered = in_process(form, &flags, &configuration);
        assert!(rendered.warnings.is_empty(), "{context}: {rendered:?}");
        assert!(rendered.of_output.is_empty(), "{context}: {rendered:?}");
        // What `tollgate check --strict` does.
        let found = parse_file(rendered.text.as_bytes()).unwrap();
        let [found] = found.as_slice() else {
            panic!("{context}: {found:?}");
        };
        assert!(
            found.configuration.warnings.is_empty(),
            "{context}: {found:?}"
        );
        // The limits are the same, and their keys.
        let expected = parse_carried(configuration.as_bytes()).unwrap();
        let limits = |configuration| limitador::limits(configuration, Some("all")).unwrap();
        assert_eq!(limits(&found.configuration), limits(&expected), "{context}");
        let again = in_process(form, &flags, &configuration);
        assert_eq!(again.text, rendered.text, "{context}: not deterministic");
    }
}

#[test]
fn check_accepts_output() {
    let jwt =
        "--identity jwt --issuer https://issuer.example.com --jwks https://issuer.example.com/jwks";
    for form in FORMS {
        let output = render(form, jwt, POLICY);
        assert!(output.status.success(), "{form}: {output:?}");
        assert_eq!(text(&output.stderr), "", "{form}");
        let checked = tollgate(&["check", "--strict", "-"], text(&output.stdout));
        assert!(checked.status.success(), "{form}: {checked:?}");
        let summary = "valid, policies: 1, limits: 2\n";
        assert!(text(&checked.stdout).ends_with(summary), "{checked:?}");
    }
}

#[test]
fn resources_have_the_published_structure() {
    let mut kinds = BTreeSet::new();
    for (form, flags, configuration) in combinations() {
        if form.starts_with("envoy ") {
            continue;
        }
        for document in documents(&in_process(form, &flags, &configuration).text) {
            let kind = document["kind"].as_str().unwrap().to_owned();
            let (version, spec) = published::of(&kind).unwrap();
            assert_eq!(document["apiVersion"], version);
            let fields: Vec<&String> = document.as_object().unwrap().keys().collect();
            assert_eq!(fields, ["apiVersion", "kind", "metadata", "spec"]);
            let mut errors = Vec::new();
            spec.check(&document["spec"], &kind, &mut errors);
            assert!(errors.is_empty(), "{form} {flags}: {errors:#?}");
            kinds.insert(kind);
        }
    }
    assert_eq!(kinds.len(), 10, "{kinds:?}");
}

/// Returns a file of the repository.
fn file(path: &str) -> String {
    let path = format!("{}/../{path}", env!("CARGO_MANIFEST_DIR"));
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
}

#[test]
fn addresses_of_envoy_are_those_of_flags() {
    let address = |flags: &str| {
        let flags = format!("--identity none {flags}");
        let rendered = documents(&in_process(FORMS[0], &flags, POLICY).text).remove(0);
        let address = |at: &Value| {
            let address = &at["address"]["socket_address"];
            format!("{} {}", address["address"], address["port_value"])
        };
        let listener = &rendered["static_resources"]["listeners"][0];
        [address(&rendered["admin"]), address(listener)]
    };
    let default = ["\"127.0.0.1\" 9901", "\"0.0.0.0\" 8080"];
    assert_eq!(address(""), default);
    let given = address("--admin [::1]:9902 --listen 127.0.0.1:8081");
    assert_eq!(given, ["\"::1\" 9902", "\"127.0.0.1\" 8081"]);
}

#[test]
fn key_of_a_provider_is_named_as_missing() {
    let note = "The key of a provider is not part of this output";
    for (upstream, is_provider) in [("https://api.openai.com", true), ("http://vllm", false)] {
        let form = format!("envoy --upstream {upstream}");
        let rendered = in_process(&form, "--identity none", POLICY);
        assert_eq!(rendered.text.contains(note), is_provider, "{upstream}");
    }
}

#[test]
fn hosts_have_no_trailing_dot() {
    let rendered = documents(&in_process(FORMS[0], "--identity none", POLICY).text).remove(0);
    let listener = &rendered["static_resources"]["listeners"][0];
    let manager = &listener["filter_chains"][0]["filters"][0]["typed_config"];
    assert_eq!(manager["strip_trailing_host_dot"], true);
}

#[test]
fn shipped_manifest_is_what_is_rendered() {
    let manifest = file("integration/manifests/wasm-plugin.yaml");
    let form = "istio-wasmplugin --module oci://registry.example.com/tollgate:0.1.0";
    let rendered = in_process(form, "--identity none", &manifest);
    assert_eq!(rendered.text, manifest);
}

#[test]
fn documented_commands_are_accepted() {
    let mut commands = 0;
    for path in ["docs/command-line.md", "docs/deploying.md"] {
        let text = file(path).replace("\\\n", " ");
        for command in text
            .lines()
            .filter_map(|line| line.strip_prefix("$ tollgate render --to "))
        {
            let (command, _) = command
                .split_once(" > ")
                .or_else(|| command.split_once(" | "))
                .unwrap();
            let flags = command.replace("--config policy.yaml", "");
            in_process("", &flags, POLICY);
            commands += 1;
        }
    }
    assert_eq!(commands, 3);
}

#[test]
fn metrics_have_the_labels_of_the_manifest() {
    let rendered = documents(&in_process(FORMS[0], "--identity none", POLICY).text);
    let manifest = documents(&file("integration/manifests/stats-tags.yaml"));
    assert_eq!(rendered[0]["stats_config"], manifest[0]["stats_config"]);
}

#[test]
fn structures_reject_what_is_published_otherwise() {
    for (kind, spec) in [
        ("WasmPlugin", r#"{ "phase": "STATS" }"#),
        (
            "WasmPlugin",
            r#"{ "url": "oci://a/b", "failStrategy": "FAIL_CLOSED" }"#,
        ),
        (
            "WasmPlugin",
            r#"{ "url": "oci://a/b", "vmId": "tollgate" }"#,
        ),
        (
            "WasmPlugin",
            r#"{ "url": "oci://a/b", "selector": {}, "targetRefs": [] }"#,
        ),
        (
            "WasmPlugin",
            r#"{ "url": "oci://a/b", "sha256": "sha256:00" }"#,
        ),
        ("TrafficExtension", r#"{ "phase": "STATS" }"#),
        (
            "EnvoyFilter",
            r#"{ "configPatches": [ { "applyTo": "HTTP_FILTERS" } ] }"#,
        ),
        ("EnvoyExtensionPolicy", r#"{ "targetRefs": [] }"#),
        (
            "EnvoyPatchPolicy",
            r#"{ "type": "JSONPatch", "targetRef": { "group": "gateway.networking.k8s.io", "kind": "Gateway" } }"#,
        ),
    ] {
        let mut errors = Vec::new();
        let (_, schema) = published::of(kind).unwrap();
        schema.check(&serde_json::from_str(spec).unwrap(), kind, &mut errors);
        assert_eq!(errors.len(), 1, "{spec}: {errors:?}");
    }
}

#[test]
fn invalid_policy_prints_what_check_prints() {
    let invalid = POLICY
        .replace("window: 1h", "window: 60")
        .replace("auth.identity.sub", "atuh.identity.sub");
    let checked = tollgate(&["check", "-"], &invalid);
    for form in FORMS {
        let output = render(form, "", &invalid);
        assert_eq!(output.status.code(), Some(1));
        assert_eq!(text(&output.stdout), "");
        assert_eq!(text(&output.stderr), text(&checked.stderr));
    }
    let missing = tollgate(&["render", "--to", "envoy", "--config", "no-such-file"], "");
    assert_eq!(missing.status.code(), Some(1));
    assert!(
        text(&missing.stderr).starts_with("no-such-file: "),
        "{missing:?}"
    );
}

#[test]
fn warnings_of_the_policy_are_printed_once() {
    let output = render(
        FORMS[1],
        "--identity none",
        &POLICY.replace("limit: 1000,", "limit: '1000',"),
    );
    assert!(output.status.success());
    let lines: Vec<&str> = text(&output.stderr).lines().collect();
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert!(
        lines[0].starts_with("-: warning[number-as-text]: policies[0].spec."),
        "{lines:?}"
    );
}

#[test]
fn limits_that_are_the_same_are_named_once() {
    let rule = "{ rates: [ { limit: 7, window: 1h } ], counters: [ { expression: source.remote_address } ] }";
    let limits = format!("limits:\n      a: {rule}\n      b: {rule}\n");
    for form in FORMS {
        let rendered = in_process(
            form,
            "--identity none",
            &POLICY.replace("limits:\n", &limits),
        );
        let codes = |warnings: &[filter_config::Warning]| {
            let codes = warnings.iter().map(|warning| warning.code().to_string());
            codes.collect::<Vec<_>>()
        };
        assert_eq!(codes(&rendered.warnings), ["same-limit"], "{form}");
        let is_again = codes(&rendered.of_output).contains(&"same-limit".to_owned());
        assert!(!is_again, "{form}: {rendered:?}");
    }
}

#[test]
fn warnings_of_the_output_are_printed() {
    let output = render(FORMS[0], "--identity none", POLICY);
    assert!(output.status.success());
    let warning = "-, as rendered: warning[unwritten-metadata]: static_resources.";
    assert!(text(&output.stderr).starts_with(warning), "{output:?}");
}

#[test]
fn misuse_is_reported_as_clap_reports_it() {
    for (arguments, message) in [
        (
            "--to envoy --identity none",
            "error: --upstream is required: ",
        ),
        (
            "--to envoy --upstream http://llm:80",
            "error: --identity is required: ",
        ),
        (
            "--to istio",
            "error: invalid value 'istio' for '--to <FORM>'",
        ),
        (
            "--to envoy --upsteam http://llm:80",
            "error: unexpected argument '--upsteam' found",
        ),
        (
            "--to envoy --upstream vllm:8000",
            "error: invalid value 'vllm:8000' for '--upstream <URL>': expected the scheme, ",
        ),
    ] {
        let fixed = ["render", "--config", "-"].into_iter();
        let arguments: Vec<&str> = fixed.chain(arguments.split_whitespace()).collect();
        let output = tollgate(&arguments, POLICY);
        assert_eq!(output.status.code(), Some(2), "{output:?}");
        assert_eq!(text(&output.stdout), "");
        assert!(text(&output.stderr).starts_with(message), "{output:?}");
    }
    let unknown = tollgate(
        &["render", "--to", "envoy", "--config", "-", "--upsteam", "a"],
        "",
    );
    assert!(
        text(&unknown.stderr).contains("'--upstream'"),
        "{unknown:?}"
    );
    let unknown = tollgate(&["rendr"], "");
    assert!(text(&unknown.stderr).contains("'render'"), "{unknown:?}");
}

#[test]
fn carried_configuration_is_rendered_in_another_form() {
    let jwt =
        "--identity jwt --issuer https://issuer.example.com --jwks https://issuer.example.com/jwks";
    let plugin = render(FORMS[1], jwt, POLICY);
    let filter = render(FORMS[3], jwt, text(&plugin.stdout));
    assert_eq!(
        text(&filter.stdout),
        text(&render(FORMS[3], jwt, POLICY).stdout)
    );
}

#[test]
fn list_is_rendered_without_what_has_no_effect() {
    let policy = |name: &str, created: u16| {
        json!({
            "apiVersion": "kuadrant.io/v1alpha1",
            "kind": "TokenRateLimitPolicy",
            "metadata": {
                "name": name, "namespace": "gateways", "creationTimestamp": format!("{created}-01-01T00:00:00Z")
            },
            "spec": {
                "targetRef": { "group": "gateway.networking.k8s.io", "kind": "Gateway", "name": "llm" },
                "limits": { name: { "rates": [ { "limit": 1000, "window": "1h" } ] } }
            }
        })
    };
    let other = json!({ "apiVersion": "kuadrant.io/v1", "kind": "AuthPolicy", "metadata": { "name": "auth" } });
    let route = json!({
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "HTTPRoute",
        "metadata": { "name": "llm", "namespace": "gateways" },
        "spec": { "parentRefs": [ { "name": "llm" } ], "rules": [ {} ] }
    });
    let items = json!([policy("newer", 2026), policy("older", 2025), other, route]);
    let list = json!({ "apiVersion": "v1", "kind": "List", "items": items }).to_string();
    let rendered = in_process(FORMS[1], "--identity none", &list);
    let codes = rendered.warnings.iter().map(filter_config::Warning::code);
    let codes: BTreeSet<String> = codes.map(|code| code.to_string()).collect();
    for code in ["not-read", "second-policy"] {
        assert!(codes.contains(code), "{codes:?}");
    }
    let configuration = &documents(&rendered.text)[0]["spec"]["pluginConfig"];
    let names = |field: &str| {
        let resources = configuration[field].as_array().unwrap().iter();
        let names = resources.map(|resource| resource["metadata"]["name"].clone());
        names.collect::<Vec<_>>()
    };
    assert_eq!(names("policies"), ["older"]);
    assert_eq!(names("routes"), ["llm"]);
}
