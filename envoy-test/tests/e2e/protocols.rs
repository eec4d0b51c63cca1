//! Upgrades, bodiless responses, `Expect: 100-continue` and gRPC: forwarded unchanged and rejected in their own terms.

use envoy_test::{
    authorino::Authorino,
    client::{self, Chat, Protocol, client},
    envoy::Envoy,
    filters::Tollgate,
    metered::{CALLER, Metered, each_caller, only_when},
};
use envoy_types::pb::envoy::service::auth::v3::{
    CheckRequest, authorization_client::AuthorizationClient,
};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tonic::Code;

use crate::support::TestResult;

#[tokio::test]
async fn upgraded_connection_passes_both_ways() -> TestResult {
    let reads_body = only_when("requestBodyJSON('/model') != 'small'", 100);
    for configuration in [each_caller(100), reads_body] {
        let metered = Metered::start(configuration).await?;
        let upgraded = client(Protocol::Http1)
            .get(metered.envoy.url("/upgrade"))
            .header("connection", "upgrade")
            .header("upgrade", "websocket")
            .header(CALLER, "alice")
            .send()
            .await?;
        assert_eq!(upgraded.status(), 101);
        let mut upgraded = upgraded.upgrade().await?;
        for message in [
            &b"{\"usage\":{\"total_tokens\":5}}"[..],
            b"\x81\x05hello",
            b"data: x\n\n",
        ] {
            upgraded.write_all(message).await?;
            let mut echoed = vec![0; message.len()];
            upgraded.read_exact(&mut echoed).await?;
            assert_eq!(echoed, message);
        }
        drop(upgraded);
        metered.check().await?;
    }
    Ok(())
}

#[tokio::test]
async fn response_without_body_costs_nothing() -> TestResult {
    let metered = Metered::start(each_caller(100)).await?;
    for protocol in Protocol::ALL {
        let client = client(protocol);
        let head = client
            .head(metered.envoy.url("/v1/models"))
            .header(CALLER, "alice");
        assert_eq!(head.send().await?.status(), 200);
        let get = client
            .get(metered.envoy.url("/not-modified"))
            .header(CALLER, "alice");
        assert_eq!(get.send().await?.status(), 304);
        let options = client.request(reqwest::Method::OPTIONS, metered.envoy.url("/echo"));
        assert_eq!(options.header(CALLER, "alice").send().await?.status(), 200);
    }
    assert_eq!(metered.remaining("alice").await?, 100);
    Ok(())
}

#[tokio::test]
async fn rejected_head_request_has_no_body() -> TestResult {
    let metered = Metered::start(each_caller(0)).await?;
    for protocol in Protocol::ALL {
        let head = client(protocol).head(metered.envoy.url("/v1/models"));
        let response = head.header(CALLER, "alice").send().await?;
        assert_eq!(response.status(), 429);
        assert!(response.bytes().await?.is_empty());
    }
    Ok(())
}

#[tokio::test]
async fn expect_continue_is_answered_before_body() -> TestResult {
    let metered = Metered::start(each_caller(100)).await?;
    let body = Chat::default().body().to_string();
    let head = format!(
        "POST /v1/chat/completions HTTP/1.1\r\nhost: a\r\nx-user-id: alice\r\nconnection: close\r\n\
         expect: 100-continue\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    let mut connection = tokio::net::TcpStream::connect(metered.envoy.address()).await?;
    connection.write_all(head.as_bytes()).await?;
    let mut interim = vec![0; b"HTTP/1.1 100 Continue\r\n\r\n".len()];
    connection.read_exact(&mut interim).await?;
    assert_eq!(interim, b"HTTP/1.1 100 Continue\r\n\r\n");
    connection.write_all(body.as_bytes()).await?;
    let mut response = Vec::new();
    connection.read_to_end(&mut response).await?;
    assert!(response.starts_with(b"HTTP/1.1 200 OK\r\n"));

    // A caller that has exhausted its limit is rejected before it sends the body.
    let rejected = client::raw(metered.envoy.address(), head.as_bytes()).await?;
    let rejected = String::from_utf8_lossy(&rejected);
    assert!(rejected.contains("HTTP/1.1 429 "), "{rejected}");
    assert_eq!(metered.llm.requests(), 1);
    Ok(())
}

#[tokio::test]
async fn grpc_call_is_rejected_with_grpc_status() -> TestResult {
    let service = Authorino::tutorial().await?;
    let mut exhausted = each_caller(0);
    exhausted["replies"] = json!({});
    for (configuration, code) in [
        (each_caller(100), Code::Ok),
        (exhausted, Code::ResourceExhausted),
    ] {
        let envoy = Envoy::builder()
            .upstream(service.address())
            .upstream_http2()
            .tollgate(Tollgate::new(configuration))
            .start()
            .await?;
        let mut client = AuthorizationClient::connect(envoy.url("")).await?;
        for _ in 0..2 {
            let mut request = tonic::Request::new(CheckRequest::default());
            request.metadata_mut().insert(CALLER, "alice".parse()?);
            match client.check(request).await {
                // The service itself answers that the request has no credentials.
                Ok(response) => {
                    assert_eq!(code, Code::Ok);
                    let status = response.into_inner().status.ok_or("no status")?;
                    assert_eq!(status.code, i32::from(Code::Unauthenticated));
                }
                Err(status) => {
                    assert_eq!(status.code(), code, "{status:?}");
                    assert!(
                        status.metadata().contains_key("x-should-retry"),
                        "{status:?}"
                    );
                }
            }
        }
        assert!(envoy.is_alive());
    }
    Ok(())
}
