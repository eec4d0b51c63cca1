//! What `tollgate render` prints, in a real Envoy.

mod patches;

use std::{
    fs,
    net::SocketAddr,
    process::{Command, Stdio},
};

use clap::Parser;
use envoy_test::{
    authorino::Authorino,
    binary,
    child::Child,
    client::{Chat, Protocol, client},
    llm::Llm,
    wait, workspace,
};
use filter_config::{limitador, parse_yaml};
use integration::Limitador;
use serde::Deserialize;
use serde_json::{Value, json};
use tempfile::TempDir;
use tollgate_cli::render::{options::Options, render};

use self::patches::Gateway;
use crate::{identities::TOKEN, shipped::validate, support::TestResult};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// A limit that one request of the mock exhausts.
const POLICY: &str = r"
policies:
- apiVersion: kuadrant.io/v1alpha1
  kind: TokenRateLimitPolicy
  metadata: { name: llm, namespace: gateways }
  spec:
    targetRef: { group: gateway.networking.k8s.io, kind: Gateway, name: llm }
    limits:
      each-user:
        rates: [ { limit: 100, window: 24h } ]
        alertAt: 0.8
        counters: [ { expression: auth.identity.sub } ]
";

const HEADERS: &str = "auth: [ { header: { identity.sub: x-sub } } ]\n";
const STORAGE: &str = "storage: { type: limitador, cluster: limitador }\n";

/// An Envoy with a configuration as it is printed.
struct Running {
    address: SocketAddr,
    _process: Child,
    _directory: TempDir,
}

/// Returns what `tollgate render` prints with these flags.
fn rendered(flags: &str, configuration: &str) -> Result<String> {
    let fixed = ["render", "--config", "-", "--to"].into_iter();
    let options = Options::try_parse_from(fixed.chain(flags.split_whitespace()))?;
    Ok(render(&options, configuration.as_bytes())?.text)
}

/// Returns the flags of Envoy's form with the built module.
fn envoy(upstream: &str, flags: &str) -> String {
    let module = workspace::module();
    format!(
        "envoy --module {} --listen 127.0.0.1:0 --upstream {upstream} {flags}",
        module.display()
    )
}

fn documents(yaml: &str) -> Result<Vec<Value>> {
    let documents = serde_norway::Deserializer::from_str(yaml);
    Ok(documents
        .map(Value::deserialize)
        .collect::<std::result::Result<_, _>>()?)
}

/// Checks that Envoy accepts a configuration, and the module its own.
fn assert_valid(yaml: &str, what: &str) -> TestResult {
    let directory = tempfile::tempdir()?;
    let file = directory.path().join("envoy.yaml");
    fs::write(&file, yaml)?;
    let output = validate(&file)?;
    let log = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{what}: {log}\n{yaml}");
    Ok(())
}

// === impl Running ===

impl Running {
    /// Starts Envoy with a configuration whose port of the admin interface is any.
    async fn start(yaml: &str) -> Result<Self> {
        let directory = tempfile::tempdir()?;
        let [file, admin, log] =
            ["envoy.yaml", "admin", "log"].map(|name| directory.path().join(name));
        fs::write(&file, yaml.replace("port_value: 9901", "port_value: 0"))?;
        let mut command = Command::new(&binary::find()?.path);
        let output = fs::File::create(&log)?;
        command
            .arg("--config-path")
            .arg(&file)
            .arg("--admin-address-path")
            .arg(&admin);
        command.args([
            "--concurrency",
            "1",
            "--disable-hot-restart",
            "--log-level",
            "warning",
        ]);
        command
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output);
        let process = Child::spawn(command, None)?;
        let listeners = wait::until("a listener", async || {
            if !process.is_alive() {
                return Some(Err(fs::read_to_string(&log).unwrap_or_default()));
            }
            let admin: SocketAddr = fs::read_to_string(&admin).ok()?.trim().parse().ok()?;
            listener(admin).await.map(Ok)
        });
        Ok(Self {
            address: listeners.await??,
            _process: process,
            _directory: directory,
        })
    }

    /// Sends a chat that costs 100 tokens, and returns the status.
    async fn send(&self, headers: &[(&str, &str)]) -> Result<u16> {
        let chat = Chat::default()
            .header("x-mock-prompt-tokens", 40)
            .header("x-mock-completion-tokens", 60);
        let chat = headers
            .iter()
            .fold(chat, |chat, (name, value)| chat.header(name, value));
        let response = chat.send(&client(Protocol::Http1), self.address).await?;
        let status = response.status().as_u16();
        response.bytes().await?;
        Ok(status)
    }
}

/// Returns the address of the only listener, once Envoy serves.
async fn listener(admin: SocketAddr) -> Option<SocketAddr> {
    let get = async |path: &str| reqwest::get(format!("http://{admin}/{path}")).await.ok();
    if !get("ready").await?.status().is_success() {
        return None;
    }
    let listeners: Value = get("listeners?format=json").await?.json().await.ok()?;
    let address = listeners.pointer("/listener_statuses/0/local_address/socket_address")?;
    let port = address["port_value"].as_u64()?;
    format!("{}:{port}", address["address"].as_str()?)
        .parse()
        .ok()
}

#[tokio::test]
async fn rendered_envoy_limits_tokens_of_each_subject() -> TestResult {
    let llm = Llm::start().await?;
    let keys = workspace::root().join("examples/envoy/jwks.json");
    let identity = format!(
        "--identity jwt --issuer https://issuer.example.com --jwks {}",
        keys.display()
    );
    let yaml = rendered(
        &envoy(&format!("http://{}", llm.address()), &identity),
        POLICY,
    )?;
    let running = Running::start(&yaml).await?;
    let token = format!("Bearer {TOKEN}");
    let alice = [("authorization", token.as_str())];
    assert_eq!(running.send(&[]).await?, 401);
    assert_eq!(running.send(&alice).await?, 200);
    let received = llm.last_request().ok_or("no request")?;
    assert!(
        !received.headers.contains_key("authorization"),
        "{received:?}"
    );
    assert_eq!(running.send(&alice).await?, 429);
    assert_eq!(llm.requests(), 1);
    Ok(())
}

/// The policy reads a header that no filter sets, so that only the client can send it.
#[tokio::test]
async fn identity_headers_of_clients_are_stripped() -> TestResult {
    let llm = Llm::start().await?;
    let keys = workspace::root().join("examples/envoy/jwks.json");
    let identity = format!(
        "--identity jwt --issuer https://issuer.example.com --jwks {}",
        keys.display()
    );
    let flags = envoy(&format!("http://{}", llm.address()), &identity);
    let running = Running::start(&rendered(&flags, &format!("{POLICY}{HEADERS}"))?).await?;
    let token = format!("Bearer {TOKEN}");
    let headers = [("authorization", token.as_str()), ("x-sub", "bob")];
    assert_eq!(running.send(&headers).await?, 401);
    assert_eq!(llm.requests(), 0);
    Ok(())
}

#[tokio::test]
async fn rendered_envoy_calls_authorization_and_rate_limit_services() -> TestResult {
    let (llm, authorino) = (Llm::start().await?, Authorino::tutorial().await?);
    let storage = "storage: { type: limitador, cluster: limitador, timeout: 60s }\n";
    let configuration =
        format!("{POLICY}{storage}").replace("auth.identity.sub", "auth.identity.userid");
    let limits = limitador::limits(&parse_yaml(configuration.as_bytes())?, None);
    let limits = serde_norway::to_string(&limits.map_err(|parts| format!("{parts:?}"))?)?;
    let limitador = Limitador::start(&limits).await?;
    let services = format!(
        "--identity authorino --authz-service {} --rate-limit-service {}",
        authorino.address(),
        limitador.address()
    );
    let yaml = rendered(
        &envoy(&format!("http://{}", llm.address()), &services),
        &configuration,
    )?;
    // Longer than any answer takes on a busy machine.
    let running = Running::start(&yaml.replace("timeout: 1s", "timeout: 60s")).await?;
    assert_eq!(running.send(&[]).await?, 401);
    for (key, status) in [
        ("iamafreeuser", 200),
        ("iamafreeuser", 429),
        ("iamagolduser", 200),
    ] {
        let key = format!("APIKEY {key}");
        let found = running.send(&[("authorization", key.as_str())]).await?;
        assert_eq!(found, status, "{key}");
    }
    // What an exchange has used is reported after its response.
    let counted = wait::until("the counts of both users", async || {
        let counters = limitador.counters("gateways/llm").await.ok()?;
        let mut used = counters.iter().map(|counter| counter.used);
        (used.len() == 2 && used.all(|used| used == 100)).then_some(())
    });
    counted.await?;
    Ok(())
}

#[tokio::test]
async fn identity_headers_are_accepted_from_proxy_only() -> TestResult {
    let llm = Llm::start().await?;
    let upstream = format!("http://{}", llm.address());
    let configuration = format!("{POLICY}{HEADERS}");
    for (proxies, statuses) in [
        ("10.0.0.0/8,fd00::/8", [403, 403, 401]),
        ("127.0.0.0/8", [200, 429, 401]),
    ] {
        let identity = format!("--identity headers --trusted-proxy {proxies}");
        let running =
            Running::start(&rendered(&envoy(&upstream, &identity), &configuration)?).await?;
        let mut found = Vec::new();
        for headers in [&[("x-sub", "alice")][..], &[("x-sub", "alice")], &[]] {
            found.push(running.send(headers).await?);
        }
        assert_eq!(found, statuses, "{proxies}");
    }
    Ok(())
}

#[test]
fn examples_are_valid_in_envoy_as_rendered() -> TestResult {
    let examples = workspace::root().join("examples");
    let authorino = "--identity authorino --authz-service authorino.example.com:50051";
    for (example, identity) in [
        ("apisix/tollgate.yaml", ""),
        ("envoy-ai-gateway/tollgate.yaml", ""),
        ("envoy-ai-gateway/metering/tollgate.yaml", ""),
        ("jupiter/tollgate.yaml", "--identity none"),
        (
            "kong/tollgate.yaml",
            "--identity headers --trusted-proxy 10.0.0.0/8",
        ),
        ("kuadrant/policy.yaml", authorino),
    ] {
        let configuration = fs::read_to_string(examples.join(example))?;
        let yaml = rendered(&envoy("https://api.example.com", identity), &configuration)?;
        assert_valid(&yaml, example)?;
    }
    Ok(())
}

#[test]
fn everything_at_once_is_valid_in_envoy() -> TestResult {
    let flags = "--identity jwt --issuer https://issuer.example.com --jwks https://issuer.example.com/jwks \
                 --audience llm --rate-limit-service [::1]:8081";
    let yaml = rendered(
        &envoy("https://api.example.com", flags),
        &format!("{POLICY}{HEADERS}{STORAGE}holdHeaders: true\n"),
    )?;
    assert_valid(&yaml, "jwt")?;
    let flags =
        "--identity ext-authz --authz-service authz:9000 --rate-limit-service limitador:8081";
    let yaml = rendered(
        &envoy("http://llm:80", flags),
        &format!("{POLICY}{HEADERS}{STORAGE}"),
    )?;
    assert_valid(&yaml, "ext-authz")
}

#[test]
fn patches_are_valid_in_envoy() -> TestResult {
    let module = workspace::module();
    let path = format!("--module {}", module.display());
    let image = "--module oci://registry.example.com/tollgate:0.1.0";
    let service = "--rate-limit-service limitador:8081";
    let authz = "--identity ext-authz";
    let configuration = format!("{POLICY}{HEADERS}{STORAGE}holdHeaders: true\n");
    for flags in [
        format!("istio-envoyfilter {path} {authz} --authz-provider authz {service}"),
        format!("istio-envoyfilter {image} {authz} --authz-provider authz {service}"),
        format!("envoy-gateway {path} {authz} --authz-service authz.auth:9000 {service}"),
    ] {
        let mut gateway = Gateway::new();
        for document in documents(&rendered(&flags, &configuration)?)? {
            gateway.apply(&document)?;
        }
        let mut expected = vec!["tollgate", "envoy.filters.http.router"];
        if flags.starts_with("istio") {
            expected.insert(0, "envoy.filters.http.header_mutation");
        }
        assert_eq!(gateway.filters(), expected, "{flags}");
        assert_eq!(gateway.clusters(), ["limitador"], "{flags}");
        assert_valid(&gateway.bootstrap(&module).to_string(), &flags)?;
    }
    Ok(())
}

/// Control planes pass `pluginConfig` and `config` as JSON in a `StringValue`.
#[test]
fn plugin_configurations_are_valid_in_envoy() -> TestResult {
    let image = "--module oci://registry.example.com/tollgate:0.1.0";
    let jwt =
        "--identity jwt --issuer https://issuer.example.com --jwks https://issuer.example.com/jwks";
    let mut gateway = Gateway::new();
    for (form, kind, path) in [
        ("istio-wasmplugin", "WasmPlugin", "/spec/pluginConfig"),
        (
            "istio-trafficextension",
            "TrafficExtension",
            "/spec/wasm/pluginConfig",
        ),
        (
            "envoy-gateway",
            "EnvoyExtensionPolicy",
            "/spec/wasm/0/config",
        ),
    ] {
        let documents = documents(&rendered(&format!("{form} {image} {jwt}"), POLICY)?)?;
        let plugin = documents
            .iter()
            .find(|document| document["kind"] == kind)
            .ok_or(kind)?;
        let configuration = plugin.pointer(path).ok_or(path)?;
        gateway.insert(json!({
            "name": kind,
            "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm",
                "config": {
                    "configuration": {
                        "@type": "type.googleapis.com/google.protobuf.StringValue",
                        "value": configuration.to_string(),
                    },
                    "vm_config": { "runtime": "envoy.wasm.runtime.v8", "code": { "remote": {} } },
                },
            },
        }))?;
    }
    assert_valid(
        &gateway.bootstrap(&workspace::module()).to_string(),
        "plugins",
    )
}
