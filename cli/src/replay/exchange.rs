//! Requests, responses, and what became of them.

use std::{
    collections::{BTreeMap, HashMap},
    time::Duration,
};

use serde_json::{Map, Value};

/// The peer's address of a request without one.
const SOURCE: &str = "127.0.0.1:50000";

/// A request as the filter sees it: after authentication.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Request {
    /// The method.
    pub method: String,
    /// The path, with the query.
    pub path: String,
    /// Headers: lower-case names, values.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Option<Vec<u8>>,
    /// The object `auth`.
    pub auth: Option<Value>,
    /// Dynamic metadata, by namespace.
    pub metadata: Map<String, Value>,
    /// Filter state, by key.
    pub filter_state: Map<String, Value>,
    /// The peer's address, with its port.
    pub source: Option<String>,
}

/// A response of the upstream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response {
    /// The status.
    pub status: u16,
    /// Headers: lower-case names, values.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
}

/// What became of an exchange.
#[derive(Debug, Clone, Default)]
pub struct Outcome {
    /// Whether the request was passed on.
    pub is_admitted: bool,
    /// The status that the client receives.
    pub status: u16,
    /// The headers that the client receives.
    pub headers: Vec<(String, String)>,
    /// The body that the client receives.
    pub body: Vec<u8>,
    /// The response code details of a rejection.
    pub details: Option<String>,
    /// The headers of the request as it is passed on.
    pub request_headers: Vec<(String, String)>,
    /// The body of the request as it is passed on.
    pub request_body: Vec<u8>,
    /// How long it was queued.
    pub queued: Duration,
    /// What the access log has of the exchange, such as `decision` and `total_tokens`.
    pub values: BTreeMap<String, String>,
}

// === impl Request ===

impl Request {
    /// Returns the value of a header.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut headers = self.headers.iter();
        let header = headers.find(|(known, _)| known == name);
        header.map(|(_, value)| value.as_str())
    }

    /// Sets a header, unless the request has it.
    pub fn default_header(&mut self, name: &str, value: impl Into<String>) {
        if self.header(name).is_none() {
            self.headers.push((name.to_owned(), value.into()));
        }
    }

    /// Returns all headers, as Envoy has them.
    pub(super) fn pairs(&self) -> Vec<(String, String)> {
        let host = self.header("host").unwrap_or("localhost");
        let mut pairs = vec![
            (":method".to_owned(), self.method.clone()),
            (":path".to_owned(), self.path.clone()),
            (":authority".to_owned(), host.to_owned()),
            (":scheme".to_owned(), "http".to_owned()),
        ];
        let others = self.headers.iter().filter(|(name, _)| name != "host");
        pairs.extend(others.cloned());
        if let Some(body) = &self.body
            && self.header("content-length").is_none()
            && self.header("transfer-encoding").is_none()
        {
            pairs.push(("content-length".to_owned(), body.len().to_string()));
        }
        pairs
    }

    /// Returns the properties that Envoy has of the request.
    pub(super) fn properties(&self, now: u64) -> HashMap<Vec<String>, Vec<u8>> {
        let source = self.source.as_deref().unwrap_or(SOURCE);
        let port = source
            .rsplit_once(':')
            .and_then(|(_, port)| port.parse::<i64>().ok());
        let size = self.body.as_ref().map_or(0, Vec::len);
        let number = |number: i64| number.to_le_bytes().to_vec();
        let known = [
            (["source", "address"], source.as_bytes().to_vec()),
            (["source", "port"], number(port.unwrap_or_default())),
            (
                ["request", "time"],
                number(i64::try_from(now).unwrap_or(i64::MAX)),
            ),
            (["request", "protocol"], b"HTTP/1.1".to_vec()),
            (
                ["request", "size"],
                number(i64::try_from(size).unwrap_or(i64::MAX)),
            ),
        ];
        let owned = |path: [&str; 2]| path.map(str::to_owned).to_vec();
        let mut properties: HashMap<_, _> = known
            .into_iter()
            .map(|(path, value)| (owned(path), value))
            .collect();
        for (key, value) in &self.filter_state {
            let text = value
                .as_str()
                .map_or_else(|| value.to_string(), str::to_owned);
            properties.insert(owned(["filter_state", key]), text.into_bytes());
        }
        properties
    }
}

// === impl Response ===

impl Response {
    /// Returns a response with status 200 and this content type.
    #[must_use]
    pub fn ok(content_type: &str, body: Vec<u8>) -> Self {
        Self {
            status: 200,
            headers: vec![("content-type".to_owned(), content_type.to_owned())],
            body,
        }
    }

    /// Returns a response whose content type follows from its body: a stream of events, or JSON.
    #[must_use]
    pub fn guessed(body: Vec<u8>) -> Self {
        let start = body.trim_ascii_start();
        let is_stream = [b"data:".as_slice(), b"event:", b"id:", b":"]
            .iter()
            .any(|prefix| start.starts_with(prefix));
        let content_type = if is_stream {
            "text/event-stream"
        } else {
            "application/json"
        };
        Self::ok(content_type, body)
    }
}

// === impl Outcome ===

impl Outcome {
    /// Returns the decision; empty if there is none.
    #[must_use]
    pub fn decision(&self) -> &str {
        self.values.get("decision").map_or("", String::as_str)
    }

    /// Returns the limit that decided.
    #[must_use]
    pub fn limit(&self) -> Option<&str> {
        self.values.get("limit").map(String::as_str)
    }

    /// Returns a number of the access log.
    #[must_use]
    pub fn number(&self, name: &str) -> Option<u64> {
        self.values.get(name)?.parse().ok()
    }

    /// Returns the value of a header of the response.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut headers = self.headers.iter();
        let header = headers.find(|(known, _)| known.eq_ignore_ascii_case(name));
        header.map(|(_, value)| value.as_str())
    }
}
