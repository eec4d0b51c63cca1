//! A VM that traps: counters survive it, and the reservations of its exchanges expire.
//!
//! No input makes the module trap, so the test changes it: the callback for request trailers only traps.

use std::{error::Error, fs, net::SocketAddr};

use envoy_test::{
    client::{Chat, Protocol, client},
    filters::Tollgate,
    metered::{Metered, each_caller},
    wait, workspace,
};
use serde_json::json;
use tempfile::NamedTempFile;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use wasmparser::{ExternalKind, Parser, Payload, TypeRef};

use crate::support::{TestResult, send, spawn_chat};

/// The callback that traps.
const TRAPS: &str = "proxy_on_request_trailers";

/// How long a reservation lasts: longer than a busy machine takes from the reservation to the check that it exists.
const RESERVATION_TTL: &str = "10s";

/// The module with a callback whose instructions are all `unreachable`.
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
    // No locals, then opcode 0 up to the end of the body.
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

/// A gateway with one worker, so that every request meets the VM that traps.
async fn start(module: &NamedTempFile) -> Result<Metered, Box<dyn Error>> {
    let mut configuration = each_caller(1_000);
    let limits = &mut configuration["policies"][0]["spec"]["limits"];
    limits["tokens"]["reservation"] = json!({ "ttl": RESERVATION_TTL });
    let tollgate = Tollgate::new(configuration).module(module.path());
    let metered = Metered::build(json!({}), |builder| {
        builder.tollgate(tollgate).enable_trailers().own_process()
    });
    Ok(metered.await?)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn trap_keeps_counters_and_reservations_expire() -> TestResult {
    let module = trapping_module()?;
    let metered = start(&module).await?;
    let chat = |tokens| Chat::new("What is Kubernetes?", tokens);
    assert_eq!(send(&metered, &chat(300)).await?, 200);
    assert_eq!(metered.remaining("alice").await?, 700);

    // The provider does not answer, so that the chat is in flight when the VM traps.
    let before = metered.llm.requests();
    let silent = chat(400).header("x-mock-silent", 1);
    let lost = spawn_chat(&metered, &client(Protocol::Http1), "lost", silent);
    metered.llm.wait_for_requests(before + 1).await?;
    let left = metered.remaining("alice").await?;
    assert!(left < 700, "{left} left, no reservation");
    let status = send_trailers(metered.envoy.address()).await?;
    assert!(status.contains("503"), "{status}");
    // The VM that had its state is gone, so it is not settled.
    lost.abort();

    // Envoy loads the module again. Recorded usage stays; the reservation expires.
    let left = wait::until("the reservation of the lost VM to expire", async || {
        let left = metered.remaining("alice").await.ok()?;
        assert!(left <= 700, "{left} left of 1,000 after 300");
        (left == 700).then_some(left)
    });
    assert_eq!(left.await?, 700);
    assert_eq!(send(&metered, &chat(700)).await?, 200);
    assert_eq!(send(&metered, &chat(1)).await?, 429);
    assert!(metered.envoy.is_alive());
    Ok(())
}
