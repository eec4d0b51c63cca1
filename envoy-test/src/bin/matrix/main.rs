//! Runs a part of the end-to-end tests with each version of Envoy that tollgate is tested with, and prints the results
//! as the table of `docs/compatibility.md`.
//!
//! Fails when a test fails, or when the document has another table; with `UPDATE=1` it replaces that. With
//! `ENVOY_VERSION` only this version is tested, and the document is not compared.

mod document;
mod smoke;

use std::{error::Error, process::ExitCode};

use envoy_test::binary::VERSIONS;

use self::document::Row;

fn main() -> ExitCode {
    match run() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// Returns whether all tests have passed and the document has their table.
fn run() -> Result<bool, Box<dyn Error>> {
    let setting = |name: &str| std::env::var(name).unwrap_or_default();
    let only = setting("ENVOY_VERSION");
    let versions: Vec<&str> = if only.is_empty() {
        VERSIONS.into_iter().rev().collect()
    } else {
        vec![only.as_str()]
    };
    let mut rows = Vec::new();
    for version in versions {
        let checks = smoke::run(version)?;
        rows.push(Row {
            version: version.to_owned(),
            checks,
        });
    }
    let table = document::table(&rows);
    println!("{table}");
    let passed = rows
        .iter()
        .all(|row| row.checks.iter().all(|passed| *passed));
    if !only.is_empty() {
        return Ok(passed);
    }
    if setting("UPDATE") == "1" {
        document::TABLE.write(&table)?;
        return Ok(passed);
    }
    let is_current = document::TABLE.read()? == table;
    if !is_current {
        eprintln!(
            "{} has another table: update it with `make matrix UPDATE=1`",
            document::TABLE.path
        );
    }
    Ok(passed && is_current)
}
