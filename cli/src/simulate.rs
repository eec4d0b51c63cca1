//! `tollgate simulate`: an access log through a policy, as fast as it can be read.
//!
//! Each entry is admitted when it began and settled when it ended, by the clock of the log. A second run of the same
//! entries, in which no limit rejects, shows the demand.

mod demand;
mod engine;
mod report;
mod request;

use std::{
    cmp::Reverse,
    collections::BinaryHeap,
    io::{self, BufRead, Write},
    path::PathBuf,
};

use clap::Args;
use filter_config::{Configuration, Exceeded};

pub use self::report::Report;
use self::{
    engine::{Engine, Settled},
    request::{Builder, Line},
};
use crate::{
    log::{Fields, Log, UnknownField},
    replay::Unplaced,
};

/// What `tollgate simulate` takes.
#[derive(Debug, Args)]
pub struct Options {
    /// The configuration, as `tollgate check` reads it
    #[arg(long)]
    pub config: PathBuf,
    /// The access log: JSON lines or CSV; - for standard input
    #[arg(long)]
    pub log: PathBuf,
    /// What the names of the log mean, such as user=auth.identity.userid,ts=time
    #[arg(long, value_delimiter = ',')]
    pub fields: Vec<String>,
    /// Print limits that would have rejected the other callers, such as 1 % for 99
    #[arg(long, value_parser = percent)]
    pub suggest: Option<f64>,
    /// Write the decision on each entry to this file, as JSON lines
    #[arg(long)]
    pub decisions: Option<PathBuf>,
    /// How many callers are listed for each limit
    #[arg(long, default_value_t = 10)]
    pub top: usize,
    /// How many entries are kept to sort them by their beginning
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub reorder: u32,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// Why nothing was simulated.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The log or the file of decisions failed.
    #[error("{0}: {1}")]
    Io(&'static str, io::Error),
    /// A field is not known.
    #[error("{0}")]
    Fields(#[from] UnknownField),
    /// The filter does not take the configuration.
    #[error("--config: {0}")]
    Configure(String),
    /// The configuration does not read the `auth` of the log.
    #[error("--fields: line {0}: {1}")]
    Auth(u64, Unplaced),
    /// No entry could be read.
    #[error("--log: found no entry with a time, expected at least one{0}")]
    Empty(String),
}

fn percent(text: &str) -> Result<f64, String> {
    let percent: f64 = text.parse().map_err(|_| "expected a number".to_owned())?;
    let is_valid = percent > 0.0 && percent <= 100.0;
    is_valid
        .then_some(percent)
        .ok_or_else(|| "expected more than 0 and at most 100".to_owned())
}

/// Returns the configuration with limits that count and never reject.
#[must_use]
pub fn without_rejections(mut configuration: Configuration) -> Configuration {
    for policy in &mut configuration.policies {
        for limit in &mut policy.limits {
            limit.shadow = true;
            limit.on_exceeded = Exceeded::Deny;
            limit.cap = None;
        }
    }
    configuration
}

/// Runs a log through a configuration, which is given twice.
///
/// # Errors
/// [`Error`].
pub fn simulate(
    options: &Options,
    [configuration, again]: [Configuration; 2],
    log: impl BufRead,
    decisions: Option<&mut dyn Write>,
) -> Result<Report, Error> {
    let fields = Fields::new(options.fields.iter().map(String::as_str))?;
    let mut log = Log::new(log, fields);
    let report = Report::new(options.suggest, options.top, &configuration);
    let builder = Builder::new(&configuration);
    let configure = |error: tollgate::ConfigureError| Error::Configure(error.to_string());
    let policy = Engine::new(configuration, false).map_err(configure)?;
    let demand = Engine::new(without_rejections(again), true).map_err(configure)?;
    let mut waiting: BinaryHeap<Reverse<Line>> = BinaryHeap::new();
    let capacity = options.reorder as usize;
    let mut run = Simulation {
        report,
        builder,
        policy,
        demand,
        decisions,
    };
    while let Some(entry) = log.read().map_err(|error| Error::Io("--log", error))? {
        let Some(time) = entry.time else {
            run.report.without_time(entry.line);
            continue;
        };
        run.report.read(&entry, time);
        waiting.push(Reverse(Line { time, entry }));
        if waiting.len() > capacity
            && let Some(Reverse(line)) = waiting.pop()
        {
            run.step(line)?;
        }
    }
    while let Some(Reverse(line)) = waiting.pop() {
        run.step(line)?;
    }
    run.until(u64::MAX)?;
    let mut report = run.report;
    report.skipped(log.skipped, log.first_skipped);
    report.ended_early = run.policy.ended_early;
    if report.entries == 0 {
        return Err(Error::Empty(report.first_problem()));
    }
    Ok(report)
}

/// A simulation that runs.
struct Simulation<'d> {
    report: Report,
    builder: Builder,
    policy: Engine,
    /// The run in which nothing is rejected.
    demand: Engine,
    decisions: Option<&'d mut dyn Write>,
}

// === impl Simulation ===

impl Simulation<'_> {
    /// Runs an entry, after what ends before it.
    fn step(&mut self, line: Line) -> Result<(), Error> {
        let run = self.builder.build(line);
        self.until(run.time)?;
        let auth = |error| Error::Auth(run.line, error);
        for settled in self.policy.start(&run, true).map_err(auth)? {
            self.decided(&settled)?;
        }
        for settled in self.demand.start(&run, false).map_err(auth)? {
            self.report.demand(&settled);
        }
        Ok(())
    }

    /// Ends what ends until a time.
    fn until(&mut self, time: u64) -> Result<(), Error> {
        for settled in self.policy.until(time) {
            self.decided(&settled)?;
        }
        for settled in self.demand.until(time) {
            self.report.demand(&settled);
        }
        Ok(())
    }

    fn decided(&mut self, settled: &Settled) -> Result<(), Error> {
        self.report.decided(settled);
        if let Some(file) = &mut self.decisions {
            let written = report::write_decision(*file, settled);
            written.map_err(|error| Error::Io("--decisions", error))?;
        }
        Ok(())
    }
}
