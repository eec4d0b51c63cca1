//! The access log: one JSON object for each exchange.

use std::{fs, io, path::Path};

use serde_json::{Map, Value, json};

/// The keys of tollgate's filter state, without the prefix `wasm.tollgate.`.
const TOLLGATE_KEYS: [&str; 19] = [
    "input_tokens",
    "output_tokens",
    "total_tokens",
    "cached_tokens",
    "model",
    "provider",
    "usd",
    "estimated",
    "decision",
    "limit",
    "limits",
    "reason",
    "queue_ms",
    "requested_model",
    "cost.total",
    "cost.llm_input_token",
    "cost.llm_output_token",
    "cost.llm_total_token",
    "cost.custom_cost",
];

/// The access log entry of one exchange.
#[derive(Debug, Clone, PartialEq)]
pub struct AccessLogEntry(Value);

impl AccessLogEntry {
    /// Returns tollgate's filter state for a key such as `total_tokens`.
    #[must_use]
    pub fn tollgate(&self, key: &str) -> Option<&str> {
        self.0["tollgate"][key].as_str()
    }

    /// Returns tollgate's filter state: the keys that are set, in alphabetical order, with their values.
    pub fn tollgate_keys(&self) -> impl Iterator<Item = (&str, &str)> {
        let keys = self.0["tollgate"].as_object().into_iter().flatten();
        keys.filter_map(|(key, value)| Some((key.as_str(), value.as_str()?)))
    }

    /// Returns tollgate's record of the exchange: an object, or null where it writes none.
    #[must_use]
    pub fn record(&self) -> &Value {
        &self.0["record"]["value"]
    }

    /// Returns tollgate's filter state for a key as a number.
    #[must_use]
    pub fn tollgate_number(&self, key: &str) -> Option<u64> {
        self.tollgate(key)?.parse().ok()
    }

    /// Returns the status that the client received, or 0 if it received none.
    #[must_use]
    pub fn status(&self) -> u64 {
        self.0["status"].as_u64().unwrap_or(0)
    }

    /// Returns Envoy's response flags, such as `DC` for a client that disconnected.
    #[must_use]
    pub fn flags(&self) -> &str {
        self.text("flags").unwrap_or("-")
    }

    /// Returns the response code details, such as `via_upstream`.
    #[must_use]
    pub fn details(&self) -> &str {
        self.text("details").unwrap_or("-")
    }

    /// Returns the path of the request.
    #[must_use]
    pub fn path(&self) -> &str {
        self.text("path").unwrap_or_default()
    }

    /// Returns `HTTP/1.1` or `HTTP/2`.
    #[must_use]
    pub fn protocol(&self) -> &str {
        self.text("protocol").unwrap_or_default()
    }

    /// Returns the cluster that the request was sent to.
    #[must_use]
    pub fn cluster(&self) -> Option<&str> {
        self.text("cluster")
    }

    /// Returns the request header `x-test-id`, which identifies the exchange of a test.
    #[must_use]
    pub fn test_id(&self) -> Option<&str> {
        self.text("test_id")
    }

    fn text(&self, key: &str) -> Option<&str> {
        self.0[key].as_str()
    }
}

/// Returns the access logger of the entries that [`read`] reads.
pub(super) fn logger(path: &Path) -> Value {
    let tollgate: Map<_, _> = TOLLGATE_KEYS
        .iter()
        .map(|key| {
            let command = format!("%FILTER_STATE(wasm.tollgate.{key}:PLAIN)%");
            ((*key).to_owned(), Value::from(command))
        })
        .collect();
    json!({
        "name": "envoy.access_loggers.file",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog",
            "path": path,
            "log_format": { "json_format": {
                "status": "%RESPONSE_CODE%",
                "flags": "%RESPONSE_FLAGS%",
                "details": "%RESPONSE_CODE_DETAILS%",
                "method": "%REQ(:METHOD)%",
                "path": "%REQ(:PATH)%",
                "protocol": "%PROTOCOL%",
                "cluster": "%UPSTREAM_CLUSTER%",
                "received": "%BYTES_RECEIVED%",
                "sent": "%BYTES_SENT%",
                "test_id": "%REQ(X-TEST-ID)%",
                "tollgate": tollgate,
                "record": "%FILTER_STATE(wasm.tollgate:TYPED)%",
            } },
        },
    })
}

/// Reads the complete entries of a log that Envoy may be writing to.
pub(super) fn read(path: &Path) -> io::Result<Vec<AccessLogEntry>> {
    let log = match fs::read(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        log => log?,
    };
    let complete = log
        .iter()
        .rposition(|byte| *byte == b'\n')
        .map_or(0, |end| end + 1);
    log[..complete]
        .split(|byte| *byte == b'\n')
        .filter(|line| !line.is_empty())
        .map(|line| {
            let entry = serde_json::from_slice(line)
                .or_else(|_| serde_json::from_str(&String::from_utf8_lossy(line)))?;
            Ok(AccessLogEntry(entry))
        })
        .collect()
}
