//! The results as a table and as JSON.

use std::{collections::BTreeMap, fmt::Write};

use envoy_test::document::Table;
use serde::Serialize;

use crate::{
    contender::{BASE, Contender, FLOOR, NO_FILTER, RATELIMIT},
    crossings::Crossings,
    measure::{median, megabytes},
    memory::Memory,
    options::Options,
    workload::Workload,
};

/// The place of the table.
pub(crate) const TABLE: Table = Table {
    path: "docs/performance.md",
    command: "make bench",
};

/// A ratio that no filter reaches: beyond it the divisor is within the noise.
const MAX_RATIO: f64 = 200.0;

/// CPU microseconds of an exchange, for each workload and contender, one value for each round.
pub(crate) type Costs = BTreeMap<(usize, usize), Vec<f64>>;

/// What a run has measured.
#[derive(Debug, Serialize)]
pub(crate) struct Results {
    /// Rounds that count.
    pub rounds: usize,
    /// Seconds of load for each measurement.
    pub seconds: u64,
    /// Concurrent connections.
    pub connections: u32,
    /// The size of the module in bytes.
    pub module_bytes: u64,
    /// The cost of each filter for each workload.
    pub costs: Vec<Cost>,
    /// Calls between Envoy and the module.
    pub crossings: Vec<Crossings>,
    /// The resident memory of Envoy.
    pub memory: Vec<Memory>,
}

/// The cost of a filter for a workload, in CPU microseconds of Envoy for an exchange.
#[derive(Debug, Serialize)]
pub(crate) struct Cost {
    pub workload: &'static str,
    pub filter: String,
    /// What the exchange costs in all: the median of the rounds.
    pub total: f64,
    /// What the filter adds to the Envoy without one: the median of the differences in each round.
    pub added: f64,
    /// Half of the range of the middle half of the differences.
    pub spread: f64,
    /// What the filter adds, as a multiple of what the empty filter adds.
    pub to_floor: f64,
    /// What the filter adds, as a multiple of what Envoy's own rate limit filter adds.
    pub to_ratelimit: f64,
    /// What the filter adds, as a multiple of the exchange without one.
    pub to_proxying: f64,
    /// What the filter adds, as a multiple of what the module of `--base` adds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to_base: Option<f64>,
}

// === impl Results ===

impl Results {
    /// Writes the results in Markdown.
    pub(crate) fn markdown(&self) -> String {
        let Self {
            rounds,
            seconds,
            connections,
            ..
        } = self;
        let mut text = format!(
            "CPU microseconds of Envoy for an exchange: medians of {rounds} rounds of {seconds} s, {connections} \
             connections.\n\n"
        );
        let has_base = self.costs.iter().any(|cost| cost.to_base.is_some());
        let (title, rule) = if has_base {
            (" × base |", "---:|")
        } else {
            ("", "")
        };
        let _ = writeln!(
            text,
            "| workload | filter | adds | ± | × empty filter | × `ratelimit` | × proxying |{title}\n\
             |---|---|---:|---:|---:|---:|---:|{rule}"
        );
        for cost in &self.costs {
            let Cost {
                workload, filter, ..
            } = cost;
            if filter == NO_FILTER {
                let total = cost.total;
                let _ = writeln!(
                    text,
                    "| {workload} | {filter} | ({total:.1}) | | | | |{}",
                    "|".repeat(has_base.into())
                );
                continue;
            }
            let ratios = [cost.to_floor, cost.to_ratelimit, cost.to_proxying].map(ratio);
            let ratios = ratios.join(" | ");
            let _ = write!(
                text,
                "| {workload} | {filter} | {:+.1} | {:.1} | {ratios} |",
                cost.added, cost.spread
            );
            if has_base {
                let base = cost.to_base.map(ratio);
                let _ = write!(text, " {} |", base.unwrap_or_default());
            }
            text.push('\n');
        }
        if !self.crossings.is_empty() {
            text.push_str(
                "\n| exchange | filter | calls of Envoy | callbacks |\n|---|---|---:|---:|\n",
            );
        }
        for it in &self.crossings {
            let _ = writeln!(
                text,
                "| {} | {} | {} | {} |",
                it.workload, it.filter, it.calls, it.callbacks
            );
        }
        if !self.memory.is_empty() {
            text.push_str(
                "\n| resident memory of Envoy | workers | MB | added |\n|---|---:|---:|---:|\n",
            );
        }
        for it in &self.memory {
            let _ = writeln!(
                text,
                "| {} | {} | {:.0} | {:+.0} |",
                it.filter, it.workers, it.resident, it.added
            );
        }
        let module = megabytes(self.module_bytes);
        let _ = write!(text, "\nThe module has {module:.2} MB.\n");
        text
    }
}

/// Returns a ratio as text: a dash, if what is divided by is within the noise.
fn ratio(value: f64) -> String {
    if (0.0..MAX_RATIO).contains(&value) {
        format!("{value:.2}")
    } else {
        "–".to_owned()
    }
}

/// Computes the cost of each contender for each workload.
pub(crate) fn costs(
    contenders: &[Contender],
    workloads: &[Workload],
    measured: &Costs,
) -> Vec<Cost> {
    let row_of = |name: &str| contenders.iter().position(|it| it.name == name);
    let mut costs = Vec::new();
    for (column, workload) in workloads.iter().enumerate() {
        let values = |row: usize| measured.get(&(column, row)).map_or(&[][..], Vec::as_slice);
        let differences = |row: usize| {
            let pairs = values(row).iter().zip(values(0));
            pairs.map(|(own, none)| own - none).collect::<Vec<_>>()
        };
        let added = |row: usize| median(differences(row));
        let multiple_of = |row: usize, name: &str| {
            let other = row_of(name).map_or(f64::NAN, added);
            added(row) / other
        };
        for (row, contender) in contenders.iter().enumerate() {
            let base = format!("{}{BASE}", contender.name);
            costs.push(Cost {
                workload: workload.title,
                filter: contender.name.clone(),
                total: median(values(row).to_vec()),
                added: added(row),
                spread: spread(differences(row)),
                to_floor: multiple_of(row, FLOOR),
                to_ratelimit: multiple_of(row, RATELIMIT),
                to_proxying: added(row) / median(values(0).to_vec()),
                to_base: row_of(&base).map(|_| multiple_of(row, &base)),
            });
        }
    }
    costs
}

/// Returns half of the range of the middle half of values.
fn spread(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let quarter = values.len() / 4;
    let middle = values
        .get(quarter..values.len().saturating_sub(quarter))
        .unwrap_or_default();
    match (middle.first(), middle.last()) {
        (Some(least), Some(most)) => (most - least) / 2.0,
        _ => f64::NAN,
    }
}

/// Returns the parameters of a run and its results, without costs yet.
pub(crate) fn results(options: &Options, module_bytes: u64) -> Results {
    Results {
        rounds: options.rounds,
        seconds: options.seconds,
        connections: options.connections,
        module_bytes,
        costs: Vec::new(),
        crossings: Vec::new(),
        memory: Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::{Cost, Results, spread};
    use crate::contender::{NO_FILTER, TOLLGATE};

    #[test]
    fn spread_leaves_out_extreme_rounds() {
        assert!((spread(vec![9.0, 1.0, 2.0, 3.0, -50.0]) - 1.0).abs() < f64::EPSILON);
        assert!(spread(vec![]).is_nan());
    }

    #[test]
    fn table_compares_with_base() {
        let cost = |filter: &str, added, to_base| Cost {
            workload: "JSON",
            filter: filter.to_owned(),
            total: 70.0,
            added,
            spread: 1.0,
            to_floor: 2.0,
            to_ratelimit: 0.5,
            to_proxying: 0.25,
            to_base,
        };
        let results = Results {
            rounds: 1,
            seconds: 1,
            connections: 1,
            module_bytes: 1_500_000,
            costs: vec![cost(NO_FILTER, 0.0, None), cost(TOLLGATE, 35.0, Some(0.9))],
            crossings: Vec::new(),
            memory: Vec::new(),
        };
        let table = results.markdown();
        assert!(
            table.contains("| JSON | no filter | (70.0) | | | | ||\n"),
            "{table}"
        );
        assert!(
            table.contains("| JSON | tollgate | +35.0 | 1.0 | 2.00 | 0.50 | 0.25 | 0.90 |"),
            "{table}"
        );
        assert!(table.contains("The module has 1.50 MB."), "{table}");
    }
}
