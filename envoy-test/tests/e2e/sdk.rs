//! The evidence for tollgate's own ABI layer: four properties of the Proxy-Wasm SDK for Rust, in a real Envoy.
//!
//! The filter `envoy-test/sdk-filter` is built on the version of `proxy-wasm` in `Cargo.lock`. A test here that fails
//! after an update of that crate means that the SDK no longer has the property: then
//! `docs/decisions/0001-own-abi-layer.md` is to be revised, and the test with it.

use std::{error::Error, process::Command};

use envoy_test::{
    client::{self, Chat, Protocol, client},
    envoy::{Builder, Envoy},
    filters::{self, Tollgate},
    llm::Llm,
    remote, wait, workspace,
};
use integration::{Limitador, calls::Method};
use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::support::TestResult;

/// What a test says when the SDK no longer has the property.
const SDK_CHANGED: &str = "proxy-wasm has changed: revise docs/decisions/0001-own-abi-layer.md";

/// An Envoy with the filter on the SDK, showing this behaviour, in front of a provider.
fn sdk_filter(behaviour: &str, llm: &Llm) -> Builder {
    let filter = Tollgate::new(json!(behaviour))
        .module(workspace::sdk_filter())
        .vm_id("sdk-filter");
    Envoy::builder().upstream(llm.address()).tollgate(filter)
}

async fn get(envoy: &Envoy) -> reqwest::Result<StatusCode> {
    let request = client(Protocol::Http1)
        .get(envoy.url("/v1/models"))
        .header("x-user-id", "alice");
    Ok(request.send().await?.status())
}

#[tokio::test]
async fn empty_filter_passes_exchanges() -> TestResult {
    let llm = Llm::start().await?;
    let envoy = sdk_filter("empty", &llm).start().await?;
    let response = Chat::default()
        .send(&client(Protocol::Http1), envoy.address())
        .await?;
    let body: Value = response.json().await?;
    assert_eq!(body["usage"]["total_tokens"], 100);
    Ok(())
}

#[tokio::test]
async fn unexpected_status_ends_vm() -> TestResult {
    let llm = Llm::start().await?;
    let envoy = sdk_filter("read-header-late", &llm).start().await?;
    assert_eq!(get(&envoy).await?, 503, "{SDK_CHANGED}");
    let log = envoy.logs()?;
    assert!(log.contains("unexpected status: 2"), "{SDK_CHANGED}\n{log}");
    assert!(log.contains("hostcalls.rs"), "{SDK_CHANGED}\n{log}");
    Ok(())
}

#[tokio::test]
async fn header_that_is_not_utf8_ends_vm() -> TestResult {
    let llm = Llm::start().await?;
    let envoy = sdk_filter("read-header", &llm).start().await?;
    assert_eq!(get(&envoy).await?, 200);
    let request =
        b"GET /v1/models HTTP/1.1\r\nhost: a\r\nx-user-id: \xe9\xff\r\nconnection: close\r\n\r\n";
    let response = client::raw(envoy.address(), request).await?;
    let response = String::from_utf8_lossy(&response);
    assert!(
        response.starts_with("HTTP/1.1 503 "),
        "{SDK_CHANGED}\n{response}"
    );
    let log = envoy.logs()?;
    assert!(log.contains("FromUtf8Error"), "{SDK_CHANGED}\n{log}");
    Ok(())
}

/// Sends a request that makes one gRPC call, and waits until Envoy has delivered the reply to the VM. Returns Envoy's
/// log.
async fn log_of_call(behaviour: &str) -> Result<String, Box<dyn Error>> {
    /// How Envoy's trace begins for the delivery of a reply.
    const DELIVERED: &str = "[host->vm] proxy_on_grpc_receive(";

    let llm = Llm::start().await?;
    let limits = json!([remote::limit("test", "user", 1, 60)]);
    let service = Limitador::start(&limits.to_string()).await?;
    let envoy = sdk_filter(behaviour, &llm)
        .cluster(filters::cluster("ratelimit", service.address(), true))
        .wasm_log_level("trace")
        .start()
        .await?;
    assert_eq!(get(&envoy).await?, 200);
    let log = wait::until("the gRPC reply to reach the VM", async || {
        let log = envoy.logs().ok()?;
        let (_, after) = log.split_once(DELIVERED)?;
        // The VM has returned from the callback.
        after
            .contains("[host<-vm] proxy_on_grpc_receive")
            .then_some(log)
    });
    let log = log.await?;
    assert_eq!(service.calls().count(Method::ShouldRateLimit), 1);
    Ok(log)
}

#[tokio::test]
async fn grpc_reply_of_open_stream_is_delivered() -> TestResult {
    let log = log_of_call("call-while-open").await?;
    assert!(log.contains("gRPC reply to the stream: status 0"), "{log}");
    Ok(())
}

#[tokio::test]
async fn grpc_reply_of_deleted_stream_is_dropped() -> TestResult {
    let log = log_of_call("call-at-end").await?;
    // Envoy delivers it, and the SDK calls neither the stream's context nor the root context.
    assert!(!log.contains("gRPC reply"), "{SDK_CHANGED}\n{log}");
    Ok(())
}

#[tokio::test]
async fn paused_body_above_buffer_limit_is_rejected() -> TestResult {
    let llm = Llm::start().await?;
    let envoy = sdk_filter("drain-body", &llm).start().await?;
    let client = client(Protocol::Http1);
    let echo = async |bytes: usize| {
        let body = "x".repeat(bytes);
        let response = client.post(envoy.url("/echo")).body(body).send().await?;
        let status = response.status().as_u16();
        Ok::<_, reqwest::Error>((status, response.bytes().await.map_or(0, |body| body.len())))
    };
    assert_eq!(echo(300_000).await?, (200, 300_000));
    // Envoy's buffer has 1 MiB. A filter that returns StopIterationAndWatermark passes this body.
    assert_eq!(echo(5_000_000).await?.0, 413, "{SDK_CHANGED}");
    Ok(())
}

#[test]
fn action_has_only_continue_and_pause() -> TestResult {
    // The type is non-exhaustive, so a `match` cannot prove this. Its source can.
    // Only what this platform builds: cargo may never have downloaded the rest.
    let version = Command::new("rustc").arg("-vV").output()?.stdout;
    let version = String::from_utf8(version)?;
    let platform = version.lines().find_map(|line| line.strip_prefix("host: "));
    let platform = platform.ok_or("rustc names no host")?;
    let metadata = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--locked", "--offline"])
        .args(["--filter-platform", platform])
        .current_dir(workspace::root())
        .output()?;
    assert!(metadata.status.success(), "{metadata:?}");
    let metadata: Value = serde_json::from_slice(&metadata.stdout)?;
    let packages = metadata["packages"].as_array().ok_or("no packages")?;
    let sdk = packages
        .iter()
        .find(|package| package["name"] == "proxy-wasm")
        .and_then(|package| package["manifest_path"].as_str())
        .ok_or("the SDK is no dependency")?;
    let types = std::fs::read_to_string(std::path::Path::new(sdk).with_file_name("src/types.rs"))?;
    let variants = types
        .split_once("pub enum Action {")
        .and_then(|(_, rest)| rest.split_once('}'))
        .map(|(variants, _)| variants.split_whitespace().collect::<String>());
    assert_eq!(
        variants.as_deref(),
        Some("Continue=0,Pause=1,"),
        "{SDK_CHANGED}"
    );
    Ok(())
}
