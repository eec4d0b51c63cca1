//! The scripts of the SDKs, and what they print.

use std::{collections::BTreeMap, path::Path, process::Stdio};

use envoy_test::{wait::DEADLINE, workspace};
use serde::Deserialize;
use serde_json::Value;
use tokio::process::Command;

use crate::{install::Installation, sdk::Sdk};

/// What a script is to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scenario {
    /// Every call once.
    Calls,
    /// A call that exhausts a limit, then each kind of call, which it rejects.
    Rejected,
    /// A call that exhausts a limit, then the same again, with retries.
    Retried,
}

/// What a script prints.
#[derive(Debug, Deserialize)]
pub(crate) struct Document {
    /// The version of the SDK.
    pub version: String,
    /// The outcome of each call, by its name.
    pub calls: BTreeMap<String, Outcome>,
}

/// The outcome of a call.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Outcome {
    /// What the SDK returned.
    Result(Value),
    /// The error that it raised.
    Error(Failure),
}

/// An error of an SDK.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub(crate) struct Failure {
    /// Its class.
    pub class: String,
    /// The status that it names.
    pub status: Option<u16>,
    /// What is printed of it.
    pub message: String,
}

/// Runs the script of an SDK. Its requests have `caller` as `x-user-id`, and [`test_id`] as `x-test-id`.
pub(crate) async fn run(
    installation: &Installation,
    sdk: &Sdk,
    url: &str,
    scenario: Scenario,
    caller: &str,
) -> Result<Document, String> {
    let (interpreter, scripts) = match installation {
        Installation::Ready {
            interpreter,
            scripts,
        } => (interpreter, scripts),
        Installation::Unavailable(reason) => return Err(reason.clone()),
    };
    let script = scripts
        .join(sdk.script)
        .with_extension(sdk.language.extension());
    let mut command = Command::new(interpreter);
    command
        .arg(&script)
        .args([url, scenario.name(), caller])
        // Settings of an SDK, such as keys and proxies, are not those of the test.
        .env_clear()
        .envs(std::env::vars_os().filter(|(name, _)| name == "PATH"))
        .env("HOME", workspace::cache().join("clients"))
        .env("LANG", "C.UTF-8")
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .stdin(Stdio::null())
        .kill_on_drop(true);
    let output = tokio::time::timeout(DEADLINE, command.output()).await;
    let failed = |reason: String| format!("{}: {reason}", name(&script, scenario));
    let output = output
        .map_err(|_| failed(format!("has not ended after {} s", DEADLINE.as_secs())))?
        .map_err(|error| failed(error.to_string()))?;
    let printed = String::from_utf8_lossy(&output.stdout);
    // An SDK may print something of its own before.
    let document = printed.lines().last().map(serde_json::from_str);
    match document {
        Some(Ok(document)) if output.status.success() => Ok(document),
        _ => Err(failed(format!(
            "ended with {}\n{printed}\n{}",
            output.status,
            String::from_utf8_lossy(&output.stderr)
        ))),
    }
}

/// Returns the `x-test-id` of the requests of a call.
pub(crate) fn test_id(caller: &str, call: &str) -> String {
    format!("{caller}/{call}")
}

fn name(script: &Path, scenario: Scenario) -> String {
    let script = script.file_name().unwrap_or_default();
    format!("{} {}", script.to_string_lossy(), scenario.name())
}

// === impl Scenario ===

impl Scenario {
    fn name(self) -> &'static str {
        match self {
            Self::Calls => "calls",
            Self::Rejected => "rejected",
            Self::Retried => "retried",
        }
    }
}
