//! Why a benchmark cannot be run.

use std::path::PathBuf;

use envoy_test::{debian, envoy, remote, wait};
use nix::errno::Errno;

use crate::symbols::SymbolsError;

/// Why a benchmark cannot be run.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error(transparent)]
    Symbols(#[from] SymbolsError),
    #[error("usage: {0}")]
    Usage(&'static str),
    #[error("{} is missing: build it with `make {target}`", module.display())]
    NoModule {
        module: PathBuf,
        target: &'static str,
    },
    #[error(transparent)]
    Package(#[from] debian::Error),
    #[error(transparent)]
    Io(#[from] std::io::Error),
    #[error("binding to a core: {0}")]
    Affinity(#[from] Errno),
    #[error(transparent)]
    Envoy(#[from] envoy::Error),
    #[error(transparent)]
    Limitador(#[from] integration::Error),
    #[error(transparent)]
    Remote(#[from] remote::Error),
    #[error(transparent)]
    Json(#[from] serde_json::Error),
    #[error(transparent)]
    Request(#[from] reqwest::Error),
    #[error(transparent)]
    TimedOut(#[from] wait::TimedOut),
    #[error("the load: {0}")]
    Load(String),
    #[error("{filter}, {workload}: {failed} of {completed} responses have status 4xx or 5xx")]
    Responses {
        filter: String,
        workload: &'static str,
        failed: u64,
        completed: u64,
    },
}
