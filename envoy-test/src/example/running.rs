//! A running example: its Envoy, model server and rate limit service.

use std::io;

use integration::Limitador;
use reqwest::{Client, Method};
use serde_json::Value;
use tollgate_cli::plays::scenario::Step;

use super::comparison::{Outcome, Response};
use crate::{
    client::{Protocol, client},
    envoy::{self, Envoy, RATE_LIMIT, UPSTREAM},
    filters::{self, Tollgate},
    llm::Llm,
};

/// A running example.
#[derive(Debug)]
pub struct Running {
    /// Its Envoy.
    pub envoy: Envoy,
    /// The model server.
    pub llm: Llm,
    /// The rate limit service, if its Envoy uses one.
    pub limitador: Option<Limitador>,
    client: Client,
    sent: u32,
}

/// Why an example does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Its Envoy has no filters, or no tollgate.
    #[error("the example's envoy.yaml has no {0}")]
    Lacks(&'static str),
    /// The model server does not start.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The rate limit service does not start.
    #[error(transparent)]
    Limitador(#[from] integration::Error),
    /// Envoy does not start, or rejects its configuration.
    #[error(transparent)]
    Envoy(#[from] envoy::Error),
}

/// Why a step cannot be run.
#[derive(Debug, thiserror::Error)]
pub enum StepError {
    /// Envoy failed, or wrote no access log entry.
    #[error(transparent)]
    Envoy(#[from] envoy::Error),
    /// A request received no response.
    #[error(transparent)]
    Request(#[from] reqwest::Error),
}

/// Returns the tollgate configuration in an Envoy's.
pub(super) fn configuration(envoy: &Value) -> Option<&Value> {
    let tollgate = filters(envoy)?.iter().find(|filter| is(filter, "tollgate"));
    tollgate?.pointer("/typed_config/config/configuration/value")
}

// === impl Running ===

impl Running {
    /// Starts an example with this Envoy configuration and these limits of a rate limit service.
    pub(super) async fn start(envoy: &Value, limits: Option<&str>) -> Result<Self, StartError> {
        let llm = Llm::start().await?;
        let filters = filters(envoy).ok_or(StartError::Lacks("filters"))?;
        let configuration = configuration(envoy).ok_or(StartError::Lacks("tollgate"))?;
        let holds_headers = filters.iter().any(|filter| {
            filter["typed_config"]["config"]["allow_on_headers_stop_iteration"] == true
        });
        let mut builder = Envoy::builder()
            .shared_process()
            .upstream(llm.address())
            .tollgate(Tollgate::new(configuration.clone()).holds_headers(holds_headers));
        let others = filters
            .iter()
            .filter(|filter| !is(filter, "tollgate") && !is(filter, "envoy.filters.http.router"));
        for filter in others {
            builder = builder.filter(filter.clone());
        }
        let routes = manager(envoy).pointer("/route_config/virtual_hosts/0/routes");
        for route in routes.and_then(Value::as_array).into_iter().flatten() {
            builder = builder.route(route.clone());
        }
        for name in other_clusters(envoy) {
            builder = builder.cluster(filters::cluster(name, llm.address(), false));
        }
        let limitador = match limits {
            None => None,
            Some(limits) => {
                let limitador = Limitador::start(limits).await?;
                builder = builder.cluster(filters::cluster(RATE_LIMIT, limitador.address(), true));
                Some(limitador)
            }
        };
        Ok(Self {
            envoy: builder.start().await?,
            client: client(Protocol::Http1),
            llm,
            limitador,
            sent: 0,
        })
    }

    /// Sends the request of a step once and compares the outcome.
    ///
    /// # Errors
    /// When there is no response, or no access log entry.
    pub async fn run(&mut self, step: &Step) -> Result<Outcome, StepError> {
        self.sent += 1;
        let id = self.sent.to_string();
        let requests_before = self.llm.requests();
        let response = self.send(step, &id).await?;
        let (status, headers) = (response.status(), response.headers().clone());
        let body = response.bytes().await?;
        let entry = self.envoy.logged(&id).await?;
        let response = Response {
            status,
            headers: &headers,
            body: &body,
            entry: &entry,
            has_reached_model: self.llm.requests() != requests_before,
        };
        Ok(Outcome::of(&response, &step.expect))
    }

    async fn send(&self, step: &Step, id: &str) -> reqwest::Result<reqwest::Response> {
        let url = self.envoy.url(&step.path);
        let default = if step.body.is_some() { "POST" } else { "GET" };
        let method = step.method.as_deref().unwrap_or(default);
        let method = Method::from_bytes(method.as_bytes()).unwrap_or_default();
        let mut request = self.client.request(method, url);
        if let Some(body) = &step.body {
            request = request.json(body);
        }
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

fn manager(envoy: &Value) -> &Value {
    let path = "/static_resources/listeners/0/filter_chains/0/filters/0/typed_config";
    envoy.pointer(path).unwrap_or(&Value::Null)
}

fn filters(envoy: &Value) -> Option<&Vec<Value>> {
    manager(envoy)["http_filters"].as_array()
}

/// Returns the clusters other than those of the model server and the rate limit service.
fn other_clusters(envoy: &Value) -> impl Iterator<Item = &str> {
    let clusters = envoy.pointer("/static_resources/clusters");
    let clusters = clusters.and_then(Value::as_array).into_iter().flatten();
    clusters
        .filter_map(|cluster| cluster["name"].as_str())
        .filter(|name| ![UPSTREAM, RATE_LIMIT].contains(name))
}

fn is(filter: &Value, name: &str) -> bool {
    filter["name"] == name
}
