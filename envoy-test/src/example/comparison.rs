//! The comparison of a response with the expected outcome.

use reqwest::{StatusCode, header::HeaderMap};
use serde_json::Value;
use tollgate_cli::plays::scenario::Expect;

use crate::envoy::AccessLogEntry;

/// How many seconds may have passed between an expected time and the response.
const MAX_ELAPSED: u64 = 30;

/// The outcome of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// The status.
    pub status: u16,
    /// The tokens that were charged.
    pub tokens: u64,
    /// The cluster that the request was routed to, if that matters.
    pub cluster: Option<String>,
    /// The response headers among those that are expected.
    pub headers: Vec<String>,
    /// The differences from the expected outcome.
    pub mismatches: Vec<String>,
}

/// A response, with what was observed about it.
pub(super) struct Response<'r> {
    pub status: StatusCode,
    pub headers: &'r HeaderMap,
    pub body: &'r [u8],
    pub entry: &'r AccessLogEntry,
    pub has_reached_model: bool,
}

// === impl Outcome ===

impl Outcome {
    /// Compares a response with the expected outcome.
    pub(super) fn of(response: &Response<'_>, expect: &Expect) -> Self {
        let status = response.status.as_u16();
        let tokens = response.entry.tollgate_number("total_tokens").unwrap_or(0);
        let cluster = expect.cluster.as_deref().and(response.entry.cluster());
        let mut mismatches = header_mismatches(expect, response.headers);
        if status != expect.status {
            mismatches.push(format!("status {status}, expected {}", expect.status));
        }
        if tokens != expect.tokens {
            mismatches.push(format!("{tokens} tokens, expected {}", expect.tokens));
        }
        if cluster != expect.cluster.as_deref() {
            let expected = &expect.cluster;
            mismatches.push(format!("cluster {cluster:?}, expected {expected:?}"));
        }
        mismatches.extend(cost_mismatches(expect, response.entry));
        if let Some(json) = &expect.json
            && serde_json::from_slice::<Value>(response.body).ok().as_ref() != Some(json)
        {
            let body = String::from_utf8_lossy(response.body);
            mismatches.push(format!("body {body}, expected {json}"));
        }
        if status != 200 && response.has_reached_model {
            mismatches.push("the request reached the model".to_owned());
        }
        let headers = expect.headers.keys().filter_map(|name| {
            let value = response.headers.get(name)?;
            Some(format!(
                "{name}: {}",
                String::from_utf8_lossy(value.as_bytes())
            ))
        });
        Self {
            status,
            tokens,
            cluster: cluster.map(str::to_owned),
            headers: headers.collect(),
            mismatches,
        }
    }
}

/// Returns the differences of the exported costs.
fn cost_mismatches(expect: &Expect, entry: &AccessLogEntry) -> Vec<String> {
    let mut mismatches = Vec::new();
    for (name, expected) in &expect.costs {
        let found = entry.tollgate_number(&format!("cost.{name}"));
        if found != Some(*expected) {
            mismatches.push(format!("cost {name} {found:?}, expected {expected}"));
        }
    }
    mismatches
}

/// Returns the differences of the response headers.
fn header_mismatches(expect: &Expect, headers: &HeaderMap) -> Vec<String> {
    let mut mismatches = Vec::new();
    for (name, expected) in &expect.headers {
        let found = headers.get(name);
        let found = found.map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
        let is_time = name.contains("reset") || name.contains("retry-after");
        let matches = match (expected, &found) {
            (Some(expected), Some(found)) if is_time => {
                let [expected, found] = [expected, found].map(|time| time.parse::<u64>().ok());
                expected.zip(found).is_some_and(|(expected, found)| {
                    found <= expected && found.saturating_add(MAX_ELAPSED) >= expected
                })
            }
            (expected, found) => expected == found,
        };
        if !matches {
            mismatches.push(format!("header {name} {found:?}, expected {expected:?}"));
        }
    }
    mismatches
}
