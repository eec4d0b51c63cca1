//! The command line of tollgate: validates configurations, and prints what rate limit services need to know of them.

use std::{
    fmt::Display,
    fs,
    io::{self, Read, Write},
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::{
    Parser, Subcommand,
    error::{ContextKind, ContextValue},
};
use filter_config::{Configuration, ValidationErrors, limitador};

/// Validates plugin configurations and policies, and prints limits for limitador
#[derive(Debug, Parser)]
#[command(name = "tollgate", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Validate a configuration: prints every validation error, or every warning, with its path
    Check {
        /// A plugin configuration or a `TokenRateLimitPolicy`, in YAML or JSON, by itself, in a list or in a
        /// `WasmPlugin`, an `EnvoyFilter` or Envoy's configuration; - for standard input
        file: PathBuf,
    },
    /// Print the limits of a configuration as limitador's limits.yaml
    Limits {
        /// A plugin configuration or a `TokenRateLimitPolicy`, in YAML or JSON, by itself, in a list or in a
        /// `WasmPlugin`, an `EnvoyFilter` or Envoy's configuration; - for standard input
        file: PathBuf,
        /// The namespace of all limits. By default that of the configuration's storage, or else, for each policy,
        /// its namespace and the name of what it is attached to
        #[arg(long)]
        domain: Option<String>,
    },
    /// Print the JSON Schema of plugin configurations
    Schema,
}

/// A command that failed. Displays as one line per error, each with the file that it is in.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("{file}: {source}")]
    Io { file: String, source: io::Error },
    #[error("{}", invalid(.file, .errors))]
    Invalid {
        file: String,
        errors: ValidationErrors,
    },
    #[error("{}", lines(.file, .parts).join("\n"))]
    Unsupported {
        file: String,
        parts: Vec<limitador::Unsupported>,
    },
    #[error("the limits cannot be written as YAML: {0}")]
    Yaml(#[from] serde_norway::Error),
    #[error("standard output: {0}")]
    Output(io::Error),
}

fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => best_suggestion_first(error).exit(),
    };
    match run(&arguments.command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// Orders the commands that clap suggests for an unknown one, which it lists with the closest last.
fn best_suggestion_first(mut error: clap::Error) -> clap::Error {
    let suggested = error.get(ContextKind::SuggestedSubcommand).cloned();
    if let Some(ContextValue::Strings(mut commands)) = suggested {
        commands.reverse();
        error.insert(
            ContextKind::SuggestedSubcommand,
            ContextValue::Strings(commands),
        );
    }
    error
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
            let limits = limits.map_err(|parts| Error::Unsupported {
                file: file.display().to_string(),
                parts,
            })?;
            serde_norway::to_string(&limits)?
        }
        Command::Schema => include_str!("../../docs/configuration.schema.json").to_owned(),
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
    let configuration = filter_config::parse_carried(&bytes).map_err(|errors| Error::Invalid {
        file: name(),
        errors,
    })?;
    for warning in &configuration.warnings {
        eprintln!("{}: warning: {warning}", name());
    }
    Ok(configuration)
}

/// Returns one line per validation error, and one that counts those that are not kept.
fn invalid(file: &str, errors: &ValidationErrors) -> String {
    let mut lines = lines(file, errors);
    if errors.omitted() > 0 {
        lines.push(format!("{file}: and {} more", errors.omitted()));
    }
    lines.join("\n")
}

fn lines<T: Display>(file: &str, errors: impl IntoIterator<Item = T>) -> Vec<String> {
    let errors = errors.into_iter();
    errors.map(|error| format!("{file}: {error}")).collect()
}
