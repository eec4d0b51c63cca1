//! `tollgate test`: unit tests of policies. Requests with their expected outcomes, run through the filter itself, with a
//! clock of their own.

mod comparison;
mod junit;
mod model;
mod run;
pub mod scenario;

use std::{
    fmt::Write,
    fs, io,
    path::{Path, PathBuf},
};

use clap::Args;
use filter_config::{Configuration, ValidationErrors};

pub use self::run::Failed;
use self::{run::Report, scenario::Plays};

/// What `tollgate test` takes.
#[derive(Debug, Args)]
pub struct Options {
    /// The configuration of all files. By default each names its own, or is beside a tollgate.yaml
    #[arg(long)]
    pub config: Option<PathBuf>,
    /// Write the results to this file too, as XML of `JUnit`
    #[arg(long)]
    pub junit: Option<PathBuf>,
    /// Files of scenarios
    #[arg(required = true)]
    pub files: Vec<PathBuf>,
}

/// The results of all files.
#[derive(Debug, Default)]
pub struct Results {
    /// The text for standard output.
    pub text: String,
    /// How many requests had another outcome than expected.
    pub failures: usize,
}

/// Why nothing was tested.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file cannot be read or written.
    #[error("{0}: {1}")]
    File(String, io::Error),
    /// A file has no scenarios.
    #[error("{0}: {1}")]
    Content(String, serde_norway::Error),
    /// A configuration is invalid.
    #[error("{0}: {1}")]
    Invalid(String, ValidationErrors),
    /// A file has several configurations.
    #[error("{0}: found {1} configurations, expected one")]
    Several(String, usize),
    /// A step cannot be run.
    #[error("{0}: {1}")]
    Run(String, Failed),
}

/// Runs the scenarios of all files.
///
/// # Errors
/// [`Error`]; an unexpected outcome is none.
pub fn test(options: &Options) -> Result<Results, Error> {
    let mut results = Results::default();
    let mut suites = Vec::new();
    for file in &options.files {
        let name = file.display().to_string();
        let text = text(file)?;
        let plays: Plays =
            serde_norway::from_str(&text).map_err(|error| Error::Content(name.clone(), error))?;
        let config = configuration(options, file, &plays);
        let config_name = config.display().to_string();
        let bytes = self::text(&config)?;
        let mut reports = Vec::new();
        for scenario in &plays.scenarios {
            // Each has a filter of its own, with unused limits.
            let configuration = parsed(&config_name, bytes.as_bytes())?;
            run::scenario(&plays, scenario, configuration, &mut reports)
                .map_err(|failed| Error::Run(name.clone(), failed))?;
        }
        results.add(&name, &reports);
        suites.push((name, reports));
    }
    if let Some(path) = &options.junit {
        let xml = junit::xml(&suites);
        fs::write(path, xml).map_err(|error| Error::File(path.display().to_string(), error))?;
    }
    Ok(results)
}

/// Returns the one configuration of a file.
fn parsed(file: &str, bytes: &[u8]) -> Result<Configuration, Error> {
    let found = filter_config::parse_file(bytes);
    let mut found = found.map_err(|errors| Error::Invalid(file.to_owned(), errors))?;
    let number = found.len();
    match found.pop() {
        Some(found) if number == 1 => Ok(found.configuration),
        _ => Err(Error::Several(file.to_owned(), number)),
    }
}

/// Returns the file of the configuration.
fn configuration(options: &Options, file: &Path, plays: &Plays) -> PathBuf {
    let named = plays.config.clone();
    let beside = || file.with_file_name(named.unwrap_or_else(|| PathBuf::from("tollgate.yaml")));
    options.config.clone().unwrap_or_else(beside)
}

fn text(file: &Path) -> Result<String, Error> {
    fs::read_to_string(file).map_err(|error| Error::File(file.display().to_string(), error))
}

// === impl Results ===

impl Results {
    fn add(&mut self, file: &str, reports: &[Report]) {
        // Writing to a string does not fail.
        let mut failures = 0;
        for report in reports
            .iter()
            .filter(|report| !report.mismatches.is_empty())
        {
            failures += 1;
            let place = report.place();
            let _ = writeln!(self.text, "{file}: {place}");
            for mismatch in &report.mismatches {
                let _ = writeln!(self.text, "  {mismatch}");
            }
        }
        let skipped = reports.iter().filter(|report| report.is_skipped).count();
        let passed = reports.len() - failures - skipped;
        let _ = write!(self.text, "{file}: passed: {passed}, failed: {failures}");
        if skipped > 0 {
            let _ = write!(self.text, ", for Envoy only: {skipped}");
        }
        self.text.push('\n');
        self.failures += failures;
    }
}
