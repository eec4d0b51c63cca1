//! Background responses and stored ones: what is fetched is charged once, to the request that has started it.

use std::error::Error;

use envoy_test::{
    client::{Protocol, client},
    metered::{CALLER, Metered, each_caller},
    remote::{self, gateway, wait_for_counted},
    wait,
};
use reqwest::Method;
use serde_json::{Value, json};

use crate::{
    fixtures::AMPLE,
    support::{TestResult, balance_connections, metric, script, wait_for_metric},
};

/// Returns a background response of 100 tokens, or one that is not complete.
fn response(id: &str, status: &str) -> Value {
    let is_complete = status == "completed";
    let text = json!([{ "type": "output_text", "text": "Rivers run." }]);
    let output = json!([{ "type": "message", "role": "assistant", "content": text }]);
    let usage = json!({ "input_tokens": 10, "output_tokens": 90, "total_tokens": 100 });
    json!({
        "id": id, "object": "response", "background": true, "status": status, "error": null,
        "model": "m",
        "output": if is_complete { output } else { json!([]) },
        "usage": if is_complete { usage } else { Value::Null },
    })
}

/// Sends a request on a connection of its own, whose response is this script, and waits until it is logged.
async fn send(
    metered: &Metered,
    caller: &str,
    method: Method,
    path: &str,
    name: &str,
    id: &str,
) -> Result<u16, Box<dyn Error>> {
    let request = client(Protocol::Http1)
        .request(method.clone(), metered.envoy.url(path))
        .header(CALLER, caller)
        .header("x-mock-script", name)
        .header("x-test-id", id);
    let request = if method == Method::POST {
        let body = json!({ "model": "m", "input": "Rivers", "max_output_tokens": 200, "background": true });
        request.json(&body)
    } else {
        request
    };
    let response = request.send().await?;
    let status = response.status().as_u16();
    response.bytes().await?;
    let entry = metered.envoy.logged(id).await?;
    assert_eq!(entry.tollgate("total_tokens"), None, "{id}: {entry:?}");
    Ok(status)
}

/// Submits a response to be generated in the background, as alice.
async fn submit(metered: &Metered) -> Result<u16, Box<dyn Error>> {
    send(
        metered,
        "alice",
        Method::POST,
        "/v1/responses",
        "queued",
        "submit",
    )
    .await
}

fn scripts(metered: &Metered, id: &str) {
    for status in ["queued", "in_progress", "completed"] {
        let body = response(id, status).to_string();
        script(&metered.llm, status, "application/json", body);
    }
    let rest = response(id, "completed");
    let rest = json!({ "type": "response.completed", "response": rest });
    let rest = format!("event: response.completed\ndata: {rest}\n\n");
    script(&metered.llm, "stream", "text/event-stream", rest);
}

#[tokio::test]
async fn background_response_is_charged_once_over_two_workers() -> TestResult {
    let metered = Metered::build(each_caller(AMPLE), |builder| {
        balance_connections(builder.concurrency(2))
    })
    .await?;
    scripts(&metered, "resp_1");
    let path = "/v1/responses/resp_1";
    assert_eq!(submit(&metered).await?, 200);
    let reserved = AMPLE - metered.remaining("alice").await?;
    assert!((200..300).contains(&reserved), "{reserved}");
    send(&metered, "bob", Method::GET, path, "in_progress", "pending").await?;
    assert_eq!(AMPLE - metered.remaining("alice").await?, reserved);
    for poll in 0..5 {
        let id = format!("poll {poll}");
        send(&metered, "bob", Method::GET, path, "completed", &id).await?;
        assert_eq!(metered.remaining("alice").await?, AMPLE - 100, "{id}");
    }
    for poll in 0..2 {
        let path = format!("{path}?stream=true&starting_after=3");
        let id = format!("stream {poll}");
        send(&metered, "bob", Method::GET, &path, "stream", &id).await?;
    }
    let cancel = format!("{path}/cancel");
    send(
        &metered,
        "carol",
        Method::POST,
        &cancel,
        "completed",
        "cancel",
    )
    .await?;
    for (caller, used) in [("alice", 100), ("bob", 0), ("carol", 0)] {
        assert_eq!(metered.remaining(caller).await?, AMPLE - used, "{caller}");
    }
    wait_for_metric(&metered.envoy, "tokens.kind=output.model=m", 90).await?;
    metered.check().await?;
    Ok(())
}

#[tokio::test]
async fn background_response_without_report_is_estimated() -> TestResult {
    let mut configuration = each_caller(AMPLE);
    configuration["usage"] = json!({ "backgroundTtl": "1s" });
    let metered = Metered::start(configuration).await?;
    scripts(&metered, "resp_1");
    submit(&metered).await?;
    // Any exchange finds what has expired.
    let used = wait::until("the estimate to be charged", async || {
        let request = client(Protocol::Http1).get(metered.envoy.url("/v1/models/x"));
        let request = request
            .header(CALLER, "bob")
            .header("x-mock-script", "queued");
        request.send().await.ok()?;
        // Until then the request has reserved its bound.
        let charged = metric(&metered.envoy, "estimated").await.ok()?;
        let used = AMPLE - metered.remaining("alice").await.ok()?;
        (charged == 1).then_some(used)
    });
    let used = used.await?;
    assert!((200..300).contains(&used), "{used}");
    Ok(())
}

#[tokio::test]
async fn limitador_counts_background_response_once() -> TestResult {
    for protocol in [remote::Protocol::Reserve, remote::Protocol::CheckReport] {
        let mut configuration = each_caller(AMPLE);
        configuration["storage"] = protocol.storage();
        let limitador = remote::limitador(&configuration)?.start().await?;
        let metered = gateway(configuration, limitador.address(), 2).await?;
        scripts(&metered, "resp_1");
        submit(&metered).await?;
        for poll in 0..3 {
            let (path, id) = ("/v1/responses/resp_1", format!("poll {poll}"));
            send(&metered, "bob", Method::GET, path, "completed", &id).await?;
            wait_for_counted(&limitador, 100).await?;
        }
    }
    Ok(())
}

#[tokio::test]
async fn requests_that_generate_nothing_are_free() -> TestResult {
    let metered = Metered::start(each_caller(AMPLE)).await?;
    let completion = r#"{"id":"c","object":"chat.completion","model":"m","choices":[{"message":{"content":"Rivers"}}],"usage":{"prompt_tokens":10,"completion_tokens":90,"total_tokens":100}}"#;
    let result = r#"{"key":"r0","response":{"candidates":[{"content":{"parts":[{"text":"x"}]}}],"usageMetadata":{"promptTokenCount":10,"candidatesTokenCount":90,"totalTokenCount":100}}}"#;
    let cache = r#"{"name":"cachedContents/a","usageMetadata":{"totalTokenCount":100}}"#;
    let count = r#"{"object":"response.input_tokens","input_tokens":100}"#;
    let all = [
        (Method::GET, "/v1/chat/completions/c", completion),
        (Method::HEAD, "/v1/chat/completions/c", ""),
        (Method::DELETE, "/v1/chat/completions/c", completion),
        (Method::GET, "/download/v1beta/files/b:download", result),
        (Method::GET, "/v1beta/cachedContents/a", cache),
        (Method::POST, "/v1beta/cachedContents", cache),
        (Method::POST, "/v1/responses/input_tokens", count),
    ];
    for (index, (method, path, body)) in all.into_iter().enumerate() {
        let name = format!("free {index}");
        script(&metered.llm, &name, "application/json", body);
        send(&metered, "alice", method, path, &name, &name).await?;
        assert_eq!(metered.remaining("alice").await?, AMPLE, "{name}");
    }
    metered.check().await?;
    Ok(())
}
