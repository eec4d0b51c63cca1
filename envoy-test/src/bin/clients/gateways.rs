//! The gateways that the SDKs call: one without and one with tollgate, before the same provider.

use envoy_test::{
    client::{Protocol, client},
    envoy::{self, AccessLogEntry, Envoy},
    filters::Tollgate,
    metered::{CALLER, policy},
};
use serde_json::{Value, json};

use crate::provider::Provider;

/// The limit that rejects for an hour: the callers that it applies to, and the start of its message.
pub(crate) const HOURLY: &str = "hourly";
pub(crate) const HOURLY_MESSAGE: &str =
    r#"Token rate limit "hourly" of policy "default/llm" reached: 10 tokens per 1h. Try again in "#;

/// The limit that rejects for seconds: longer than the retries of SDKs take that do not read how long.
pub(crate) const SECONDS: &str = "seconds";

/// Two gateways and their provider.
#[derive(Debug)]
pub(crate) struct Gateways {
    pub provider: Provider,
    pub plain: Envoy,
    pub metered: Envoy,
}

// === impl Gateways ===

impl Gateways {
    /// Starts all three.
    pub(crate) async fn start() -> Result<Self, envoy::Error> {
        let provider = Provider::start().await?;
        let builder = || Envoy::builder().upstream(provider.address());
        let plain = builder().start().await?;
        let metered = builder().tollgate(Tollgate::new(configuration()));
        Ok(Self {
            plain,
            metered: metered.start().await?,
            provider,
        })
    }

    /// Returns the access log entries of all requests with this `x-test-id` that have ended.
    pub(crate) async fn logged(&self, test_id: &str) -> Result<Vec<AccessLogEntry>, envoy::Error> {
        // The only worker logs what ended before this request before it.
        let last = format!("{test_id}, after it");
        let request = client(Protocol::Http1)
            .get(self.metered.url("/v1/models"))
            .header(CALLER, "calls")
            .header("x-test-id", &last);
        request.send().await?;
        self.metered.logged(&last).await?;
        let mut entries = self.metered.access_log(0).await?;
        entries.retain(|entry| entry.test_id() == Some(test_id));
        Ok(entries)
    }
}

/// Returns the configuration of tollgate, with a limit that rejects nothing for callers that no other applies to.
fn configuration() -> Value {
    let limit = |prefix: &str, tokens: u64, window: &str| {
        json!({
            "rates": [{ "limit": tokens, "window": window }],
            "when": [{ "predicate": format!(r#"request.headers["{CALLER}"].startsWith("{prefix}")"#) }],
            "counters": [{ "expression": format!(r#"request.headers["{CALLER}"]"#) }],
        })
    };
    json!({
        "policies": [policy(json!({
            "calls": limit("calls", 1_000_000_000, "1h"),
            HOURLY: limit(HOURLY, 10, "1h"),
            SECONDS: limit(SECONDS, 10, "7s"),
        }))],
        "replies": { "headers": "auto" },
    })
}
