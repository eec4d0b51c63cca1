//! Limits as limitador reads them from a file: `limits.yaml`.

use std::{collections::HashSet, io, path::Path};

use limitador::limit::Limit;

/// Why there are no limits.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file cannot be read.
    #[error("{path}: {source}")]
    Io {
        /// The file.
        path: String,
        /// What is in the way.
        source: io::Error,
    },
    /// The text is no list of limits.
    #[error("limits: {0}")]
    Malformed(#[from] serde_norway::Error),
    /// Two limits are one to limitador: it tells them apart by namespace, seconds, conditions and variables.
    #[error("limits: two limits of {namespace:?} have the same seconds, conditions and variables")]
    Repeated {
        /// Their namespace.
        namespace: String,
    },
}

/// Reads limits from a text: a YAML list of objects with `namespace`, `max_value`, `seconds`, `conditions`,
/// `variables` and, where wanted, `name` and `id`.
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
