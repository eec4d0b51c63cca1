//! Kuadrant's tutorial on token-based rate limiting, played in a real Envoy.
//!
//! A [`Gateway`] is what the tutorial sets up: an Envoy with the policy, the authorisation service with the two
//! API keys, and the simulated model. A play is a list of [`Step`]s, each with the outcome that the tutorial
//! promises. The demonstration and the end-to-end tests play the same.

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

/// Who sends a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Caller {
    /// Somebody without an API key.
    Nobody,
    /// `user-1`, of the free tier: 50 tokens a window.
    Free,
    /// `user-2`, of the gold tier: 200 tokens a window.
    Gold,
}

impl Caller {
    /// The API key, if there is one.
    #[must_use]
    pub fn api_key(self) -> Option<&'static str> {
        match self {
            Self::Nobody => None,
            Self::Free => Some("iamafreeuser"),
            Self::Gold => Some("iamagolduser"),
        }
    }

    /// The tokens that the policy grants in a window.
    #[must_use]
    pub fn limit(self) -> Option<u64> {
        match self {
            Self::Nobody => None,
            Self::Free => Some(50),
            Self::Gold => Some(200),
        }
    }
}

impl fmt::Display for Caller {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(match self {
            Self::Nobody => "nobody",
            Self::Free => "user-1 (free)",
            Self::Gold => "user-2 (gold)",
        })
    }
}

/// What a caller asks for.
#[derive(Debug, Clone)]
pub enum Ask {
    /// `GET /v1/models`, which no limit speaks of.
    Models,
    /// A chat completion.
    Chat(Chat),
}

impl fmt::Display for Ask {
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

/// A request of the tutorial, and what it promises.
#[derive(Debug, Clone)]
pub struct Step {
    /// Who asks.
    pub caller: Caller,
    /// For what.
    pub ask: Ask,
    /// The status that the caller must get.
    pub status: u16,
    /// The tokens that the caller must be charged.
    pub cost: u64,
    /// Whether the caller first waits as long as the last refusal said.
    pub waits: bool,
    /// Why it must be so.
    pub why: &'static str,
}

/// What came of a [`Step`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// The status that the caller got.
    pub status: u16,
    /// The tokens that tollgate charged.
    pub cost: u64,
    /// The tokens that are left to the caller in the window, where the policy limits them.
    pub left: Option<u64>,
    /// How long a refused caller is to wait.
    pub retry_after: Option<Duration>,
    /// What is not as the tutorial promises.
    pub faults: Vec<String>,
}

/// What goes wrong with a play, apart from its outcomes.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The filter has not been built.
    #[error("{} is missing: `make wasm` builds it", .0.display())]
    NoModule(PathBuf),
    /// A server did not start.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// Envoy does not run, or refuses the policy.
    #[error(transparent)]
    Envoy(#[from] envoy::Error),
    /// A request got no response.
    #[error(transparent)]
    Request(#[from] reqwest::Error),
}

/// The policy of the tutorial as JSON.
///
/// # Panics
/// When the file of the policy is no YAML.
#[must_use]
pub fn policy() -> Value {
    serde_norway::from_str(POLICY).expect("the example is YAML")
}

/// The policy of the tutorial with another window, such as `2s`.
#[must_use]
pub fn policy_with_window(window: &str) -> Value {
    let mut policy = policy();
    for limit in ["free", "gold"] {
        policy["spec"]["limits"][limit]["rates"][0]["window"] = window.into();
    }
    policy
}

/// The steps of the tutorial, with JSON answers or with streams.
#[must_use]
pub fn steps(stream: bool) -> Vec<Step> {
    let chat = |question, max_tokens| {
        let chat = Chat::new(question, max_tokens);
        Ask::Chat(if stream { chat.stream(true) } else { chat })
    };
    let free = chat("What is Kubernetes?", 100);
    let gold = chat("Explain cloud native architecture", 200);
    let step = |caller, ask: &Ask, status, cost, why| Step {
        caller,
        ask: ask.clone(),
        status,
        cost,
        waits: false,
        why,
    };
    vec![
        step(Caller::Nobody, &free, 401, 0, "no API key"),
        step(
            Caller::Free,
            &free,
            200,
            100,
            "admitted while a token is left",
        ),
        step(Caller::Free, &free, 429, 0, "refused, nothing is left"),
        step(Caller::Free, &Ask::Models, 200, 0, "no limit applies"),
        step(Caller::Gold, &gold, 200, 201, "has a limit of its own"),
        step(Caller::Free, &free, 429, 0, "still refused"),
    ]
}

/// What happens at the end of a window: the free caller is refused, waits as told, and is admitted again.
#[must_use]
pub fn steps_through_a_window() -> Vec<Step> {
    let free = |status, cost, waits, why| Step {
        caller: Caller::Free,
        ask: Ask::Chat(Chat::default()),
        status,
        cost,
        waits,
        why,
    };
    vec![
        free(200, 100, false, "opens the window"),
        free(429, 0, false, "refused, nothing is left"),
        free(200, 100, true, "a new window"),
        free(429, 0, false, "refused, nothing is left"),
    ]
}

/// What the tutorial sets up.
#[derive(Debug)]
pub struct Gateway {
    envoy: Envoy,
    llm: Llm,
    _authorino: Authorino,
    client: Client,
    account: Mutex<Account>,
}

/// What has happened so far.
#[derive(Debug, Default)]
struct Account {
    requests: u64,
    spent: HashMap<Caller, u64>,
    retry_after: Option<Duration>,
}

impl Gateway {
    /// Sets up a gateway with this policy and so many workers, and a client that speaks `protocol`.
    ///
    /// # Errors
    /// When the filter is not built, or something does not start.
    pub async fn start(policy: Value, workers: u32, protocol: Protocol) -> Result<Self, Error> {
        Self::build(policy, protocol, |builder| builder.concurrency(workers)).await
    }

    /// Sets up a gateway with this plugin configuration and whatever else `build` adds, and a client that
    /// speaks `protocol`.
    ///
    /// # Errors
    /// When the filter is not built, or something does not start.
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
            .upstream(llm.address())
            .authorisation(authorino.address())
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

    /// Its Envoy.
    #[must_use]
    pub fn envoy(&self) -> &Envoy {
        &self.envoy
    }

    /// The simulated model behind it.
    #[must_use]
    pub fn llm(&self) -> &Llm {
        &self.llm
    }

    /// Plays one step.
    ///
    /// # Errors
    /// When there is no response, or nothing in the access log about it.
    pub async fn play(&self, step: &Step) -> Result<Outcome, Error> {
        let (name, wait) = self.prepare(step);
        tokio::time::sleep(wait).await;
        let requests_before = self.llm.requests();
        let response = self.send(step, &name).await?;
        let status = response.status().as_u16();
        let retry_after = retry_after(&response);
        let body = response.text().await?;
        let entry = self.envoy.logged(&name).await?;
        let cost = entry.tollgate_number("total_tokens").unwrap_or(0);

        let mut faults = Vec::new();
        if status != step.status {
            faults.push(format!("status {status}, not {}", step.status));
        }
        if cost != step.cost {
            faults.push(format!("charged {cost}, not {}", step.cost));
        }
        if status == 200
            && step.cost > 0
            && !body.contains(&format!("\"total_tokens\":{}", step.cost))
        {
            faults.push("the answer has no such usage".to_owned());
        }
        if status != 200 && self.llm.requests() != requests_before {
            faults.push("the model was asked all the same".to_owned());
        }
        if status == 429 && retry_after.is_none() {
            faults.push("a refusal without retry-after".to_owned());
        }
        Ok(Outcome {
            status,
            cost,
            left: self.charge(step, cost, retry_after),
            retry_after,
            faults,
        })
    }

    /// A name by which to find the exchange, and how long to wait before it.
    fn prepare(&self, step: &Step) -> (String, Duration) {
        let mut account = self.account.lock().unwrap_or_else(PoisonError::into_inner);
        account.requests += 1;
        let name = account.requests.to_string();
        if !step.waits {
            return (name, Duration::ZERO);
        }
        account.spent.clear();
        (name, account.retry_after.take().unwrap_or_default())
    }

    async fn send(&self, step: &Step, name: &str) -> reqwest::Result<Response> {
        let mut request = match &step.ask {
            Ask::Models => self.client.get(self.envoy.url("/v1/models")),
            Ask::Chat(chat) => chat.request(&self.client, self.envoy.address()),
        };
        if let Some(key) = step.caller.api_key() {
            request = request.header("authorization", format!("APIKEY {key}"));
        }
        request.header("x-test-id", name).send().await
    }

    /// Takes note of an outcome, and returns what is left to the caller.
    fn charge(&self, step: &Step, cost: u64, retry_after: Option<Duration>) -> Option<u64> {
        let mut account = self.account.lock().unwrap_or_else(PoisonError::into_inner);
        account.retry_after = retry_after.or(account.retry_after);
        let spent = account.spent.entry(step.caller).or_default();
        *spent += cost;
        Some(step.caller.limit()?.saturating_sub(*spent))
    }
}

fn retry_after(response: &Response) -> Option<Duration> {
    let seconds = response.headers().get(RETRY_AFTER)?.to_str().ok()?;
    Some(Duration::from_secs(seconds.parse().ok()?))
}

#[cfg(test)]
mod tests;
