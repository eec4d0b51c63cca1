//! Jupiter's guide to budgets and rate limits, as `examples/jupiter` has it, beyond its scenarios.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use envoy_test::{
    client::{Chat, Protocol, client},
    example::{Example, Running},
};
use futures_util::future::try_join_all;
use reqwest::{Client, Response};
use serde_json::json;
use tokio::task::JoinHandle;

use crate::support::{TestResult, script, wait_for_metric};

async fn start() -> Result<Running, envoy_test::example::Error> {
    Ok(Example::read("jupiter")?.start().await?)
}

fn chat(key: &str, model: &str) -> Chat {
    Chat::default()
        .field("model", model)
        .header("authorization", format!("Bearer {key}"))
}

/// Sends a chat as many concurrent requests, and returns the responses.
async fn send_concurrently(
    running: &Running,
    client: &Client,
    chat: &Chat,
    requests: usize,
) -> reqwest::Result<Vec<Response>> {
    let address = running.envoy.address();
    try_join_all((0..requests).map(|_| chat.send(client, address))).await
}

/// Sends a chat that is never answered in a task. Aborting the task disconnects the client.
fn spawn_silent_chat(
    running: &Running,
    client: &Client,
    key: &str,
) -> JoinHandle<reqwest::Result<Response>> {
    let chat = chat(key, "gpt-3.5-turbo").header("x-mock-silent", 1);
    tokio::spawn(chat.request(client, running.envoy.address()).send())
}

fn header<'a>(response: &'a Response, name: &str) -> Option<&'a str> {
    response.headers().get(name)?.to_str().ok()
}

fn admitted(responses: &[Response]) -> usize {
    let admitted = responses.iter().filter(|response| response.status() == 200);
    admitted.count()
}

#[tokio::test]
async fn requests_are_limited_per_second() -> TestResult {
    let running = start().await?;
    let client = client(Protocol::Http2);
    let start = Instant::now();
    let chat = chat("sk-1", "gpt-3.5-turbo");
    let responses = send_concurrently(&running, &client, &chat, 100).await?;
    let seconds = usize::try_from(start.elapsed().as_secs())?;
    // A window of a second for each second that it took, and one more.
    let admitted = admitted(&responses);
    assert!((10..=10 * (seconds + 1)).contains(&admitted), "{admitted}");
    let rejected = responses.iter().find(|response| response.status() == 429);
    let rejected = rejected.ok_or("no rejection")?;
    assert_eq!(header(rejected, "x-ratelimit-limit"), Some("10"));
    assert_eq!(header(rejected, "x-ratelimit-remaining"), Some("0"));
    assert_eq!(header(rejected, "retry-after"), Some("1"));
    Ok(())
}

#[tokio::test]
async fn requests_are_limited_per_minute() -> TestResult {
    let running = start().await?;
    let client = client(Protocol::Http2);
    let chat = chat("sk-5", "gpt-3.5-turbo");
    let responses = send_concurrently(&running, &client, &chat, 510).await?;
    assert_eq!(admitted(&responses), 500);
    assert_eq!(running.llm.requests(), 500);
    let rejected = responses.iter().find(|response| response.status() == 429);
    let rejected = rejected.ok_or("no rejection")?;
    assert_eq!(header(rejected, "x-ratelimit-limit"), Some("500"));
    assert_eq!(header(rejected, "x-ratelimit-remaining"), Some("0"));
    // Other responses have the quota headers of the budget, and its reset as a time.
    let admitted = responses.iter().find(|response| response.status() == 200);
    let admitted = admitted.ok_or("no admission")?;
    assert_eq!(header(admitted, "x-budget-limit"), Some("50.00"));
    let reset: u64 = header(admitted, "x-budget-reset")
        .ok_or("no reset")?
        .parse()?;
    let reset = Duration::from_secs(reset);
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?;
    assert!(reset > now, "{reset:?} {now:?}");
    Ok(())
}

#[tokio::test]
async fn concurrent_requests_are_limited() -> TestResult {
    let running = start().await?;
    let client = client(Protocol::Http2);
    let in_flight: Vec<_> = (0..5)
        .map(|_| spawn_silent_chat(&running, &client, "sk-3"))
        .collect();
    running.llm.wait_for_requests(5).await?;
    let chat = chat("sk-3", "gpt-3.5-turbo");
    let rejected = send_concurrently(&running, &client, &chat, 1).await?;
    assert_eq!(admitted(&rejected), 0);
    assert_eq!(header(&rejected[0], "x-ratelimit-limit"), Some("5"));
    for task in in_flight {
        task.abort();
    }
    Ok(())
}

#[tokio::test]
async fn over_limit_request_is_queued() -> TestResult {
    let running = start().await?;
    let client = client(Protocol::Http2);
    // Half of them are queued until the next second.
    let in_flight: Vec<_> = (0..20)
        .map(|_| spawn_silent_chat(&running, &client, "sk-2"))
        .collect();
    running.llm.wait_for_requests(20).await?;
    let chat = chat("sk-2", "gpt-3.5-turbo").header("x-test-id", "queued");
    let queued = tokio::spawn(chat.request(&client, running.envoy.address()).send());
    wait_for_metric(&running.envoy, "queued", 1).await?;
    assert_eq!(running.llm.requests(), 20);
    in_flight[0].abort();
    assert_eq!(queued.await??.status(), 200);
    let entry = running.envoy.logged("queued").await?;
    assert_eq!(entry.tollgate("decision"), Some("queued"), "{entry:?}");
    assert_eq!(entry.tollgate("limit"), Some("production-key"));
    for task in in_flight {
        task.abort();
    }
    Ok(())
}

#[tokio::test]
async fn fallback_is_a_model_of_same_provider() -> TestResult {
    let running = start().await?;
    let client = client(Protocol::Http1);
    let answer = json!({
        "id": "1", "type": "message", "role": "assistant",
        "content": [{ "type": "text", "text": "hi" }],
        "usage": { "input_tokens": 4_000_000, "output_tokens": 0 },
    });
    let answer = answer.to_string();
    script(&running.llm, "message", "application/json", answer);
    // The first message costs 60 of 50 dollars.
    for (path, model, fallback) in [
        ("/v1/messages", "claude-3-opus", None),
        ("/v1/messages", "claude-3-opus", Some("claude-3-sonnet")),
        ("/v1/chat/completions", "gpt-4-turbo", Some("gpt-3.5-turbo")),
    ] {
        let body = json!({
            "model": model, "max_tokens": 10, "messages": [{ "role": "user", "content": "Hello" }],
        });
        let request = client
            .post(running.envoy.url(path))
            .header("authorization", "Bearer sk-3");
        let request = if path == "/v1/messages" {
            request.header("x-mock-script", "message")
        } else {
            request
        };
        let response = request.json(&body).send().await?;
        assert_eq!(response.status(), 200, "{model}");
        assert_eq!(header(&response, "x-tollgate-alternative"), fallback);
        response.bytes().await?;
        let received = running.llm.last_request().ok_or("no request")?;
        let received: serde_json::Value = serde_json::from_slice(&received.body)?;
        assert_eq!(received["model"], fallback.unwrap_or(model));
    }
    wait_for_metric(&running.envoy, "requests.decision=alternative", 2).await?;
    Ok(())
}

#[tokio::test]
async fn alert_is_counted_once() -> TestResult {
    let running = start().await?;
    let client = client(Protocol::Http1);
    let chat = chat("sk-4", "gpt-4").header("x-mock-prompt-tokens", 300_000);
    for _ in 0..3 {
        send_concurrently(&running, &client, &chat, 1).await?;
    }
    let alerts = "alerts.policy=jupiter/limits.limit=new-customer";
    wait_for_metric(&running.envoy, alerts, 1).await
}
