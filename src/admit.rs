//! Admission: which limits apply to a request, and whether they have room for it.

mod evaluate;
#[cfg(test)]
mod tests;

use crate::attributes::{AttributeError, Attributes};
use crate::plugin::{Charge, Count, Plugin};
use crate::storage::{Standing, StorageError, Ticket, Verdict};
use filter_config::{Expression, FailureMode};

/// How long a hold lives that nobody releases: the longest exchange allowed, in nanoseconds.
pub const HOLD_TTL: u64 = 600_000_000_000;

/// What an exchange that was admitted is charged to.
#[derive(Debug, Default)]
pub struct Admission {
    /// The counters.
    pub charges: Vec<Charge>,
    /// What is held at each of them.
    pub tickets: Vec<Ticket>,
    /// How each of them stood.
    pub standings: Vec<Standing>,
    /// Whether a limit was left out because it could not be evaluated.
    pub failed_open: bool,
}

/// A refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Denial {
    /// The counter that refused.
    pub charge: Charge,
    /// How it stands.
    pub standing: Standing,
    /// The time of the refusal, nanoseconds since the epoch.
    pub now: u64,
}

/// What becomes of a request.
#[derive(Debug)]
pub enum Outcome {
    /// It may go on. With no charges, no limit applies to it.
    Admitted(Admission),
    /// A limit refuses it.
    Denied(Denial),
    /// What is known does not refuse it, but a limit needs its body.
    NeedsBody,
}

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
    /// The counters cannot be read.
    #[error("storage: {0}")]
    Storage(#[from] StorageError),
    /// Envoy failed.
    #[error("clock: {0}")]
    Clock(#[from] crate::host::HostError),
}

/// Why an expression has no result.
#[derive(Debug, thiserror::Error)]
pub enum EvaluationError {
    /// What it reads cannot be had.
    #[error(transparent)]
    Attribute(#[from] AttributeError),
    /// A value it reads is absent or null.
    #[error("no value: {0}")]
    Missing(String),
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

/// Which look at a request this is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Look {
    /// By its headers, while a body that says more is still to come: whoever has nothing left is
    /// refused, and nobody is admitted yet to whom a limit applies.
    First,
    /// By all that will be known of it.
    Last {
        /// What it is expected to use, in tokens.
        expected: u64,
    },
}

/// Decides on a request by what is known of it: its headers, and its body when `attributes` has it.
///
/// # Errors
/// [`Fault`], where the failure mode is to deny; where it is to allow, the limit at fault is left
/// out.
pub fn admit(plugin: &Plugin, attributes: &mut Attributes, look: Look) -> Result<Outcome, Fault> {
    let mut admission = Admission::default();
    let waits = applicable(plugin, attributes, &mut admission)?;
    if admission.charges.is_empty() {
        return Ok(if waits {
            Outcome::NeedsBody
        } else {
            Outcome::Admitted(admission)
        });
    }
    if let Look::Last { expected } = look {
        for charge in &mut admission.charges {
            charge.hold = expected;
        }
    }
    let now = plugin.host.now()?;
    let claims = plugin.claims(&admission.charges);
    let verdict = plugin.storage.admit(
        &*plugin.host,
        now,
        &claims,
        HOLD_TTL,
        &mut admission.tickets,
        &mut admission.standings,
    );
    let verdict = match verdict {
        Ok(verdict) => verdict,
        Err(error) => {
            plugin.metrics.count(&*plugin.host, Count::StorageErrors);
            if plugin.configuration.failure_mode == FailureMode::Deny {
                return Err(error.into());
            }
            admission.failed_open = true;
            return Ok(Outcome::Admitted(admission));
        }
    };
    match verdict {
        Verdict::Denied { claim, standing } => match admission.charges.get(claim) {
            Some(&charge) => Ok(Outcome::Denied(Denial {
                charge,
                standing,
                now,
            })),
            None => Ok(Outcome::Admitted(admission)),
        },
        Verdict::Admitted if waits || look == Look::First => Ok(Outcome::NeedsBody),
        Verdict::Admitted => Ok(Outcome::Admitted(admission)),
    }
}

/// Finds the limits that apply and the counters they count in. Returns whether some cannot be told
/// before the body is known.
fn applicable(
    plugin: &Plugin,
    attributes: &mut Attributes,
    admission: &mut Admission,
) -> Result<bool, Fault> {
    let mut undecided = false;
    let mut rates = 0..0_usize;
    for policy in &plugin.configuration.policies {
        let fault = |place: String, error: EvaluationError| Fault::Evaluation {
            policy: policy.name.clone(),
            place,
            error,
        };
        let in_force = holds(plugin, attributes, &policy.when)
            .map_err(|(index, error)| fault(format!("when[{index}]"), error));
        let in_force = or_open(plugin, admission, in_force)?;
        for limit in &policy.limits {
            rates = rates.end..rates.end.saturating_add(limit.rates.len());
            if in_force == Holds::No {
                continue;
            }
            let applies = holds(plugin, attributes, &limit.when).map_err(|(index, error)| {
                fault(format!("limits.{}.when[{index}]", limit.name), error)
            });
            let applies = or_open(plugin, admission, applies)?;
            let waits =
                attributes.body.is_pending() && limit.counters.iter().any(Expression::needs_body);
            match (in_force, applies) {
                (_, Holds::No) => continue,
                (Holds::Yes, Holds::Yes) if !waits => {}
                _ => {
                    undecided = true;
                    continue;
                }
            }
            let key = key(plugin, attributes, &limit.counters).map_err(|(index, error)| {
                fault(format!("limits.{}.counters[{index}]", limit.name), error)
            });
            match or_open(plugin, admission, key.map(Some))? {
                Some(key) => admission.charges.extend(rates.clone().map(|rate| Charge {
                    rate,
                    key,
                    hold: 0,
                })),
                None => continue,
            }
        }
    }
    Ok(undecided)
}

/// Whether a list of predicates holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Holds {
    Yes,
    #[default]
    No,
    /// Those that can be told do; others need the body.
    Undecided,
}

/// Whether all predicates hold. A missing value makes one false.
fn holds(
    plugin: &Plugin,
    attributes: &mut Attributes,
    when: &[Expression],
) -> Result<Holds, (usize, EvaluationError)> {
    let mut holds = Holds::Yes;
    for (index, predicate) in when.iter().enumerate() {
        if predicate.needs_body() && attributes.body.is_pending() {
            holds = Holds::Undecided;
            continue;
        }
        match evaluate::predicate(plugin, attributes, predicate) {
            Ok(true) => {}
            Ok(false) => return Ok(Holds::No),
            Err(EvaluationError::Missing(_)) => {
                plugin.metrics.count(&*plugin.host, Count::MissingValues);
                return Ok(Holds::No);
            }
            Err(error) => return Err((index, error)),
        }
    }
    Ok(holds)
}

/// The hash of a limit's counter values.
fn key(
    plugin: &Plugin,
    attributes: &mut Attributes,
    counters: &[Expression],
) -> Result<u128, (usize, EvaluationError)> {
    let mut hasher = plugin.hasher();
    for (index, counter) in counters.iter().enumerate() {
        evaluate::counter(plugin, attributes, counter, &mut hasher)
            .map_err(|error| (index, error))?;
    }
    Ok(hasher.finish())
}

/// A result, or what stands for a fault where the failure mode is to allow: nothing that applies.
fn or_open<T: Default>(
    plugin: &Plugin,
    admission: &mut Admission,
    result: Result<T, Fault>,
) -> Result<T, Fault> {
    result.or_else(|fault| {
        plugin.metrics.count(&*plugin.host, Count::EvaluationErrors);
        match plugin.configuration.failure_mode {
            FailureMode::Deny => Err(fault),
            FailureMode::Allow => {
                admission.failed_open = true;
                Ok(T::default())
            }
        }
    })
}
