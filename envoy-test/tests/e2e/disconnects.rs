//! Clients that disconnect: the exchange is settled by the usage seen so far, and its reservation is released.

use std::{error::Error, future::pending};

use bytes::Bytes;
use envoy_test::{
    client::{Chat, Protocol, client},
    envoy::AccessLogEntry,
    metered::{CALLER, Metered, each_caller},
};
use futures_util::stream;
use reqwest::Body;

use crate::{
    fixtures::{AMPLE, large_model_limit},
    support::{TestResult, silent_chat, spawn_chat_as},
};

/// Sends a chat, disconnects after the first part of the response, and returns the access log entry.
async fn disconnect_during_response(
    metered: &Metered,
    protocol: Protocol,
    caller: &str,
    chat: Chat,
) -> Result<AccessLogEntry, Box<dyn Error>> {
    let chat = chat.header(CALLER, caller).header("x-test-id", caller);
    let client = client(protocol);
    let mut response = chat.send(&client, metered.envoy.address()).await?;
    assert!(response.chunk().await?.is_some());
    drop((response, client));
    Ok(metered.envoy.logged(caller).await?)
}

/// Asserts that the exchange was charged an estimate, and that its reservation is released.
async fn check_estimated(metered: &Metered, caller: &str, entry: &AccessLogEntry) -> TestResult {
    // The client closed the connection (HTTP/1.1) or reset the stream (HTTP/2).
    assert!(["DC", "DR"].contains(&entry.flags()), "{entry:?}");
    assert_eq!(entry.tollgate("decision"), Some("admitted"), "{entry:?}");
    assert_eq!(entry.tollgate("estimated"), Some("true"), "{entry:?}");
    let total = entry.tollgate_number("total_tokens").ok_or("not charged")?;
    assert!((1..1_000).contains(&total), "{total}");
    assert_eq!(metered.remaining(caller).await?, AMPLE - total);
    metered.check().await?;
    Ok(())
}

#[tokio::test]
async fn disconnect_during_event_stream_is_estimated() -> TestResult {
    let metered = Metered::start(each_caller(AMPLE)).await?;
    for protocol in Protocol::ALL {
        let caller = &format!("{protocol:?}");
        let chat = Chat::default().stream(true).header("x-mock-hold-after", 5);
        let entry = disconnect_during_response(&metered, protocol, caller, chat).await?;
        check_estimated(&metered, caller, &entry).await?;
    }
    Ok(())
}

#[tokio::test]
async fn disconnect_during_json_body_is_estimated() -> TestResult {
    let metered = Metered::start(each_caller(AMPLE)).await?;
    for protocol in Protocol::ALL {
        let caller = &format!("{protocol:?}");
        let chat = Chat::default()
            .header("x-mock-split", 40)
            .header("x-mock-hold-after", 4);
        let entry = disconnect_during_response(&metered, protocol, caller, chat).await?;
        check_estimated(&metered, caller, &entry).await?;
    }
    Ok(())
}

#[tokio::test]
async fn disconnect_after_usage_report_is_exact() -> TestResult {
    let metered = Metered::start(each_caller(AMPLE)).await?;
    for protocol in Protocol::ALL {
        let caller = &format!("{protocol:?}");
        // The role, three events of content, the finish reason and the usage; not `[DONE]`.
        let chat = Chat::default()
            .stream(true)
            .header("x-mock-events", 3)
            .header("x-mock-hold-after", 6);
        let chat = chat.header(CALLER, caller).header("x-test-id", caller);
        let client = client(protocol);
        let mut response = chat.send(&client, metered.envoy.address()).await?;
        let mut seen = Vec::new();
        while !String::from_utf8_lossy(&seen).contains("\"total_tokens\":100") {
            seen.extend(response.chunk().await?.ok_or("the stream ended")?);
        }
        // The usage is committed before the client receives it.
        assert_eq!(metered.remaining(caller).await?, AMPLE - 100);
        drop((response, client));
        let entry = metered.envoy.logged(caller).await?;
        assert_eq!(entry.tollgate("total_tokens"), Some("100"));
        assert_eq!(entry.tollgate("estimated"), Some("false"));
        assert_eq!(metered.remaining(caller).await?, AMPLE - 100);
        metered.check().await?;
    }
    Ok(())
}

#[tokio::test]
async fn disconnect_before_response_is_estimated() -> TestResult {
    let metered = Metered::start(each_caller(AMPLE)).await?;
    for protocol in Protocol::ALL {
        let caller = &format!("{protocol:?}");
        let before = metered.llm.requests();
        let client = client(protocol);
        let chat = spawn_chat_as(&metered, &client, caller, caller, silent_chat());
        metered.llm.wait_for_requests(before + 1).await?;
        chat.abort();
        // The upstream has received the whole request, and may generate tokens for it.
        let entry = metered.envoy.logged(caller).await?;
        check_estimated(&metered, caller, &entry).await?;
    }
    Ok(())
}

#[tokio::test]
async fn disconnect_during_upload_costs_nothing() -> TestResult {
    for (configuration, has_quota) in [
        (each_caller(AMPLE), true),
        (large_model_limit(AMPLE), false),
    ] {
        let metered = Metered::start(configuration).await?;
        for protocol in Protocol::ALL {
            let caller = &format!("{protocol:?}");
            let start = stream::iter([Ok::<_, std::io::Error>(Bytes::from("{\"model\":"))]);
            let never = stream::once(pending());
            let request = client(protocol)
                .post(metered.envoy.url("/v1/chat/completions"))
                .header(CALLER, caller)
                .header("x-test-id", caller)
                .body(Body::wrap_stream(stream::StreamExt::chain(start, never)));
            let upload = tokio::spawn(request.send());
            let active = "cluster.llm.upstream_rq_active";
            metered
                .envoy
                .wait_for_stat(active, |active| active == 1)
                .await?;
            upload.abort();
            let entry = metered.envoy.logged(caller).await?;
            assert_eq!(entry.tollgate_number("total_tokens").unwrap_or(0), 0);
            if has_quota {
                assert_eq!(metered.remaining(caller).await?, AMPLE);
            }
        }
        metered.check().await?;
    }
    Ok(())
}
