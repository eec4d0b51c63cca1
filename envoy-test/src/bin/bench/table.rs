//! The tables of the results.

use std::collections::BTreeMap;

use crate::{
    contender::{Contender, FLOOR, RATELIMIT, TOLLGATE},
    measure::median,
    options::Options,
    workload::Workload,
};

/// CPU microseconds of a request, for each workload and contender, one value for each round.
pub(crate) type Costs = BTreeMap<(usize, usize), Vec<f64>>;

/// Prints the costs: of the Envoy without a filter as they are, of all others what they add to it.
pub(crate) fn print(
    options: Options,
    contenders: &[Contender],
    workloads: &[Workload],
    costs: &Costs,
) {
    let Options {
        rounds,
        seconds,
        connections,
        ..
    } = options;
    println!(
        "\nCPU microseconds of Envoy per request (median of {rounds} rounds of {seconds} s, \
         {connections} connections). All rows but the first show what the filter adds.\n"
    );
    print_header("filter", workloads);
    for (row, contender) in contenders.iter().enumerate() {
        let cells = (0..workloads.len()).map(|column| match row {
            0 => format!("{:.1}", absolute(costs, column)),
            _ => format!("{:+.1}", added(costs, column, row)),
        });
        print_row(contender.name, cells);
    }
    println!("\nWhat tollgate adds, as a ratio.\n");
    print_header("compared with", workloads);
    let row_of = |name: &str| {
        contenders
            .iter()
            .position(|contender| contender.name == name)
    };
    let Some(tollgate) = row_of(TOLLGATE) else {
        return;
    };
    let ratios = |base: &dyn Fn(usize) -> f64| {
        let ratio = |column| format!("{:.2}", added(costs, column, tollgate) / base(column));
        (0..workloads.len()).map(ratio).collect::<Vec<_>>()
    };
    for name in [FLOOR, RATELIMIT] {
        if let Some(row) = row_of(name) {
            let base = |column| added(costs, column, row);
            print_row(name, ratios(&base).into_iter());
        }
    }
    let proxying = |column| absolute(costs, column);
    print_row("Envoy without a filter", ratios(&proxying).into_iter());
}

fn absolute(costs: &Costs, column: usize) -> f64 {
    median(costs[&(column, 0)].clone())
}

/// Returns the median of the differences from the Envoy without a filter in the same round.
fn added(costs: &Costs, column: usize, row: usize) -> f64 {
    let base = &costs[&(column, 0)];
    let own = &costs[&(column, row)];
    median(own.iter().zip(base).map(|(own, base)| own - base).collect())
}

fn print_header(label: &str, workloads: &[Workload]) {
    let titles = workloads.iter().map(|workload| workload.title.to_owned());
    print_row(label, titles);
    print_row("---", workloads.iter().map(|_| "---:".to_owned()));
}

fn print_row(label: &str, cells: impl Iterator<Item = String>) {
    println!("| {label} | {} |", cells.collect::<Vec<_>>().join(" | "));
}

#[expect(clippy::cast_precision_loss, reason = "two digits are printed")]
pub(crate) fn megabytes(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}
