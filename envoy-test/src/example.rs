//! The examples of systems that people come from: each a folder with a whole Envoy and the requests of that
//! system's document, with what comes of them.
//!
//! An example is played as it stands: the filters and routes of its `envoy.yaml`, tollgate's configuration in them,
//! before a mock of its model server. The demonstration and the end-to-end tests play the same.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
    time::{SystemTime, UNIX_EPOCH},
};

use integration::Limitador;
use reqwest::{Client, Method, Response};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::Value;

use crate::{
    client::{Protocol, client},
    envoy::{self, AccessLogEntry, Envoy, RATE_LIMIT, UPSTREAM},
    filters::{self, Tollgate},
    llm::Llm,
    workspace,
};

/// An example.
#[derive(Debug)]
pub struct Example {
    /// Tollgate's configuration, as its own file has it.
    pub configuration: Value,
    /// The Envoy, tollgate included.
    pub envoy: Value,
    /// The limits of the rate limit service that its Envoy asks, if it has one.
    pub limits: Option<String>,
    /// What is played.
    pub plays: Vec<Play>,
}

/// Requests that follow each other, the first of which finds nothing spent.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Play {
    /// What it shows.
    pub title: String,
    /// The requests.
    pub steps: Vec<Step>,
}

/// A request, and what has to come of it.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Step {
    /// What it is, or why what comes of it has to.
    pub why: String,
    /// The path.
    pub path: String,
    /// The headers.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    /// The body; without one it is a `GET`.
    pub body: Option<Value>,
    /// The tokens of the prompt and of the answer.
    pub model: Option<[u64; 2]>,
    /// How often it is sent.
    #[serde(default = "once")]
    pub times: u32,
    /// What has to come of it, each time.
    pub expect: Expect,
}

/// What has to come of a request.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Expect {
    /// The status.
    pub status: u16,
    /// The tokens that are charged.
    #[serde(default)]
    pub tokens: u64,
    /// The cluster that answers, where it matters which.
    pub cluster: Option<String>,
    /// Exported costs, by their names.
    #[serde(default)]
    pub costs: BTreeMap<String, u64>,
    /// Headers of the response, by their names in lower case; `null` for one that must not be there. A number of
    /// seconds may have run down by a few.
    #[serde(default)]
    pub headers: BTreeMap<String, Option<String>>,
    /// The body.
    pub json: Option<Value>,
}

/// What came of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// The status.
    pub status: u16,
    /// The tokens that were charged.
    pub tokens: u64,
    /// The cluster that answered, where it matters which.
    pub cluster: Option<String>,
    /// The headers that the response has of those that it has to have.
    pub headers: Vec<String>,
    /// What is not as it has to be.
    pub faults: Vec<String>,
}

/// Why an example cannot be played.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is none of that name.
    #[error("no example {0:?}: there are kuadrant, {1}")]
    Unknown(String, String),
    /// A file of it cannot be read.
    #[error("{0}: {1}")]
    File(PathBuf, io::Error),
    /// A file of it is not what it should be.
    #[error("{0}: {1}")]
    Content(PathBuf, serde_norway::Error),
    /// Its Envoy has no filters, or no tollgate.
    #[error("the Envoy of the example has no {0}")]
    Lacks(&'static str),
    /// A server did not start.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The rate limit service did not start.
    #[error(transparent)]
    Limitador(#[from] integration::Error),
    /// Envoy does not run, or refuses its configuration.
    #[error(transparent)]
    Envoy(#[from] envoy::Error),
    /// A request got no response.
    #[error(transparent)]
    Request(#[from] reqwest::Error),
}

/// Seconds by which a time may have run down since it was given.
const SLACK: u64 = 30;

fn once() -> u32 {
    1
}

/// The names of the examples that can be played, in alphabetical order: that of a folder, and of a folder in it
/// that does the same in another way.
///
/// # Errors
/// When the folder of the examples cannot be read.
pub fn names() -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for name in playable(&workspace::root().join("examples"))? {
        let ways = playable(&workspace::root().join("examples").join(&name))?;
        names.extend(ways.iter().map(|way| format!("{name}/{way}")));
        names.push(name);
    }
    names.sort();
    Ok(names)
}

/// The folders in a folder that have plays.
fn playable(folder: &Path) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.path().join("plays.yaml").is_file() {
            names.push(entry.file_name().to_string_lossy().into_owned());
        }
    }
    Ok(names)
}

/// The number of the hour, with which the windows of the calendar turn.
fn hour() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.map_or(0, |now| now.as_secs() / 3600)
}

impl Example {
    /// Reads the example of that name.
    ///
    /// # Errors
    /// [`Error::File`] and [`Error::Content`].
    pub fn read(name: &str) -> Result<Self, Error> {
        let folder = workspace::root().join("examples").join(name);
        Ok(Self {
            configuration: yaml(&folder.join("tollgate.yaml"))?,
            envoy: yaml(&folder.join("envoy.yaml"))?,
            limits: optional(&folder.join("limits.yaml"))?,
            plays: yaml(&folder.join("plays.yaml"))?,
        })
    }

    /// What its Envoy has as tollgate's configuration.
    #[must_use]
    pub fn configuration_in_envoy(&self) -> Option<&Value> {
        let tollgate = self.filters()?.iter().find(|filter| is(filter, "tollgate"));
        tollgate?.pointer("/typed_config/config/configuration/value")
    }

    /// Starts its Envoy before a mock of the model server.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::Limitador`] and [`Error::Envoy`].
    pub async fn start(&self) -> Result<Running, Error> {
        let llm = Llm::start().await?;
        let filters = self.filters().ok_or(Error::Lacks("filters"))?;
        let configuration = self.configuration_in_envoy();
        let configuration = configuration.ok_or(Error::Lacks("tollgate"))?;
        let holds_headers = filters.iter().any(|filter| {
            filter["typed_config"]["config"]["allow_on_headers_stop_iteration"] == true
        });
        let mut builder = Envoy::builder()
            .upstream(llm.address())
            .tollgate(Tollgate::new(configuration.clone()).holds_headers(holds_headers));
        let others = filters
            .iter()
            .filter(|filter| !is(filter, "tollgate") && !is(filter, "envoy.filters.http.router"));
        for filter in others {
            builder = builder.filter(filter.clone());
        }
        let routes = self
            .manager()
            .pointer("/route_config/virtual_hosts/0/routes");
        for route in routes.and_then(Value::as_array).into_iter().flatten() {
            builder = builder.route(route.clone());
        }
        for name in self.other_clusters() {
            builder = builder.cluster(filters::cluster(name, llm.address(), false));
        }
        let limitador = match &self.limits {
            None => None,
            Some(limits) => {
                let limitador = Limitador::start(limits).await?;
                builder = builder.cluster(filters::cluster(RATE_LIMIT, limitador.address(), true));
                Some(limitador)
            }
        };
        Ok(Running {
            envoy: builder.start().await?,
            client: client(Protocol::Http1),
            llm,
            limitador,
            sent: 0,
        })
    }

    /// Plays everything, each play with an Envoy of its own, and tells of every request. What went wrong while the
    /// hour turned, and with it windows of the calendar, is played anew: the next hour is long.
    ///
    /// # Errors
    /// When something does not start, or a request gets no response.
    pub async fn play(&self, mut tell: impl FnMut(&Play, &Step, &Outcome)) -> Result<(), Error> {
        for play in &self.plays {
            let began = hour();
            let mut outcomes = self.play_one(play).await?;
            let is_wrong = outcomes
                .iter()
                .any(|(_, outcome)| !outcome.faults.is_empty());
            if is_wrong && hour() != began {
                outcomes = self.play_one(play).await?;
            }
            for (step, outcome) in &outcomes {
                tell(play, step, outcome);
            }
        }
        Ok(())
    }

    async fn play_one<'p>(&self, play: &'p Play) -> Result<Vec<(&'p Step, Outcome)>, Error> {
        let mut running = self.start().await?;
        let mut outcomes = Vec::new();
        for step in &play.steps {
            for _ in 0..step.times {
                outcomes.push((step, running.play(step).await?));
            }
        }
        Ok(outcomes)
    }

    fn manager(&self) -> &Value {
        let path = "/static_resources/listeners/0/filter_chains/0/filters/0/typed_config";
        self.envoy.pointer(path).unwrap_or(&Value::Null)
    }

    /// The clusters beside that of the model server and that of the rate limit service.
    fn other_clusters(&self) -> impl Iterator<Item = &str> {
        let clusters = self.envoy.pointer("/static_resources/clusters");
        let clusters = clusters.and_then(Value::as_array).into_iter().flatten();
        clusters
            .filter_map(|cluster| cluster["name"].as_str())
            .filter(|name| ![UPSTREAM, RATE_LIMIT].contains(name))
    }

    fn filters(&self) -> Option<&Vec<Value>> {
        self.manager()["http_filters"].as_array()
    }
}

fn yaml<T: DeserializeOwned>(path: &Path) -> Result<T, Error> {
    let text = fs::read_to_string(path).map_err(|error| Error::File(path.to_owned(), error))?;
    serde_norway::from_str(&text).map_err(|error| Error::Content(path.to_owned(), error))
}

/// The text of a file that may not be there.
fn optional(path: &Path) -> Result<Option<String>, Error> {
    match fs::read_to_string(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        text => text
            .map(Some)
            .map_err(|error| Error::File(path.to_owned(), error)),
    }
}

fn is(filter: &Value, name: &str) -> bool {
    filter["name"] == name
}

/// An example that runs.
#[derive(Debug)]
pub struct Running {
    /// Its Envoy.
    pub envoy: Envoy,
    /// The model server.
    pub llm: Llm,
    /// The rate limit service that its Envoy asks.
    pub limitador: Option<Limitador>,
    client: Client,
    sent: u32,
}

impl Running {
    /// Plays one step, once.
    ///
    /// # Errors
    /// When there is no response, or nothing in the access log about it.
    pub async fn play(&mut self, step: &Step) -> Result<Outcome, Error> {
        self.sent += 1;
        let id = self.sent.to_string();
        let asked = self.llm.requests();
        let response = self.send(step, &id).await?;
        let status = response.status().as_u16();
        let mut faults = faults_of_headers(&step.expect, &response);
        let headers = step.expect.headers.keys().filter_map(|name| {
            let value = response.headers().get(name)?;
            Some(format!(
                "{name}: {}",
                String::from_utf8_lossy(value.as_bytes())
            ))
        });
        let headers = headers.collect();
        let body = response.bytes().await?;
        let entry = self.envoy.logged(&id).await?;
        let tokens = entry.tollgate_number("total_tokens").unwrap_or(0);
        if status != step.expect.status {
            faults.push(format!("status {status}, not {}", step.expect.status));
        }
        if tokens != step.expect.tokens {
            faults.push(format!("{tokens} tokens, not {}", step.expect.tokens));
        }
        let cluster = step.expect.cluster.as_deref().and(entry.cluster());
        if cluster != step.expect.cluster.as_deref() {
            let expected = &step.expect.cluster;
            faults.push(format!("the cluster {cluster:?}, not {expected:?}"));
        }
        faults.extend(faults_of_costs(&step.expect, &entry));
        if let Some(json) = &step.expect.json
            && serde_json::from_slice::<Value>(&body).ok().as_ref() != Some(json)
        {
            faults.push(format!("the body {}", String::from_utf8_lossy(&body)));
        }
        if status != 200 && self.llm.requests() != asked {
            faults.push("the model was asked all the same".to_owned());
        }
        Ok(Outcome {
            status,
            tokens,
            cluster: cluster.map(str::to_owned),
            headers,
            faults,
        })
    }

    async fn send(&self, step: &Step, id: &str) -> reqwest::Result<Response> {
        let url = self.envoy.url(&step.path);
        let mut request = match &step.body {
            Some(body) => self.client.post(url).json(body),
            None => self.client.request(Method::GET, url),
        };
        for (name, value) in &step.headers {
            request = request.header(name, value);
        }
        if let Some([prompt, completion]) = step.model {
            request = request
                .header("x-mock-prompt-tokens", prompt)
                .header("x-mock-completion-tokens", completion);
        }
        request.header("x-test-id", id).send().await
    }
}

/// What is not as it has to be in the exported costs that were logged.
fn faults_of_costs(expect: &Expect, entry: &AccessLogEntry) -> Vec<String> {
    let mut faults = Vec::new();
    for (name, expected) in &expect.costs {
        let found = entry.tollgate_number(&format!("cost.{name}"));
        if found != Some(*expected) {
            faults.push(format!("the cost {name} is {found:?}, not {expected}"));
        }
    }
    faults
}

/// What is not as it has to be in the headers of a response.
fn faults_of_headers(expect: &Expect, response: &Response) -> Vec<String> {
    let mut faults = Vec::new();
    for (name, expected) in &expect.headers {
        let found = response.headers().get(name);
        let found = found.map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
        let is_time = name.contains("reset") || name.contains("retry-after");
        let is_right = match (expected, &found) {
            (Some(expected), Some(found)) if is_time => {
                let [expected, found] = [expected, found].map(|time| time.parse::<u64>().ok());
                expected.zip(found).is_some_and(|(expected, found)| {
                    found <= expected && found.saturating_add(SLACK) >= expected
                })
            }
            (expected, found) => expected == found,
        };
        if !is_right {
            faults.push(format!("{name} is {found:?}, not {expected:?}"));
        }
    }
    faults
}
