//! The command line of tollgate: checks configurations, and prints what rate limit services need to know of them.

use std::{
    fs,
    io::{self, Read, Write},
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::{Parser, Subcommand};
use filter_config::{Configuration, Faults, limitador};

/// Checks plugin configurations and policies, and prints limits for limitador
#[derive(Debug, Parser)]
#[command(name = "tollgate", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Say what is wrong with a configuration, all of it, with the paths to it
    Check {
        /// A plugin configuration or a `TokenRateLimitPolicy`, in YAML or JSON, by itself or in a `WasmPlugin`, an
        /// `EnvoyFilter` or Envoy's configuration; - for standard input
        file: PathBuf,
    },
    /// Print the limits of a configuration as limitador's limits.yaml
    Limits {
        /// A plugin configuration or a `TokenRateLimitPolicy`, in YAML or JSON, by itself or in a `WasmPlugin`, an
        /// `EnvoyFilter` or Envoy's configuration; - for standard input
        file: PathBuf,
        /// The namespace of all limits. By default that of the configuration's storage, or else, for each policy,
        /// its namespace and the name of what it is attached to
        #[arg(long)]
        domain: Option<String>,
    },
    /// Print the JSON Schema of plugin configurations
    Schema,
}

/// Why there is nothing to print.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("{file}: {source}")]
    Io { file: String, source: io::Error },
    #[error("{}", lines(.file, .faults))]
    Faults { file: String, faults: Faults },
    #[error("{}", lines(.file, .unfit))]
    NotForLimitador {
        file: String,
        unfit: Vec<limitador::NotForLimitador>,
    },
    #[error("the limits cannot be written as YAML: {0}")]
    Yaml(#[from] serde_norway::Error),
    #[error("standard output: {0}")]
    Output(io::Error),
}

fn main() -> ExitCode {
    match run(&Arguments::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: &Command) -> Result<(), Error> {
    let output = match command {
        Command::Check { file } => {
            let configuration = read(file)?;
            let limits = configuration
                .policies
                .iter()
                .map(|policy| policy.limits.len());
            let (policies, limits) = (configuration.policies.len(), limits.sum::<usize>());
            format!(
                "{}: valid, policies: {policies}, limits: {limits}\n",
                file.display()
            )
        }
        Command::Limits { file, domain } => {
            let limits = limitador::limits(&read(file)?, domain.as_deref());
            let limits = limits.map_err(|unfit| Error::NotForLimitador {
                file: file.display().to_string(),
                unfit,
            })?;
            serde_norway::to_string(&limits)?
        }
        Command::Schema => include_str!("../../../docs/configuration.schema.json").to_owned(),
    };
    io::stdout()
        .write_all(output.as_bytes())
        .map_err(Error::Output)
}

fn read(file: &Path) -> Result<Configuration, Error> {
    let bytes = if file == Path::new("-") {
        let mut bytes = Vec::new();
        io::stdin().read_to_end(&mut bytes).map(|_| bytes)
    } else {
        fs::read(file)
    };
    let name = || file.display().to_string();
    let bytes = bytes.map_err(|source| Error::Io {
        file: name(),
        source,
    })?;
    filter_config::parse_carried(&bytes).map_err(|faults| Error::Faults {
        file: name(),
        faults,
    })
}

/// One line for each thing that is wrong, with the file that it is in.
fn lines<T: ToString>(file: &str, wrong: impl IntoIterator<Item = T>) -> String {
    let wrong = wrong.into_iter();
    let lines: Vec<_> = wrong
        .map(|wrong| format!("{file}: {}", wrong.to_string()))
        .collect();
    lines.join("\n")
}
