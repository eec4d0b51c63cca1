//! Rate limit services that are old, slow, or never finish a message.

use std::time::Duration;

use axum::{Router, body::Body, response::Response, routing::any};
use bytes::Bytes;
use envoy_test::{
    client::{self, Chat, client},
    metered::{CALLER, Metered, configuration, each_caller},
    remote::{self, Protocol, wait_for_counted},
    wait,
};
use futures_util::stream;
use integration::calls::{Fault, Method};
use serde_json::{Value, json};
use tokio::{net::TcpListener, task::JoinSet};

use crate::gateway::{AMPLE, Outcome};

/// A configuration with its counters at a service.
fn stored_at_service(mut configuration: Value, protocol: Protocol, timeout: &str) -> Value {
    configuration["storage"] = protocol.storage();
    configuration["storage"]["timeout"] = timeout.into();
    configuration
}

/// Starts a gateway of its own process, whose counters are at this service.
async fn gateway(configuration: Value, service: std::net::SocketAddr) -> Outcome<Metered> {
    let metered = Metered::build(configuration, |builder| {
        remote::cluster(builder.own_process(), service)
    });
    Ok(metered.await?)
}

#[tokio::test]
async fn requests_at_once_on_older_service_are_limited() -> Outcome {
    const AT_ONCE: usize = 64;
    const ADMITTED: u64 = 10;
    let limits = json!({ "all": { "rates": [{ "limit": ADMITTED * 100, "window": "1h" }] } });
    for workers in [1, 2] {
        let configuration =
            stored_at_service(configuration(limits.clone()), Protocol::Reserve, "60s");
        let limitador = remote::limitador(&configuration)?
            .without_reservations()
            .start()
            .await?;
        let metered = remote::gateway(configuration, limitador.address(), workers).await?;
        let mut pending = JoinSet::new();
        for _ in 0..AT_ONCE {
            // Those that are admitted stay in flight.
            let chat = Chat::default()
                .header(CALLER, "alice")
                .header("x-mock-silent", 1);
            let client = client(client::Protocol::Http1);
            let request = chat.request(&client, metered.envoy.address());
            pending.spawn(async move { Ok::<_, reqwest::Error>(request.send().await?.status()) });
        }
        let mut rejected = 0;
        wait::until("all chats to be decided", async || {
            while let Some(Ok(Ok(status))) = pending.try_join_next() {
                assert_eq!(status, 429);
                rejected += 1;
            }
            (metered.llm.requests() + rejected >= AT_ONCE as u64).then_some(())
        })
        .await?;
        let admitted = metered.llm.requests();
        println!(
            "| {AT_ONCE} at once on an older service, {workers} workers: admitted | | {admitted} of {ADMITTED} | |"
        );
        assert!(admitted <= ADMITTED, "{workers} workers admit {admitted}");
        drop(pending);
        metered.check().await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slow_service_is_not_taken_to_be_down() -> Outcome {
    const CLIENTS: usize = 16;
    const CHATS: usize = 150;
    for (protocol, method) in [
        (Protocol::Reserve, Method::Commit),
        (Protocol::CheckReport, Method::Report),
    ] {
        let mut configuration = stored_at_service(each_caller(AMPLE), protocol, "60s");
        configuration["storage"]["failureMode"] = "deny".into();
        let limitador = remote::limitador(&configuration)?.start().await?;
        // Beyond a few calls in flight, Envoy rejects more.
        let metered = Metered::build(configuration, |builder| {
            let mut cluster =
                envoy_test::filters::cluster(remote::CLUSTER, limitador.address(), true);
            cluster["circuit_breakers"] = json!({ "thresholds": [{ "max_requests": 128 }] });
            builder.own_process().cluster(cluster)
        });
        let metered = metered.await?;
        limitador
            .calls()
            .fail(method, Fault::Delay(Duration::from_secs(3)));
        let mut clients = JoinSet::new();
        for number in 0..CLIENTS {
            let address = metered.envoy.address();
            clients.spawn(async move {
                let client = client(client::Protocol::Http1);
                let mut statuses = Vec::new();
                for _ in 0..CHATS {
                    let chat = Chat::default().header(CALLER, format!("caller {number}"));
                    let response = chat.send(&client, address).await?;
                    statuses.push(response.status().as_u16());
                    response.bytes().await?;
                }
                Ok::<_, reqwest::Error>(statuses)
            });
        }
        let mut failed = 0;
        while let Some(statuses) = clients.join_next().await {
            failed += statuses??.iter().filter(|status| **status != 200).count();
        }
        println!(
            "| slow {method:?}: failed | {} | {failed} | |",
            CLIENTS * CHATS
        );
        assert_eq!(failed, 0, "{method:?}");
        limitador.calls().heal();
        let used = metered.llm.input_tokens() + metered.llm.output_tokens();
        wait_for_counted(&limitador, used).await?;
        metered.check().await?;
    }
    Ok(())
}

/// Answers every call with a message that never ends.
async fn endless() -> Response {
    // A message without compression, of 4 GiB less one byte.
    let head = Bytes::from_static(&[0, 0xff, 0xff, 0xff, 0xff]);
    let piece = Bytes::from_static(&[0; 16 << 10]);
    let pieces = stream::unfold(head, move |next| {
        let following = piece.clone();
        async move { Some((Ok::<_, std::io::Error>(next), following)) }
    });
    let mut response = Response::new(Body::from_stream(pieces));
    let content_type = axum::http::HeaderValue::from_static("application/grpc");
    response.headers_mut().insert("content-type", content_type);
    response
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn endless_message_of_service_is_cut_off() -> Outcome {
    const MAX_GROWTH: u64 = 256 << 20;
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    let address = listener.local_addr()?;
    let service =
        tokio::spawn(
            async move { axum::serve(listener, Router::new().fallback(any(endless))).await },
        );
    let configuration = stored_at_service(each_caller(AMPLE), Protocol::CheckReport, "5s");
    let metered = gateway(configuration, address).await?;
    let before = metered.envoy.memory().await?.resident;
    let client = client(client::Protocol::Http1);
    let chat = Chat::default().header(CALLER, "alice");
    let response = chat.send(&client, metered.envoy.address()).await?;
    let status = response.status();
    response.bytes().await?;
    let growth = metered
        .envoy
        .memory()
        .await?
        .resident
        .saturating_sub(before);
    println!(
        "| an endless message: growth | | {} MiB, status {status} | |",
        growth >> 20
    );
    service.abort();
    assert!(growth < MAX_GROWTH, "{} MiB", growth >> 20);
    metered.check().await?;
    Ok(())
}
