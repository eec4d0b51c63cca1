//! Steps and assertions that several modules need.

use std::{collections::BTreeMap, error::Error};

use envoy_test::{
    client::{Chat, Protocol, client},
    envoy::{AccessLogEntry, Builder, Envoy},
    filters::Tollgate,
    llm::{Llm, Script},
    metered::{CALLER, Metered},
};
use futures_util::future::join_all;
use reqwest::{Client, Response};
use serde_json::{Value, json};
use tokio::task::JoinHandle;

/// The result of a test.
pub(crate) type TestResult = Result<(), Box<dyn Error>>;

/// A gateway whose filter has this value of `holdHeaders`, with what `build` adds.
pub(crate) async fn start_holding_headers(
    mut configuration: Value,
    hold_headers: bool,
    build: impl FnOnce(Builder) -> Builder,
) -> Result<Metered, Box<dyn Error>> {
    configuration["holdHeaders"] = hold_headers.into();
    let tollgate = Tollgate::new(configuration).holds_headers(hold_headers);
    let metered = Metered::build(json!({}), |builder| build(builder.tollgate(tollgate)));
    Ok(metered.await?)
}

/// Distributes connections evenly: every worker gets as many as the next.
pub(crate) fn balance_connections(builder: Builder) -> Builder {
    builder.edit_listener(|listener| {
        listener["connection_balance_config"] = json!({ "exact_balance": {} });
    })
}

/// Sends a chat of the caller `alice`, reads the response to its end and returns its status.
pub(crate) async fn send(metered: &Metered, chat: &Chat) -> Result<u16, Box<dyn Error>> {
    send_as(metered, "alice", chat).await
}

/// Sends a chat of a caller on a connection of its own, reads the response to its end and returns its status.
pub(crate) async fn send_as(
    metered: &Metered,
    caller: &str,
    chat: &Chat,
) -> Result<u16, Box<dyn Error>> {
    let client = client(Protocol::Http1);
    let chat = chat.clone().header(CALLER, caller);
    let response = chat.send(&client, metered.envoy.address()).await?;
    let status = response.status().as_u16();
    response.bytes().await?;
    Ok(status)
}

/// Waits for chats that are sent at once. Returns how many were admitted; the others have to be rejected by a limit.
pub(crate) async fn count_admitted(
    chats: impl IntoIterator<Item = impl Future<Output = Result<u16, Box<dyn Error>>>>,
) -> Result<u64, Box<dyn Error>> {
    let mut admitted = 0;
    for status in join_all(chats).await {
        match status? {
            200 => admitted += 1,
            429 => {}
            status => return Err(format!("status {status}").into()),
        }
    }
    Ok(admitted)
}

/// Sends a chat of the caller `alice` in a task. Aborting the task disconnects the client.
pub(crate) fn spawn_chat(
    metered: &Metered,
    client: &Client,
    id: &str,
    chat: Chat,
) -> JoinHandle<reqwest::Result<Response>> {
    spawn_chat_as(metered, client, "alice", id, chat)
}

/// Sends a chat of a caller in a task. Aborting the task disconnects the client.
pub(crate) fn spawn_chat_as(
    metered: &Metered,
    client: &Client,
    caller: &str,
    id: &str,
    chat: Chat,
) -> JoinHandle<reqwest::Result<Response>> {
    let chat = chat.header(CALLER, caller).header("x-test-id", id);
    let request = chat.request(client, metered.envoy.address());
    tokio::spawn(request.send())
}

/// A chat that the provider receives and never answers.
pub(crate) fn silent_chat() -> Chat {
    Chat::default().header("x-mock-silent", 1)
}

/// A scripted response with this content type and status 200.
pub(crate) fn script(llm: &Llm, name: &str, content_type: &str, body: impl Into<bytes::Bytes>) {
    let script = Script {
        status: 200,
        headers: vec![("content-type".to_owned(), content_type.to_owned())],
        body: body.into(),
    };
    llm.script(name, script);
}

/// The tokens of all completions that the provider has generated.
pub(crate) fn generated_tokens(metered: &Metered) -> u64 {
    metered.llm.input_tokens() + metered.llm.output_tokens()
}

/// The input, output, total and cached tokens in an access log entry.
pub(crate) fn logged_tokens(entry: &AccessLogEntry) -> [Option<u64>; 4] {
    let keys = [
        "input_tokens",
        "output_tokens",
        "total_tokens",
        "cached_tokens",
    ];
    keys.map(|key| entry.tollgate_number(key))
}

/// A metric of the filter as it was written last, by its name after `tollgate.`; 0 where Envoy has none of that name.
pub(crate) async fn metric(envoy: &Envoy, name: &str) -> Result<u64, Box<dyn Error>> {
    Ok(envoy.stat(&metric_name(name)).await?)
}

/// Waits until the metrics of so many exchanges are written, those without a decision not counted.
pub(crate) async fn wait_for_exchanges(envoy: &Envoy, exchanges: u64) -> TestResult {
    let decisions = metric_name("requests.decision=");
    let is_counted = |stats: &BTreeMap<String, u64>| stats.values().sum::<u64>() == exchanges;
    envoy.wait_for_stats(&decisions, is_counted).await?;
    Ok(())
}

/// Waits until a metric of the filter is above 0, and returns it.
pub(crate) async fn wait_for_some(envoy: &Envoy, name: &str) -> Result<u64, Box<dyn Error>> {
    let name = metric_name(name);
    Ok(envoy.wait_for_stat(&name, |value| value > 0).await?)
}

/// Waits until a metric of the filter has this value: metrics are written once a second.
pub(crate) async fn wait_for_metric(envoy: &Envoy, name: &str, expected: u64) -> TestResult {
    let name = metric_name(name);
    envoy
        .wait_for_stat(&name, |value| value == expected)
        .await?;
    Ok(())
}

fn metric_name(name: &str) -> String {
    format!("wasmcustom.tollgate.{name}")
}
