//! Plays what a system's document does, in a real Envoy, and shows what comes of it.
//!
//! `SEED` is the system: `kuadrant`, the default, or the name of a folder of `examples` that has plays. With `ONCE=1`
//! it plays and ends, with failure if an outcome is not the document's; else it stays up. With `STORAGE=limitador` the
//! tutorial has two Envoys, and a limitador on Redis has their counters.

mod example;
mod limitador;
mod tutorial;

use std::{error::Error, process::ExitCode};

#[tokio::main]
async fn main() -> ExitCode {
    match run().await {
        Ok(0) => ExitCode::SUCCESS,
        Ok(faults) => {
            eprintln!("\n{faults} outcomes are not the document's");
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// Plays everything, and returns how many outcomes were not the document's.
async fn run() -> Result<usize, Box<dyn Error>> {
    let once = std::env::var("ONCE").is_ok_and(|once| once == "1");
    let seed = std::env::var("SEED").unwrap_or_default();
    Ok(match seed.as_str() {
        "" | "kuadrant" => tutorial::run(once).await?,
        seed => example::run(seed, once).await?,
    })
}
