//! A gateway with tollgate in front of the mock provider, with the observations that tests make: what an exchange was
//! charged, how many tokens a caller has left, and whether anything crashed.

use bytes::Bytes;
use reqwest::{Client, StatusCode, header::HeaderMap};
use serde_json::{Value, json};

use crate::{
    client::{Chat, Protocol, client},
    envoy::{self, AccessLogEntry, Builder, Envoy},
    filters::Tollgate,
    llm::Llm,
};

/// The request header that identifies the caller under [`configuration`].
pub const CALLER: &str = "x-user-id";

/// A gateway with tollgate, and the provider that it routes to.
#[derive(Debug)]
pub struct Metered {
    /// The provider.
    pub llm: Llm,
    /// The gateway.
    pub envoy: Envoy,
}

/// A completed exchange.
#[derive(Debug)]
pub struct Exchange {
    /// The status that the client received.
    pub status: StatusCode,
    /// The response headers.
    pub headers: HeaderMap,
    /// The response body.
    pub body: Bytes,
    /// The access log entry.
    pub entry: AccessLogEntry,
}

/// What can go wrong with a gateway.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A server did not start.
    #[error(transparent)]
    Io(#[from] std::io::Error),
    /// Envoy does not start, or rejects its configuration.
    #[error(transparent)]
    Envoy(#[from] envoy::Error),
    /// A request received no response.
    #[error(transparent)]
    Request(#[from] reqwest::Error),
    /// A response has no quota header.
    #[error("response {0} has no header `x-ratelimit-remaining`: {1:?}")]
    NoQuota(StatusCode, HeaderMap),
    /// Envoy or a VM has crashed.
    #[error("tollgate or Envoy crashed: {0}")]
    Crash(String),
}

/// Returns a policy `default/llm` with these `limits` in the form of a `TokenRateLimitPolicy`.
#[must_use]
#[expect(
    clippy::needless_pass_by_value,
    reason = "callers pass temporary values"
)]
pub fn policy(limits: Value) -> Value {
    json!({
        "apiVersion": "kuadrant.io/v1alpha1",
        "kind": "TokenRateLimitPolicy",
        "metadata": { "name": "llm" },
        "spec": {
            "targetRef": { "group": "gateway.networking.k8s.io", "kind": "Gateway", "name": "llm" },
            "limits": limits,
        },
    })
}

/// Returns a configuration with these limits, in which the headers [`CALLER`] and `x-groups` identify the caller and
/// responses have quota headers.
#[must_use]
pub fn configuration(limits: Value) -> Value {
    json!({
        "policies": [policy(limits)],
        "auth": [{ "header": { "identity.userid": CALLER, "identity.groups": "x-groups" } }],
        "replies": { "headers": "draft-03" },
    })
}

/// Returns a configuration with one limit, `tokens`, of so many tokens an hour for each caller.
#[must_use]
pub fn each_caller(tokens: u64) -> Value {
    configuration(json!({ "tokens": {
        "rates": [{ "limit": tokens, "window": "1h" }],
        "counters": [{ "expression": "auth.identity.userid" }],
    } }))
}

/// Returns a configuration with one limit, `tokens`, of so many tokens an hour for all requests that match this
/// predicate.
#[must_use]
pub fn only_when(predicate: &str, tokens: u64) -> Value {
    configuration(json!({ "tokens": {
        "rates": [{ "limit": tokens, "window": "1h" }],
        "when": [{ "predicate": predicate }],
    } }))
}

// === impl Metered ===

impl Metered {
    /// Starts both, with this plugin configuration and one worker, in a process that other gateways may have used.
    ///
    /// # Errors
    /// [`Error::Io`] and [`Error::Envoy`].
    pub async fn start(configuration: Value) -> Result<Self, Error> {
        Self::build(configuration, |builder| builder).await
    }

    /// Starts both, with this plugin configuration and the changes of `build`.
    ///
    /// # Errors
    /// [`Error::Io`] and [`Error::Envoy`].
    pub async fn build(
        configuration: Value,
        build: impl FnOnce(Builder) -> Builder,
    ) -> Result<Self, Error> {
        let llm = Llm::start().await?;
        let builder = Envoy::builder()
            .shared_process()
            .upstream(llm.address())
            .tollgate(Tollgate::new(configuration));
        let envoy = build(builder).start().await?;
        Ok(Self { llm, envoy })
    }

    /// Sends a chat, reads the whole response and waits for the access log entry. `id` must be unique.
    ///
    /// # Errors
    /// When the exchange does not complete.
    pub async fn exchange(&self, client: &Client, id: &str, chat: Chat) -> Result<Exchange, Error> {
        let chat = chat.header("x-test-id", id);
        let response = chat.send(client, self.envoy.address()).await?;
        Ok(Exchange {
            status: response.status(),
            headers: response.headers().clone(),
            body: response.bytes().await?,
            entry: self.envoy.logged(id).await?,
        })
    }

    /// Returns the tokens that a caller has left, from the quota headers of a request that costs none. Of the limits
    /// that apply to `GET /v1/models`, it is the tightest.
    ///
    /// # Errors
    /// [`Error::NoQuota`] when no limit applies, or quota headers are disabled.
    pub async fn remaining(&self, caller: &str) -> Result<u64, Error> {
        let request = client(Protocol::Http1)
            .get(self.envoy.url("/v1/models"))
            .header(CALLER, caller);
        let response = request.send().await?;
        let remaining = response.headers().get("x-ratelimit-remaining");
        let remaining = remaining.and_then(|value| value.to_str().ok()?.parse().ok());
        remaining.ok_or_else(|| Error::NoQuota(response.status(), response.headers().clone()))
    }

    /// Checks that Envoy is running, that no VM has failed, and that a request is served.
    ///
    /// # Errors
    /// [`Error::Crash`] with the evidence of a crash.
    pub async fn check(&self) -> Result<(), Error> {
        if !self.envoy.is_alive() {
            return Err(Error::Crash("Envoy has ended".to_owned()));
        }
        let stats = self.envoy.stats("wasm.").await?;
        let failed = stats.iter().find(|(name, value)| {
            **value > 0
                && ["reload", "fail", "crash"]
                    .iter()
                    .any(|sign| name.contains(sign))
        });
        if let Some((name, value)) = failed {
            return Err(Error::Crash(format!("{name}: {value}")));
        }
        let log = self.envoy.logs()?;
        let signs = ["panicked", "wasm trap", "Function: proxy_", "unreachable"];
        let line = log
            .lines()
            .find(|line| signs.iter().any(|sign| line.contains(sign)));
        if let Some(line) = line {
            return Err(Error::Crash(line.to_owned()));
        }
        let request = client(Protocol::Http1).get(self.envoy.url("/v1/models"));
        let response = request.header(CALLER, "nobody").send().await?;
        if response.status().is_success() {
            Ok(())
        } else {
            Err(Error::Crash(format!(
                "the next request was answered with {}",
                response.status()
            )))
        }
    }
}
