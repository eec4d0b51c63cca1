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

/// A request and its response.
#[derive(Debug, Clone)]
pub(crate) struct Workload {
    pub title: &'static str,
    /// The name of the host, by which the upstream selects the file to serve.
    pub host: &'static str,
    pub request: Value,
    pub response: Bytes,
    pub content_type: &'static str,
    /// Whether the response has the content coding gzip.
    pub gzip: bool,
    /// The version of HTTP between the client and Envoy.
    pub protocol: Protocol,
}

/// The length of the question in bytes: with the rest of the request about 2 kB, as a short conversation.
const QUESTION_BYTES: usize = 1_800;

/// Returns all workloads, with responses of the mock provider.
pub(crate) async fn all() -> Result<Vec<Workload>, Error> {
    let llm = Llm::start().await?;
    let client = client(Protocol::Http1);
    let record = async |title, host, content_type, chat: Chat, sent: Chat| {
        let response = chat
            .send(&client, llm.address())
            .await?
            .error_for_status()?;
        Ok::<_, Error>(Workload {
            title,
            host,
            request: sent.body().clone(),
            response: response.bytes().await?,
            content_type,
            gzip: false,
            protocol: Protocol::Http1,
        })
    };
    let question = "Why is the sky blue? ".repeat(QUESTION_BYTES.div_ceil(21));
    let chat = || Chat::new(&question, 100);
    let json = chat().header("x-mock-body-bytes", 1_700);
    let json = record("JSON 2 kB", "json", "application/json", json.clone(), json).await?;
    let compressed = Workload {
        title: "JSON 2 kB, gzip",
        host: "gzip",
        response: gzip(&json.response)?,
        gzip: true,
        ..json.clone()
    };
    let http2 = Workload {
        title: "JSON 2 kB, HTTP/2",
        protocol: Protocol::Http2,
        ..json.clone()
    };
    let mut workloads = vec![json, compressed, http2];
    let streams = [
        ("SSE 20 kB", "short", 96, false),
        ("SSE 20 kB, client requests usage", "short-usage", 96, true),
        ("SSE 0.8 MB", "long", 3_996, false),
        (
            "SSE 0.8 MB, client requests usage",
            "long-usage",
            3_996,
            true,
        ),
    ];
    for (title, host, events, is_requested) in streams {
        // The upstream reports usage: either the client has requested it, or the filter does.
        let recorded = chat().stream(true).header("x-mock-events", events);
        let sent = chat().stream(is_requested);
        workloads.push(record(title, host, "text/event-stream", recorded, sent).await?);
    }
    Ok(workloads)
}

fn gzip(bytes: &[u8]) -> std::io::Result<Bytes> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes)?;
    encoder.finish().map(Bytes::from)
}
