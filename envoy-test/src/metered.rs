//! A tollgate before the mock of the LLM APIs, and what a test wants to know of it: what an exchange was
//! charged, what a caller has left, and whether all is well.

use bytes::Bytes;
use reqwest::{Client, StatusCode, header::HeaderMap};
use serde_json::{Value, json};

use crate::{
    client::{Chat, Protocol, client},
    envoy::{self, AccessLogEntry, Builder, Envoy},
    filters::Tollgate,
    llm::Llm,
};

/// The request header that says who calls, under [`configuration`].
pub const CALLER: &str = "x-user-id";

/// An Envoy with tollgate, and the provider behind it.
#[derive(Debug)]
pub struct Metered {
    /// The provider.
    pub llm: Llm,
    /// The gateway.
    pub envoy: Envoy,
}

/// An exchange that went to its end.
#[derive(Debug)]
pub struct Exchange {
    /// The status that the client got.
    pub status: StatusCode,
    /// The headers that it got.
    pub headers: HeaderMap,
    /// The body that it got.
    pub body: Bytes,
    /// What Envoy logged.
    pub entry: AccessLogEntry,
}

/// What goes wrong with it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A server did not start.
    #[error(transparent)]
    Io(#[from] std::io::Error),
    /// Envoy does not run, or refuses its configuration.
    #[error(transparent)]
    Envoy(#[from] envoy::Error),
    /// A request got no response.
    #[error(transparent)]
    Request(#[from] reqwest::Error),
    /// A response has no quota header.
    #[error("a response without `x-ratelimit-remaining`: {0} {1:?}")]
    NoQuota(StatusCode, HeaderMap),
    /// A sign of a crash.
    #[error("tollgate or Envoy failed: {0}")]
    Crash(String),
}

/// A policy `default/llm` with these `limits`, as they stand in a `TokenRateLimitPolicy`.
#[must_use]
#[expect(
    clippy::needless_pass_by_value,
    reason = "what is passed is written in place"
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

/// A configuration with these limits, in which the headers [`CALLER`] and `x-groups` say who calls, and quota
/// headers say what is left.
#[must_use]
pub fn configuration(limits: Value) -> Value {
    json!({
        "policies": [policy(limits)],
        "auth": [{ "header": { "identity.userid": CALLER, "identity.groups": "x-groups" } }],
        "replies": { "headers": "draft-03" },
    })
}

/// The one limit `tokens`: so many an hour for each caller.
#[must_use]
pub fn each_caller(tokens: u64) -> Value {
    configuration(json!({ "tokens": {
        "rates": [{ "limit": tokens, "window": "1h" }],
        "counters": [{ "expression": "auth.identity.userid" }],
    } }))
}

/// The one limit `tokens`: so many an hour, together, for requests of which this predicate holds.
#[must_use]
pub fn only_when(predicate: &str, tokens: u64) -> Value {
    configuration(json!({ "tokens": {
        "rates": [{ "limit": tokens, "window": "1h" }],
        "when": [{ "predicate": predicate }],
    } }))
}

impl Metered {
    /// Starts both, with this plugin configuration and one worker.
    ///
    /// # Errors
    /// [`Error::Io`] and [`Error::Envoy`].
    pub async fn start(configuration: Value) -> Result<Self, Error> {
        Self::build(configuration, |builder| builder).await
    }

    /// Starts both, with this plugin configuration and whatever else `build` adds.
    ///
    /// # Errors
    /// [`Error::Io`] and [`Error::Envoy`].
    pub async fn build(
        configuration: Value,
        build: impl FnOnce(Builder) -> Builder,
    ) -> Result<Self, Error> {
        let llm = Llm::start().await?;
        let builder = Envoy::builder()
            .upstream(llm.address())
            .tollgate(Tollgate::new(configuration));
        let envoy = build(builder).start().await?;
        Ok(Self { llm, envoy })
    }

    /// Sends a chat, reads the response to its end and waits for the log. `id` must be the exchange's own.
    ///
    /// # Errors
    /// When the exchange does not go to its end.
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

    /// The tokens that a caller has left, by the quota headers of a request that costs none. It reads what
    /// the tightest of the limits says that apply to `GET /v1/models`.
    ///
    /// # Errors
    /// [`Error::NoQuota`] where no limit applies, or the quota headers are off.
    pub async fn left(&self, caller: &str) -> Result<u64, Error> {
        let request = client(Protocol::Http1)
            .get(self.envoy.url("/v1/models"))
            .header(CALLER, caller);
        let response = request.send().await?;
        let left = response.headers().get("x-ratelimit-remaining");
        let left = left.and_then(|left| left.to_str().ok()?.parse().ok());
        left.ok_or_else(|| Error::NoQuota(response.status(), response.headers().clone()))
    }

    /// Makes sure that Envoy runs, that no VM has failed, and that a request is served.
    ///
    /// # Errors
    /// [`Error::Crash`] with what speaks against it.
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
        let answer = request.header(CALLER, "nobody").send().await?;
        if answer.status().is_success() {
            Ok(())
        } else {
            Err(Error::Crash(format!(
                "the next request got {}",
                answer.status()
            )))
        }
    }
}
