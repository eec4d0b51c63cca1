//! The table of the tutorial's outcomes.

use envoy_test::tutorial::{Outcome, Step};

/// Prints a title and the table's header.
pub(crate) fn print_header(title: &str) {
    println!("\n{title}\n");
    println!(
        "  {:13}  {:61}  {:>6}  {:>5}  {:>9}  note",
        "caller", "request", "status", "cost", "remaining"
    );
}

/// Prints the row of a step.
pub(crate) fn print_row(step: &Step, outcome: &Outcome) {
    let number = |number: Option<u64>| number.map_or_else(|| "-".to_owned(), |n| n.to_string());
    let mut notes = vec![step.why.to_owned()];
    if let Some(retry_after) = outcome.retry_after {
        notes.push(format!("retry after {} s", retry_after.as_secs()));
    }
    let mismatches = outcome.mismatches.iter();
    notes.extend(mismatches.map(|mismatch| format!("WRONG: {mismatch}")));
    println!(
        "  {:13}  {:61}  {:>6}  {:>5}  {:>9}  {}",
        step.caller,
        step.call,
        outcome.status,
        number((outcome.cost > 0).then_some(outcome.cost)),
        number(outcome.remaining),
        notes.join(", "),
    );
}
