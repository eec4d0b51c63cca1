//! Limits in the format of limitador's `limits.yaml`.

use std::{collections::HashSet, io, path::Path};

use limitador::limit::Limit;

/// The reason why limits cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file cannot be read.
    #[error("{path}: {source}")]
    Io {
        /// The path of the file.
        path: String,
        /// The error of the system.
        source: io::Error,
    },
    /// The text is not a list of limits.
    #[error("limits: {0}")]
    Malformed(#[from] serde_norway::Error),
    /// limitador cannot distinguish two limits: it identifies a limit by namespace, seconds, conditions and variables.
    #[error("limits: two limits of {namespace:?} have the same seconds, conditions and variables")]
    Repeated {
        /// Their namespace.
        namespace: String,
    },
}

/// Parses limits: a YAML list of objects with `namespace`, `max_value`, `seconds`, `conditions`, `variables` and
/// optionally `name` and `id`.
///
/// # Errors
/// [`Error::Malformed`] and [`Error::Repeated`].
pub fn parse(yaml: &str) -> Result<Vec<Limit>, Error> {
    let limits: Vec<Limit> = serde_norway::from_str(yaml)?;
    let mut known = HashSet::new();
    for limit in &limits {
        if !known.insert(limit) {
            return Err(Error::Repeated {
                namespace: limit.namespace().as_ref().to_owned(),
            });
        }
    }
    Ok(limits)
}

/// Reads limits from a file.
///
/// # Errors
/// [`Error::Io`] and those of [`parse`].
pub fn read(path: &Path) -> Result<Vec<Limit>, Error> {
    let yaml = std::fs::read_to_string(path).map_err(|source| Error::Io {
        path: path.display().to_string(),
        source,
    })?;
    parse(&yaml)
}

#[cfg(test)]
mod tests;
