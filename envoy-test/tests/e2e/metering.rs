//! Metering: responses in every framing and split are charged exactly and forwarded unchanged.

use envoy_test::{
    client::{Chat, Protocol, client},
    metered::{CALLER, Metered, each_caller},
};
use serde_json::json;

use crate::{
    fixtures::AMPLE,
    support::{TestResult, logged_tokens, script},
};

/// A stream with unusual framing, and text that resembles a usage report.
const ODD_STREAM: &str = concat!(
    "\u{feff}: hello\r\n\r\nid: 1\r\nevent: message\r\ndata: ",
    r#"{"usage":null,"choices":[{"delta":{"content":"\"usage\":{\"total_tokens\":7}"}}],"#,
    r#""object":"chat.completion.chunk","model":"m"}"#,
    "\r\n\r\ndata:",
    r#"{"usage":{"total_tokens":100,"prompt_tokens":5,"completion_tokens":95},"choices":[]}"#,
    "\r\n\r\n",
);

/// A JSON body with unusual whitespace and numbers, and text that resembles a usage report.
const ODD_JSON: &str = concat!(
    " \n{\"usage\" : {\n \"completion_tokens\" : 95, \"total_tokens\" : 1e2,\"prompt_tokens\":5 } ,",
    r#""object":"chat.completion","model":"m","choices":[{"index":0,"#,
    r#""message":{"content":"usage: {\"usage\":{\"total_tokens\":7}}","usage":{"total_tokens":8}}}]}"#,
    "\n\n",
);

/// Chats that use 100 tokens, each with a name.
fn chats() -> Vec<(&'static str, Chat)> {
    let json = Chat::default;
    let sse = || Chat::default().stream(true);
    vec![
        ("json", json()),
        ("sse", sse()),
        ("nulls", sse().header("x-mock-usage-null-chunks", 1)),
        ("crlf", sse().header("x-mock-line-ending", "crlf")),
        ("cr", sse().header("x-mock-line-ending", "cr")),
        ("comments", sse().header("x-mock-comments", 1)),
        ("no done", sse().header("x-mock-no-done", 1)),
        ("no type", sse().header("x-mock-content-type", "")),
        (
            "wrong type",
            json().header("x-mock-content-type", "text/event-stream"),
        ),
        ("odd stream", sse().header("x-mock-script", "stream")),
        ("odd json", json().header("x-mock-script", "json")),
    ]
}

async fn every_framing_is_exact(
    workers: u32,
    protocol: Protocol,
    upstream_http2: bool,
) -> TestResult {
    let metered = Metered::build(each_caller(AMPLE), |builder| {
        let builder = builder.concurrency(workers);
        if upstream_http2 {
            builder.upstream_http2()
        } else {
            builder
        }
    })
    .await?;
    let event_stream = "text/event-stream; charset=utf-8";
    script(&metered.llm, "stream", event_stream, ODD_STREAM);
    script(&metered.llm, "json", "application/json", ODD_JSON);
    let client = client(protocol);
    for (name, chat) in chats() {
        for split in [None, Some(1), Some(7)] {
            let id = format!("{name}, split {split:?}");
            let mut chat = chat.clone().header(CALLER, &id);
            if let Some(split) = split {
                // Fewer events, to save time; the number of tokens is the same.
                chat = chat
                    .header("x-mock-split", split)
                    .header("x-mock-events", 3);
            }
            let direct = chat.send(&client, metered.llm.address()).await?;
            let direct = direct.bytes().await?;
            let exchange = metered.exchange(&client, &id, chat).await?;
            assert_eq!(exchange.body, direct, "{id}");
            let entry = &exchange.entry;
            let expected = [Some(5), Some(95), Some(100), Some(0)];
            assert_eq!(logged_tokens(entry), expected, "{id}: {entry:?}");
            assert_eq!(entry.tollgate("estimated"), Some("false"), "{id}");
            assert_eq!(metered.remaining(&id).await?, AMPLE - 100, "{id}");
        }
    }
    metered.check().await?;
    Ok(())
}

#[tokio::test]
async fn http1_response_is_exact_in_every_framing() -> TestResult {
    every_framing_is_exact(1, Protocol::Http1, false).await
}

#[tokio::test]
async fn http2_response_is_exact_in_every_framing() -> TestResult {
    every_framing_is_exact(2, Protocol::Http2, false).await
}

#[tokio::test]
async fn http2_upstream_response_is_exact_in_every_framing() -> TestResult {
    every_framing_is_exact(2, Protocol::Http2, true).await
}

#[tokio::test]
async fn missing_usage_is_estimated() -> TestResult {
    let metered = Metered::start(each_caller(AMPLE)).await?;
    let mut failures = Vec::new();
    for protocol in Protocol::ALL {
        let chats = [
            ("json", Chat::default().header("x-mock-no-usage", 1)),
            (
                "stream",
                Chat::default().stream(true).header("x-mock-no-usage", 1),
            ),
        ];
        for (name, chat) in chats {
            let id = format!("{protocol:?} {name}");
            let exchange = metered
                .exchange(&client(protocol), &id, chat.header(CALLER, &id))
                .await?;
            let total = exchange.entry.tollgate_number("total_tokens").unwrap_or(0);
            assert_eq!(metered.remaining(&id).await?, AMPLE - total, "{id}");
            // Within a factor of three of the 100 tokens that were used.
            if !(33..300).contains(&total) || exchange.entry.tollgate("estimated") != Some("true") {
                failures.push(format!("{id}: {:?}", exchange.entry));
            }
        }
    }
    assert!(failures.is_empty(), "{failures:#?}");
    Ok(())
}

#[tokio::test]
async fn stream_without_include_usage_is_exact() -> TestResult {
    let metered = Metered::start(each_caller(AMPLE)).await?;
    for protocol in Protocol::ALL {
        let client = client(protocol);
        let chat = Chat::default().stream(false);
        let direct = chat.send(&client, metered.llm.address()).await?;
        let direct = direct.bytes().await?;
        for split in [1_000_000, 7] {
            let id = format!("{protocol:?}, split {split}");
            let chat = chat
                .clone()
                .header(CALLER, &id)
                .header("x-mock-split", split);
            let exchange = metered.exchange(&client, &id, chat).await?;
            assert_eq!(exchange.body, direct, "{id}");
            assert_eq!(exchange.entry.tollgate("estimated"), Some("false"), "{id}");
            assert_eq!(metered.remaining(&id).await?, AMPLE - 100, "{id}");
        }
    }
    metered.check().await?;
    Ok(())
}

#[tokio::test]
async fn ignored_missing_usage_costs_nothing() -> TestResult {
    let mut configuration = each_caller(AMPLE);
    configuration["usage"] = json!({ "onMissing": "ignore" });
    let metered = Metered::start(configuration).await?;
    for (id, chat) in [
        ("json", Chat::default()),
        ("stream", Chat::default().stream(true)),
    ] {
        let chat = chat.header(CALLER, id).header("x-mock-no-usage", 1);
        metered.exchange(&client(Protocol::Http1), id, chat).await?;
        assert_eq!(metered.remaining(id).await?, AMPLE);
    }
    Ok(())
}
