//! Estimates under attack: callers cannot lower them, and pay for usage that is never reported.

use std::{error::Error, time::Duration};

use envoy_test::{
    client::{Chat, Protocol, client},
    envoy::AccessLogEntry,
    llm::Script,
    metered::{CALLER, Metered, each_caller},
};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::{
    fixtures::AMPLE,
    support::{TestResult, spawn_chat, wait_for_metric},
};

/// The tokens that the mock generates per second for [`timed`] chats.
const RATE: u64 = 1_000;

/// A chat without a bound on its output.
fn unbounded() -> Chat {
    Chat::default().field("max_tokens", Value::Null)
}

/// A chat whose whole response takes 0.4 seconds.
fn timed() -> Chat {
    Chat::default()
        .header("x-mock-delay-ms", 400)
        .header("x-mock-completion-tokens", RATE * 4 / 10)
        .header("x-mock-events", 10)
}

/// Sends 300 chats without a bound at once, and returns how many were admitted.
async fn admitted_at_once(metered: &Metered) -> Result<usize, Box<dyn Error>> {
    let client = client(Protocol::Http2);
    let mut responses = JoinSet::new();
    for _ in 0..300 {
        let chat = unbounded()
            .header(CALLER, "alice")
            .header("x-mock-delay-ms", 2_000);
        let request = chat.request(&client, metered.envoy.address());
        responses.spawn(request.send());
    }
    let mut admitted = 0;
    while let Some(response) = responses.join_next().await {
        admitted += usize::from(response??.status().is_success());
    }
    Ok(admitted)
}

#[tokio::test]
async fn short_answers_admit_no_more_requests_at_once() -> TestResult {
    let fresh = admitted_at_once(&Metered::start(each_caller(4_000)).await?).await?;
    assert!((5..=9).contains(&fresh), "{fresh}");
    for teacher in ["alice", "bob"] {
        let metered = Metered::start(each_caller(4_000)).await?;
        let client = client(Protocol::Http1);
        for number in 0..40 {
            let chat = unbounded()
                .header(CALLER, teacher)
                .header("x-mock-prompt-tokens", 1)
                .header("x-mock-completion-tokens", 1);
            let id = number.to_string();
            let exchange = metered.exchange(&client, &id, chat).await?;
            assert_eq!(exchange.status, 200);
        }
        let admitted = admitted_at_once(&metered).await?;
        assert!(admitted <= fresh, "{admitted}, without teaching {fresh}");
        metered.check().await?;
    }
    Ok(())
}

/// Sends a chat as `hang-up`, disconnects once the response has so many bytes and so much time has passed, and
/// returns the access log entry.
async fn hang_up(
    metered: &Metered,
    protocol: Protocol,
    chat: Chat,
    bytes: usize,
    wait: Duration,
) -> Result<AccessLogEntry, Box<dyn Error>> {
    let id = &format!("{protocol:?}");
    let chat = chat.header(CALLER, "hang-up").header("x-test-id", id);
    let client = client(protocol);
    let mut response = chat.send(&client, metered.envoy.address()).await?;
    assert_eq!(response.status(), 200);
    let mut seen = 0;
    while seen < bytes {
        seen += response.chunk().await?.ok_or("the response ended")?.len();
    }
    // The time that passes is what is charged.
    tokio::time::sleep(wait).await;
    drop((response, client));
    Ok(metered.envoy.logged(id).await?)
}

fn check_charged(entry: &AccessLogEntry, at_least: u64, at_most: u64) -> TestResult {
    assert_eq!(entry.tollgate("estimated"), Some("true"), "{entry:?}");
    let output = entry.tollgate_number("output_tokens").ok_or("no tokens")?;
    assert!((at_least..=at_most).contains(&output), "{output}");
    Ok(())
}

#[tokio::test]
async fn hang_up_after_hidden_reasoning_is_charged() -> TestResult {
    for protocol in Protocol::ALL {
        let metered = Metered::start(each_caller(AMPLE)).await?;
        for number in 0..3 {
            let id = format!("timed {number}");
            let chat = timed().header(CALLER, "alice");
            metered.exchange(&client(protocol), &id, chat).await?;
        }
        // Nothing but the role for 1.5 seconds, then a marker.
        let chat = Chat::default()
            .stream(true)
            .field("max_tokens", 10_000)
            .header("x-mock-chunk-delay-ms", 1_500)
            .header("x-mock-hold-after", 2);
        let entry = hang_up(&metered, protocol, chat, 250, Duration::ZERO).await?;
        check_charged(&entry, RATE * 15 / 10 / 2, RATE * 3)?;
        metered.check().await?;
    }
    Ok(())
}

#[tokio::test]
async fn hang_up_is_charged_within_the_bound() -> TestResult {
    let metered = Metered::start(each_caller(AMPLE)).await?;
    let chat = Chat::default()
        .stream(true)
        .field("max_tokens", 30)
        .header("x-mock-hold-after", 0);
    let wait = Duration::from_secs(1);
    let entry = hang_up(&metered, Protocol::Http1, chat, 0, wait).await?;
    check_charged(&entry, 30, 30)
}

#[tokio::test]
async fn response_cut_off_before_first_byte_is_estimated() -> TestResult {
    let metered = Metered::start(each_caller(AMPLE)).await?;
    let wait = Duration::from_secs(1);
    for protocol in Protocol::ALL {
        let chat = Chat::default()
            .stream(true)
            .field("max_tokens", 10_000)
            .header("x-mock-hold-after", 0);
        let entry = hang_up(&metered, protocol, chat, 0, wait).await?;
        // By the start value of the rate.
        check_charged(&entry, 90, 300)?;
    }
    // The first bytes of a compressed body.
    let script = Script {
        status: 200,
        headers: vec![
            ("content-type".to_owned(), "text/event-stream".to_owned()),
            ("content-encoding".to_owned(), "gzip".to_owned()),
        ],
        body: vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3].into(),
    };
    metered.llm.script("gzip", script);
    let metered = &metered;
    let chat = Chat::default()
        .field("max_tokens", 10_000)
        .header("x-mock-script", "gzip")
        .header("x-mock-hold-after", 1)
        .header("x-test-id", "gzip")
        .header(CALLER, "gzip");
    let client = client(Protocol::Http1);
    let response = chat.send(&client, metered.envoy.address()).await?;
    // The time that passes is what is charged.
    tokio::time::sleep(wait).await;
    drop((response, client));
    check_charged(&metered.envoy.logged("gzip").await?, 90, 300)?;
    metered.check().await?;
    Ok(())
}

#[tokio::test]
async fn empty_response_costs_nothing() -> TestResult {
    let metered = Metered::start(each_caller(AMPLE)).await?;
    let chat = Chat::default()
        .header("x-mock-empty", 1)
        .header(CALLER, "a");
    let exchange = metered
        .exchange(&client(Protocol::Http1), "empty", chat)
        .await?;
    assert_eq!(exchange.entry.tollgate("total_tokens"), None);
    assert_eq!(metered.remaining("a").await?, AMPLE);
    Ok(())
}

#[tokio::test]
async fn undecodable_response_costs_its_reservation() -> TestResult {
    let metered = Metered::start(each_caller(AMPLE)).await?;
    let script = Script {
        status: 200,
        headers: vec![
            ("content-type".to_owned(), "application/json".to_owned()),
            ("content-encoding".to_owned(), "br".to_owned()),
        ],
        body: vec![0x7f; 200].into(),
    };
    metered.llm.script("corrupt", script);
    let chat = Chat::default()
        .field("max_tokens", 777)
        .header("x-mock-script", "corrupt")
        .header(CALLER, "a");
    let exchange = metered
        .exchange(&client(Protocol::Http1), "corrupt", chat)
        .await?;
    check_charged(&exchange.entry, 777, 777)
}

#[tokio::test]
async fn upstream_is_asked_for_cheap_codings() -> TestResult {
    let mut configuration = each_caller(AMPLE);
    configuration["usage"] = json!({ "includeUsage": "never" });
    let metered = Metered::start(configuration).await?;
    for (sent, received) in [("br, gzip, zstd", "gzip"), ("br", "identity")] {
        let chat = Chat::default()
            .header(CALLER, "a")
            .header("accept-encoding", sent);
        metered
            .exchange(&client(Protocol::Http1), sent, chat)
            .await?;
        let request = metered.llm.last_request().ok_or("no request")?;
        assert_eq!(request.headers["accept-encoding"], received);
    }
    let chat = Chat::default().header(CALLER, "a");
    metered
        .exchange(&client(Protocol::Http1), "none", chat)
        .await?;
    let request = metered.llm.last_request().ok_or("no request")?;
    assert!(!request.headers.contains_key("accept-encoding"));
    Ok(())
}

#[tokio::test]
async fn reservation_is_clamped_to_limit() -> TestResult {
    let metered = Metered::start(each_caller(500)).await?;
    let client = client(Protocol::Http1);
    let chat = Chat::default()
        .field("max_tokens", 1_u64 << 40)
        .header("x-mock-silent", 1);
    let chat = spawn_chat(&metered, &client, "huge", chat);
    metered.llm.wait_for_requests(1).await?;
    let gauge = "reserved.policy=default/llm.limit=tokens";
    wait_for_metric(&metered.envoy, gauge, 500).await?;
    chat.abort();
    metered.envoy.logged("huge").await?;
    wait_for_metric(&metered.envoy, gauge, 0).await?;
    Ok(())
}
