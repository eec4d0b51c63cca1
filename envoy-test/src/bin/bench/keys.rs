//! A flood of keys: the cost of a decision, and the memory, when there are far more callers than counters.

use std::time::Duration;

use envoy_test::{envoy::Builder, filters::Tollgate};
use serde_json::json;

use crate::{
    contender::{Contender, NO_FILTER, TOLLGATE},
    error::Error,
    load::Callers,
    measure::{self, median, megabytes},
    options::Options,
    policies,
    workload::Workload,
};

/// The number of counters: the default of `storage.maxCounters`.
const MAX_COUNTERS: u32 = 65_536;

/// Sends requests of `keys` callers, and prints the cost of a new caller beside that of a single one.
pub(crate) async fn bench(
    options: &Options,
    keys: u64,
    envoy: impl Fn() -> Builder,
    workload: &Workload,
) -> Result<(), Error> {
    let none = Contender::start(NO_FILTER, envoy()).await?;
    let mut configuration = policies::tutorial();
    configuration["storage"] = json!({ "type": "local", "maxCounters": MAX_COUNTERS });
    let tollgate = envoy().tollgate(Tollgate::new(configuration));
    let tollgate = Contender::start(TOLLGATE, tollgate).await?;
    let time = Duration::from_secs(options.seconds);
    let cost = async |contender, callers| {
        measure::cost(contender, workload, callers, options.connections, time).await
    };
    cost(&tollgate, Callers::One).await?;
    let before = tollgate.envoy.memory().await?.resident;
    let mut callers = 0;
    while callers < keys {
        let completed = tollgate.envoy.stat(measure::COMPLETED).await?;
        cost(&tollgate, Callers::From(callers)).await?;
        callers += tollgate.envoy.stat(measure::COMPLETED).await? - completed;
        eprint!("\r{callers} of {keys} callers");
    }
    eprintln!();
    let growth = tollgate
        .envoy
        .memory()
        .await?
        .resident
        .saturating_sub(before);
    let (mut one, mut many) = (Vec::new(), Vec::new());
    for _ in 0..options.rounds {
        let base = cost(&none, Callers::One).await?;
        one.push(cost(&tollgate, Callers::One).await? - base);
        many.push(cost(&tollgate, Callers::From(callers)).await? - base);
    }
    let (one, many) = (median(one), median(many));
    println!(
        "\nAfter {callers} callers on {MAX_COUNTERS} counters, tollgate adds {many:+.1} CPU microseconds to a \
         request of a new caller, and {one:+.1} to one of the same caller ({:.2} times). Envoy's resident memory \
         has grown by {:.1} MB.",
        many / one,
        megabytes(growth)
    );
    Ok(())
}
