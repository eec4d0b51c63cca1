//! The Envoys that are compared.

use std::path::Path;

use envoy_test::{
    envoy::{Builder, Envoy, RATE_LIMIT},
    filters::{self, Tollgate},
    remote, workspace,
};
use integration::Limitador;
use serde_json::{Value, json};

use crate::{
    error::Error,
    options::Options,
    policies::{self, COUNTER, DOMAIN},
};

/// The name of the Envoy without a filter.
pub(crate) const NO_FILTER: &str = "no filter";
/// The name of the filter that does nothing.
pub(crate) const FLOOR: &str = "empty filter";
/// The name of Envoy's own rate limit filter.
pub(crate) const RATELIMIT: &str = "Envoy's `ratelimit`";
/// The name of tollgate with the policy of Kuadrant's tutorial.
pub(crate) const TOLLGATE: &str = "tollgate";
/// What follows the name of tollgate with the module of `--base`.
pub(crate) const BASE: &str = " (base)";

/// A filter in a separate Envoy.
pub(crate) struct Contender {
    pub name: String,
    pub envoy: Envoy,
}

/// tollgate with one configuration.
struct Variant {
    name: &'static str,
    configuration: Value,
    holds_headers: bool,
}

// === impl Contender ===

impl Contender {
    pub(crate) async fn start(name: impl Into<String>, envoy: Builder) -> Result<Self, Error> {
        Ok(Self {
            name: name.into(),
            envoy: envoy.start().await?,
        })
    }
}

// === impl Variant ===

impl Variant {
    fn new(name: &'static str, configuration: Value) -> Self {
        Self {
            name,
            configuration,
            holds_headers: false,
        }
    }

    /// Returns the filter, with another module than that of the workspace if there is one.
    fn filter(&self, module: Option<&Path>) -> Tollgate {
        let filter = Tollgate::new(self.configuration.clone()).holds_headers(self.holds_headers);
        match module {
            Some(module) => filter.module(module).vm_id("base"),
            None => filter,
        }
    }
}

/// Returns tollgate in each of its variants, those with a rate limit service last.
fn variants() -> Vec<Variant> {
    let mut record = policies::tutorial();
    record["accessLog"] = "record".into();
    let holding = Variant {
        holds_headers: true,
        ..Variant::new("tollgate, limitador, `holdHeaders`", {
            let mut configuration = policies::remote_tutorial();
            configuration["holdHeaders"] = true.into();
            configuration
        })
    };
    vec![
        Variant::new(TOLLGATE, policies::tutorial()),
        Variant::new("tollgate, `accessLog: record`", record),
        Variant::new(
            "tollgate, three limits with two rates each",
            policies::three_limits(),
        ),
        Variant::new(
            "tollgate, 2 limits for each subscription",
            policies::subscriptions(2),
        ),
        Variant::new(
            "tollgate, 1,000 limits of which 2 apply",
            policies::subscriptions(1_000),
        ),
        Variant::new(
            "tollgate, ten costs in CEL and a budget",
            policies::ten_costs(),
        ),
        Variant::new("tollgate, limitador", policies::remote_tutorial()),
        Variant::new("tollgate, limitador, lease", policies::leasing_tutorial()),
        holding,
    ]
}

/// Starts the contenders that the options select, with Envoys from `envoy`. The first has no filter.
pub(crate) async fn start_all(
    options: &Options,
    envoy: impl Fn() -> Builder,
    service: &Limitador,
) -> Result<Vec<Contender>, Error> {
    let actions = json!([
        { "request_headers": { "header_name": "x-user-id", "descriptor_key": COUNTER } },
    ]);
    let ratelimit = || envoy().rate_limit(service.address(), DOMAIN, actions.clone());
    // Two calls without WebAssembly, for comparison with tollgate's two calls.
    let twice = ratelimit().filter(filters::rate_limit(RATE_LIMIT, DOMAIN));
    let mut contenders = vec![
        Contender::start(NO_FILTER, envoy()).await?,
        Contender::start(FLOOR, envoy().tollgate(floor())).await?,
        Contender::start(RATELIMIT, ratelimit()).await?,
    ];
    if options.has_filter("Envoy's `ratelimit` twice") {
        contenders.push(Contender::start("Envoy's `ratelimit` twice", twice).await?);
    }
    for variant in variants() {
        if !options.has_filter(variant.name) {
            continue;
        }
        let builder = |module| {
            let builder = remote::cluster(envoy(), service.address());
            builder.tollgate(variant.filter(module))
        };
        contenders.push(Contender::start(variant.name, builder(None)).await?);
        if let Some(base) = &options.base {
            let name = format!("{}{BASE}", variant.name);
            contenders.push(Contender::start(name, builder(Some(base))).await?);
        }
    }
    Ok(contenders)
}

/// Returns the filter that does nothing, on the Proxy-Wasm SDK.
pub(crate) fn floor() -> Tollgate {
    Tollgate::new(json!("empty"))
        .module(workspace::sdk_filter())
        .vm_id("floor")
}
