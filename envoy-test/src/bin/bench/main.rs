//! Measures the CPU time that Envoy spends on an exchange: without a filter, with an empty filter, with its own rate
//! limit filter, and with tollgate, with its counters in Envoy and in limitador; with `--base` also with another
//! module. The service is built as this program is, and a call that fails ends the run.
//!
//! That is the CPU time of the process divided by the requests that it completed. One worker is bound to one core, and
//! everything else to the others. In every round the filters take turns, and the result is the median over the rounds
//! of the difference from the Envoy without a filter in the same round.

mod contender;
mod crossings;
mod error;
mod keys;
mod load;
mod measure;
mod memory;
mod options;
mod policies;
mod profile;
mod symbols;
mod table;
mod upstream;
mod workload;

use std::{process::ExitCode, time::Duration};

use envoy_test::{envoy::Envoy, workspace};
use integration::Limitador;
use nix::{
    errno::Errno,
    sched::{CpuSet, sched_getaffinity, sched_setaffinity},
    unistd::Pid,
};

use self::{
    contender::{Contender, TOLLGATE},
    error::Error,
    load::Callers,
    options::Options,
    table::{Costs, Results},
    upstream::Upstream,
    workload::Workload,
};

fn main() -> ExitCode {
    let run = || {
        let options = Options::parse(std::env::args().skip(1))?;
        // Before any thread or process is started, because they inherit the affinity.
        let core = reserve_core()?;
        let runtime = tokio::runtime::Runtime::new()?;
        runtime.block_on(bench(options, core))
    };
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// Reserves the first core for Envoy, if there is more than one.
fn reserve_core() -> Result<Option<usize>, Errno> {
    let mut cores = sched_getaffinity(Pid::this())?;
    let mut mine = (0..CpuSet::count()).filter(|core| cores.is_set(*core).unwrap_or(false));
    let (Some(first), Some(_)) = (mine.next(), mine.next()) else {
        return Ok(None);
    };
    cores.unset(first)?;
    sched_setaffinity(Pid::this(), &cores)?;
    Ok(Some(first))
}

async fn bench(options: Options, core: Option<usize>) -> Result<(), Error> {
    let modules = [
        (workspace::module(), "wasm"),
        (workspace::sdk_filter(), "sdk-filter"),
    ];
    for (module, target) in modules {
        if !module.is_file() {
            return Err(Error::NoModule { module, target });
        }
    }
    let mut workloads = workload::all().await?;
    workloads.retain(|workload| options.has_workload(workload.title));
    let upstream = Upstream::start(&workloads).await?;
    let envoy = || {
        let builder = Envoy::builder()
            .upstream(upstream.address())
            .without_access_log();
        match core {
            Some(core) => builder.pinned_to(core),
            None => builder,
        }
    };
    if let (Some(keys), Some(workload)) = (options.keys, workloads.first()) {
        return keys::bench(&options, keys, envoy, workload).await;
    }
    let service = Limitador::start(&policies::service_limits()?).await?;
    let contenders = contender::start_all(&options, envoy, &service).await?;
    let mut tollgates = contenders.iter().filter(|it| it.name.starts_with(TOLLGATE));
    if let (Some(seconds), Some(contender), Some(workload)) =
        (options.profile, tollgates.next(), workloads.first())
    {
        let time = Duration::from_secs(seconds);
        return profile::print(contender, workload, options.connections, time).await;
    }
    let measured = measure_all(&options, &contenders, &workloads).await?;
    let module_bytes = std::fs::metadata(workspace::module())?.len();
    let mut results = table::results(&options, module_bytes);
    results.costs = table::costs(&contenders, &workloads, &measured);
    drop(contenders);
    // A comparison of a few filters is repeated often, and these take a while.
    if options.filters.is_empty() {
        results.crossings = crossings::count(envoy, &workloads).await?;
        results.memory = memory::measure(envoy).await?;
    }
    report(&options, &results)
}

/// Prints the results, and writes them to the files that the options name.
fn report(options: &Options, results: &Results) -> Result<(), Error> {
    let table = results.markdown();
    println!("\n{table}");
    if let Some(path) = &options.json {
        std::fs::write(path, serde_json::to_string_pretty(results)?)?;
    }
    if std::env::var("UPDATE").is_ok_and(|value| value == "1") {
        table::TABLE.write(&table)?;
    }
    Ok(())
}

async fn measure_all(
    options: &Options,
    contenders: &[Contender],
    workloads: &[Workload],
) -> Result<Costs, Error> {
    let mut costs = Costs::new();
    // The round before the first is a warm-up.
    for round in 0..=options.rounds {
        let seconds = if round == 0 { 1 } else { options.seconds };
        eprint!("\rround {round} of {}", options.rounds);
        for (column, workload) in workloads.iter().enumerate() {
            for (row, contender) in contenders.iter().enumerate() {
                let time = Duration::from_secs(seconds);
                let cost =
                    measure::cost(contender, workload, Callers::One, options.connections, time)
                        .await?;
                if round > 0 {
                    costs.entry((column, row)).or_default().push(cost);
                }
            }
        }
    }
    eprintln!();
    Ok(costs)
}
