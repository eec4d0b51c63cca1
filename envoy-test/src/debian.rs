//! Programs that a bare Debian machine lacks.

use std::{
    path::PathBuf,
    process::{Command, Output},
    sync::{Mutex, PoisonError},
};

/// Held while something is installed: tests run at once, and apt-get does not.
static INSTALLING: Mutex<()> = Mutex::new(());

/// Why a program cannot be had.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// Installing takes root.
    #[error("{package} is missing, and only root can install it (apt-get install {package})")]
    NotRoot {
        /// The package.
        package: String,
    },
    /// It could not be installed.
    #[error("apt-get install {package}: {reason}")]
    Install {
        /// The package.
        package: String,
        /// What apt-get said.
        reason: String,
    },
}

/// Finds a program, and installs the package that has it where it is missing.
///
/// # Errors
/// When it is missing and cannot be installed.
pub fn program(name: &str, package: &str) -> Result<PathBuf, Error> {
    if let Some(path) = find(name) {
        return Ok(path);
    }
    let installing = INSTALLING.lock().unwrap_or_else(PoisonError::into_inner);
    // Another may have been at it.
    if let Some(path) = find(name) {
        return Ok(path);
    }
    install(package)?;
    drop(installing);
    find(name).ok_or_else(|| Error::Install {
        package: package.to_owned(),
        reason: format!("it has no program {name}"),
    })
}

fn find(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    // The servers are where the PATH of a user does not lead.
    std::env::split_paths(&path)
        .chain(["/usr/sbin".into(), "/usr/local/sbin".into()])
        .map(|directory| directory.join(name))
        .find(|file| file.is_file())
}

/// Installs a package.
///
/// # Errors
/// When this process is not root's, or apt-get fails.
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
    // The lists may be missing altogether. An update that fails may still do for the installation.
    let updated = apt_get(&["update"]).map_err(|error| failed(error.to_string()))?;
    let installed = apt_get(&["install", "--no-install-recommends", package])
        .map_err(|error| failed(error.to_string()))?;
    if installed.status.success() {
        return Ok(());
    }
    let said = [installed.stderr, updated.stderr].concat();
    Err(failed(String::from_utf8_lossy(&said).trim().to_owned()))
}

fn apt_get(arguments: &[&str]) -> std::io::Result<Output> {
    Command::new("apt-get")
        .env("DEBIAN_FRONTEND", "noninteractive")
        .args(["-qq", "-y", "-o", "DPkg::Lock::Timeout=300"])
        .args(arguments)
        .output()
}
