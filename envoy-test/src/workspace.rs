//! Paths in the workspace: the built modules, the cache, the examples.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};

use nix::fcntl::{Flock, FlockArg};

/// The root of the workspace.
#[must_use]
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .unwrap_or_else(|| Path::new("."))
}

/// The built filter: the value of `TOLLGATE_WASM` if that is set, otherwise `dist/tollgate.wasm`.
#[must_use]
pub fn module() -> PathBuf {
    std::env::var_os("TOLLGATE_WASM")
        .map_or_else(|| root().join("dist/tollgate.wasm"), PathBuf::from)
}

/// The filter on the Proxy-Wasm SDK that `make sdk-filter` builds.
#[must_use]
pub fn sdk_filter() -> PathBuf {
    root().join("dist/sdk-filter.wasm")
}

/// The directory of what is downloaded or installed once and kept between runs.
#[must_use]
pub fn cache() -> PathBuf {
    root().join(".cache")
}

/// Creates a directory and takes an exclusive lock on a file beside it, for as long as the result exists.
///
/// # Errors
/// When either cannot be created.
pub fn lock(directory: &Path) -> io::Result<Flock<File>> {
    fs::create_dir_all(directory)?;
    let mut file = directory.as_os_str().to_owned();
    file.push(".lock");
    let file = File::create(file)?;
    Flock::lock(file, FlockArg::LockExclusive).map_err(|(_, errno)| errno.into())
}
