//! Jupiter's guide to budgets and rate limits, as `examples/jupiter` has it.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use envoy_test::{
    client::{Chat, Protocol, client},
    example::{Example, Running},
    llm::Script,
};
use futures_util::future::try_join_all;
use reqwest::{Client, Response};
use serde_json::json;
use tokio::task::JoinHandle;

mod examples;

/// How many requests wait.
const QUEUED: &str = "wasmcustom.tollgate.queued";

async fn start() -> Result<Running, envoy_test::example::Error> {
    Example::read("jupiter")?.start().await
}

fn chat(key: &str, model: &str) -> Chat {
    Chat::default()
        .field("model", model)
        .header("authorization", format!("Bearer {key}"))
}

/// Asks so often at once, and returns the responses.
async fn at_once(
    running: &Running,
    client: &Client,
    chat: &Chat,
    times: usize,
) -> reqwest::Result<Vec<Response>> {
    let address = running.envoy.address();
    try_join_all((0..times).map(|_| chat.send(client, address))).await
}

/// Asks in the background for what is never answered; the client leaves when the task is aborted.
fn endless(running: &Running, client: &Client, key: &str) -> JoinHandle<reqwest::Result<Response>> {
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
async fn budgets_are_spent_downgrade_and_alert() -> examples::Outcome {
    examples::play("jupiter").await
}

#[tokio::test]
async fn requests_are_counted_by_the_second() -> examples::Outcome {
    let running = start().await?;
    let client = client(Protocol::Http2);
    let since = Instant::now();
    let responses = at_once(&running, &client, &chat("sk-1", "gpt-3.5-turbo"), 100).await?;
    let seconds = usize::try_from(since.elapsed().as_secs())?;
    // As many windows of a second as it took, and one more.
    let admitted = admitted(&responses);
    assert!((10..=10 * (seconds + 1)).contains(&admitted), "{admitted}");
    let refused = responses.iter().find(|response| response.status() == 429);
    let refused = refused.ok_or("none was refused")?;
    assert_eq!(header(refused, "x-ratelimit-limit"), Some("10"));
    assert_eq!(header(refused, "x-ratelimit-remaining"), Some("0"));
    assert_eq!(header(refused, "retry-after"), Some("1"));
    Ok(())
}

#[tokio::test]
async fn requests_are_counted_by_the_minute() -> examples::Outcome {
    let running = start().await?;
    let client = client(Protocol::Http2);
    let responses = at_once(&running, &client, &chat("sk-5", "gpt-3.5-turbo"), 510).await?;
    assert_eq!(admitted(&responses), 500);
    assert_eq!(running.llm.requests(), 500);
    let refused = responses.iter().find(|response| response.status() == 429);
    let refused = refused.ok_or("none was refused")?;
    assert_eq!(header(refused, "x-ratelimit-limit"), Some("500"));
    assert_eq!(header(refused, "x-ratelimit-remaining"), Some("0"));
    // A refusal tells of the limit that refused, the others of the budget too, and when it is free again as a time.
    let admitted = responses.iter().find(|response| response.status() == 200);
    let admitted = admitted.ok_or("none was admitted")?;
    assert_eq!(header(admitted, "x-budget-limit"), Some("50.00"));
    let reset: u64 = header(admitted, "x-budget-reset").ok_or("none")?.parse()?;
    let reset = Duration::from_secs(reset);
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?;
    assert!(reset > now, "{reset:?} {now:?}");
    Ok(())
}

#[tokio::test]
async fn requests_at_once_are_limited() -> examples::Outcome {
    let running = start().await?;
    let client = client(Protocol::Http2);
    let endless: Vec<_> = (0..5).map(|_| endless(&running, &client, "sk-3")).collect();
    running.llm.wait_for_requests(5).await?;
    let chat = chat("sk-3", "gpt-3.5-turbo");
    let refused = at_once(&running, &client, &chat, 1).await?;
    assert_eq!(admitted(&refused), 0);
    assert_eq!(header(&refused[0], "x-ratelimit-limit"), Some("5"));
    for task in endless {
        task.abort();
    }
    Ok(())
}

#[tokio::test]
async fn requests_wait_for_room() -> examples::Outcome {
    let running = start().await?;
    let client = client(Protocol::Http2);
    // The second ten of them wait for another second.
    let endless: Vec<_> = (0..20)
        .map(|_| endless(&running, &client, "sk-2"))
        .collect();
    running.llm.wait_for_requests(20).await?;
    let chat = chat("sk-2", "gpt-3.5-turbo").header("x-test-id", "waits");
    let waiting = tokio::spawn(chat.request(&client, running.envoy.address()).send());
    let one_waits = running.envoy.wait_for_stat(QUEUED, |queued| queued == 1);
    one_waits.await?;
    assert_eq!(running.llm.requests(), 20);
    endless[0].abort();
    assert_eq!(waiting.await??.status(), 200);
    let entry = running.envoy.logged("waits").await?;
    assert_eq!(entry.tollgate("decision"), Some("queued"), "{entry:?}");
    assert_eq!(entry.tollgate("limit"), Some("production-key"));
    for task in endless {
        task.abort();
    }
    Ok(())
}

#[tokio::test]
async fn each_model_is_downgraded_to_one_of_its_provider() -> examples::Outcome {
    let running = start().await?;
    let client = client(Protocol::Http1);
    let answer = json!({
        "id": "1", "type": "message", "role": "assistant",
        "content": [{ "type": "text", "text": "hi" }],
        "usage": { "input_tokens": 4_000_000, "output_tokens": 0 },
    });
    let script = Script {
        status: 200,
        headers: vec![("content-type".to_owned(), "application/json".to_owned())],
        body: answer.to_string().into(),
    };
    running.llm.script("message", script);
    // 60 dollars, of 50.
    for (path, model, told) in [
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
        assert_eq!(header(&response, "x-tollgate-alternative"), told);
        response.bytes().await?;
        let received = running.llm.last_request().ok_or("no request")?;
        let received: serde_json::Value = serde_json::from_slice(&received.body)?;
        assert_eq!(received["model"], told.unwrap_or(model));
    }
    let downgraded = "wasmcustom.tollgate.requests.decision=alternative";
    running.envoy.wait_for_stat(downgraded, |n| n == 2).await?;
    Ok(())
}

#[tokio::test]
async fn an_alert_is_a_metric_too() -> examples::Outcome {
    let running = start().await?;
    let client = client(Protocol::Http1);
    let chat = chat("sk-4", "gpt-4").header("x-mock-prompt-tokens", 300_000);
    for _ in 0..3 {
        at_once(&running, &client, &chat, 1).await?;
    }
    let alerts = "wasmcustom.tollgate.alerts.policy=jupiter/limits.limit=new-customer";
    running
        .envoy
        .wait_for_stat(alerts, |alerts| alerts == 1)
        .await?;
    Ok(())
}
