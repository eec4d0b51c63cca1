//! Scenarios: requests with their expected outcomes, as the file of an example contains them.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

/// A sequence of requests that starts with unused limits.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    /// What it shows.
    pub title: String,
    /// The requests.
    pub steps: Vec<Step>,
}

/// A request and its expected outcome.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Step {
    /// What the request is, or the reason for its outcome.
    pub why: String,
    /// The path.
    pub path: String,
    /// The headers.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    /// The body. Without one, the method is `GET`.
    pub body: Option<Value>,
    /// The tokens of the prompt and of the completion.
    pub model: Option<[u64; 2]>,
    /// How many times it is sent.
    #[serde(default = "once")]
    pub times: u32,
    /// The expected outcome, each time.
    pub expect: Expect,
}

/// An expected outcome.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Expect {
    /// The status.
    pub status: u16,
    /// The tokens that are charged.
    #[serde(default)]
    pub tokens: u64,
    /// The cluster that the request is routed to, if that matters.
    pub cluster: Option<String>,
    /// Exported costs, by name.
    #[serde(default)]
    pub costs: BTreeMap<String, u64>,
    /// Response headers, by name in lower case; `null` for a header that must be absent. Numbers of seconds may be
    /// lower, as time passes.
    #[serde(default)]
    pub headers: BTreeMap<String, Option<String>>,
    /// The body.
    pub json: Option<Value>,
}

fn once() -> u32 {
    1
}
