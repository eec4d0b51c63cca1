//! Why a request could be neither admitted nor refused.

use crate::attributes::AttributeError;
use filter_config::Policy;
use limits::StoreError;

/// Why a request could be neither admitted nor refused.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// An expression has no result.
    #[error("policy {policy}: {place}: {error}")]
    Evaluation {
        /// The policy's name.
        policy: String,
        /// The path to the expression, below the policy's spec.
        place: String,
        /// What is wrong.
        error: EvaluationError,
    },
    /// The model that is asked has no price, and is refused for that.
    #[error(
        "policy {policy}: limits.{limit}.budgets: a model without a price is refused: \"{model}\""
    )]
    Unpriced {
        /// The policy's name.
        policy: String,
        /// The limit's name.
        limit: String,
        /// The budget's index in the rates of the plugin.
        rate: usize,
        /// The beginning of the model's name, which the caller chose, escaped.
        model: String,
    },
    /// An alternative was taken, and the request cannot be changed to it.
    #[error("request: {0}")]
    Unchangeable(crate::host::HostError),
    /// The counters cannot be read.
    #[error("storage: {0}")]
    Storage(#[from] StoreError),
    /// The rate limit service does not reply.
    #[error("storage: the rate limit service does not reply")]
    ServiceUnavailable,
    /// Envoy failed.
    #[error("clock: {0}")]
    Clock(#[from] crate::host::HostError),
}

impl Fault {
    /// What is at fault, the same for every request.
    #[must_use]
    pub fn place(&self) -> &str {
        match self {
            Self::Evaluation { place, .. } => place,
            Self::Unpriced { limit, .. } => limit,
            Self::Unchangeable(_) => "request",
            Self::Storage(_) | Self::ServiceUnavailable => "storage",
            Self::Clock(_) => "clock",
        }
    }
}

/// Why an expression has no result.
#[derive(Debug, thiserror::Error)]
pub enum EvaluationError {
    /// What it reads cannot be had.
    #[error(transparent)]
    Attribute(#[from] AttributeError),
    /// A value it reads is absent or null.
    #[error("no value")]
    Missing,
    /// It cannot be computed.
    #[error("{0}")]
    Execution(String),
    /// Its value is of a type that has no meaning there.
    #[error("expected {expected}, found {found}")]
    Type {
        /// What is needed.
        expected: &'static str,
        /// The type that it has.
        found: String,
    },
}

/// A fault of an expression of a policy.
pub(super) fn fault_of(policy: &Policy, place: String, error: EvaluationError) -> Fault {
    Fault::Evaluation {
        policy: policy.name.clone(),
        place,
        error,
    }
}
