//! Runs the SDKs of providers, from their registries, against Envoy without and with tollgate, and prints the results as
//! the table of `docs/compatibility.md`.
//!
//! Each SDK makes the same calls of both: its results have to be equal, and each call is charged exactly what the
//! provider reports. Then limits reject its calls, and it has to raise its own error with the message of tollgate, and
//! wait as the rejection requests.
//!
//! Fails when anything differs, or when the document has another table; with `UPDATE=1` it replaces that. The SDKs of a
//! registry that does not answer are skipped. Arguments are parts of the names of SDKs; only these run then, and the
//! document is not compared.

mod check;
mod gateways;
mod install;
mod provider;
mod script;
mod sdk;
mod table;

use std::{error::Error, process::ExitCode, thread, time::Instant};

use futures_util::{StreamExt, stream};

use self::{
    check::check,
    gateways::Gateways,
    install::Installation,
    sdk::{Language, SDKS, Sdk},
};

// Envoy ends with the thread that has started it.
#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match run().await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// Returns whether all SDKs have passed and the document has their table.
async fn run() -> Result<bool, Box<dyn Error>> {
    let only: Vec<String> = std::env::args().skip(1).collect();
    let is_chosen =
        |sdk: &&Sdk| only.is_empty() || only.iter().any(|part| sdk.id().contains(part.as_str()));
    let python = install::python()?;
    let node = install::node()?;
    let mut is_complete = true;
    for installation in [&python, &node] {
        if let Installation::Unavailable(reason) = installation {
            eprintln!("skipped: {reason}");
            is_complete = false;
        }
    }
    let installation = |sdk: &Sdk| match sdk.language {
        Language::Python => &python,
        Language::Node => &node,
    };
    let is_ready = |sdk: &&Sdk| matches!(installation(sdk), Installation::Ready { .. });
    let gateways = &Gateways::start().await?;
    // Most of the time a script waits until a limit is reset.
    let scripts = 2 * thread::available_parallelism().map_or(1, usize::from);
    let reports: Vec<_> = stream::iter(SDKS.iter().filter(is_chosen).filter(is_ready))
        .map(async |sdk| {
            let start = Instant::now();
            let report = check(gateways, installation(sdk), sdk).await;
            (sdk, report, start.elapsed())
        })
        .buffered(scripts)
        .collect()
        .await;

    let mut has_passed = true;
    let mut rows = Vec::new();
    for (sdk, report, took) in reports {
        let report = match report {
            Ok(report) => report,
            Err(error) => {
                eprintln!("{}: {error}", sdk.id());
                has_passed = false;
                continue;
            }
        };
        for (call, failure) in &report.failures {
            eprintln!("{}: {call}: {failure}", sdk.id());
            has_passed = false;
        }
        let (calls, took) = (report.calls.len(), took.as_secs());
        eprintln!("{}: {calls} calls compared in {took} s", sdk.id());
        rows.push(table::row(sdk, &report));
    }
    let table = [table::head(), rows.concat()].concat();
    println!("{table}");
    if !only.is_empty() {
        return Ok(has_passed);
    }
    if std::env::var("UPDATE").is_ok_and(|value| value == "1") && is_complete && has_passed {
        table::TABLE.write(&table)?;
        return Ok(true);
    }
    let document = table::TABLE.read()?;
    let is_current = rows.iter().all(|row| document.contains(row));
    if !is_current {
        eprintln!(
            "{} has another table: update it with `make test-clients UPDATE=1`",
            table::TABLE.path
        );
    }
    Ok(has_passed && is_current)
}
