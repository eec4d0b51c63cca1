//! The Envoys that are compared.

use envoy_test::{
    envoy::{Builder, Envoy, RATE_LIMIT},
    filters::{self, Tollgate},
    remote, workspace,
};
use integration::Limitador;
use serde_json::{Value, json};

use crate::{
    error::Error,
    policies::{self, COUNTER, DOMAIN},
};

/// The name of the Envoy without a filter.
pub(crate) const NO_FILTER: &str = "no filter";
/// The name of the filter that does nothing.
pub(crate) const FLOOR: &str = "floor (empty filter, proxy-wasm SDK)";
/// The name of Envoy's own rate limit filter.
pub(crate) const RATELIMIT: &str = "Envoy's `ratelimit`, to limitador";
/// The name of tollgate with the policy of Kuadrant's tutorial.
pub(crate) const TOLLGATE: &str = "tollgate";

/// A filter in a separate Envoy.
pub(crate) struct Contender {
    pub name: &'static str,
    pub envoy: Envoy,
}

impl Contender {
    pub(crate) async fn start(name: &'static str, envoy: Builder) -> Result<Self, Error> {
        Ok(Self {
            name,
            envoy: envoy.start().await?,
        })
    }
}

/// Starts all contenders, with Envoys from `envoy`. The first has no filter.
pub(crate) async fn start_all(
    envoy: impl Fn() -> Builder,
    service: &Limitador,
    remote_configuration: Option<&Value>,
) -> Result<Vec<Contender>, Error> {
    let actions = json!([
        { "request_headers": { "header_name": "x-user-id", "descriptor_key": COUNTER } },
    ]);
    let ratelimit = || envoy().rate_limit(service.address(), DOMAIN, actions.clone());
    let tollgate = |configuration| envoy().tollgate(Tollgate::new(configuration));
    let floor = Tollgate::new(json!("empty"))
        .module(workspace::sdk_filter())
        .vm_id("floor");
    let mut contenders = vec![
        Contender::start(NO_FILTER, envoy()).await?,
        Contender::start(FLOOR, envoy().tollgate(floor)).await?,
        Contender::start(RATELIMIT, ratelimit()).await?,
        Contender::start(TOLLGATE, tollgate(policies::tutorial())).await?,
        Contender::start(
            "tollgate, three limits with two rates each",
            tollgate(policies::three_limits()),
        )
        .await?,
        Contender::start(
            "tollgate, ten limits with costs in CEL, and a budget",
            tollgate(policies::ten_costs()),
        )
        .await?,
    ];
    if let Some(configuration) = remote_configuration {
        // Two calls without WebAssembly, for comparison with tollgate's two calls.
        let twice = ratelimit().filter(filters::rate_limit(RATE_LIMIT, DOMAIN));
        contenders.push(Contender::start("Envoy's `ratelimit` twice", twice).await?);
        for (name, holds_headers) in [
            ("tollgate, to limitador: reserve and commit", false),
            ("tollgate, to limitador, with `holdHeaders`", true),
        ] {
            let mut configuration = configuration.clone();
            configuration["holdHeaders"] = holds_headers.into();
            let filter = Tollgate::new(configuration).holds_headers(holds_headers);
            let builder = remote::cluster(envoy(), service.address()).tollgate(filter);
            contenders.push(Contender::start(name, builder).await?);
        }
    }
    Ok(contenders)
}
