//! The paths at which usage is found.

use std::sync::{Arc, LazyLock};

use super::fields::{COUNTS, FIELDS, Field, REPORTS};
use crate::json::Paths;

/// The maximum number of configured pointers.
pub(crate) const MAX_POINTERS: usize = 32;

/// The paths at which usage is found: those of all dialects, and configured ones.
///
/// ```
/// use usage_meter::{Meter, ResponseHead, UsagePaths};
///
/// let paths = UsagePaths::new(["/billing/tokens"])?;
/// let head = ResponseHead { status: 200, ..ResponseHead::default() };
/// let mut meter = Meter::with_paths(&head, &paths);
/// meter.push(br#"{"billing":{"tokens":7}}"#);
/// meter.finish();
/// assert_eq!(meter.usage().map(|usage| usage.total_tokens), Some(7));
/// # Ok::<_, usage_meter::UsagePathError>(())
/// ```
#[derive(Clone, Debug)]
pub struct UsagePaths {
    paths: Arc<Paths<Field>>,
    below_usage: bool,
}

/// The reason why pointers to the total are rejected.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UsagePathError {
    /// The text is not a JSON pointer to a member of an object, or points too deep.
    #[error("not a JSON pointer to a member of an object: {0:?}")]
    Invalid(String),
    /// There are too many pointers.
    #[error("more than {MAX_POINTERS} pointers")]
    TooMany,
}

// === impl UsagePaths ===

impl Default for UsagePaths {
    /// Returns the paths of all dialects.
    fn default() -> Self {
        static PATHS: LazyLock<Arc<Paths<Field>>> = LazyLock::new(|| Arc::new(dialect_paths()));
        Self {
            paths: Arc::clone(&PATHS),
            below_usage: true,
        }
    }
}

impl UsagePaths {
    /// Returns the paths of all dialects, with JSON pointers to the total. The first pointer that
    /// finds a number sets the total.
    ///
    /// # Errors
    ///
    /// If there are more than 32 pointers, or one is not a JSON pointer to a member of an object.
    pub fn new<'a>(pointers: impl IntoIterator<Item = &'a str>) -> Result<Self, UsagePathError> {
        let mut paths = dialect_paths();
        let mut below_usage = true;
        for (index, pointer) in pointers.into_iter().enumerate() {
            let index = u8::try_from(index).map_err(|_| UsagePathError::TooMany)?;
            if usize::from(index) >= MAX_POINTERS {
                return Err(UsagePathError::TooMany);
            }
            if !paths.insert_pointer(pointer, Field::ConfiguredTotal(index)) {
                return Err(UsagePathError::Invalid(pointer.to_owned()));
            }
            below_usage &= pointer.contains("usage");
        }
        Ok(Self {
            paths: Arc::new(paths),
            below_usage,
        })
    }

    /// Returns the tree for a scanner.
    pub(crate) fn tree(&self) -> Arc<Paths<Field>> {
        Arc::clone(&self.paths)
    }

    /// Returns whether all paths to usage have a key that contains `usage`.
    pub(crate) fn are_below_usage(&self) -> bool {
        self.below_usage
    }
}

/// Returns the paths of the tables.
fn dialect_paths() -> Paths<Field> {
    let mut paths = Paths::new();
    let reports: Vec<_> = REPORTS
        .iter()
        .map(|&(path, source)| (path, Field::Report(source)))
        .collect();
    let counts: Vec<_> = COUNTS
        .iter()
        .map(|&(path, count)| (path, Field::Count(count)))
        .collect();
    paths.insert_under(&reports, &counts);
    for &(path, field) in FIELDS {
        paths.insert(path, field);
    }
    paths
}
