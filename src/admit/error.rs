//! Why a request could be neither admitted nor rejected by a limit.

use crate::attributes::{AttributeError, MalformedBody};
use crate::host::HostError;
use crate::ledger::LedgerError;
use crate::policies::EvaluationError;
use crate::telemetry::{Count, FailedPart, Telemetry};
use filter_config::{FailureMode, LimitIndex, Policy, UnknownRoute};

/// Why a request could be neither admitted nor rejected by a limit.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AdmissionError {
    /// An expression has no result.
    #[error("policy {policy}: {path}: {error}")]
    Evaluation {
        /// The policy's name.
        policy: String,
        /// The path to the expression, below the policy's spec.
        path: String,
        /// Why it has none.
        error: EvaluationError,
    },
    /// The caller has no identity: a counter expression that reads `auth` has no value.
    #[error("policy {policy}: {path}: no value of auth")]
    Unauthenticated {
        /// The policy's name.
        policy: String,
        /// The path to the expression, below the policy's spec.
        path: String,
        /// What it reads, such as `auth.identity.userid`, if it is nothing else.
        claim: Option<String>,
    },
    /// The requested model has no price, and is rejected for that reason.
    #[error("policy {policy}: limits.{limit}.budgets: the model \"{model}\" has no price")]
    Unpriced {
        /// The policy's name.
        policy: String,
        /// The limit's name.
        limit: String,
        /// The limit.
        index: LimitIndex,
        /// The beginning of the model's name, which the caller chose.
        model: String,
    },
    /// The client has sent a malformed body, which a policy needs.
    #[error("malformed request body")]
    InvalidRequest,
    /// The predicate of a rule of access has no result.
    #[error("access[{index}].when: {error}")]
    Access {
        /// The position of the rule.
        index: usize,
        /// Why it has none.
        error: EvaluationError,
    },
    /// The output of the request cannot be bounded, as a hard limit requires.
    #[error("{0}")]
    Uncapped(Unbounded),
    /// The policies of the request could not be found.
    #[error(transparent)]
    Route(#[from] UnknownRoute),
    /// A fallback was chosen, and Envoy did not change the request.
    #[error("request: {0}")]
    Unchangeable(HostError),
    /// The counters could not be checked.
    #[error("counters: {0}")]
    Ledger(#[from] LedgerError),
}

/// Why the tokens of a request cannot be bounded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unbounded {
    /// The body is not at hand, or not all of it.
    #[error("its body is compressed, or too large to be read")]
    Body,
    /// The API is not known.
    #[error("its path is not that of an API whose output can be bounded")]
    Api,
    /// The body has no bound, or not the same for every server.
    #[error(
        "its body is not a JSON object in plain form, or its input is not all in its body (stored responses or prompts, templates, tools that the server runs)"
    )]
    Form,
    /// There are parts, whose tokens are not known.
    #[error("it has images, recordings or files, whose tokens are not known")]
    Parts,
}

// === impl AdmissionError ===

impl AdmissionError {
    /// Returns the error of an expression of a policy.
    pub(super) fn evaluation(policy: &Policy, path: String, error: EvaluationError) -> Self {
        if let EvaluationError::Attribute(AttributeError::Body(MalformedBody)) = error {
            return Self::InvalidRequest;
        }
        Self::Evaluation {
            policy: policy.name.clone(),
            path,
            error,
        }
    }

    /// Returns the error of the predicate of a rule of access.
    pub(crate) fn access(index: usize, error: EvaluationError) -> Self {
        match error {
            EvaluationError::Attribute(AttributeError::Body(MalformedBody)) => Self::InvalidRequest,
            error => Self::Access { index, error },
        }
    }

    /// Returns the part that failed.
    #[must_use]
    pub(crate) const fn failed_part(&self) -> FailedPart {
        match self {
            Self::Ledger(LedgerError::ServiceUnavailable) => FailedPart::Service,
            Self::Ledger(_) => FailedPart::Counters,
            Self::Unchangeable(_) => FailedPart::Request,
            _ => FailedPart::Evaluation,
        }
    }

    /// Logs the error.
    pub(crate) fn log(&self, telemetry: &Telemetry) {
        match self {
            Self::Evaluation {
                policy,
                path,
                error,
            } => telemetry.evaluation_failed(policy, path, error),
            Self::Access { index, error } => {
                telemetry.evaluation_failed("", &format!("access[{index}].when"), error);
            }
            Self::Unauthenticated { policy, path, .. } => {
                telemetry.request_unauthenticated(policy, path);
            }
            Self::Unpriced {
                policy,
                limit,
                model,
                ..
            } => telemetry.model_unpriced(policy, limit, model),
            // It is the client's error.
            Self::InvalidRequest | Self::Uncapped(_) => {}
            Self::Route(error) => telemetry.admission_failed("routes", error),
            Self::Unchangeable(error) => telemetry.admission_failed("request", error),
            Self::Ledger(error) => telemetry.admission_failed("counters", error),
        }
    }
}

/// Returns a result; where it is an error and the failure mode is to allow, the default, and notes
/// that the admission failed open. A malformed body is not a failure: it is an error of the client
/// wherever a limit that is enforced needs it.
pub(crate) fn or_open<T: Default>(
    telemetry: &Telemetry,
    mode: FailureMode,
    is_enforced: bool,
    failed_open: &mut bool,
    result: Result<T, AdmissionError>,
) -> Result<T, AdmissionError> {
    result.or_else(|error| {
        if let AdmissionError::InvalidRequest = error {
            return if is_enforced {
                Err(error)
            } else {
                Ok(T::default())
            };
        }
        telemetry.count(match error {
            // The policy is not wrong.
            AdmissionError::Unauthenticated { .. } => Count::MissingValues,
            _ => Count::EvaluationErrors,
        });
        match mode {
            FailureMode::Deny => Err(error),
            FailureMode::Allow => {
                error.log(telemetry);
                *failed_open = true;
                Ok(T::default())
            }
        }
    })
}
