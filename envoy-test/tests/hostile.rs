//! What a caller or a provider may send that no library would: it is metered or refused, and nothing breaks.

use std::error::Error;

use envoy_test::{
    client::{self, Chat, Protocol, client},
    llm::Script,
    metered::{CALLER, Metered, each_caller, only_when},
};

type Outcome = Result<(), Box<dyn Error>>;

const LIMIT: u64 = 1_000_000_000;

/// A chat as HTTP/1.1 bytes, with these header lines.
fn bytes(headers: &[u8]) -> Vec<u8> {
    let body = Chat::default().body().to_string();
    let head = b"POST /v1/chat/completions HTTP/1.1\r\nhost: a\r\nconnection: close\r\n";
    let length = format!("content-length: {}\r\n\r\n", body.len());
    [head, headers, length.as_bytes(), body.as_bytes()].concat()
}

#[tokio::test]
async fn headers_that_are_not_utf8_are_keys_like_others() -> Outcome {
    let metered = Metered::start(each_caller(LIMIT)).await?;
    for id in ["1", "2"] {
        let headers = format!("x-test-id: {id}\r\nx-user-id: ");
        let headers = [headers.as_bytes(), b"\xe9\xff\r\nx-other: \x80\xfe\r\n"].concat();
        let response = client::raw(metered.envoy.address(), &bytes(&headers)).await?;
        assert!(response.starts_with(b"HTTP/1.1 200 OK\r\n"));
        let left = format!(
            "x-ratelimit-remaining: {}",
            if id == "1" { LIMIT } else { LIMIT - 100 }
        );
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
async fn headers_that_come_twice_are_joined() -> Outcome {
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
async fn a_large_header_is_a_header() -> Outcome {
    let metered = Metered::start(each_caller(LIMIT)).await?;
    // In HTTP/2, Envoy takes no value beyond 64 kB.
    for (protocol, size) in [(Protocol::Http1, 200_000), (Protocol::Http2, 60_000)] {
        let name = "n".repeat(size);
        for (id, left) in [("1", LIMIT), ("2", LIMIT - 100)] {
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
async fn a_large_body_passes_whole() -> Outcome {
    const SIZE: usize = 50_000_000;
    let metered = Metered::start(each_caller(LIMIT)).await?;
    let script = |name: &str, content_type: &str, text: [&str; 2]| {
        let body = [text[0], &"x".repeat(SIZE), text[1]].concat();
        let headers = vec![("content-type".to_owned(), content_type.to_owned())];
        let (status, body) = (200, body.into());
        metered.llm.script(
            name,
            Script {
                status,
                headers,
                body,
            },
        );
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
        assert_eq!(metered.left(&id).await?, LIMIT - 100);

        let id = format!("line {protocol:?}");
        let chat = Chat::default()
            .stream(true)
            .header(CALLER, &id)
            .header("x-mock-script", "line");
        let exchange = metered.exchange(&client, &id, chat).await?;
        assert_eq!(exchange.body.len(), SIZE + line.concat().len());
        assert_eq!(exchange.entry.tollgate("estimated"), Some("true"));
        let total = exchange
            .entry
            .tollgate_number("total_tokens")
            .ok_or("not charged")?;
        assert!(total > SIZE as u64 / 8, "{total}");
        assert_eq!(metered.left(&id).await?, LIMIT - total);
    }
    metered.check().await?;
    // Neither the filter nor Envoy kept a body.
    let memory = metered.envoy.memory().await?;
    assert!(memory.resident < 300_000_000, "{memory:?}");
    Ok(())
}

#[tokio::test]
async fn bodies_that_are_no_completions_cost_nothing() -> Outcome {
    let metered = Metered::start(each_caller(LIMIT)).await?;
    for protocol in Protocol::ALL {
        let client = client(protocol);
        for (instruction, value) in [
            ("x-mock-empty", "1"),
            ("x-mock-not-json", "1"),
            ("x-mock-raw", "[]"),
            ("x-mock-raw", "null"),
            ("x-mock-raw", "\"usage\""),
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
            assert_eq!(metered.left("alice").await?, LIMIT, "{id}");
        }
    }
    metered.check().await?;
    Ok(())
}

#[tokio::test]
async fn usage_that_makes_no_sense_neither_frees_nor_bankrupts() -> Outcome {
    let metered = Metered::start(each_caller(LIMIT)).await?;
    let client = client(Protocol::Http1);
    let mut faults = Vec::new();
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
            faults.push(format!("{usage}: {total:?}"));
        }
    }
    assert!(faults.is_empty(), "{faults:?}");
    metered.check().await?;
    Ok(())
}

#[tokio::test]
async fn an_upstream_that_breaks_off_is_settled() -> Outcome {
    let metered = Metered::start(each_caller(LIMIT)).await?;
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
                // Whether it ends in an error depends on how much had come.
                let _ = response.bytes().await;
            }
            let entry = metered.envoy.logged(&id).await?;
            assert_eq!(entry.tollgate("decision"), Some("admitted"), "{id}");
            let total = entry.tollgate_number("total_tokens").unwrap_or(0);
            assert_eq!(total > 0, after > 0, "{id}: {entry:?}");
            assert_eq!(metered.left(&id).await?, LIMIT - total, "{id}");
        }
    }
    metered.check().await?;
    Ok(())
}
