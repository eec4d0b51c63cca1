//! Warnings: parts of a valid configuration that have no effect, or another one than they seem to have.

use std::fmt;

/// A part of a valid configuration that has no effect, or another one than it seems to have.
///
/// Displays as `path: what; fix`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning {
    pub(crate) path: String,
    pub(crate) notice: Notice,
}

/// What a warning is about, and how to fix it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Notice {
    pub(crate) code: WarningCode,
    pub(crate) what: String,
    pub(crate) fix: String,
}

/// The name of a kind of warning.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum WarningCode {
    /// A limit that counts nothing.
    CountsNothing,
    /// A second rate of a limit for one window.
    SecondRate,
    /// A field that is read elsewhere.
    MisplacedField,
    /// A name below `dataExtraction.response` that is not read.
    NotExtracted,
    /// A resource of a kind that is not read.
    NotRead,
    /// A policy for a target that has an older one.
    SecondPolicy,
    /// A policy without a name of its own.
    GeneratedName,
    /// A cluster that the file does not define.
    UnknownCluster,
    /// tollgate before the filter that authenticates.
    BeforeAuthentication,
    /// A namespace of the metadata that no filter writes.
    UnwrittenMetadata,
    /// A policy for a route where there are no routes.
    NoRoutes,
    /// A plugin without a `vm_id`.
    NoVmId,
    /// A plugin that Envoy leaves out when it fails.
    FailOpen,
    /// A filter that accepts smaller bodies than tollgate holds.
    SmallBuffer,
    /// A header with an identity that clients can send.
    UnstrippedHeader,
    /// A number that is written as a text.
    NumberAsText,
    /// A limit that is named as if it counted for each of something.
    NoCounters,
    /// A claim with two spellings.
    ClaimSpelling,
    /// A price that is not that of a million tokens.
    LowPrice,
    /// A negation that is false where a value is missing.
    NegatedMissing,
    /// A comparison that fails for a missing value.
    MissingInComparison,
    /// The same limit under two names.
    SameLimit,
    /// A comparison with a text that an attribute never has.
    UnknownValue,
    /// A reservation of more than a limit.
    LargeReservation,
    /// A slice of more than a tenth of a limit.
    LargeLease,
    /// A comparison of a path that a client can write differently.
    BypassablePath,
    /// A comparison of a host that a client can write differently.
    BypassableHost,
}

/// The warnings on what a configuration itself has.
pub(crate) enum WarningKind {
    CountsNothing,
    SecondOfWindow(String),
    Beside(&'static str),
    NotExtracted(String),
    NotRead(String),
    SecondOfTarget { first: String, why: &'static str },
    Unnamed(String),
}

// === impl Warning ===

impl Warning {
    /// Returns the path to the part, such as `spec.limits.free`; `configuration` is the whole.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Returns the name of the kind of warning.
    #[must_use]
    pub const fn code(&self) -> WarningCode {
        self.notice.code
    }

    /// Returns what is found there.
    #[must_use]
    pub fn what(&self) -> &str {
        &self.notice.what
    }

    /// Returns how to fix it.
    #[must_use]
    pub fn fix(&self) -> &str {
        &self.notice.fix
    }

    /// Returns what is found there, and how to fix it.
    #[must_use]
    pub fn message(&self) -> String {
        format!("{}; {}", self.what(), self.fix())
    }
}

impl fmt::Display for Warning {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: {}", self.path, self.message())
    }
}

// === impl WarningCode ===

impl WarningCode {
    /// All of them.
    pub const ALL: [Self; 27] = [
        Self::CountsNothing,
        Self::SecondRate,
        Self::MisplacedField,
        Self::NotExtracted,
        Self::NotRead,
        Self::SecondPolicy,
        Self::GeneratedName,
        Self::UnknownCluster,
        Self::BeforeAuthentication,
        Self::UnwrittenMetadata,
        Self::NoRoutes,
        Self::NoVmId,
        Self::FailOpen,
        Self::SmallBuffer,
        Self::UnstrippedHeader,
        Self::NumberAsText,
        Self::NoCounters,
        Self::ClaimSpelling,
        Self::LowPrice,
        Self::NegatedMissing,
        Self::MissingInComparison,
        Self::SameLimit,
        Self::UnknownValue,
        Self::LargeReservation,
        Self::LargeLease,
        Self::BypassablePath,
        Self::BypassableHost,
    ];

    /// Returns the name, such as `no-vm-id`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::CountsNothing => "counts-nothing",
            Self::SecondRate => "second-rate",
            Self::MisplacedField => "misplaced-field",
            Self::NotExtracted => "not-extracted",
            Self::NotRead => "not-read",
            Self::SecondPolicy => "second-policy",
            Self::GeneratedName => "generated-name",
            Self::UnknownCluster => "unknown-cluster",
            Self::BeforeAuthentication => "before-authentication",
            Self::UnwrittenMetadata => "unwritten-metadata",
            Self::NoRoutes => "no-routes",
            Self::NoVmId => "no-vm-id",
            Self::FailOpen => "fail-open",
            Self::SmallBuffer => "small-buffer",
            Self::UnstrippedHeader => "unstripped-header",
            Self::NumberAsText => "number-as-text",
            Self::NoCounters => "no-counters",
            Self::ClaimSpelling => "claim-spelling",
            Self::LowPrice => "low-price",
            Self::NegatedMissing => "negated-missing",
            Self::MissingInComparison => "missing-in-comparison",
            Self::SameLimit => "same-limit",
            Self::UnknownValue => "unknown-value",
            Self::LargeReservation => "large-reservation",
            Self::LargeLease => "large-lease",
            Self::BypassablePath => "bypassable-path",
            Self::BypassableHost => "bypassable-host",
        }
    }
}

impl fmt::Display for WarningCode {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

// === impl Notice ===

impl Notice {
    pub(crate) fn new(code: WarningCode, what: impl Into<String>, fix: impl Into<String>) -> Self {
        Self {
            code,
            what: what.into(),
            fix: fix.into(),
        }
    }
}

impl From<WarningKind> for Notice {
    fn from(kind: WarningKind) -> Self {
        match kind {
            WarningKind::CountsNothing => Self::new(
                WarningCode::CountsNothing,
                "found nothing to count, so the limit enforces nothing",
                "add \"rates\", \"requests\", \"budgets\" or \"concurrency\", or remove it",
            ),
            WarningKind::SecondOfWindow(window) => Self::new(
                WarningCode::SecondRate,
                format!(
                    "found a second rate for the window {window:?}, of which only the lower limit is enforced"
                ),
                "remove one of them",
            ),
            WarningKind::Beside(field) => Self::new(
                WarningCode::MisplacedField,
                format!("has no effect beside {field:?}"),
                format!("move it into {field:?} or remove it"),
            ),
            WarningKind::NotExtracted(suggestion) => Self::new(
                WarningCode::NotExtracted,
                format!("has no effect, as only \"totalTokens\" is read{suggestion}"),
                "for other numbers of tokens set \"usage.paths\"",
            ),
            WarningKind::NotRead(kind) => Self::new(
                WarningCode::NotRead,
                format!("found the kind {kind:?}, which is left out"),
                "only TokenRateLimitPolicy and HTTPRoute are read",
            ),
            WarningKind::SecondOfTarget { first, why } => Self::new(
                WarningCode::SecondPolicy,
                format!(
                    "found a second policy for its target, which is left out, as {first} is {why}"
                ),
                "remove one of them, or merge them",
            ),
            WarningKind::Unnamed(name) => Self::new(
                WarningCode::GeneratedName,
                format!(
                    "found no name but a prefix for one, so the policy is named {name:?} and its limits are not those \
                     that Kuadrant writes into limitador"
                ),
                "set \"metadata.name\"",
            ),
        }
    }
}
