//! Unusual and malformed input of clients and providers: it is metered or rejected, and Envoy survives it.

use envoy_test::{
    client::{self, Chat, Protocol, client},
    envoy::Builder,
    metered::{CALLER, Metered, each_caller, only_when},
};

use crate::{
    fixtures::AMPLE,
    support::{TestResult, script},
};

/// A chat as HTTP/1.1 bytes, with these header lines.
fn bytes(headers: &[u8]) -> Vec<u8> {
    let body = Chat::default().body().to_string();
    let head = b"POST /v1/chat/completions HTTP/1.1\r\nhost: a\r\nconnection: close\r\n";
    let length = format!("content-length: {}\r\n\r\n", body.len());
    [head, headers, length.as_bytes(), body.as_bytes()].concat()
}

#[tokio::test]
async fn header_that_is_not_utf8_is_a_key() -> TestResult {
    let metered = Metered::start(each_caller(AMPLE)).await?;
    for id in ["1", "2"] {
        let headers = format!("x-test-id: {id}\r\nx-user-id: ");
        let headers = [headers.as_bytes(), b"\xe9\xff\r\nx-other: \x80\xfe\r\n"].concat();
        let response = client::raw(metered.envoy.address(), &bytes(&headers)).await?;
        assert!(response.starts_with(b"HTTP/1.1 200 OK\r\n"));
        let left = if id == "1" { AMPLE } else { AMPLE - 100 };
        let left = format!("x-ratelimit-remaining: {left}");
        assert!(String::from_utf8_lossy(&response).contains(&left), "{left}");
        assert_eq!(
            metered.envoy.logged(id).await?.tollgate("total_tokens"),
            Some("100")
        );
    }
    metered.check().await?;
    Ok(())
}

#[tokio::test]
async fn repeated_header_is_joined() -> TestResult {
    let free = r#"auth.identity.groups.split(",").exists(g, g == "free")"#;
    let metered = Metered::start(only_when(free, 150)).await?;
    for protocol in Protocol::ALL {
        let chat = Chat::default()
            .header("x-groups", "gold")
            .header("x-groups", "free");
        let id = format!("{protocol:?}");
        let exchange = metered.exchange(&client(protocol), &id, chat).await?;
        assert_eq!(
            exchange.entry.tollgate("decision"),
            Some("admitted"),
            "{id}"
        );
    }
    let chat = Chat::default().header("x-groups", "free");
    let exchange = metered
        .exchange(&client(Protocol::Http1), "last", chat)
        .await?;
    assert_eq!(exchange.status, 429);
    Ok(())
}

#[tokio::test]
async fn large_header_is_a_key() -> TestResult {
    let metered = Metered::start(each_caller(AMPLE)).await?;
    // Over HTTP/2, Envoy accepts no value above 64 kB.
    for (protocol, size) in [(Protocol::Http1, 200_000), (Protocol::Http2, 60_000)] {
        let name = "n".repeat(size);
        for (id, left) in [("1", AMPLE), ("2", AMPLE - 100)] {
            let id = format!("{protocol:?} {id}");
            let chat = Chat::default().header(CALLER, &name);
            let exchange = metered.exchange(&client(protocol), &id, chat).await?;
            assert_eq!(
                exchange.headers["x-ratelimit-remaining"],
                left.to_string(),
                "{id}"
            );
            assert_eq!(exchange.entry.tollgate("total_tokens"), Some("100"), "{id}");
        }
    }
    metered.check().await?;
    Ok(())
}

#[tokio::test]
async fn large_response_is_metered_without_buffering() -> TestResult {
    const SIZE: usize = 50_000_000;
    let metered = Metered::build(each_caller(AMPLE), Builder::own_process).await?;
    let script = |name: &str, content_type: &str, text: [&str; 2]| {
        let body = [text[0], &"x".repeat(SIZE), text[1]].concat();
        script(&metered.llm, name, content_type, body);
    };
    let json = [
        r#"{"object":"chat.completion","choices":[{"message":{"content":""#,
        r#""}}],"usage":{"prompt_tokens":5,"completion_tokens":95,"total_tokens":100}}"#,
    ];
    script("json", "application/json", json);
    let line = [r#"data: {"choices":[{"delta":{"content":""#, ""];
    script("line", "text/event-stream", line);
    for protocol in Protocol::ALL {
        let client = client(protocol);
        let id = format!("json {protocol:?}");
        let chat = Chat::default()
            .header(CALLER, &id)
            .header("x-mock-script", "json");
        let exchange = metered.exchange(&client, &id, chat).await?;
        assert_eq!(exchange.body.len(), SIZE + json.concat().len());
        assert_eq!(exchange.entry.tollgate("total_tokens"), Some("100"));
        assert_eq!(metered.remaining(&id).await?, AMPLE - 100);

        let id = format!("line {protocol:?}");
        let chat = Chat::default()
            .stream(true)
            .header(CALLER, &id)
            .header("x-mock-script", "line");
        let exchange = metered.exchange(&client, &id, chat).await?;
        assert_eq!(exchange.body.len(), SIZE + line.concat().len());
        assert_eq!(exchange.entry.tollgate("estimated"), Some("true"));
        let total = exchange.entry.tollgate_number("total_tokens");
        let total = total.ok_or("not charged")?;
        assert!(total > SIZE as u64 / 8, "{total}");
        assert_eq!(metered.remaining(&id).await?, AMPLE - total);
    }
    metered.check().await?;
    // Neither the filter nor Envoy has buffered a body.
    let memory = metered.envoy.memory().await?;
    assert!(memory.resident < 300_000_000, "{memory:?}");
    Ok(())
}

#[tokio::test]
async fn body_that_is_no_completion_costs_nothing() -> TestResult {
    let metered = Metered::start(each_caller(AMPLE)).await?;
    for protocol in Protocol::ALL {
        let client = client(protocol);
        for (instruction, value) in [
            ("x-mock-empty", "1"),
            ("x-mock-not-json", "1"),
            ("x-mock-raw", "[]"),
            ("x-mock-raw", "null"),
            ("x-mock-raw", "{\"object\":\"list\",\"data\":[]}"),
            ("x-mock-status", "503"),
            ("x-mock-status", "204"),
        ] {
            let id = format!("{protocol:?} {instruction} {value}");
            let chat = Chat::default()
                .header(CALLER, "alice")
                .header(instruction, value);
            let exchange = metered.exchange(&client, &id, chat).await?;
            assert_eq!(
                exchange.entry.tollgate("decision"),
                Some("admitted"),
                "{id}"
            );
            assert_eq!(
                exchange.entry.tollgate_number("total_tokens").unwrap_or(0),
                0,
                "{id}"
            );
            assert_eq!(metered.remaining("alice").await?, AMPLE, "{id}");
        }
    }
    metered.check().await?;
    Ok(())
}

#[tokio::test]
async fn malformed_usage_is_estimated() -> TestResult {
    let metered = Metered::start(each_caller(AMPLE)).await?;
    let client = client(Protocol::Http1);
    let mut failures = Vec::new();
    for usage in [
        r#"{"total_tokens":-5,"prompt_tokens":-3,"completion_tokens":-2}"#,
        r#"{"total_tokens":"many"}"#,
        r#"{"total_tokens":null}"#,
        r#""none""#,
        "[]",
        "{}",
    ] {
        let body = format!(
            r#"{{"object":"chat.completion","choices":[{{"message":{{"content":"Eight bytes are two tokens."}}}}],"usage":{usage}}}"#
        );
        let chat = Chat::default()
            .header(CALLER, usage)
            .header("x-mock-raw", body);
        let exchange = metered.exchange(&client, usage, chat).await?;
        let total = exchange.entry.tollgate_number("total_tokens");
        if !matches!(total, Some(1..1_000)) || exchange.entry.tollgate("estimated") != Some("true")
        {
            failures.push(format!("{usage}: {total:?}"));
        }
    }
    assert!(failures.is_empty(), "{failures:?}");
    metered.check().await?;
    Ok(())
}

#[tokio::test]
async fn aborted_response_is_estimated() -> TestResult {
    let metered = Metered::start(each_caller(AMPLE)).await?;
    for protocol in Protocol::ALL {
        let client = client(protocol);
        for (name, stream, after) in [
            ("before", false, 0),
            ("json", false, 3),
            ("stream", true, 3),
        ] {
            let id = format!("{protocol:?} {name}");
            let mut chat = Chat::default()
                .header(CALLER, &id)
                .header("x-test-id", &id)
                .header("x-mock-abort-after", after);
            chat = if stream {
                chat.stream(true)
            } else {
                chat.header("x-mock-split", 40)
            };
            if let Ok(response) = chat.send(&client, metered.envoy.address()).await {
                // Whether this is an error depends on how much had arrived.
                let _ = response.bytes().await;
            }
            let entry = metered.envoy.logged(&id).await?;
            assert_eq!(entry.tollgate("decision"), Some("admitted"), "{id}");
            let total = entry.tollgate_number("total_tokens").unwrap_or(0);
            assert_eq!(total > 0, after > 0, "{id}: {entry:?}");
            assert_eq!(metered.remaining(&id).await?, AMPLE - total, "{id}");
        }
    }
    metered.check().await?;
    Ok(())
}
