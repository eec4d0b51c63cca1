//! Virtual environments of Python.

use std::{
    ffi::OsStr,
    path::{Path, PathBuf},
    process::Command,
};

use crate::{command::run, debian};

/// Creates an empty virtual environment and returns its interpreter.
///
/// # Errors
/// When there is no Python that can create one, and none can be installed.
pub fn environment(directory: &Path) -> Result<PathBuf, String> {
    let create = || {
        run(Command::new("python3")
            .args(["-m", "venv", "--clear"])
            .arg(directory))
    };
    if create().is_err() {
        // Debian ships Python without the module that makes virtual environments.
        debian::install("python3-venv").map_err(|error| error.to_string())?;
        create()?;
    }
    Ok(directory.join("bin/python"))
}

/// Installs packages of `PyPI` with these arguments of `pip install`.
///
/// # Errors
/// When pip fails.
pub fn pip_install(python: &Path, arguments: &[&OsStr]) -> Result<(), String> {
    run(Command::new(python)
        .args([
            "-m",
            "pip",
            "install",
            "--quiet",
            "--disable-pip-version-check",
        ])
        .args(arguments))
    .map(drop)
}
