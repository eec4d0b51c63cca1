//! The resident memory of Envoy with and without the filter.

use envoy_test::{envoy::Builder, filters::Tollgate};
use serde::Serialize;

use crate::{
    contender::{self, FLOOR, NO_FILTER},
    error::Error,
    measure::megabytes,
    policies,
};

/// The numbers of workers that are compared.
const WORKERS: [u32; 2] = [1, 4];

/// The number of limits of the large policy.
const LIMITS: usize = 1_000;

/// The resident memory of an Envoy that has served no request, in MB.
#[derive(Debug, Serialize)]
pub(crate) struct Memory {
    pub filter: &'static str,
    pub workers: u32,
    pub resident: f64,
    /// What the filter adds to the Envoy with as many workers and no filter.
    pub added: f64,
}

/// Measures the memory with each filter, for each number of workers.
pub(crate) async fn measure(envoy: impl Fn() -> Builder) -> Result<Vec<Memory>, Error> {
    let filters = [
        (NO_FILTER, None),
        (FLOOR, Some(contender::floor())),
        (
            "tollgate, one limit",
            Some(Tollgate::new(policies::tutorial())),
        ),
        (
            "tollgate, 1,000 limits",
            Some(Tollgate::new(policies::subscriptions(LIMITS))),
        ),
    ];
    let mut measured = Vec::new();
    for workers in WORKERS {
        let mut none = 0.0;
        for (filter, tollgate) in &filters {
            let builder = envoy().concurrency(workers);
            let builder = match tollgate {
                Some(tollgate) => builder.tollgate(tollgate.clone()),
                None => builder,
            };
            let envoy = builder.start().await?;
            let resident = megabytes(envoy.memory().await?.resident);
            if tollgate.is_none() {
                none = resident;
            }
            measured.push(Memory {
                filter,
                workers,
                resident,
                added: resident - none,
            });
        }
    }
    Ok(measured)
}
