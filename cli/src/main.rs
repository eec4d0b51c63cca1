//! The command line of tollgate: validates configurations, prints what rate limit services need to know of them, and what
//! installations take.

use std::{
    fmt::Display,
    fs,
    io::{self, BufRead, BufReader, BufWriter, Read, Write},
    path::{Path, PathBuf},
    process::ExitCode,
    time::{SystemTime, UNIX_EPOCH},
};

use clap::{
    Parser, Subcommand,
    error::{ContextKind, ContextValue},
};
use filter_config::{Configuration, Found, ValidationErrors, Warning, limitador};
use tollgate_cli::{
    explain, plays,
    render::{self, Rendered, options::Options},
    simulate, usage,
};

/// Validates plugin configurations and policies, prints limits for limitador, and what installations take
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
        /// Fail if there are warnings
        #[arg(long)]
        strict: bool,
        /// Plugin configurations or `TokenRateLimitPolicy`s, in YAML or JSON, by themselves, in a list or in resources of
        /// Istio, Envoy Gateway or Envoy; - for standard input
        file: PathBuf,
    },
    /// Print the limits of a configuration as limitador's limits.yaml
    Limits {
        /// Plugin configurations or `TokenRateLimitPolicy`s, in YAML or JSON, by themselves, in a list or in resources of
        /// Istio, Envoy Gateway or Envoy; - for standard input
        file: PathBuf,
        /// The namespace of all limits. By default that of the configuration's storage, or else, for each policy,
        /// its namespace and the name of what it is attached to
        #[arg(long)]
        domain: Option<String>,
    },
    /// Print what an installation takes: a configuration of Envoy, or resources of Istio or Envoy Gateway, with the policy
    Render(Box<Options>),
    /// Explain what the filter decides on a request: the limits, predicates and counters that it considers, and the outcome
    Explain(Box<explain::Options>),
    /// Test policies: run requests through the filter and compare the outcomes with the expected ones
    Test(plays::Options),
    /// Run an access log through a policy: which callers it would have rejected, when, and what they use
    Simulate(Box<simulate::Options>),
    /// Report usage: requests, rejections, tokens and dollars of each user, team or model in an access log, or an Envoy's
    /// largest counters
    Usage(Box<usage::Options>),
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
    #[error("{}", misuse(.0))]
    Misuse(render::Misuse),
    #[error("{file}: {source}")]
    Render { file: String, source: render::Error },
    #[error("{0}")]
    Explain(#[from] explain::Error),
    #[error("{0}")]
    Plays(#[from] plays::Error),
    #[error("{0}")]
    Simulate(#[from] simulate::Error),
    #[error("{0}")]
    Usage(#[from] usage::Error),
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
        Ok(code) => code,
        Err(error) => {
            eprintln!("{error}");
            match error {
                // As clap's own errors.
                Error::Misuse(_)
                | Error::Explain(_)
                | Error::Plays(_)
                | Error::Simulate(_)
                | Error::Usage(_) => ExitCode::from(2),
                _ => ExitCode::FAILURE,
            }
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

fn run(command: &Command) -> Result<ExitCode, Error> {
    let mut code = ExitCode::SUCCESS;
    let output = match command {
        Command::Check { file, strict } => {
            let found = read(file)?;
            let mut warnings = found.iter().flat_map(|found| &found.configuration.warnings);
            if *strict && warnings.next().is_some() {
                code = ExitCode::FAILURE;
            }
            let lines = found.iter().map(|found| summary(file, found));
            lines.collect()
        }
        Command::Limits { file, domain } => {
            let limits = limits(file, &read(file)?, domain.as_deref())?;
            serde_norway::to_string(&limits)?
        }
        Command::Render(options) => rendered(options)?,
        Command::Explain(options) => explained(options)?,
        Command::Test(options) => {
            let results = plays::test(options)?;
            if results.failures > 0 {
                code = ExitCode::FAILURE;
            }
            results.text
        }
        Command::Simulate(options) => simulated(options)?,
        Command::Usage(options) => {
            let (report, warning) = match (&options.admin, &options.log) {
                (Some(answer), _) => usage::largest(options.format, options.top, opened(answer)?)
                    .map_err(usage::Error::from)?,
                (None, log) => {
                    let log = log.as_deref().unwrap_or(Path::new("-"));
                    usage::usage(options, opened(log)?)?
                }
            };
            if let Some(warning) = warning {
                eprintln!("{warning}");
            }
            report
        }
        Command::Schema => include_str!("../../docs/configuration.schema.json").to_owned(),
    };
    io::stdout()
        .write_all(output.as_bytes())
        .map_err(Error::Output)?;
    Ok(code)
}

/// Returns the line on a valid configuration.
fn summary(file: &Path, found: &Found) -> String {
    let Configuration { policies, .. } = &found.configuration;
    let limits: usize = policies.iter().map(|policy| policy.limits.len()).sum();
    let path = found.path.as_ref();
    let path = path.map_or_else(String::new, |path| format!("{path}: "));
    format!(
        "{}: {path}valid, policies: {}, limits: {limits}\n",
        file.display(),
        policies.len()
    )
}

/// Returns the limits of all configurations, each once.
fn limits(
    file: &Path,
    found: &[Found],
    domain: Option<&str>,
) -> Result<Vec<limitador::LimitadorLimit>, Error> {
    let mut all = Vec::new();
    for found in found {
        let limits = limitador::limits(&found.configuration, domain);
        let limits = limits.map_err(|parts| Error::Unsupported {
            file: file.display().to_string(),
            parts,
        })?;
        for limit in limits {
            if !all.contains(&limit) {
                all.push(limit);
            }
        }
    }
    Ok(all)
}

/// Returns what an installation takes.
fn rendered(options: &Options) -> Result<String, Error> {
    let file = options.config.display().to_string();
    let Rendered {
        text,
        warnings,
        of_output,
    } = render::render(options, &bytes(&options.config)?).map_err(|error| match error {
        render::Error::Configuration(errors) => Error::Invalid {
            file: file.clone(),
            errors,
        },
        render::Error::Misuse(misuse) => Error::Misuse(misuse),
        source @ render::Error::Output(_) => Error::Render {
            file: file.clone(),
            source,
        },
    })?;
    warn(&file, &warnings);
    warn(&format!("{file}, as rendered"), &of_output);
    Ok(text)
}

/// Returns the explanation of a request.
fn explained(options: &explain::Options) -> Result<String, Error> {
    let found = read(&options.config)?;
    let request = bytes(&options.request)?;
    let auth = options.auth.as_deref().map(bytes).transpose()?;
    let response = options.response.as_deref().map(bytes).transpose()?;
    let files = explain::Files {
        request: &request,
        auth: auth.as_deref(),
        response: response.as_deref(),
    };
    let now = options.at.map_or_else(now, tollgate_cli::replay::seconds);
    Ok(explain::explain(options, found, files, now)?)
}

/// Returns the report of a simulation.
fn simulated(options: &simulate::Options) -> Result<String, Error> {
    let configuration = || explain::only(read(&options.config)?).map_err(Error::Explain);
    let quiet = filter_config::parse_file(&bytes(&options.config)?);
    let again = quiet.map_err(|errors| Error::Invalid {
        file: options.config.display().to_string(),
        errors,
    })?;
    let configurations = [configuration()?, explain::only(again)?];
    let mut decisions = options.decisions.as_deref().map(created).transpose()?;
    let file = decisions.as_mut().map(|file| file as &mut dyn Write);
    let report = simulate::simulate(options, configurations, opened(&options.log)?, file)?;
    if let Some(mut file) = decisions {
        file.flush().map_err(Error::Output)?;
    }
    Ok(if options.json {
        format!("{:#}\n", report.json())
    } else {
        report.text()
    })
}

/// Opens a file, or standard input, to read it piece by piece.
fn opened(file: &Path) -> Result<Box<dyn BufRead>, Error> {
    if file == Path::new("-") {
        return Ok(Box::new(io::stdin().lock()));
    }
    let opened = fs::File::open(file).map_err(|source| Error::Io {
        file: file.display().to_string(),
        source,
    });
    Ok(Box::new(BufReader::with_capacity(1 << 16, opened?)))
}

fn created(file: &Path) -> Result<BufWriter<fs::File>, Error> {
    let created = fs::File::create(file).map_err(|source| Error::Io {
        file: file.display().to_string(),
        source,
    });
    Ok(BufWriter::new(created?))
}

/// Returns the time, in nanoseconds since the Unix epoch.
fn now() -> u64 {
    let time = SystemTime::now().duration_since(UNIX_EPOCH);
    u64::try_from(time.unwrap_or_default().as_nanos()).unwrap_or(u64::MAX)
}

/// Prints warnings.
fn warn<'w>(file: &str, warnings: impl IntoIterator<Item = &'w Warning>) {
    for warning in warnings {
        eprintln!("{file}: warning[{}]: {warning}", warning.code());
    }
}

/// Returns what a file or standard input contains.
fn bytes(file: &Path) -> Result<Vec<u8>, Error> {
    let bytes = if file == Path::new("-") {
        let mut bytes = Vec::new();
        io::stdin().read_to_end(&mut bytes).map(|_| bytes)
    } else {
        fs::read(file)
    };
    bytes.map_err(|source| Error::Io {
        file: file.display().to_string(),
        source,
    })
}

fn read(file: &Path) -> Result<Vec<Found>, Error> {
    let name = file.display().to_string();
    let found = filter_config::parse_file(&bytes(file)?).map_err(|errors| Error::Invalid {
        file: name.clone(),
        errors,
    })?;
    let warnings = found.iter().flat_map(|found| &found.configuration.warnings);
    warn(&name, warnings);
    Ok(found)
}

/// Returns an error in the form of clap's.
fn misuse(error: &render::Misuse) -> String {
    format!("error: {error}\n\nFor more information, try '--help'.")
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
