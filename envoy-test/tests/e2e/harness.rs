//! The harness itself: an Envoy that starts, routes, authorizes, logs, counts and accepts updates.

use std::net::SocketAddr;

use envoy_test::{
    authorino::Authorino,
    binary,
    client::{self, Chat, Protocol, client},
    envoy::{Envoy, Update},
    filters::{self, Tollgate},
    llm::{Llm, Script},
    remote,
};
use integration::Limitador;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::support::TestResult;

#[tokio::test]
async fn requests_reach_provider_over_both_protocols() -> TestResult {
    let llm = Llm::start().await?;
    for upstream_http2 in [false, true] {
        let mut builder = Envoy::builder().upstream(llm.address()).concurrency(2);
        if upstream_http2 {
            builder = builder.upstream_http2();
        }
        let envoy = builder.start().await?;
        for protocol in Protocol::ALL {
            let response = Chat::default()
                .send(&client(protocol), envoy.address())
                .await?;
            assert_eq!(response.version(), protocol.version());
            let body: Value = response.json().await?;
            assert_eq!(body["usage"]["total_tokens"], 100);
        }
        let entries = envoy.access_log(2).await?;
        assert_eq!(entries[0].protocol(), "HTTP/1.1");
        assert_eq!(entries[1].protocol(), "HTTP/2");
    }
    assert_eq!(llm.requests(), 4);
    assert_eq!((llm.input_tokens(), llm.output_tokens()), (20, 380));
    Ok(())
}

#[tokio::test]
async fn authorization_service_admits_known_api_keys() -> TestResult {
    let llm = Llm::start().await?;
    let authorino = Authorino::tutorial().await?;
    let envoy = Envoy::builder()
        .upstream(llm.address())
        .authorization(authorino.address())
        .start()
        .await?;
    let client = client(Protocol::Http1);
    let send = async |key: &str| {
        let chat = Chat::default().api_key(key);
        chat.send(&client, envoy.address()).await
    };

    assert_eq!(send("iamafreeuser").await?.status(), 200);
    assert_eq!(send("iamagolduser").await?.status(), 200);
    let unauthorized = send("unknown-key").await?;
    assert_eq!(unauthorized.status(), 401);
    assert_eq!(
        unauthorized.headers()["www-authenticate"],
        "APIKEY realm=\"api-key-users\""
    );
    assert_eq!(llm.requests(), 2);

    authorino.set_key(
        "unknown-key",
        json!({ "userid": null, "groups": ["free", "gold"] }),
    );
    assert_eq!(send("unknown-key").await?.status(), 200);
    Ok(())
}

#[tokio::test]
async fn identity_becomes_dynamic_metadata() -> TestResult {
    let authorino = Authorino::tutorial().await?;
    let command = format!("%DYNAMIC_METADATA({}:identity:userid)%", filters::EXT_AUTHZ);
    let envoy = Envoy::builder()
        .authorization(authorino.address())
        .edit_listener(move |listener| {
            let manager = &mut listener["filter_chains"][0]["filters"][0]["typed_config"];
            manager["access_log"][0]["typed_config"]["log_format"]["json_format"]["path"] =
                json!(command);
        })
        .start()
        .await?;
    let client = client(Protocol::Http1);
    Chat::default()
        .api_key("iamagolduser")
        .send(&client, envoy.address())
        .await?;
    assert_eq!(envoy.access_log(1).await?[0].path(), "user-2");
    Ok(())
}

#[tokio::test]
async fn filters_set_metadata_and_filter_state() -> TestResult {
    let envoy = Envoy::builder()
        .filter(filters::set_metadata(
            "some.namespace",
            &json!({ "identity": { "userid": "a" } }),
        ))
        .filter(filters::header_to_metadata(
            "x-user-id",
            "other.namespace",
            "userid",
        ))
        .filter(filters::set_filter_state(
            "kuadrant.auth",
            "%REQ(x-user-id)%",
        ))
        .edit_listener(|listener| {
            let manager = &mut listener["filter_chains"][0]["filters"][0]["typed_config"];
            manager["access_log"][0]["typed_config"]["log_format"]["json_format"]["path"] = json!(
                "%DYNAMIC_METADATA(some.namespace:identity:userid)% \
                 %DYNAMIC_METADATA(other.namespace:userid)% %FILTER_STATE(kuadrant.auth:PLAIN)%"
            );
        })
        .start()
        .await?;
    client(Protocol::Http1)
        .get(envoy.url("/"))
        .header("x-user-id", "b")
        .send()
        .await?;
    assert_eq!(envoy.access_log(1).await?[0].path(), "a b b");
    Ok(())
}

#[tokio::test]
async fn rejected_update_keeps_old_listener() -> TestResult {
    let mut envoy = Envoy::builder().start().await?;
    let get = async |address: SocketAddr| -> reqwest::Result<u16> {
        let request = client(Protocol::Http1).get(format!("http://{address}/"));
        Ok(request.send().await?.status().as_u16())
    };
    let module = std::env::temp_dir().join("no-such-module.wasm");
    let update = envoy
        .update(Tollgate::new(json!({})).module(module))
        .await?;
    let Update::Rejected(rejection) = update else {
        panic!("{update:?}")
    };
    assert!(rejection.reason.contains("no-such-module"), "{rejection}");
    assert_eq!(get(envoy.address()).await?, 200);
    assert_eq!(envoy.stat("listener_manager.lds.update_rejected").await?, 1);
    Ok(())
}

#[tokio::test]
async fn rejected_initial_listener_is_an_error() {
    let filter = json!({ "name": "no-such-filter", "typed_config": {
        "@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.NoRouter",
    } });
    let error = Envoy::builder()
        .filter(filter)
        .start()
        .await
        .expect_err("no such filter");
    assert!(error.to_string().contains("NoRouter"), "{error}");
}

#[tokio::test]
async fn failed_start_shows_log_of_envoy() {
    let started = Envoy::builder()
        .arguments(["--no-such-option"])
        .start()
        .await;
    let error = started.expect_err("no such option");
    assert!(error.to_string().contains("no-such-option"), "{error}");
}

#[tokio::test]
async fn envoy_is_observable_until_dropped() -> TestResult {
    let envoy = Envoy::builder().concurrency(1).start().await?;
    let client = client(Protocol::Http2);
    for _ in 0..3 {
        assert_eq!(client.get(envoy.url("/")).send().await?.status(), 200);
    }
    envoy
        .wait_for_stat("http.ingress.downstream_rq_2xx", |requests| requests == 3)
        .await?;
    assert!(envoy.stats("http.ingress.").await?.len() > 10);
    assert_eq!(envoy.stat("wasmcustom.nothing").await?, 0);
    assert!(envoy.cpu_time()?.as_nanos() > 0);
    let memory = envoy.memory().await?;
    assert!(0 < memory.allocated && memory.allocated < memory.resident);
    assert!(envoy.is_alive());

    let process = format!("/proc/{}", envoy.pid());
    assert!(std::fs::exists(&process)?);
    drop(envoy);
    assert!(!std::fs::exists(&process)?);
    Ok(())
}

#[tokio::test]
async fn mock_splits_pauses_and_aborts_streams() -> TestResult {
    let llm = Llm::start().await?;
    let envoy = Envoy::builder().upstream(llm.address()).start().await?;
    for protocol in Protocol::ALL {
        let client = client(protocol);
        let chat = Chat::default().stream(true);
        let whole = chat.send(&client, envoy.address()).await?.text().await?;
        assert!(whole.contains("\"total_tokens\":100"));
        assert!(whole.ends_with("data: [DONE]\n\n"));

        let split = chat.clone().header("x-mock-split", 7);
        assert_eq!(
            split.send(&client, envoy.address()).await?.text().await?,
            whole
        );

        let broken = chat.clone().header("x-mock-abort-after", 3);
        let broken = broken.send(&client, envoy.address()).await?.text().await;
        // Envoy 1.36 resets a stream of HTTP/2 without an error.
        let has_error =
            protocol == Protocol::Http1 || !binary::find()?.version.starts_with("1.36.");
        assert_eq!(broken.is_err(), has_error, "{protocol:?}");

        let paused = chat.clone().header("x-mock-hold-after", 2);
        let mut paused = paused.send(&client, envoy.address()).await?;
        assert!(paused.chunk().await?.is_some());
        drop(paused);
    }
    // Envoy logs the aborted exchanges when it notices that the client has disconnected.
    let entries = envoy.access_log(8).await?;
    let count = |flags: &str| {
        let with_flags = entries.iter().filter(|entry| entry.flags() == flags);
        with_flags.count()
    };
    assert_eq!((count("DC"), count("DR")), (1, 1), "{entries:?}");
    assert!(envoy.is_alive());
    Ok(())
}

#[tokio::test]
async fn raw_client_sends_bytes_and_disconnects() -> TestResult {
    let llm = Llm::start().await?;
    let envoy = Envoy::builder().upstream(llm.address()).start().await?;

    let request =
        b"GET /v1/models HTTP/1.1\r\nhost: a\r\nx-bytes: \xe9\xff\r\nconnection: close\r\n\r\n";
    let response = client::raw(envoy.address(), request).await?;
    assert!(response.starts_with(b"HTTP/1.1 200 OK\r\n"));
    let received = llm.last_request().ok_or("no request")?;
    assert_eq!(received.headers["x-bytes"].as_bytes(), b"\xe9\xff");

    let body = Chat::default().stream(true).body().to_string();
    let request = format!(
        "POST /v1/chat/completions HTTP/1.1\r\nhost: a\r\nx-mock-hold-after: 3\r\n\
         content-length: {}\r\n\r\n{body}",
        body.len()
    );
    let events = |response: &[u8]| String::from_utf8_lossy(response).matches("data: ").count();
    let seen = client::hang_up(envoy.address(), request.as_bytes(), |seen| {
        events(seen) == 3
    });
    assert_eq!(events(&seen.await?), 3);
    assert_eq!(envoy.access_log(2).await?[1].flags(), "DC");
    Ok(())
}

#[tokio::test]
async fn mock_answers_head_not_modified_and_upgrade() -> TestResult {
    let llm = Llm::start().await?;
    let envoy = Envoy::builder().upstream(llm.address()).start().await?;
    let client = client(Protocol::Http1);
    let head = client.head(envoy.url("/v1/models")).send().await?;
    assert_eq!(head.status(), 200);
    let get = client.get(envoy.url("/not-modified")).send().await?;
    assert_eq!(get.status(), 304);

    let upgraded = client
        .get(envoy.url("/upgrade"))
        .header("connection", "upgrade")
        .header("upgrade", "websocket")
        .send()
        .await?;
    assert_eq!(upgraded.status(), 101);
    let mut upgraded = upgraded.upgrade().await?;
    upgraded.write_all(b"ping").await?;
    let mut echoed = [0; 4];
    upgraded.read_exact(&mut echoed).await?;
    assert_eq!(&echoed, b"ping");
    Ok(())
}

#[tokio::test]
async fn mock_sends_scripted_response() -> TestResult {
    let llm = Llm::start().await?;
    let envoy = Envoy::builder().upstream(llm.address()).start().await?;
    let client = client(Protocol::Http1);
    let script = Script {
        status: 203,
        headers: vec![("content-type".to_owned(), "application/x-ndjson".to_owned())],
        body: "{\"done\":true}\n".into(),
    };
    llm.script("recorded", script);
    let response = client
        .post(envoy.url("/api/chat"))
        .header("x-mock-script", "recorded")
        .header("x-mock-split", "1")
        .send()
        .await?;
    assert_eq!(response.status(), 203);
    assert_eq!(response.headers()["content-type"], "application/x-ndjson");
    assert_eq!(response.text().await?, "{\"done\":true}\n");
    Ok(())
}

#[tokio::test]
async fn rate_limit_service_counts_for_envoy_filter() -> TestResult {
    let llm = Llm::start().await?;
    let limits = json!([remote::limit("test", "user", 2, 3600)]);
    let service = Limitador::start(&limits.to_string()).await?;
    let actions =
        json!([{ "request_headers": { "header_name": "x-user", "descriptor_key": "user" } }]);
    let envoy = Envoy::builder()
        .upstream(llm.address())
        .rate_limit(service.address(), "test", actions)
        .start()
        .await?;
    let client = client(Protocol::Http1);
    let send = async |user: &str| -> reqwest::Result<u16> {
        let request = client.get(envoy.url("/v1/models")).header("x-user", user);
        Ok(request.send().await?.status().as_u16())
    };
    for status in [200, 200, 429] {
        assert_eq!(send("a").await?, status);
    }
    assert_eq!(send("b").await?, 200);
    Ok(())
}
