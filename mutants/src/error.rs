//! Why a run ends without a report.

use std::io;
use std::path::{Path, PathBuf};
use thiserror::Error;

/// Why a run ends without a report.
#[derive(Debug, Error)]
pub(crate) enum Error {
    /// A file cannot be read or written.
    #[error("{}: {source}", path.display())]
    File { path: PathBuf, source: io::Error },
    /// A program cannot be started.
    #[error(
        "{program}: {source}; `cargo install --locked cargo-mutants` installs the list's program"
    )]
    Program {
        program: &'static str,
        source: io::Error,
    },
    /// A program failed.
    #[error("{program} failed:\n{output}")]
    Failed {
        program: &'static str,
        output: String,
    },
    /// The output of a program is not what is expected of it.
    #[error("output of {program}: {source}")]
    Output {
        program: &'static str,
        source: serde_json::Error,
    },
    /// A source file is not Rust.
    #[error("{file}: {source}")]
    Source { file: String, source: syn::Error },
    /// The compiler rejects the tree for something that is no mutant's doing.
    #[error("the tests do not compile:\n{0}")]
    Compile(String),
}

// === impl Error ===

impl Error {
    /// Returns a function that makes an error of one at a file.
    pub(crate) fn at(path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::File {
            path: path.to_owned(),
            source,
        }
    }
}
