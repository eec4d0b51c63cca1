//! Runs an example in a real Envoy and prints the outcome of each request.
//!
//! `EXAMPLE` is the example: `kuadrant`, the default, or the name of a directory of `examples` that has scenarios. With
//! `ONCE=1` the program exits after the scenarios, with failure if an outcome differs from the documented one;
//! otherwise it keeps an Envoy running. With `STORAGE=limitador` the example `kuadrant` has two Envoys, whose counters
//! are in limitador on Redis.

mod commands;
mod example;
mod limitador;
mod table;
mod tutorial;

use std::{error::Error, process::ExitCode};

#[tokio::main]
async fn main() -> ExitCode {
    match run().await {
        Ok(0) => ExitCode::SUCCESS,
        Ok(mismatches) => {
            eprintln!("\n{mismatches} outcomes differ from the documentation");
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// Runs the example that the environment names. Returns how many outcomes differ from the documented ones.
async fn run() -> Result<usize, Box<dyn Error>> {
    let setting = |name: &str| std::env::var(name).unwrap_or_default();
    let once = setting("ONCE") == "1";
    Ok(
        match (setting("EXAMPLE").as_str(), setting("STORAGE").as_str()) {
            ("" | "kuadrant", "" | "local") => tutorial::run(once).await?,
            ("" | "kuadrant", "limitador") => limitador::run(once).await?,
            ("" | "kuadrant", other) => {
                return Err(format!("STORAGE: {other:?}, expected local or limitador").into());
            }
            (name, _) => example::run(name, once).await?,
        },
    )
}
