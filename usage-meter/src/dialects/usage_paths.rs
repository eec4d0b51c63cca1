//! The paths at which usage is found.

use std::sync::{Arc, LazyLock};

use super::fields::{COUNTS, FIELDS, Field, ITERATION_COUNTS, ITERATIONS, REPORTS, Source};
use super::usage_pointer::{UsageNumber, UsagePointer};
use super::wrappers::{WRAPPED_FIELDS, WRAPPED_REPORTS, WRAPPERS};
use crate::json::{Node, Paths, Pointer};

/// The paths at which usage is found: those of all dialects, and configured ones.
///
/// ```
/// use usage_meter::{DecoderMemory, Meter, ResponseHead, UsageNumber, UsagePaths};
///
/// let pointer = "/billing/0/tokens".parse()?;
/// let paths = UsagePaths::new([(UsageNumber::Total, &pointer)])?;
/// let head = ResponseHead { status: 200, ..ResponseHead::default() };
/// let mut meter = Meter::with_paths(&head, &paths, &DecoderMemory::default());
/// meter.push(br#"{"billing":[{"tokens":7}]}"#);
/// meter.finish();
/// assert_eq!(meter.usage().map(|usage| usage.total_tokens), Some(7));
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct UsagePaths {
    paths: Arc<Paths<Field>>,
    formulas: Arc<[Formula]>,
    below_usage: bool,
}

/// A configured pointer, compiled.
#[derive(Clone, Debug)]
pub(crate) struct Formula {
    /// The number that it leads to.
    pub(crate) number: UsageNumber,
    /// The indexes of the pointers whose numbers are added, as in [`Field::Configured`].
    pub(crate) terms: Vec<u8>,
}

/// The error of too many configured pointers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("more than {max} distinct JSON pointers", max = UsagePaths::MAX_POINTERS)]
pub struct TooManyPointers;

// === impl UsagePaths ===

impl Default for UsagePaths {
    /// Returns the paths of all dialects.
    fn default() -> Self {
        static PATHS: LazyLock<Arc<Paths<Field>>> = LazyLock::new(|| Arc::new(dialect_paths()));
        Self {
            paths: Arc::clone(&PATHS),
            formulas: Arc::default(),
            below_usage: true,
        }
    }
}

impl UsagePaths {
    /// The maximum number of distinct pointers; each pointer of a sum counts.
    pub const MAX_POINTERS: usize = 32;

    /// Returns the paths of all dialects, with pointers to numbers. Of the pointers to one number, the
    /// first that finds it sets it, whatever the dialect reports.
    ///
    /// # Errors
    ///
    /// If there are more than [`Self::MAX_POINTERS`] distinct pointers.
    #[cold]
    pub fn new<'a>(
        pointers: impl IntoIterator<Item = (UsageNumber, &'a UsagePointer)>,
    ) -> Result<Self, TooManyPointers> {
        let mut distinct: Vec<&Pointer> = Vec::new();
        let mut formulas = Vec::new();
        for (number, pointer) in pointers {
            let mut terms = Vec::with_capacity(pointer.terms().len());
            for term in pointer.terms() {
                let known = distinct.iter().position(|known| *known == term);
                let index = known.unwrap_or(distinct.len());
                if index >= Self::MAX_POINTERS {
                    return Err(TooManyPointers);
                }
                if known.is_none() {
                    distinct.push(term);
                }
                terms.push(u8::try_from(index).map_err(|_| TooManyPointers)?);
            }
            formulas.push(Formula { number, terms });
        }
        let mut paths = dialect_paths();
        for (index, pointer) in (0..).zip(&distinct) {
            paths.insert_pointer(pointer, Field::Configured(index));
        }
        Ok(Self {
            paths: Arc::new(paths),
            formulas: formulas.into(),
            below_usage: distinct.iter().all(|pointer| pointer.has_key_with("usage")),
        })
    }

    /// Returns the tree for a scanner.
    pub(crate) fn tree(&self) -> Arc<Paths<Field>> {
        Arc::clone(&self.paths)
    }

    /// Returns the configured pointers, those to one number in the order in which they apply.
    pub(crate) fn formulas(&self) -> Arc<[Formula]> {
        Arc::clone(&self.formulas)
    }

    /// Returns whether all paths to usage have a key that contains `usage`.
    pub(crate) fn are_below_usage(&self) -> bool {
        self.below_usage
    }
}

/// Returns the paths of the tables.
#[cold]
fn dialect_paths() -> Paths<Field> {
    let mut paths = Paths::new();
    if let Some(counts) = paths.add_shared() {
        for &(path, count) in COUNTS {
            paths.insert_below(counts, path, Field::Count(count));
        }
        for list in ITERATIONS {
            let Some(iteration) = paths.insert_elements(counts, list, Field::Iteration) else {
                continue;
            };
            for &(path, count) in ITERATION_COUNTS {
                paths.insert_below(iteration, path, Field::IterationCount(count));
            }
        }
        // First, because what the other tables have below these keys comes on top.
        insert_wrappers(&mut paths, counts);
        for &(path, source) in REPORTS {
            paths.insert(path, Field::Report(source));
            paths.link(Node::ROOT, path, counts);
        }
    }
    for &(path, field) in FIELDS {
        paths.insert(path, field);
    }
    paths.insert_elements(Node::ROOT, "details.prefill", Field::PromptToken);
    paths
}

/// Adds the paths within wrappers. `counts` has those within a report.
#[cold]
fn insert_wrappers(paths: &mut Paths<Field>, counts: Node) {
    let Some(wrapped) = paths.add_shared() else {
        return;
    };
    for &path in WRAPPED_REPORTS {
        paths.insert_below(wrapped, path, Field::Report(Source::Wrapped));
        paths.link(wrapped, path, counts);
    }
    let inline = FIELDS
        .iter()
        .filter(|(_, field)| matches!(field, Field::InlineCount(_) | Field::InlinePart(_)));
    for &(path, field) in WRAPPED_FIELDS.iter().chain(inline) {
        paths.insert_below(wrapped, path, field);
    }
    for &key in WRAPPERS {
        paths.link(Node::ROOT, key, wrapped);
    }
}
