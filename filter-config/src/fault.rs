//! What is wrong with a configuration, and where.

use std::fmt;

use thiserror::Error;

use crate::bounds;
use crate::expression::ExpressionFault;
use crate::path::Path;
use crate::usd::UsdError;
use crate::window::WindowError;

/// All that is wrong with a configuration, in the order of the document.
///
/// Displays as one line per fault. At most [`bounds::FAULTS`] are kept; the last line counts the rest.
#[derive(Debug, Default, Error)]
pub struct Faults {
    faults: Vec<Fault>,
    omitted: usize,
}

/// One thing that is wrong, with the path to it.
#[derive(Debug, Error)]
#[error("{path}: {kind}")]
pub struct Fault {
    /// The path to the fault, such as `spec.limits.free.when[0].predicate`; `configuration` is the whole.
    pub path: String,
    /// What is wrong there.
    pub kind: FaultKind,
}

/// What can be wrong at a place of the configuration.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum FaultKind {
    /// The document is no JSON.
    #[error("not JSON: {0}")]
    Syntax(String),
    /// The document is no YAML.
    #[error("not YAML: {0}")]
    YamlSyntax(String),
    /// There is a document after the first.
    #[error("expected one document, found another from line {0} on")]
    SecondDocument(usize),
    /// The document is empty.
    #[error("empty, expected a TokenRateLimitPolicy or an object with \"policies\"")]
    Empty,
    /// The document starts with a byte order mark, which JSON forbids.
    #[error("starts with a byte order mark, which JSON does not allow")]
    ByteOrderMark,
    /// An object has a key twice, so what it means depends on who reads it.
    #[error("given more than once")]
    DuplicateKey,
    /// A value is not of the type that it has to be of.
    #[error("expected {expected}, found {found}")]
    Expected {
        /// What the place takes.
        expected: String,
        /// What was found there.
        found: String,
    },
    /// A field that has to be there is not.
    #[error("required, but missing")]
    Missing,
    /// A field that the model does not have.
    #[error("unknown field{}", did_you_mean(.suggestion.as_ref()))]
    UnknownField {
        /// The known field that comes closest.
        suggestion: Option<String>,
    },
    /// A field of the long form beside a policy by itself.
    #[error("only the long form has it, in which the policy is an item of \"policies\"")]
    OfLongForm,
    /// A policy for a route that is not described.
    #[error("no route {name:?} in routes{}", did_you_mean(.suggestion.as_ref()))]
    UnknownRoute {
        /// The route, `namespace/name`.
        name: String,
        /// The route that comes closest.
        suggestion: Option<String>,
    },
    /// A policy for a rule that its route does not have.
    #[error("no rule {name:?} in the route {route:?}")]
    UnknownRule {
        /// The route, `namespace/name`.
        route: String,
        /// The rule.
        name: String,
    },
    /// A placeholder of a template that its place does not have.
    #[error("unknown placeholder {name:?}{}", did_you_mean(.suggestion.as_ref()))]
    UnknownPlaceholder {
        /// What is in the braces.
        name: String,
        /// The placeholder that comes closest.
        suggestion: Option<String>,
    },
    /// Two fields of which only one may be given.
    #[error("cannot be given together with \"{0}\"")]
    Excludes(&'static str),
    /// A list or an object that has to have something in it.
    #[error("must not be empty")]
    MustNotBeEmpty,
    /// More items or bytes than the bound.
    #[error("too many {unit}: {found}, at most {most}")]
    TooMany {
        /// What is counted.
        unit: &'static str,
        /// How many there are.
        found: usize,
        /// How many there may be.
        most: usize,
    },
    /// The name of a policy, a window of a limit, a path or a source that is there already.
    #[error("{value} is given already at {first}")]
    Repeated {
        /// What is repeated.
        value: String,
        /// The path to the first of them.
        first: String,
    },
    /// A string with characters that its place cannot have.
    #[error("{0}")]
    Malformed(&'static str),
    /// A window that is none.
    #[error("{error}, found {found}")]
    Window {
        /// Why it is none.
        error: WindowError,
        /// What was found there.
        found: String,
    },
    /// A window for which the calendar has none of that length.
    #[error(
        "the calendar has no such window, expected one that divides a day such as \"1m\", \"1h\" or \"1d\", or \"1w\", or \"30d\" for a month"
    )]
    NotInCalendar,
    /// A computed window of an algorithm whose state is in parts of a window.
    #[error("a computed window takes the algorithm \"fixed\"")]
    ComputedWindow,
    /// Something that a rate limit service cannot do, and why.
    #[error("not possible with this type of storage: {0}")]
    NotRemote(&'static str),
    /// An amount of money that is none.
    #[error(transparent)]
    Usd(#[from] UsdError),
    /// A bound on what an expression yields, where there is none.
    #[error("only for a {0} that is an expression")]
    OnlyComputed(&'static str),
    /// A limit that the caller can choose has no bound.
    #[error(
        "required, but missing: the limit is what the caller says, expected a bound, or \"none\" to let him have any"
    )]
    CallersLimit,
    /// A window that the caller can choose has no bound.
    #[error(
        "required, but missing: the window is what the caller says, expected the shortest that he may choose"
    )]
    CallersWindow,
    /// A least value beyond the most.
    #[error("must not be more than \"max\"")]
    AboveMax,
    /// A default price that no model gets.
    #[error("never used, as \"unpriced\" says otherwise")]
    NeverUsed,
    /// Something is priced, and there are no prices.
    #[error("required, but missing: {0} needs the prices of models")]
    NeedsPricing(String),
    /// A limit has alternatives, and headers leave before it is known whether they are needed.
    #[error(
        "has to be true: {0} has alternatives, which change a request before its headers leave"
    )]
    NeedsHeldHeaders(String),
    /// A CEL expression that cannot be used.
    #[error(transparent)]
    Expression(#[from] ExpressionFault),
}

// === impl Faults ===

impl Faults {
    /// The faults, in the order of the document.
    pub fn iter(&self) -> std::slice::Iter<'_, Fault> {
        self.faults.iter()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.faults.is_empty()
    }

    /// How many further faults there are, which are not kept.
    #[must_use]
    pub const fn omitted(&self) -> usize {
        self.omitted
    }

    /// Whether further faults are only counted.
    pub(crate) fn is_full(&self) -> bool {
        self.faults.len() >= bounds::FAULTS
    }

    /// How many there are, those included that are only counted.
    pub(crate) fn count(&self) -> usize {
        self.faults.len().saturating_add(self.omitted)
    }

    /// The same, of a document that is at this path of another.
    #[cfg(feature = "yaml")]
    pub(crate) fn below(mut self, path: &str) -> Self {
        for fault in &mut self.faults {
            fault.path = match fault.path.as_str() {
                "configuration" => path.to_owned(),
                below if below.starts_with('[') => format!("{path}{below}"),
                below => format!("{path}.{below}"),
            };
        }
        self
    }

    pub(crate) fn push(&mut self, path: &Path<'_>, kind: impl Into<FaultKind>) {
        if self.is_full() {
            self.omitted = self.omitted.saturating_add(1);
        } else {
            self.faults.push(Fault {
                path: path.to_string(),
                kind: kind.into(),
            });
        }
    }
}

impl<'a> IntoIterator for &'a Faults {
    type Item = &'a Fault;
    type IntoIter = std::slice::Iter<'a, Fault>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl fmt::Display for Faults {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, fault) in self.faults.iter().enumerate() {
            if position > 0 {
                writeln!(formatter)?;
            }
            write!(formatter, "{fault}")?;
        }
        if self.omitted > 0 {
            write!(formatter, "\nand {} more", self.omitted)?;
        }
        Ok(())
    }
}

/// The end of a message about an unknown name: `, did you mean "auth"?`, or nothing.
pub(crate) fn did_you_mean(suggestion: Option<&String>) -> String {
    suggestion.map_or_else(String::new, |name| format!(", did you mean {name:?}?"))
}
