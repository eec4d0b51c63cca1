//! Admission: which limits apply to a request, and whether they have room for it.

mod asking;
mod computed;
pub(crate) mod evaluate;
mod hold;
pub mod queue;
#[cfg(test)]
mod tests;

use crate::attributes::{AttributeError, Attributes};
use crate::plugin::{Charge, Count, Counts, Plugin};
use crate::settle;
use crate::storage::remote::Trace;
use crate::storage::{Standing, StorageError, Ticket, Verdict};
use filter_config::{Exceeded, Expression, FailureMode, Limit, LimitIndex, Policy, WhenMissing};
use std::rc::Rc;

pub use asking::{Asked, Asking, Told};
pub use hold::Expected;

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
    /// What was added to each of them, when the exchange was settled.
    pub costs: Vec<u64>,
    /// A counter that would have refused, were its limit not in shadow.
    pub shadow_denied: Option<Charge>,
    /// Whether a limit was left out because it could not be evaluated.
    pub failed_open: bool,
    /// The same counters at a rate limit service, if there is one.
    pub asked: Vec<Asked>,
    /// What goes on with calls to the service.
    pub trace: Trace,
    /// What the service wants the caller to be told.
    pub told: Told,
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

/// The limits that apply to a request, as the counters it would be charged to.
#[derive(Clone, Debug, Default)]
pub struct Applicable {
    charges: Vec<Charge>,
    /// Those of limits that refuse nobody: that are in shadow, or allow what exceeds them.
    shadowed: Vec<Charge>,
    /// Whether a limit was left out because it could not be evaluated.
    failed_open: bool,
    /// Whether there may be more, which cannot be told before the request's body is known.
    pub undecided: bool,
    /// Whether what is to be held cannot be told before that.
    pub needs_body: bool,
    /// The values that limits count by, where a rate limit service has to know them.
    values: Vec<Values>,
}

/// The values that a limit counts by.
#[derive(Clone, Debug)]
struct Values {
    /// The limit.
    index: LimitIndex,
    /// The values of its counter expressions, in their order.
    texts: Vec<Rc<str>>,
}

/// What becomes of a request.
#[derive(Debug)]
pub enum Outcome {
    /// It may go on. With no charges, no limit applies to it.
    Admitted(Admission),
    /// A limit refuses it, and a rate limit service wants this to be told.
    Denied(Denial, Told),
    /// It waits for a rate limit service.
    Asking(Box<Asking>),
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
    /// The model that is asked has no price, and is refused for that.
    #[error("policy {policy}: limits.{limit}.budgets: a model without a price is refused")]
    Unpriced {
        /// The policy's name.
        policy: String,
        /// The limit's name.
        limit: String,
        /// The budget's index in the rates of the plugin.
        rate: usize,
    },
    /// An alternative was taken, and the request cannot be changed to it.
    #[error("request: {0}")]
    Unchangeable(crate::host::HostError),
    /// The counters cannot be read.
    #[error("storage: {0}")]
    Storage(#[from] StorageError),
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
            Self::Storage(_) => "storage",
            Self::Clock(_) => "clock",
        }
    }
}

/// The values that a limit counts a caller by, for the log: at most so much of each as tells
/// callers apart, and nothing of one that an expression takes from where credentials are.
pub fn caller(plugin: &Plugin, attributes: &mut Attributes, limit: &Limit) -> String {
    const SECRETS: [&str; 7] = [
        "authorization",
        "cookie",
        "key",
        "token",
        "secret",
        "password",
        "credential",
    ];
    const MOST: usize = 64;
    let mut caller = String::new();
    for counter in &limit.counters {
        let source = counter.source().to_ascii_lowercase();
        let value = if SECRETS.iter().any(|secret| source.contains(secret)) {
            "[withheld]".to_owned()
        } else {
            let value = evaluate::text(plugin, attributes, counter);
            let value = value.unwrap_or_else(|error| error.to_string());
            value
                .chars()
                .take(MOST)
                .flat_map(char::escape_debug)
                .collect()
        };
        if !caller.is_empty() {
            caller.push_str(", ");
        }
        caller.push_str(counter.source());
        caller.push_str(" = ");
        caller.push_str(&value);
    }
    caller
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

// === impl Applicable ===

impl Applicable {
    /// Whether no limit applies.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.charges.is_empty() && self.shadowed.is_empty()
    }
}

/// What the first look at a request finds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum First {
    /// Nothing against it.
    Nothing,
    /// One of its counters is used up, by the count of this Envoy: it is for a rate limit service to
    /// say whether that is so.
    Doubt,
    /// It is refused, as nothing is left at one of its counters.
    Denied(Denial),
}

/// The first look at a request whose body is still to come: whether it is refused already, because
/// nothing is left at one of its counters.
///
/// # Errors
/// [`Fault`], where the failure mode is to deny.
pub fn first_look(plugin: &Plugin, applicable: &Applicable) -> Result<First, Fault> {
    if applicable.charges.is_empty() {
        return Ok(First::Nothing);
    }
    // Others may have room for it when it has been changed, or has waited.
    let refuses_at_once = |charge: &&Charge| *plugin.on_exceeded(charge) == Exceeded::Deny;
    let charges = applicable.charges.iter().filter(refuses_at_once);
    let mut admission = Admission {
        charges: charges.copied().collect(),
        ..Admission::default()
    };
    let now = plugin.host.now()?;
    let denial = or_failure_mode(plugin, claim(plugin, now, &mut admission))?.flatten();
    Ok(match denial {
        None => First::Nothing,
        Some(Denial {
            charge, standing, ..
        }) if plugin.service.is_some() && asking::is_counted(plugin, &charge) => {
            // What is held here is not all held there: it may be that of requests that are asking.
            if standing.used >= charge.limit {
                First::Doubt
            } else {
                First::Nothing
            }
        }
        Some(denial) => First::Denied(denial),
    })
}

/// The last look at a request: decides on it by all that will be known of it, and holds what it is
/// expected to use; or asks a rate limit service, if there is one and the stream `waits`, by its
/// context, for the answer. Who comes to a counter at which others wait has to wait behind them.
///
/// # Errors
/// [`Fault`], where the failure mode is to deny; where it is to allow, the limit at fault is left
/// out.
pub fn last_look(
    plugin: &Plugin,
    attributes: &mut Attributes,
    applicable: Applicable,
    expected: &Expected<'_>,
    waits: Option<u32>,
) -> Result<Outcome, Fault> {
    let mut admission = Admission {
        failed_open: applicable.failed_open,
        ..Admission::default()
    };
    if applicable.is_empty() {
        return Ok(Outcome::Admitted(admission));
    }
    for charge in applicable.charges {
        let failed_open = &mut admission.failed_open;
        if let Some(charge) = hold::hold(plugin, attributes, charge, expected, failed_open)? {
            admission.charges.push(charge);
        }
    }
    if let Some(service) = &plugin.service {
        let mut shadowed = Vec::with_capacity(applicable.shadowed.len());
        for charge in applicable.shadowed {
            let failed_open = &mut admission.failed_open;
            let charge = hold::hold(plugin, attributes, charge, expected, failed_open)?;
            shadowed.extend(charge);
        }
        let values = &applicable.values;
        return asking::look(
            plugin, service, attributes, admission, shadowed, values, waits,
        );
    }
    let now = plugin.host.now()?;
    if let Some(denial) = behind_others(plugin, now, &admission.charges, waits) {
        return Ok(Outcome::Denied(denial, Told::new()));
    }
    match or_failure_mode(plugin, claim(plugin, now, &mut admission))? {
        Some(None) => {}
        Some(Some(denial)) => return Ok(Outcome::Denied(denial, Told::new())),
        None => admission.failed_open = true,
    }
    for charge in applicable.shadowed {
        let failed_open = &mut admission.failed_open;
        if let Some(charge) = hold::hold(plugin, attributes, charge, expected, failed_open)? {
            claim_in_shadow(plugin, now, charge, &mut admission);
        }
    }
    count_request(plugin, now, &mut admission);
    Ok(Outcome::Admitted(admission))
}

/// The refusal of a request that comes to a counter at which others wait.
fn behind_others(
    plugin: &Plugin,
    now: u64,
    charges: &[Charge],
    waits: Option<u32>,
) -> Option<Denial> {
    let queue = plugin.queue.borrow();
    if queue.is_empty() {
        return None;
    }
    charges.iter().find_map(|&charge| {
        let standing = queue.before(charge.counter(), waits)?;
        Some(Denial {
            charge,
            standing,
            now,
        })
    })
}

/// What the storage answers; `None` where it fails and the failure mode is to allow.
fn or_failure_mode<T>(
    plugin: &Plugin,
    answer: Result<T, StorageError>,
) -> Result<Option<T>, Fault> {
    match answer {
        Ok(answer) => Ok(Some(answer)),
        Err(error) => {
            plugin.metrics.count(&*plugin.host, Count::StorageErrors);
            match plugin.configuration.failure_mode {
                FailureMode::Deny => Err(error.into()),
                FailureMode::Allow => Ok(None),
            }
        }
    }
}

/// What a limit says is to be held.
fn amount(limit: &Limit) -> Option<&Expression> {
    limit.reservation.as_ref()?.amount.as_ref()
}

/// Asks the storage for room at all counters of an admission at once.
fn claim(
    plugin: &Plugin,
    now: u64,
    admission: &mut Admission,
) -> Result<Option<Denial>, StorageError> {
    if admission.charges.is_empty() {
        return Ok(None);
    }
    let claims: Vec<_> = admission.charges.iter().map(Charge::claim).collect();
    let verdict = plugin.storage.admit(
        &*plugin.host,
        now,
        &claims,
        lifetime(plugin, &admission.charges),
        &mut admission.tickets,
        &mut admission.standings,
    )?;
    let Verdict::Denied { claim, standing } = verdict else {
        return Ok(None);
    };
    Ok(admission.charges.get(claim).map(|&charge| Denial {
        charge,
        standing,
        now,
    }))
}

/// Adds a counter to an admission whose limit counts and does not refuse. Where there is no room,
/// nothing is held.
fn claim_in_shadow(plugin: &Plugin, now: u64, mut charge: Charge, admission: &mut Admission) {
    let mut alone = Admission {
        charges: vec![charge],
        ..Admission::default()
    };
    match claim(plugin, now, &mut alone) {
        Ok(None) => {}
        Ok(Some(denial)) => {
            if is_shadow(plugin, &charge) {
                admission.shadow_denied = Some(charge);
            } else {
                settle::alert_of_crowd(plugin, &denial);
            }
            charge.hold = 0;
        }
        Err(_) => {
            plugin.metrics.count(&*plugin.host, Count::StorageErrors);
            charge.hold = 0;
        }
    }
    admission.charges.push(charge);
    let ticket = alone.tickets.first().copied();
    admission.tickets.push(ticket.unwrap_or_default());
    let standing = alone.standings.first().copied();
    admission.standings.push(standing.unwrap_or_default());
}

/// Whether the limit of a charge is in shadow.
fn is_shadow(plugin: &Plugin, charge: &Charge) -> bool {
    let rate = plugin.rates.get(charge.rate);
    let limit = rate.and_then(|rate| plugin.limit_of(rate));
    limit.is_none_or(|(_, limit)| limit.shadow)
}

/// Counts a request that was let go where requests are counted: now, not when it ends, or a stream
/// would be counted as long as it lasts. Where that fails, it is counted with the rest in the end.
fn count_request(plugin: &Plugin, now: u64, admission: &mut Admission) {
    let counts_requests = |charge: &Charge| {
        let rate = plugin.rates.get(charge.rate);
        rate.is_some_and(|rate| matches!(rate.counts, Counts::Requests(_)))
    };
    if !admission.charges.iter().any(counts_requests) {
        return;
    }
    let positions = admission.charges.iter().enumerate();
    let positions: Vec<usize> = positions
        .filter(|(_, charge)| counts_requests(charge))
        .map(|(position, _)| position)
        .collect();
    let of = |position: &usize| admission.charges.get(*position).copied();
    let charges: Vec<Charge> = positions.iter().filter_map(of).collect();
    let of = |position: &usize| admission.tickets.get(*position).copied();
    let tickets: Vec<Ticket> = positions
        .iter()
        .map(|at| of(at).unwrap_or_default())
        .collect();
    let mut standings = Vec::new();
    let claims: Vec<_> = charges.iter().map(Charge::claim).collect();
    let costs = vec![1; charges.len()];
    let host = &*plugin.host;
    let counted = plugin
        .storage
        .settle(host, now, &claims, &tickets, &costs, &mut standings);
    if counted.is_err() {
        plugin.metrics.count(host, Count::StorageErrors);
        return;
    }
    for ((position, charge), standing) in positions.into_iter().zip(&charges).zip(&standings) {
        if let Some(charge) = admission.charges.get_mut(position) {
            charge.hold = 0;
        }
        settle::alert(plugin, charge, standing, 1);
    }
}

/// How long holds live that nobody releases: as long as the longest of the reservations, in
/// nanoseconds.
fn lifetime(plugin: &Plugin, charges: &[Charge]) -> u64 {
    let ttl = |charge: &Charge| {
        let rate = plugin.rates.get(charge.rate)?;
        let (_, limit) = plugin.limit_of(rate)?;
        limit.reservation.as_ref()?.ttl
    };
    let longest = charges.iter().map(|charge| ttl(charge).unwrap_or(HOLD_TTL));
    longest.max().unwrap_or(HOLD_TTL)
}

/// Finds the limits that apply to a request, by what is known of it, and the counters they count
/// in.
///
/// # Errors
/// [`Fault`], where the failure mode is to deny; where it is to allow, the limit at fault is left
/// out.
pub fn applicable(plugin: &Plugin, attributes: &mut Attributes) -> Result<Applicable, Fault> {
    let mode = plugin.configuration.failure_mode;
    let mut found = Applicable::default();
    let headers = attributes.headers();
    for effective in plugin.configuration.effective(|name| headers.text(name)) {
        let policy = effective.when;
        let policy = policy.and_then(|policy| plugin.configuration.policies.get(policy));
        let in_force = policy.map_or(Ok(Holds::Yes), |policy| {
            holds(plugin, attributes, &policy.when)
                .map_err(|(index, error)| fault_of(policy, format!("when[{index}]"), error))
        });
        let in_force = or_open(plugin, mode, &mut found.failed_open, in_force)?;
        if in_force == Holds::No {
            continue;
        }
        for &index in &effective.limits {
            let Some((policy, limit, rates)) = plugin.limit_at(index) else {
                continue;
            };
            let fault = |place: String, error| fault_of(policy, place, error);
            let applies = holds(plugin, attributes, &limit.when).map_err(|(index, error)| {
                fault(format!("limits.{}.when[{index}]", limit.name), error)
            });
            // A limit that refuses nobody does not do so by a fault.
            let mut ignored = false;
            let (mode, failed_open) = if limit.refuses() {
                (mode, &mut found.failed_open)
            } else {
                (FailureMode::Allow, &mut ignored)
            };
            let applies = or_open(plugin, mode, failed_open, applies)?;
            let waits = attributes.body.is_pending() && needs_body(limit);
            match (in_force, applies) {
                (_, Holds::No) => continue,
                (Holds::Yes, Holds::Yes) if !waits => {}
                _ => {
                    found.undecided = true;
                    continue;
                }
            }
            let mut values = plugin.service.is_some().then(Vec::new);
            let key = key(plugin, attributes, &limit.counters, values.as_mut()).map_err(
                |(index, error)| fault(format!("limits.{}.counters[{index}]", limit.name), error),
            );
            let is_missing = matches!(
                &key,
                Err(Fault::Evaluation {
                    error: EvaluationError::Missing,
                    ..
                })
            );
            let mode = match limit.when_missing {
                Some(WhenMissing::Skip) if is_missing => {
                    plugin.metrics.count(&*plugin.host, Count::MissingValues);
                    continue;
                }
                Some(WhenMissing::Refuse) if is_missing && limit.refuses() => FailureMode::Deny,
                _ => mode,
            };
            let Some(key) = or_open(plugin, mode, failed_open, key.map(Some))? else {
                continue;
            };
            found
                .values
                .extend(values.map(|texts| Values { index, texts }));
            found.needs_body |=
                attributes.body.is_pending() && amount(limit).is_some_and(Expression::needs_body);
            let charges = if limit.refuses() {
                &mut found.charges
            } else {
                &mut found.shadowed
            };
            for index in rates {
                let charge = charge(plugin, attributes, index, key, (policy, limit));
                charges.extend(or_open(plugin, mode, failed_open, charge)?);
            }
        }
    }
    Ok(found)
}

/// What is charged to the counter of this key of a rate of a limit.
fn charge(
    plugin: &Plugin,
    attributes: &mut Attributes,
    rate: usize,
    key: u128,
    (policy, limit): (&Policy, &Limit),
) -> Result<Option<Charge>, Fault> {
    let Some(of) = plugin.rates.get(rate) else {
        return Ok(None);
    };
    let charge = Charge {
        rate,
        key,
        limit: of.max,
        counted: of.counted,
        hold: 0,
    };
    if !of.is_computed {
        return Ok(Some(charge));
    }
    let computed = computed::charge(plugin, attributes, limit, of, charge);
    computed.map(Some).map_err(|(field, error)| {
        let place = format!("limits.{}.{}.{field}", limit.name, of.place());
        fault_of(policy, place, error)
    })
}

/// A fault of an expression of a policy.
fn fault_of(policy: &Policy, place: String, error: EvaluationError) -> Fault {
    Fault::Evaluation {
        policy: policy.name.clone(),
        place,
        error,
    }
}

/// Whether what a limit counts by, or its value or window, is in the body.
fn needs_body(limit: &Limit) -> bool {
    let rates = limit.rates.iter().chain(&limit.requests);
    let computed = rates.flat_map(filter_config::Rate::expressions);
    limit
        .counters
        .iter()
        .chain(computed)
        .any(Expression::needs_body)
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
            Err(EvaluationError::Missing) => {
                plugin.metrics.count(&*plugin.host, Count::MissingValues);
                return Ok(Holds::No);
            }
            Err(error) => return Err((index, error)),
        }
    }
    Ok(holds)
}

/// The hash of a limit's counter values; they are added to `values`, where they are needed.
fn key(
    plugin: &Plugin,
    attributes: &mut Attributes,
    counters: &[Expression],
    mut values: Option<&mut Vec<Rc<str>>>,
) -> Result<u128, (usize, EvaluationError)> {
    let mut hasher = plugin.hasher();
    for (index, counter) in counters.iter().enumerate() {
        if let Some(values) = &mut values {
            let text = evaluate::text(plugin, attributes, counter);
            let text = text.map_err(|error| (index, error))?;
            hasher.value(text.as_bytes());
            values.push(text.into());
        } else {
            evaluate::counter(plugin, attributes, counter, &mut hasher)
                .map_err(|error| (index, error))?;
        }
    }
    Ok(hasher.finish())
}

/// A result, or what stands for a fault where the failure mode is to allow: nothing that applies.
fn or_open<T: Default>(
    plugin: &Plugin,
    mode: FailureMode,
    failed_open: &mut bool,
    result: Result<T, Fault>,
) -> Result<T, Fault> {
    result.or_else(|fault| {
        plugin.metrics.count(&*plugin.host, Count::EvaluationErrors);
        match mode {
            FailureMode::Deny => Err(fault),
            FailureMode::Allow => {
                plugin.warn(&fault);
                *failed_open = true;
                Ok(T::default())
            }
        }
    })
}
