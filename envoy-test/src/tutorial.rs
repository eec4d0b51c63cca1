//! Kuadrant's tutorial on token-based rate limiting, run in a real Envoy.
//!
//! A [`Gateway`] is the tutorial's setup: an Envoy with the policy, the authorization service with two API keys, and
//! the simulated model. Each [`Step`] is a request with the outcome that the tutorial documents. The demonstration and
//! the end-to-end tests run the same steps.

use std::{
    collections::HashMap,
    fmt, io,
    path::PathBuf,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use reqwest::{Client, Response, header::RETRY_AFTER};
use serde_json::Value;

use crate::{
    authorino::Authorino,
    client::{Chat, Protocol, client},
    envoy::{self, Builder, Envoy},
    filters::Tollgate,
    llm::Llm,
    workspace,
};

const POLICY: &str = include_str!("../../examples/kuadrant/policy.yaml");

/// The caller of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Caller {
    /// A caller without an API key.
    Anonymous,
    /// `user-1` in the free tier: 50 tokens a window.
    Free,
    /// `user-2` in the gold tier: 200 tokens a window.
    Gold,
}

impl Caller {
    /// Returns the API key, if the caller has one.
    #[must_use]
    pub fn api_key(self) -> Option<&'static str> {
        match self {
            Self::Anonymous => None,
            Self::Free => Some("iamafreeuser"),
            Self::Gold => Some("iamagolduser"),
        }
    }

    /// Returns the caller's limit, in tokens a window.
    #[must_use]
    pub fn limit(self) -> Option<u64> {
        match self {
            Self::Anonymous => None,
            Self::Free => Some(50),
            Self::Gold => Some(200),
        }
    }
}

impl fmt::Display for Caller {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(match self {
            Self::Anonymous => "(none)",
            Self::Free => "user-1 (free)",
            Self::Gold => "user-2 (gold)",
        })
    }
}

/// What a request calls.
#[derive(Debug, Clone)]
pub enum Call {
    /// `GET /v1/models`, to which no limit applies.
    Models,
    /// A chat completion.
    Chat(Chat),
}

impl fmt::Display for Call {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let description = match self {
            Self::Models => "GET /v1/models".to_owned(),
            Self::Chat(chat) => {
                let body = chat.body();
                let question = body["messages"][0]["content"].as_str().unwrap_or_default();
                let stream = if body["stream"] == true {
                    ", streamed"
                } else {
                    ""
                };
                format!("“{question}” max_tokens {}{stream}", body["max_tokens"])
            }
        };
        formatter.pad(&description)
    }
}

/// A request of the tutorial, with its documented outcome.
#[derive(Debug, Clone)]
pub struct Step {
    /// The caller.
    pub caller: Caller,
    /// What it calls.
    pub call: Call,
    /// The expected status.
    pub status: u16,
    /// The tokens that are expected to be charged.
    pub cost: u64,
    /// Whether the caller first waits for the `retry-after` of its last rejection.
    pub waits: bool,
    /// The reason for the outcome.
    pub why: &'static str,
}

/// The outcome of a [`Step`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// The status that the caller received.
    pub status: u16,
    /// The tokens that were charged.
    pub cost: u64,
    /// The tokens that the caller has left in the window, if it has a limit.
    pub remaining: Option<u64>,
    /// The `retry-after` of a rejection.
    pub retry_after: Option<Duration>,
    /// The differences from the documented outcome.
    pub mismatches: Vec<String>,
}

/// Why steps cannot be run.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The filter has not been built.
    #[error("{} is missing: build it with `make wasm`", .0.display())]
    NoModule(PathBuf),
    /// A server did not start.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// Envoy does not start, or rejects the policy.
    #[error(transparent)]
    Envoy(#[from] envoy::Error),
    /// A request received no response.
    #[error(transparent)]
    Request(#[from] reqwest::Error),
}

/// Returns the policy of the tutorial as JSON.
///
/// # Panics
/// When the file of the policy is not YAML.
#[must_use]
pub fn policy() -> Value {
    serde_norway::from_str(POLICY).expect("a policy in YAML")
}

/// Returns the policy of the tutorial with another window, such as `2s`.
#[must_use]
pub fn policy_with_window(window: &str) -> Value {
    let mut policy = policy();
    for limit in ["free", "gold"] {
        policy["spec"]["limits"][limit]["rates"][0]["window"] = window.into();
    }
    policy
}

/// Returns the steps of the tutorial, with JSON responses or with streams.
#[must_use]
pub fn steps(stream: bool) -> Vec<Step> {
    let chat = |question, max_tokens| {
        let chat = Chat::new(question, max_tokens);
        Call::Chat(if stream { chat.stream(true) } else { chat })
    };
    let free = chat("What is Kubernetes?", 100);
    let gold = chat("Explain cloud native architecture", 200);
    let step = |caller, call: &Call, status, cost, why| Step {
        caller,
        call: call.clone(),
        status,
        cost,
        waits: false,
        why,
    };
    vec![
        step(Caller::Anonymous, &free, 401, 0, "no API key"),
        step(
            Caller::Free,
            &free,
            200,
            100,
            "admitted while tokens are left",
        ),
        step(Caller::Free, &free, 429, 0, "rejected, limit exhausted"),
        step(Caller::Free, &Call::Models, 200, 0, "no limit applies"),
        step(Caller::Gold, &gold, 200, 201, "has a separate limit"),
        step(Caller::Free, &free, 429, 0, "rejected, limit exhausted"),
    ]
}

/// Returns steps over the end of a window: the free caller is rejected, waits for `retry-after`, and is admitted.
#[must_use]
pub fn steps_through_a_window() -> Vec<Step> {
    let free = |status, cost, waits, why| Step {
        caller: Caller::Free,
        call: Call::Chat(Chat::default()),
        status,
        cost,
        waits,
        why,
    };
    vec![
        free(200, 100, false, "starts the window"),
        free(429, 0, false, "rejected, limit exhausted"),
        free(200, 100, true, "a new window"),
        free(429, 0, false, "rejected, limit exhausted"),
    ]
}

/// The setup of the tutorial.
#[derive(Debug)]
pub struct Gateway {
    envoy: Envoy,
    llm: Llm,
    _authorino: Authorino,
    client: Client,
    account: Mutex<Account>,
}

/// The record of the steps so far.
#[derive(Debug, Default)]
struct Account {
    requests: u64,
    charged: HashMap<Caller, u64>,
    retry_after: Option<Duration>,
}

// === impl Gateway ===

impl Gateway {
    /// Starts a gateway with this policy and number of workers, and a client of `protocol`.
    ///
    /// # Errors
    /// When the filter has not been built, or a server does not start.
    pub async fn start(policy: Value, workers: u32, protocol: Protocol) -> Result<Self, Error> {
        Self::build(policy, protocol, |builder| builder.concurrency(workers)).await
    }

    /// Starts a gateway with this plugin configuration and the changes of `build`, and a client of `protocol`.
    ///
    /// # Errors
    /// When the filter has not been built, or a server does not start.
    pub async fn build(
        configuration: Value,
        protocol: Protocol,
        build: impl FnOnce(Builder) -> Builder,
    ) -> Result<Self, Error> {
        let module = workspace::module();
        if !module.is_file() {
            return Err(Error::NoModule(module));
        }
        let llm = Llm::start().await?;
        let authorino = Authorino::tutorial().await?;
        let builder = Envoy::builder()
            .shared_process()
            .upstream(llm.address())
            .authorization(authorino.address())
            .tollgate(Tollgate::new(configuration));
        let envoy = build(builder).start().await?;
        Ok(Self {
            envoy,
            llm,
            _authorino: authorino,
            client: client(protocol),
            account: Mutex::default(),
        })
    }

    /// Returns its Envoy.
    #[must_use]
    pub fn envoy(&self) -> &Envoy {
        &self.envoy
    }

    /// Returns the simulated model.
    #[must_use]
    pub fn llm(&self) -> &Llm {
        &self.llm
    }

    /// Runs a step.
    ///
    /// # Errors
    /// When there is no response, or no access log entry.
    pub async fn run(&self, step: &Step) -> Result<Outcome, Error> {
        let (name, wait) = self.prepare(step);
        tokio::time::sleep(wait).await;
        let requests_before = self.llm.requests();
        let response = self.send(step, &name).await?;
        let status = response.status().as_u16();
        let retry_after = retry_after(&response);
        let body = response.text().await?;
        let entry = self.envoy.logged(&name).await?;
        let cost = entry.tollgate_number("total_tokens").unwrap_or(0);

        let mut mismatches = Vec::new();
        if status != step.status {
            mismatches.push(format!("status {status}, expected {}", step.status));
        }
        if cost != step.cost {
            mismatches.push(format!("charged {cost} tokens, expected {}", step.cost));
        }
        if status == 200
            && step.cost > 0
            && !body.contains(&format!("\"total_tokens\":{}", step.cost))
        {
            mismatches.push(format!("the response does not report {} tokens", step.cost));
        }
        if status != 200 && self.llm.requests() != requests_before {
            mismatches.push("the request reached the model".to_owned());
        }
        if status == 429 && retry_after.is_none() {
            mismatches.push("the rejection has no retry-after".to_owned());
        }
        Ok(Outcome {
            status,
            cost,
            remaining: self.charge(step, cost, retry_after),
            retry_after,
            mismatches,
        })
    }

    /// Returns the test id of the exchange, and how long to wait before it.
    fn prepare(&self, step: &Step) -> (String, Duration) {
        let mut account = self.account.lock().unwrap_or_else(PoisonError::into_inner);
        account.requests += 1;
        let name = account.requests.to_string();
        if !step.waits {
            return (name, Duration::ZERO);
        }
        account.charged.clear();
        (name, account.retry_after.take().unwrap_or_default())
    }

    async fn send(&self, step: &Step, name: &str) -> reqwest::Result<Response> {
        let mut request = match &step.call {
            Call::Models => self.client.get(self.envoy.url("/v1/models")),
            Call::Chat(chat) => chat.request(&self.client, self.envoy.address()),
        };
        if let Some(key) = step.caller.api_key() {
            request = request.header("authorization", format!("APIKEY {key}"));
        }
        request.header("x-test-id", name).send().await
    }

    /// Records an outcome and returns the tokens that the caller has left.
    fn charge(&self, step: &Step, cost: u64, retry_after: Option<Duration>) -> Option<u64> {
        let mut account = self.account.lock().unwrap_or_else(PoisonError::into_inner);
        account.retry_after = retry_after.or(account.retry_after);
        let charged = account.charged.entry(step.caller).or_default();
        *charged += cost;
        Some(step.caller.limit()?.saturating_sub(*charged))
    }
}

fn retry_after(response: &Response) -> Option<Duration> {
    let seconds = response.headers().get(RETRY_AFTER)?.to_str().ok()?;
    Some(Duration::from_secs(seconds.parse().ok()?))
}

#[cfg(test)]
mod tests;
