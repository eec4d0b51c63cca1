//! Paths in the workspace: the built modules, the cache, the examples.

use std::path::{Path, PathBuf};

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
