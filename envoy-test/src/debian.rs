//! Programs from Debian packages, installed where they are missing.

use std::{
    path::PathBuf,
    process::{Command, Output},
    sync::{Mutex, PoisonError},
};

/// Serializes installations: tests run in parallel, apt-get does not.
static INSTALLING: Mutex<()> = Mutex::new(());

/// Why a program is not available.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// Installing it needs root.
    #[error("{package} is missing and installing it needs root: apt-get install {package}")]
    NotRoot {
        /// The package.
        package: String,
    },
    /// The installation failed.
    #[error("apt-get install {package}: {reason}")]
    Install {
        /// The package.
        package: String,
        /// The output of apt-get.
        reason: String,
    },
}

/// Returns the path of a program, installing the package that contains it if necessary.
///
/// # Errors
/// When it is missing and cannot be installed.
pub fn program(name: &str, package: &str) -> Result<PathBuf, Error> {
    if let Some(path) = find(name) {
        return Ok(path);
    }
    let installing = INSTALLING.lock().unwrap_or_else(PoisonError::into_inner);
    // Another thread may have installed it meanwhile.
    if let Some(path) = find(name) {
        return Ok(path);
    }
    install(package)?;
    drop(installing);
    find(name).ok_or_else(|| Error::Install {
        package: package.to_owned(),
        reason: format!("the package does not contain {name}"),
    })
}

fn find(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    // Servers are in directories that the PATH of a user does not contain.
    std::env::split_paths(&path)
        .chain(["/usr/sbin".into(), "/usr/local/sbin".into()])
        .map(|directory| directory.join(name))
        .find(|file| file.is_file())
}

/// Installs a package.
///
/// # Errors
/// When this process does not run as root, or apt-get fails.
pub fn install(package: &str) -> Result<(), Error> {
    if !nix::unistd::geteuid().is_root() {
        return Err(Error::NotRoot {
            package: package.to_owned(),
        });
    }
    let failed = |reason: String| Error::Install {
        package: package.to_owned(),
        reason,
    };
    eprintln!("installing {package}");
    // The package lists may be missing. If the update fails, the lists that exist may still do.
    let updated = apt_get(&["update"]).map_err(|error| failed(error.to_string()))?;
    let installed = apt_get(&["install", "--no-install-recommends", package])
        .map_err(|error| failed(error.to_string()))?;
    if installed.status.success() {
        return Ok(());
    }
    let output = [installed.stderr, updated.stderr].concat();
    Err(failed(String::from_utf8_lossy(&output).trim().to_owned()))
}

fn apt_get(arguments: &[&str]) -> std::io::Result<Output> {
    Command::new("apt-get")
        .env("DEBIAN_FRONTEND", "noninteractive")
        .args(["-qq", "-y", "-o", "DPkg::Lock::Timeout=300"])
        .args(arguments)
        .output()
}
