//! A flood of keys: what a decision costs when there are far more callers than counters, and how much
//! memory that takes.

use std::time::Duration;

use envoy_test::{envoy::Builder, filters::Tollgate, tutorial};
use serde_json::json;

use crate::{
    Contender, Error, Options, configuration, load::Callers, measure, measure::median, megabytes,
    workload::Workload,
};

/// The counters that there is room for: the default.
const MAX_COUNTERS: u32 = 65_536;

/// Asks for `keys` callers, and prints what each then costs, beside what one caller costs.
pub(crate) async fn bench(
    options: Options,
    keys: u64,
    envoy: impl Fn() -> Builder,
    workload: &Workload,
) -> Result<(), Error> {
    let none = Contender {
        name: "no filter",
        envoy: envoy().start().await?,
    };
    let mut configuration = configuration(tutorial::policy());
    configuration["storage"] = json!({ "type": "local", "maxCounters": MAX_COUNTERS });
    let tollgate = Contender {
        name: "tollgate",
        envoy: envoy()
            .tollgate(Tollgate::new(configuration))
            .start()
            .await?,
    };
    let time = Duration::from_secs(options.seconds);
    let cost = async |contender, callers| {
        measure::cost(contender, workload, callers, options.connections, time).await
    };
    cost(&tollgate, Callers::One).await?;
    let before = tollgate.envoy.memory().await?.resident;
    let mut asked = 0;
    while asked < keys {
        let completed = tollgate.envoy.stat(measure::COMPLETED).await?;
        cost(&tollgate, Callers::From(asked)).await?;
        asked += tollgate.envoy.stat(measure::COMPLETED).await? - completed;
        eprint!("\r{asked} of {keys} callers");
    }
    eprintln!();
    let grown = tollgate
        .envoy
        .memory()
        .await?
        .resident
        .saturating_sub(before);
    let (mut one, mut many) = (Vec::new(), Vec::new());
    for _ in 0..options.rounds {
        let base = cost(&none, Callers::One).await?;
        one.push(cost(&tollgate, Callers::One).await? - base);
        many.push(cost(&tollgate, Callers::From(asked)).await? - base);
    }
    let (one, many) = (median(one), median(many));
    println!(
        "\nAfter {asked} callers on {MAX_COUNTERS} counters: {many:+.1} CPU microseconds a request of a new \
         caller, {one:+.1} of one caller over and over, above no filter ({:.2} times). Envoy's resident \
         memory has grown by {:.1} MB.",
        many / one,
        megabytes(grown)
    );
    Ok(())
}
