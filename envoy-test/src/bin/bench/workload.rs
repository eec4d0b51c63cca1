//! The workloads: completions of different sizes and content codings.

use std::io::Write;

use bytes::Bytes;
use envoy_test::{
    client::{Chat, Protocol, client},
    llm::Llm,
};
use flate2::{Compression, write::GzEncoder};
use serde_json::Value;

use crate::error::Error;

/// A request and its response, a column of the table.
#[derive(Debug)]
pub(crate) struct Workload {
    pub title: &'static str,
    /// The name of the host, by which the upstream selects the file to serve.
    pub host: &'static str,
    pub request: Value,
    pub response: Bytes,
    pub content_type: &'static str,
    /// Whether the response has the content coding gzip.
    pub gzip: bool,
}

/// Returns all workloads, with responses of the mock provider.
pub(crate) async fn all() -> Result<Vec<Workload>, Error> {
    let llm = Llm::start().await?;
    let client = client(Protocol::Http1);
    let record = async |title, host, content_type, chat: Chat| {
        let response = chat
            .send(&client, llm.address())
            .await?
            .error_for_status()?;
        Ok::<_, Error>(Workload {
            title,
            host,
            request: chat.body().clone(),
            response: response.bytes().await?,
            content_type,
            gzip: false,
        })
    };
    let json = Chat::default().header("x-mock-body-bytes", 1_700);
    let stream = |events: u64| Chat::default().stream(true).header("x-mock-events", events);
    let json = record("JSON 2 kB", "json", "application/json", json).await?;
    let compressed = Workload {
        title: "JSON 2 kB, gzip",
        host: "gzip",
        request: json.request.clone(),
        response: gzip(&json.response)?,
        content_type: json.content_type,
        gzip: true,
    };
    Ok(vec![
        json,
        compressed,
        record(
            "SSE 100 events, 20 kB",
            "short",
            "text/event-stream",
            stream(96),
        )
        .await?,
        record(
            "SSE 4,000 events, 0.8 MB",
            "long",
            "text/event-stream",
            stream(3_996),
        )
        .await?,
    ])
}

fn gzip(bytes: &[u8]) -> std::io::Result<Bytes> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes)?;
    encoder.finish().map(Bytes::from)
}
