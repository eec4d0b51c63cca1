//! Scenarios: requests with their expected outcomes, as files contain them.
//!
//! The end-to-end tests read the same files, and send the requests to an Envoy. What only `tollgate test` does, because
//! it has no Envoy, says so.

use std::{collections::BTreeMap, path::PathBuf};

use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};

/// A file of scenarios: a list of them, or a map with settings too.
#[derive(Debug, Clone, Default)]
pub struct Plays {
    /// The file of the configuration, relative to this one.
    pub config: Option<PathBuf>,
    /// What authenticates requests, for `tollgate test`.
    pub authentication: Option<Authentication>,
    /// Request headers that a filter before tollgate removes, for `tollgate test`.
    pub removed_headers: Vec<String>,
    /// The time at which scenarios begin, in seconds since the Unix epoch, for `tollgate test`.
    pub start: Option<u64>,
    /// The scenarios.
    pub scenarios: Vec<Scenario>,
}

/// API keys, each with what it makes of `auth`. A request without one of them gets a 401.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Authentication {
    /// The header that has the key, in lower case. `Bearer ` before a key does not matter. The header is removed.
    pub header: String,
    /// `auth`, for each key.
    pub keys: BTreeMap<String, Value>,
}

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
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Step {
    /// What the request is, or the reason for its outcome.
    pub why: String,
    /// The time that passes before it, such as `1m`, for `tollgate test`.
    pub wait: Option<String>,
    /// The method. By default `POST` with a body, else `GET`.
    pub method: Option<String>,
    /// The path.
    pub path: String,
    /// The headers.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    /// The body.
    pub body: Option<Value>,
    /// The object `auth`, for `tollgate test`.
    pub auth: Option<Value>,
    /// Dynamic metadata by namespace, for `tollgate test`.
    #[serde(default)]
    pub metadata: Map<String, Value>,
    /// The peer's address with its port, for `tollgate test`.
    pub source: Option<String>,
    /// The tokens of the prompt and of the completion.
    pub model: Option<[u64; 2]>,
    /// The response of the upstream, in place of that of a model, for `tollgate test`.
    pub response: Option<Answer>,
    /// How many times it is sent.
    #[serde(default = "once")]
    pub times: u32,
    /// Whether only an Envoy with its other filters has the outcome; `tollgate test` skips the step.
    #[serde(default)]
    pub envoy_only: bool,
    /// The expected outcome, each time.
    pub expect: Expect,
}

/// A response of the upstream.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Answer {
    /// The status.
    #[serde(default = "ok")]
    pub status: u16,
    /// The headers.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    /// The body: JSON, or text such as a stream of events.
    pub body: Option<Value>,
}

/// An expected outcome.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Expect {
    /// The status.
    pub status: u16,
    /// The tokens that are charged.
    #[serde(default)]
    pub tokens: u64,
    /// The decision.
    pub decision: Option<String>,
    /// The limit that decides.
    pub limit: Option<String>,
    /// The dollars that are charged, such as `"0.25"`.
    pub usd: Option<String>,
    /// What is left afterwards for the caller, for `tollgate test`: of a limit, by its name, or of one of its rates, such as `free.rates[1]`.
    /// Dollars are text, such as `"9.75"`.
    #[serde(default)]
    pub remaining: BTreeMap<String, Value>,
    /// The cluster that the request is routed to, if that matters. `tollgate test` does not check it.
    pub cluster: Option<String>,
    /// Exported costs, by name.
    #[serde(default)]
    pub costs: BTreeMap<String, u64>,
    /// Response headers, by name in lower case; `null` for a header that must be absent. Numbers of seconds may be
    /// lower in an Envoy, as time passes.
    #[serde(default)]
    pub headers: BTreeMap<String, Option<String>>,
    /// The body.
    pub json: Option<Value>,
}

/// The map that a file of scenarios can be.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Fields {
    config: Option<PathBuf>,
    authentication: Option<Authentication>,
    #[serde(default)]
    removed_headers: Vec<String>,
    start: Option<u64>,
    scenarios: Vec<Scenario>,
}

fn once() -> u32 {
    1
}

fn ok() -> u16 {
    200
}

// === impl Plays ===

impl<'de> Deserialize<'de> for Plays {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // A derived untagged enum would not say what is wrong.
        let value = serde_norway::Value::deserialize(deserializer)?;
        let wrong = serde::de::Error::custom::<serde_norway::Error>;
        if value.is_sequence() {
            let scenarios = serde_norway::from_value(value).map_err(wrong)?;
            return Ok(Self {
                scenarios,
                ..Self::default()
            });
        }
        let fields: Fields = serde_norway::from_value(value).map_err(wrong)?;
        Ok(Self {
            config: fields.config,
            authentication: fields.authentication,
            removed_headers: fields.removed_headers,
            start: fields.start,
            scenarios: fields.scenarios,
        })
    }
}
