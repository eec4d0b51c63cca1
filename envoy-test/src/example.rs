//! The examples for users of other systems: each is a directory with the configuration of a whole Envoy, and
//! scenarios, the requests of that system's documentation with their expected outcomes.
//!
//! An example is run as it is, with the filters, routes and tollgate configuration of its `envoy.yaml`, in front of a
//! mock of its model server. The demonstration and the end-to-end tests run the same scenarios.

mod comparison;
mod running;

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::{SystemTime, UNIX_EPOCH},
};

use serde::de::DeserializeOwned;
use serde_json::Value;
use tollgate_cli::plays::scenario::Plays;

pub use self::{
    comparison::Outcome,
    running::{Running, StartError, StepError},
};
use crate::workspace;
pub use tollgate_cli::plays::scenario::{Expect, Scenario, Step};

/// The file of an example's scenarios.
const SCENARIOS: &str = "scenarios.yaml";

/// An example.
#[derive(Debug)]
pub struct Example {
    /// The tollgate configuration in its own file.
    pub configuration: Value,
    /// The Envoy configuration, which contains tollgate's.
    pub envoy: Value,
    /// The limits of the rate limit service, if its Envoy uses one.
    pub limits: Option<String>,
    /// The scenarios.
    pub scenarios: Vec<Scenario>,
}

/// Why an example cannot be run.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no example of that name.
    #[error("unknown example {name:?}, expected one of kuadrant, {known}")]
    Unknown {
        /// The name.
        name: String,
        /// The names of all examples.
        known: String,
    },
    /// A file cannot be read.
    #[error("{0}: {1}")]
    File(PathBuf, io::Error),
    /// A file has the wrong content.
    #[error("{0}: {1}")]
    Content(PathBuf, serde_norway::Error),
    /// It does not start.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The directory of the examples cannot be read.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// A step cannot be run.
    #[error(transparent)]
    Step(#[from] StepError),
}

/// Returns the names of the examples that have scenarios, in alphabetical order: those of directories, and of
/// directories in them that are variants.
///
/// # Errors
/// When the directory of the examples cannot be read.
pub fn names() -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    let examples = workspace::root().join("examples");
    for name in with_scenarios(&examples)? {
        let variants = with_scenarios(&examples.join(&name))?;
        names.extend(variants.iter().map(|variant| format!("{name}/{variant}")));
        names.push(name);
    }
    names.sort();
    Ok(names)
}

/// Returns the names of the directories in `parent` that have scenarios.
fn with_scenarios(parent: &Path) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(parent)? {
        let entry = entry?;
        if entry.path().join(SCENARIOS).is_file() {
            names.push(entry.file_name().to_string_lossy().into_owned());
        }
    }
    Ok(names)
}

// === impl Example ===

impl Example {
    /// Reads the example of that name.
    ///
    /// # Errors
    /// [`Error::File`] and [`Error::Content`].
    pub fn read(name: &str) -> Result<Self, Error> {
        let directory = workspace::root().join("examples").join(name);
        Ok(Self {
            configuration: yaml(&directory.join("tollgate.yaml"))?,
            envoy: yaml(&directory.join("envoy.yaml"))?,
            limits: optional(&directory.join("limits.yaml"))?,
            scenarios: yaml::<Plays>(&directory.join(SCENARIOS))?.scenarios,
        })
    }

    /// Returns the tollgate configuration in its Envoy's.
    #[must_use]
    pub fn configuration_in_envoy(&self) -> Option<&Value> {
        running::configuration(&self.envoy)
    }

    /// Starts its Envoy in front of a mock of the model server.
    ///
    /// # Errors
    /// When a server does not start.
    pub async fn start(&self) -> Result<Running, StartError> {
        Running::start(&self.envoy, self.limits.as_deref()).await
    }

    /// Runs all scenarios, each in a new Envoy, and reports every outcome. A scenario that fails while the hour turns,
    /// when calendar windows reset, is run once more.
    ///
    /// # Errors
    /// When a server does not start, or a request receives no response.
    pub async fn run(
        &self,
        mut report: impl FnMut(&Scenario, &Step, &Outcome),
    ) -> Result<(), Error> {
        for scenario in &self.scenarios {
            let started = hour();
            let mut outcomes = self.run_scenario(scenario).await?;
            let has_failed = outcomes
                .iter()
                .any(|(_, outcome)| !outcome.mismatches.is_empty());
            if has_failed && hour() != started {
                outcomes = self.run_scenario(scenario).await?;
            }
            for (step, outcome) in &outcomes {
                report(scenario, step, outcome);
            }
        }
        Ok(())
    }

    async fn run_scenario<'s>(
        &self,
        scenario: &'s Scenario,
    ) -> Result<Vec<(&'s Step, Outcome)>, Error> {
        let mut running = self.start().await?;
        let mut outcomes = Vec::new();
        for step in &scenario.steps {
            for _ in 0..step.times {
                outcomes.push((step, running.run(step).await?));
            }
        }
        Ok(outcomes)
    }
}

fn yaml<T: DeserializeOwned>(path: &Path) -> Result<T, Error> {
    let text = fs::read_to_string(path).map_err(|error| Error::File(path.to_owned(), error))?;
    serde_norway::from_str(&text).map_err(|error| Error::Content(path.to_owned(), error))
}

/// Reads a file that need not exist.
fn optional(path: &Path) -> Result<Option<String>, Error> {
    match fs::read_to_string(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        text => text
            .map(Some)
            .map_err(|error| Error::File(path.to_owned(), error)),
    }
}

/// Returns the number of the current hour since the Unix epoch.
fn hour() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.map_or(0, |now| now.as_secs() / 3600)
}
