//! Where things are in the workspace: the built module, the cache, the examples.

use std::path::{Path, PathBuf};

/// The root of the workspace.
#[must_use]
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .unwrap_or_else(|| Path::new("."))
}

/// The built filter: the environment variable `TOLLGATE_WASM`, else `dist/tollgate.wasm`.
#[must_use]
pub fn module() -> PathBuf {
    std::env::var_os("TOLLGATE_WASM")
        .map_or_else(|| root().join("dist/tollgate.wasm"), PathBuf::from)
}

/// A directory for what is downloaded or installed once and kept between runs.
#[must_use]
pub fn cache() -> PathBuf {
    root().join(".cache")
}
