//! Measures the CPU time that Envoy spends on a request: without a filter, with its own rate limit filter, and
//! with tollgate; with `STORAGE=limitador` also with tollgate and its counters in limitador.
//!
//! The CPU time of the process over the requests that it completed, one worker bound to one core, everything
//! else on the others. The filters take turns in every round, and what is shown is the median over the rounds of
//! the difference to the Envoy without a filter in the same round.

mod keys;
mod load;
mod measure;
mod upstream;
mod workload;

use std::{collections::BTreeMap, process::ExitCode, time::Duration};

use envoy_test::{
    envoy::{Envoy, RATE_LIMIT},
    filters::{self, Tollgate},
    remote, tutorial, wait, workspace,
};
use integration::Limitador;
use nix::{
    errno::Errno,
    sched::{CpuSet, sched_getaffinity, sched_setaffinity},
    unistd::Pid,
};
use serde_json::{Value, json};

use self::{load::Callers, measure::median, upstream::Upstream, workload::Workload};

const USAGE: &str =
    "usage: bench [--rounds N] [--seconds N] [--connections N] [--keys N] [--workloads N]";
const DOMAIN: &str = "bench";
const COUNTER: &str = "auth.identity.userid";
/// More than any load can spend.
const LIMIT: u64 = 1_000_000_000_000;

#[derive(Debug, Clone, Copy)]
struct Options {
    rounds: usize,
    seconds: u64,
    connections: u32,
    /// How many of the workloads are measured, from the first.
    workloads: usize,
    /// How many callers a flood has, if that is what is to be measured.
    keys: Option<u64>,
}

#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("{USAGE}")]
    Usage,
    #[error("{} is missing: `make wasm` builds it", .0.display())]
    NoModule(std::path::PathBuf),
    #[error(transparent)]
    Package(#[from] envoy_test::debian::Error),
    #[error(transparent)]
    Io(#[from] std::io::Error),
    #[error("binding to a core: {0}")]
    Affinity(#[from] Errno),
    #[error(transparent)]
    Envoy(#[from] envoy_test::envoy::Error),
    #[error(transparent)]
    Limitador(#[from] integration::Error),
    #[error(transparent)]
    Remote(#[from] remote::Error),
    #[error(transparent)]
    Request(#[from] reqwest::Error),
    #[error(transparent)]
    TimedOut(#[from] wait::TimedOut),
    #[error("wrk: {0}")]
    Load(String),
    #[error("{filter}, {workload}: {refused} of {completed} responses were refusals or failures")]
    Refused {
        filter: &'static str,
        workload: &'static str,
        refused: u64,
        completed: u64,
    },
}

fn main() -> ExitCode {
    let run = || {
        let options = options(std::env::args().skip(1))?;
        // Before any thread or process is started, because those inherit it.
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

fn options(mut arguments: impl Iterator<Item = String>) -> Result<Options, Error> {
    let mut options = Options {
        rounds: 7,
        seconds: 2,
        // Enough to keep Envoy's worker busy, so that its waking up is no part of the cost.
        connections: 32,
        workloads: usize::MAX,
        keys: None,
    };
    while let Some(name) = arguments.next() {
        let value = arguments.next().and_then(|value| value.parse().ok());
        let value: u32 = value.filter(|value| *value > 0).ok_or(Error::Usage)?;
        match name.as_str() {
            "--rounds" => options.rounds = value as usize,
            "--seconds" => options.seconds = value.into(),
            "--connections" => options.connections = value,
            "--workloads" => options.workloads = value as usize,
            "--keys" => options.keys = Some(value.into()),
            _ => return Err(Error::Usage),
        }
    }
    Ok(options)
}

/// Leaves the first core to Envoy, where there is another one.
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

/// A filter in an Envoy of its own.
struct Contender {
    name: &'static str,
    envoy: Envoy,
}

async fn bench(options: Options, core: Option<usize>) -> Result<(), Error> {
    let module = workspace::module();
    if !module.is_file() {
        return Err(Error::NoModule(module));
    }
    let module_bytes = std::fs::metadata(&module)?.len();
    let mut workloads = workload::all().await?;
    workloads.truncate(options.workloads);
    let upstream = Upstream::start(&workloads).await?;
    let remote = std::env::var("STORAGE").is_ok_and(|storage| storage == "limitador");
    let remote = remote.then(remote_configuration);
    let service = Limitador::start(&limits(remote.as_ref())?).await?;

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
        return keys::bench(options, keys, envoy, workload).await;
    }
    let actions = json!([
        { "request_headers": { "header_name": "x-user-id", "descriptor_key": COUNTER } },
    ]);
    let mut contenders = vec![
        Contender {
            name: "no filter",
            envoy: envoy().start().await?,
        },
        Contender {
            name: "Envoy's `ratelimit`, to limitador",
            envoy: envoy()
                .rate_limit(service.address(), DOMAIN, actions.clone())
                .start()
                .await?,
        },
        Contender {
            name: "tollgate",
            envoy: envoy()
                .tollgate(Tollgate::new(configuration(tutorial::policy())))
                .start()
                .await?,
        },
        Contender {
            name: "tollgate, three limits with two rates each",
            envoy: envoy()
                .tollgate(Tollgate::new(configuration(three_limits())))
                .start()
                .await?,
        },
        Contender {
            name: "tollgate, ten limits with costs in CEL, and a budget",
            envoy: envoy().tollgate(Tollgate::new(ten_costs())).start().await?,
        },
    ];

    if let Some(configuration) = remote {
        // What two calls cost that are made without WebAssembly.
        contenders.push(Contender {
            name: "Envoy's `ratelimit` twice",
            envoy: envoy()
                .rate_limit(service.address(), DOMAIN, actions)
                .filter(filters::rate_limit(RATE_LIMIT, DOMAIN))
                .start()
                .await?,
        });
        for (name, holds_headers) in [
            ("tollgate, to limitador: reserve and commit", false),
            ("tollgate, to limitador, with `holdHeaders`", true),
        ] {
            let mut configuration = configuration.clone();
            configuration["holdHeaders"] = holds_headers.into();
            let filter = Tollgate::new(configuration).holds_headers(holds_headers);
            let builder = remote::cluster(envoy(), service.address());
            contenders.push(Contender {
                name,
                envoy: builder.tollgate(filter).start().await?,
            });
        }
    }

    let costs = play(options, &contenders, &workloads).await?;
    print_table(options, &contenders, &workloads, &costs);
    println!("\nModule: {:.2} MB.", megabytes(module_bytes));
    for contender in &contenders {
        let resident = contender.envoy.memory().await?.resident;
        println!(
            "Resident memory of Envoy, {}: {:.0} MB.",
            contender.name,
            megabytes(resident)
        );
    }
    Ok(())
}

/// The limit for Envoy's own filter and, where tollgate asks as well, those of its configuration, in
/// limitador's format.
fn limits(configuration: Option<&Value>) -> Result<String, Error> {
    let mut limits = vec![remote::limit(DOMAIN, COUNTER, LIMIT, 60)];
    if let Some(configuration) = configuration {
        limits.extend(remote::limits(configuration)?);
    }
    Ok(Value::from(limits).to_string())
}

/// As [`configuration`], with the counters in limitador.
fn remote_configuration() -> Value {
    let mut configuration = configuration(tutorial::policy());
    configuration["storage"] = remote::Protocol::Reserve.storage();
    configuration
}

/// A policy with limits that nobody reaches, and callers who say themselves who they are.
fn configuration(mut policy: Value) -> Value {
    let limits = policy["spec"]["limits"].as_object_mut();
    for (_, limit) in limits.into_iter().flatten() {
        let rates = limit.get_mut("rates").and_then(Value::as_array_mut);
        for rate in rates.into_iter().flatten() {
            rate["limit"] = LIMIT.into();
        }
    }
    json!({
        "policies": [policy],
        "auth": [{ "header": { "identity.userid": "x-user-id", "identity.groups": "x-groups" } }],
    })
}

/// Ten limits that all apply to each caller, each with a cost of its own, and what he spends in money.
fn ten_costs() -> Value {
    let mut limits = serde_json::Map::new();
    for weight in 0..10 {
        let limit = json!({
            "cost": format!("usage.input_tokens + usage.output_tokens * {weight}"),
            "rates": [{ "limit": 1, "window": "1m" }],
            "counters": [{ "expression": "auth.identity.userid" }],
        });
        limits.insert(format!("weight-{weight}"), limit);
    }
    let mut policy = tutorial::policy();
    policy["spec"]["limits"] = limits.into();
    policy["spec"]["limits"]["money"] = json!({
        "budgets": [{ "usd": "1000000", "window": "24h" }],
        "counters": [{ "expression": "auth.identity.userid" }],
    });
    let mut configuration = configuration(policy);
    configuration["pricing"] = json!({
        "gpt-*": { "input": 2.5, "output": 10 },
        "default": { "input": 1, "output": 1 },
    });
    configuration
}

/// Three limits that all apply, by caller, by group and for everybody.
fn three_limits() -> Value {
    let limit = |counters: &[&str]| {
        let counters = counters
            .iter()
            .map(|counter| json!({ "expression": counter }));
        json!({
            "rates": [{ "limit": 1, "window": "1m" }, { "limit": 1, "window": "24h" }],
            "when": [{ "predicate": "request.path == \"/v1/chat/completions\"" }],
            "counters": counters.collect::<Vec<_>>(),
        })
    };
    let mut policy = tutorial::policy();
    policy["spec"]["limits"] = json!({
        "caller": limit(&["auth.identity.userid"]),
        "group": limit(&["auth.identity.groups"]),
        "all": limit(&[]),
    });
    policy
}

/// Microseconds a request, by workload and contender, one for each round.
type Costs = BTreeMap<(usize, usize), Vec<f64>>;

async fn play(
    options: Options,
    contenders: &[Contender],
    workloads: &[Workload],
) -> Result<Costs, Error> {
    let mut costs = Costs::new();
    // The round before the first warms up.
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

fn print_table(options: Options, contenders: &[Contender], workloads: &[Workload], costs: &Costs) {
    let Options {
        rounds,
        seconds,
        connections,
        ..
    } = options;
    println!(
        "\nCPU microseconds of Envoy a request, medians of {rounds} rounds of {seconds} s, \
         {connections} connections.\n"
    );
    let cells = |label: &str, cells: Vec<String>| println!("| {label} | {} |", cells.join(" | "));
    cells(
        "filter",
        workloads
            .iter()
            .map(|workload| workload.title.to_owned())
            .collect(),
    );
    cells("---", workloads.iter().map(|_| "---:".to_owned()).collect());
    for (row, contender) in contenders.iter().enumerate() {
        let row_cells = (0..workloads.len()).map(|column| {
            let base = &costs[&(column, 0)];
            let own = &costs[&(column, row)];
            if row == 0 {
                return format!("{:.1}", median(own.clone()));
            }
            let added = own.iter().zip(base).map(|(own, base)| own - base).collect();
            format!("{:+.1}", median(added))
        });
        cells(contender.name, row_cells.collect());
    }
}

#[expect(clippy::cast_precision_loss, reason = "two digits are shown")]
fn megabytes(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}
