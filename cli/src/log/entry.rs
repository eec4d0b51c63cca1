//! One exchange of a log.

use serde_json::{Map, Value};

/// The decisions that are rejections.
const REJECTIONS: [&str; 6] = [
    "denied",
    "unauthenticated",
    "forbidden",
    "invalid_request",
    "overloaded",
    "failed",
];

/// The tokens of an exchange.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tokens {
    /// The tokens of the prompt.
    pub input: u64,
    /// The tokens of the completion.
    pub output: u64,
    /// All tokens.
    pub total: u64,
    /// The tokens of the prompt that were read from a cache.
    pub cached: u64,
}

/// One exchange of a log.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Entry {
    /// The number of its line, or of the last line of its row.
    pub line: u64,
    /// When it began, in nanoseconds since the Unix epoch.
    pub time: Option<u64>,
    /// How long it took, in nanoseconds.
    pub duration: u64,
    /// The method.
    pub method: Option<String>,
    /// The path.
    pub path: Option<String>,
    /// The host.
    pub host: Option<String>,
    /// The peer's address.
    pub source: Option<String>,
    /// The status of the response.
    pub status: Option<u16>,
    /// The model.
    pub model: Option<String>,
    /// The tokens, if the log has any.
    pub tokens: Option<Tokens>,
    /// The dollars.
    pub usd: Option<f64>,
    /// The length of the request's body in bytes.
    pub request_bytes: Option<u64>,
    /// The bound on output that the request has.
    pub max_tokens: Option<u64>,
    /// The decision that was made.
    pub decision: Option<String>,
    /// The limit that decided.
    pub limit: Option<String>,
    /// The user.
    pub user: Option<Value>,
    /// The team.
    pub team: Option<String>,
    /// Headers of the request: lower-case names, values.
    pub headers: Vec<(String, String)>,
    /// The object `auth`.
    pub auth: Map<String, Value>,
}

// === impl Entry ===

impl Entry {
    /// Returns whether the request was rejected.
    #[must_use]
    pub fn is_rejected(&self) -> bool {
        let decision = self.decision.as_deref();
        decision.is_some_and(|decision| REJECTIONS.contains(&decision))
    }
}
