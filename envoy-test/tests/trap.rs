//! What was counted outlives a VM that trapped, and what its exchanges held is free again in time.
//!
//! Nothing from outside makes the module trap, so this one is told to: it is the module under test, save that
//! its callback for request trailers does nothing but trap.

use std::{error::Error, fs, net::SocketAddr};

use envoy_test::{
    client::{Chat, Protocol, client},
    filters::Tollgate,
    metered::{CALLER, Metered, each_caller},
    wait, workspace,
};
use serde_json::json;
use tempfile::NamedTempFile;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use wasmparser::{ExternalKind, Parser, Payload, TypeRef};

type Outcome = Result<(), Box<dyn Error>>;

const TRAPS: &str = "proxy_on_request_trailers";

/// The module with a callback in which every instruction is `unreachable`.
fn trapping_module() -> Result<NamedTempFile, Box<dyn Error>> {
    let mut module = fs::read(workspace::module())?;
    let (mut imported, mut traps, mut bodies) = (0, None, Vec::new());
    for payload in Parser::new(0).parse_all(&module) {
        match payload? {
            Payload::ImportSection(imports) => {
                for import in imports.into_imports() {
                    imported += usize::from(matches!(import?.ty, TypeRef::Func(_)));
                }
            }
            Payload::ExportSection(exports) => {
                for export in exports {
                    let export = export?;
                    if export.kind == ExternalKind::Func && export.name == TRAPS {
                        traps = Some(export.index as usize);
                    }
                }
            }
            Payload::CodeSectionEntry(body) => bodies.push(body.range()),
            _ => {}
        }
    }
    let traps = traps.ok_or("the module has no such callback")?;
    let body = bodies[traps - imported].clone();
    // No locals, then instructions of code 0 up to the end of the body.
    let (start, end) = (usize::try_from(body.start)?, usize::try_from(body.end)?);
    module[start..end - 1].fill(0);
    let file = NamedTempFile::new()?;
    fs::write(file.path(), module)?;
    Ok(file)
}

/// Sends a request that ends with trailers, and reads the status of the response.
async fn send_trailers(address: SocketAddr) -> Result<String, std::io::Error> {
    let mut connection = TcpStream::connect(address).await?;
    let request = "POST /v1/chat/completions HTTP/1.1\r\nhost: llm\r\nx-user-id: mallory\r\n\
                   transfer-encoding: chunked\r\nconnection: close\r\n\r\n2\r\n{}\r\n0\r\nx-end: 1\r\n\r\n";
    connection.write_all(request.as_bytes()).await?;
    let mut response = Vec::new();
    connection.read_to_end(&mut response).await?;
    let response = String::from_utf8_lossy(&response);
    Ok(response.lines().next().unwrap_or_default().to_owned())
}

/// A gateway with one worker, so that it is the one that traps.
async fn start(module: &NamedTempFile) -> Result<Metered, Box<dyn Error>> {
    let mut configuration = each_caller(1_000);
    let limits = &mut configuration["policies"][0]["spec"]["limits"];
    limits["tokens"]["reservation"] = json!({ "ttl": "2s" });
    let tollgate = Tollgate::new(configuration).module(module.path());
    let metered = Metered::build(json!({}), |builder| {
        builder.tollgate(tollgate).enable_trailers()
    });
    Ok(metered.await?)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn counts_outlive_a_trap_and_holds_expire() -> Outcome {
    let module = trapping_module()?;
    let metered = start(&module).await?;
    let chat = |tokens| Chat::new("What is Kubernetes?", tokens).header(CALLER, "alice");
    let client = client(Protocol::Http1);
    let response = chat(300).send(&client, metered.envoy.address()).await?;
    assert_eq!(response.status(), 200);
    response.bytes().await?;
    assert_eq!(metered.left("alice").await?, 700);

    // The provider is silent on it, so that it is in flight when the VM traps.
    let lost = chat(400).header("x-mock-silent", 1);
    let address = metered.envoy.address();
    let lost = tokio::spawn({
        let client = client.clone();
        async move { lost.send(&client, address).await }
    });
    metered.llm.wait_for_requests(2).await?;
    assert!(metered.left("alice").await? < 700, "nothing is held");
    let status = send_trailers(address).await?;
    assert!(status.contains("503"), "{status}");
    // The VM that knew of it is gone, so nobody settles it.
    lost.abort();

    // Envoy loads the module anew. What was used is still used; what was held is free again in time.
    let left = wait::until("the holds of the VM that trapped to expire", async || {
        let left = metered.left("alice").await.ok()?;
        assert!(left <= 700, "{left} left of 1,000 after 300");
        (left == 700).then_some(left)
    });
    assert_eq!(left.await?, 700);
    let response = chat(700).send(&client, metered.envoy.address()).await?;
    assert_eq!(response.status(), 200);
    response.bytes().await?;
    let response = chat(1).send(&client, metered.envoy.address()).await?;
    assert_eq!(response.status(), 429);
    assert!(metered.envoy.is_alive());
    Ok(())
}
