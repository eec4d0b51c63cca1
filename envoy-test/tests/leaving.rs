//! A client may leave at any moment: the exchange is settled for what was seen of it, and nothing hangs.

use std::{error::Error, future::pending};

use bytes::Bytes;
use envoy_test::{
    client::{Chat, Protocol, client},
    envoy::AccessLogEntry,
    metered::{CALLER, Metered, configuration, each_caller},
};
use futures_util::stream;
use reqwest::Body;
use serde_json::{Value, json};

type Outcome = Result<(), Box<dyn Error>>;

const LIMIT: u64 = 1_000_000;

/// As [`each_caller`], but only for a model that the body has to name.
fn by_the_body() -> Value {
    configuration(json!({
        "tokens": {
            "rates": [{ "limit": LIMIT, "window": "1h" }],
            "when": [{ "predicate": "requestBodyJSON('/model') == 'large'" }],
        },
    }))
}

/// Sends the chat, leaves as soon as some of the response has come, and returns what was logged.
async fn leave_response(
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

/// The exchange was charged an estimate, and that is what is gone.
async fn check_estimated(metered: &Metered, caller: &str, entry: &AccessLogEntry) -> Outcome {
    // The client closed the connection, or reset its stream.
    assert!(["DC", "DR"].contains(&entry.flags()), "{entry:?}");
    assert_eq!(entry.tollgate("decision"), Some("admitted"), "{entry:?}");
    assert_eq!(entry.tollgate("estimated"), Some("true"), "{entry:?}");
    let total = entry.tollgate_number("total_tokens").ok_or("not charged")?;
    assert!((1..1_000).contains(&total), "{total}");
    assert_eq!(metered.left(caller).await?, LIMIT - total);
    metered.check().await?;
    Ok(())
}

#[tokio::test]
async fn in_the_middle_of_an_event_stream() -> Outcome {
    let metered = Metered::start(each_caller(LIMIT)).await?;
    for protocol in Protocol::ALL {
        let caller = &format!("{protocol:?}");
        let chat = Chat::default().stream(true).header("x-mock-hold-after", 5);
        let entry = leave_response(&metered, protocol, caller, chat).await?;
        check_estimated(&metered, caller, &entry).await?;
    }
    Ok(())
}

#[tokio::test]
async fn in_the_middle_of_a_json_body() -> Outcome {
    let metered = Metered::start(each_caller(LIMIT)).await?;
    for protocol in Protocol::ALL {
        let caller = &format!("{protocol:?}");
        let chat = Chat::default()
            .header("x-mock-split", 40)
            .header("x-mock-hold-after", 4);
        let entry = leave_response(&metered, protocol, caller, chat).await?;
        check_estimated(&metered, caller, &entry).await?;
    }
    Ok(())
}

#[tokio::test]
async fn after_the_usage_of_a_stream_was_reported() -> Outcome {
    let metered = Metered::start(each_caller(LIMIT)).await?;
    for protocol in Protocol::ALL {
        let caller = &format!("{protocol:?}");
        // An opening event, three of content, one that finishes, one with the usage; not `[DONE]`.
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
        // What is charged is so before the client has the usage.
        assert_eq!(metered.left(caller).await?, LIMIT - 100);
        drop((response, client));
        let entry = metered.envoy.logged(caller).await?;
        assert_eq!(entry.tollgate("total_tokens"), Some("100"));
        assert_eq!(entry.tollgate("estimated"), Some("false"));
        assert_eq!(metered.left(caller).await?, LIMIT - 100);
        metered.check().await?;
    }
    Ok(())
}

#[tokio::test]
async fn before_the_response() -> Outcome {
    let metered = Metered::start(each_caller(LIMIT)).await?;
    for protocol in Protocol::ALL {
        let caller = &format!("{protocol:?}");
        let chat = Chat::default()
            .header("x-mock-silent", 1)
            .header(CALLER, caller)
            .header("x-test-id", caller);
        let address = metered.envoy.address();
        let before = metered.llm.requests();
        let asking = tokio::spawn(async move { chat.send(&client(protocol), address).await });
        metered.llm.wait_for_requests(before + 1).await?;
        asking.abort();
        let entry = metered.envoy.logged(caller).await?;
        // The upstream had the whole request, and works on it.
        check_estimated(&metered, caller, &entry).await?;
    }
    Ok(())
}

#[tokio::test]
async fn during_the_upload() -> Outcome {
    for (configuration, has_quota) in [(each_caller(LIMIT), true), (by_the_body(), false)] {
        let metered = Metered::start(configuration).await?;
        for protocol in Protocol::ALL {
            let caller = &format!("{protocol:?}");
            let begun = stream::iter([Ok::<_, std::io::Error>(Bytes::from("{\"model\":"))]);
            let never = stream::once(pending());
            let request = client(protocol)
                .post(metered.envoy.url("/v1/chat/completions"))
                .header(CALLER, caller)
                .header("x-test-id", caller)
                .body(Body::wrap_stream(stream::StreamExt::chain(begun, never)));
            let asking = tokio::spawn(request.send());
            let active = "cluster.llm.upstream_rq_active";
            metered
                .envoy
                .wait_for_stat(active, |active| active == 1)
                .await?;
            asking.abort();
            let entry = metered.envoy.logged(caller).await?;
            assert_eq!(entry.tollgate_number("total_tokens").unwrap_or(0), 0);
            if has_quota {
                assert_eq!(metered.left(caller).await?, LIMIT);
            }
        }
        metered.check().await?;
    }
    Ok(())
}
