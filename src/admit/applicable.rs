//! Which limits apply to a request, and the counters that it would be charged to.

#[cfg(test)]
mod tests;

use super::computed;
use super::error::{AdmissionError, or_open};
use super::misses::{MissCause, MissedEntry, Misses};
use crate::attributes::Attributes;
use crate::ledger::{Charge, CounterValues};
use crate::policies::{
    EvaluationError, Evaluator, LimitEntry, LimitList, LimitRef, Policies, RateIndex, Selection,
    Unit,
};
use crate::telemetry::{Count, Telemetry};
use filter_config::{Attribute, Expression, FailureMode, Limit, LimitIndex, Policy, WhenMissing};
use limits::Reservation;
use std::rc::Rc;
use usage_meter::bounded_text;

/// The longest value that a rate limit service counts by as it is, in bytes. A longer one is cut, with a hash of
/// all of it.
const MAX_VALUE_BYTES: usize = 256;

/// The longest path below `auth` that a client is sent, in bytes.
const MAX_CLAIM_BYTES: usize = 128;

/// The limits that apply to a request, as the counters that it would be charged to.
#[derive(Clone, Debug, Default)]
pub(crate) struct Applicable {
    /// The charges, which reserve nothing yet.
    pub(crate) charges: Vec<Charge>,
    /// The values that the limits count by, where they have to be known.
    pub(super) values: Vec<CounterValues>,
    /// Whether a limit was left out because it could not be evaluated.
    pub(super) failed_open: bool,
    /// Whether more limits may apply, depending on the request's body, which is not known yet.
    pub(crate) depends_on_body: bool,
    /// Whether the amount or the lifetime of a reservation depends on the request's body, which is not known yet.
    pub(crate) amount_needs_body: bool,
    /// The limits that do not apply.
    pub(crate) misses: Misses,
}

/// Whether a list of predicates holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Holds {
    Yes,
    No(MissCause),
    /// The predicates that can be evaluated hold; others need the body.
    NeedsBody,
}

// === impl Holds ===

impl Default for Holds {
    fn default() -> Self {
        Self::No(MissCause::default())
    }
}

// === impl Applicable ===

impl Applicable {
    /// Returns what is known of limits while all of it depends on the body.
    #[must_use]
    pub(crate) fn of_body() -> Self {
        Self {
            depends_on_body: true,
            ..Self::default()
        }
    }

    /// Returns whether no limit applies.
    #[must_use]
    pub(crate) fn is_empty(&self) -> bool {
        self.charges.is_empty()
    }

    /// Returns whether a hard limit applies, for which the output of the request is bounded.
    #[must_use]
    pub(crate) fn is_hard(&self) -> bool {
        self.charges.iter().any(|charge| charge.counter.is_hard)
    }

    /// Releases the memory that is not used, before the request waits.
    pub(crate) fn shrink(&mut self) {
        self.charges.shrink_to_fit();
        self.values.shrink_to_fit();
    }

    /// Returns whether the cost of the request depends on its body: on the model that it names, or on what
    /// else of it a cost reads.
    #[must_use]
    pub(crate) fn cost_needs_body(&self, policies: &Policies) -> bool {
        let reads_body = |limit: &Limit| limit.cost.as_ref().is_some_and(Expression::needs_body);
        let mut exports = policies.configuration().exports.iter();
        exports.any(|export| export.cost.needs_body())
            || self.charges.iter().any(|charge| match charge.unit {
                Unit::Usd(_) => true,
                Unit::Tokens(_) => {
                    let limit = policies.rate_of(charge.rate);
                    limit.is_some_and(|(_, _, limit)| reads_body(limit))
                }
                Unit::Requests(_) | Unit::InFlight => false,
            })
    }
}

/// Finds the limits that apply to a request, by what is known of it, and the counters that they count
/// in. `with_values` also returns the values that they count by.
///
/// # Errors
/// [`AdmissionError`], where the failure mode is to deny; where it is to allow, the limit in question
/// is left out.
pub(crate) fn applicable(
    policies: &Policies,
    telemetry: &Telemetry,
    attributes: &mut Attributes,
    with_values: bool,
) -> Result<Applicable, AdmissionError> {
    let select = LimitList::select;
    found_by(select, policies, telemetry, attributes, with_values)
}

/// Finds the limits that apply to a request as [`applicable`] does, without the index.
#[cfg(test)]
pub(super) fn applicable_of_all(
    policies: &Policies,
    telemetry: &Telemetry,
    attributes: &mut Attributes,
    with_values: bool,
) -> Result<Applicable, AdmissionError> {
    let select: Select = |limits, _, _| limits.all();
    found_by(select, policies, telemetry, attributes, with_values)
}

fn found_by(
    select: Select,
    policies: &Policies,
    telemetry: &Telemetry,
    attributes: &mut Attributes,
    with_values: bool,
) -> Result<Applicable, AdmissionError> {
    let mode = policies.configuration().failure_mode;
    let mut found = Applicable::default();
    let limits = policies.limit_list(attributes.headers());
    let limits = limits.map_err(AdmissionError::from);
    let limits = or_open(telemetry, mode, true, &mut found.failed_open, limits)?;
    let mut search = Search {
        select,
        policies,
        telemetry,
        attributes,
        with_values,
        found,
    };
    if let Some(limits) = limits {
        search.list(limits, Holds::Yes)?;
    }
    Ok(search.found)
}

/// How the entries of a list are found whose predicates may be true.
type Select = for<'l> fn(&'l LimitList, &Evaluator, &mut Attributes) -> Selection<'l>;

/// A search for the limits that apply to a request.
struct Search<'s> {
    select: Select,
    policies: &'s Policies,
    telemetry: &'s Telemetry,
    attributes: &'s mut Attributes,
    with_values: bool,
    found: Applicable,
}

// === impl Search ===

impl Search<'_> {
    /// Adds the limits of a list that apply. `in_force` is whether the predicates of its policy hold.
    fn list(&mut self, limits: &LimitList, in_force: Holds) -> Result<(), AdmissionError> {
        let selection = (self.select)(limits, self.policies.evaluator(), self.attributes);
        self.found.depends_on_body |= selection.awaits_body;
        let mut evaluated = Ok(());
        let mut end = usize::MAX;
        for &position in &selection.lists {
            evaluated = match limits.entry(position) {
                Some(LimitEntry::Limit(index)) => self.limit(*index, in_force),
                Some(LimitEntry::Policy(policy, limits)) => self.policy(*policy, limits),
                None => Ok(()),
            };
            if evaluated.is_err() {
                end = position;
                break;
            }
        }
        // Those after an error would not have been evaluated.
        let missing = selection.missing_before(end);
        self.telemetry.count_times(Count::MissingValues, missing);
        if self.found.is_empty() {
            let missed = |position| match limits.entry(position)? {
                LimitEntry::Limit(index) => Some(MissedEntry::Limit(*index)),
                LimitEntry::Policy(policy, _) => Some(MissedEntry::Policy(*policy)),
            };
            self.found.misses.push_left_out(&selection, missed);
        }
        evaluated
    }

    /// Adds the limits that apply of a policy with predicates.
    fn policy(&mut self, position: usize, limits: &LimitList) -> Result<(), AdmissionError> {
        let (policies, telemetry) = (self.policies, self.telemetry);
        let configuration = policies.configuration();
        let mode = configuration.failure_mode;
        let policy = configuration.policies.get(position);
        let in_force = policy.map_or(Ok(Holds::Yes), |policy| {
            let held = holds(policies, telemetry, self.attributes, &policy.when);
            held.map_err(|(index, error)| {
                AdmissionError::evaluation(policy, format!("when[{index}]"), error)
            })
        });
        let failed_open = &mut self.found.failed_open;
        match or_open(telemetry, mode, true, failed_open, in_force)? {
            Holds::No(cause) => {
                self.found.misses.push(MissedEntry::Policy(position), cause);
                Ok(())
            }
            in_force => self.list(limits, in_force),
        }
    }

    /// Adds the charges of a limit, if it applies.
    fn limit(&mut self, index: LimitIndex, in_force: Holds) -> Result<(), AdmissionError> {
        let Self {
            policies,
            telemetry,
            attributes,
            found,
            ..
        } = self;
        let mode = policies.configuration().failure_mode;
        let Some(limit_ref) = policies.limit(index) else {
            return Ok(());
        };
        let LimitRef { policy, limit, .. } = limit_ref;
        let failed = |path: String, error| AdmissionError::evaluation(policy, path, error);
        let applies = holds(policies, telemetry, attributes, &limit.when);
        let applies = applies.map_err(|(index, error)| {
            failed(format!("limits.{}.when[{index}]", limit.name), error)
        });
        // A limit that does not reject does not reject because of an error either.
        let is_enforced = limit.enforces();
        let mut ignored = false;
        let (mode, failed_open) = if is_enforced {
            (mode, &mut found.failed_open)
        } else {
            (FailureMode::Allow, &mut ignored)
        };
        let applies = or_open(telemetry, mode, is_enforced, failed_open, applies)?;
        let awaits_body = attributes.body.is_pending() && counter_needs_body(limit);
        match (in_force, applies) {
            (_, Holds::No(cause)) => {
                found.misses.push(MissedEntry::Limit(index), cause);
                return Ok(());
            }
            (Holds::Yes, Holds::Yes) if !awaits_body => {}
            _ => {
                found.depends_on_body = true;
                return Ok(());
            }
        }
        let mut texts = self.with_values.then(Vec::new);
        let key = key(policies, attributes, policy, limit, texts.as_mut());
        let is_missing = matches!(&key, Err((_, EvaluationError::Missing)));
        let uncounted = key.as_ref().err().map_or(0, |(index, _)| *index);
        let key = key.map_err(|(index, error)| failed_counter(policy, limit, index, error));
        let mode = match limit.when_missing {
            Some(WhenMissing::Skip) if is_missing => {
                telemetry.count(Count::MissingValues);
                let cause = MissCause::uncounted(uncounted);
                found.misses.push(MissedEntry::Limit(index), cause);
                return Ok(());
            }
            Some(WhenMissing::Reject) if is_missing && is_enforced => FailureMode::Deny,
            _ => mode,
        };
        let Some(key) = or_open(telemetry, mode, is_enforced, failed_open, key.map(Some))? else {
            found
                .misses
                .push(MissedEntry::Limit(index), MissCause::Failed);
            return Ok(());
        };
        let values = texts.map(|texts| CounterValues {
            limit: index,
            texts,
        });
        found.values.extend(values);
        let reservation = limit.reservation.as_ref();
        found.amount_needs_body |= attributes.body.is_pending()
            && reservation
                .is_some_and(|reservation| reservation.expressions().any(Expression::needs_body));
        for rate in limit_ref.rates() {
            let charge = charge(policies, attributes, rate, key);
            found
                .charges
                .extend(or_open(telemetry, mode, is_enforced, failed_open, charge)?);
        }
        Ok(())
    }
}

/// Returns the error of a counter expression at a position.
pub(super) fn failed_counter(
    policy: &Policy,
    limit: &Limit,
    index: usize,
    error: EvaluationError,
) -> AdmissionError {
    let path = format!("limits.{}.counters[{index}]", limit.name);
    let is_missing = matches!(error, EvaluationError::Missing);
    match limit.counters.get(index) {
        Some(counter) if is_missing && reads_auth(counter) => AdmissionError::Unauthenticated {
            policy: policy.name.clone(),
            path,
            claim: claim(counter),
        },
        _ => AdmissionError::evaluation(policy, path, error),
    }
}

/// Returns the name of an attribute, if it is one of the request itself rather than of its caller.
pub(super) fn reads_request(attribute: &Attribute) -> Option<&'static str> {
    const OF_REQUEST: [&str; 8] = [
        "request.method",
        "request.path",
        "request.url_path",
        "request.query",
        "request.size",
        "request.time",
        "request.id",
        "request.referer",
    ];
    match attribute {
        Attribute::Property(property) => {
            let name = property.name;
            let is_of_route = name.starts_with("route.") || name.starts_with("xds.");
            (is_of_route || OF_REQUEST.contains(&name)).then_some(name)
        }
        Attribute::RequestBody(_) => Some("request body"),
        Attribute::Llm(_) => Some("llm"),
        _ => None,
    }
}

/// Returns the charge to the counter with a key of a rate.
pub(super) fn charge(
    policies: &Policies,
    attributes: &mut Attributes,
    index: RateIndex,
    key: u128,
) -> Result<Option<Charge>, AdmissionError> {
    let Some((rate, policy, limit)) = policies.rate_of(index) else {
        return Ok(None);
    };
    let charge = Charge {
        rate: index,
        unit: rate.unit,
        is_enforced: limit.enforces(),
        ttl: Charge::DEFAULT_TTL,
        counter: Reservation {
            is_hard: limit.cap.is_some() && matches!(rate.unit, Unit::Tokens(_)),
            ..Reservation::new(rate.counters, key, rate.max, 0)
        },
    };
    if !rate.is_computed {
        return Ok(Some(charge));
    }
    let computed = computed::charge(policies.evaluator(), attributes, limit, rate, charge);
    computed.map(Some).map_err(|(field, error)| {
        let path = format!("limits.{}.{}.{field}", limit.name, rate.path());
        AdmissionError::evaluation(policy, path, error)
    })
}

/// Returns whether an expression reads the identity of the caller.
fn reads_auth(expression: &Expression) -> bool {
    let mut uses = expression.uses().iter();
    uses.any(|attribute| matches!(attribute, Attribute::Auth(_)))
}

/// Returns the path below `auth` that an expression consists of; `None` if it is another.
fn claim(expression: &Expression) -> Option<String> {
    let source = expression.source().trim();
    let is_path = source
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || b"_.".contains(&byte));
    let is_claim = is_path && source.starts_with("auth.") && source.len() <= MAX_CLAIM_BYTES;
    is_claim.then(|| source.to_owned())
}

/// Returns whether what a limit counts by, or its value or window, depends on the body.
fn counter_needs_body(limit: &Limit) -> bool {
    counted_by(limit).any(Expression::needs_body)
}

/// Returns the expressions that a limit's counters follow from: what it counts by, its values and its windows.
pub(super) fn counted_by(limit: &Limit) -> impl Iterator<Item = &Expression> {
    let rates = limit.rates.iter().chain(&limit.requests);
    let computed = rates.flat_map(filter_config::Rate::expressions);
    limit.counters.iter().chain(computed)
}

/// Returns whether all predicates hold. A missing value makes one false. An error comes with the
/// position of the predicate.
fn holds(
    policies: &Policies,
    telemetry: &Telemetry,
    attributes: &mut Attributes,
    when: &[Expression],
) -> Result<Holds, (usize, EvaluationError)> {
    let mut holds = Holds::Yes;
    for (index, predicate) in when.iter().enumerate() {
        if predicate.needs_body() && attributes.body.is_pending() {
            holds = Holds::NeedsBody;
            continue;
        }
        match policies.evaluator().predicate(attributes, predicate) {
            Ok(true) => {}
            Ok(false) => return Ok(Holds::No(MissCause::is_false(index))),
            Err(EvaluationError::Missing) => {
                telemetry.count(Count::MissingValues);
                return Ok(Holds::No(MissCause::missing(index)));
            }
            Err(error) => return Err((index, error)),
        }
    }
    Ok(holds)
}

/// Returns the hash of a limit's counter values, and adds them to `values` where they are needed. An
/// error comes with the position of the counter expression.
pub(super) fn key(
    policies: &Policies,
    attributes: &mut Attributes,
    policy: &Policy,
    limit: &Limit,
    mut values: Option<&mut Vec<Rc<str>>>,
) -> Result<u128, (usize, EvaluationError)> {
    if limit.counters.is_empty() {
        return Ok(policies.key_without_values(policy, limit));
    }
    let evaluator = policies.evaluator();
    let mut hasher = policies.hasher();
    for (index, counter) in limit.counters.iter().enumerate() {
        if let Some(values) = &mut values {
            let text = evaluator.text(attributes, counter);
            let text = text.map_err(|error| (index, error))?;
            hasher.value(text.as_bytes());
            values.push(bounded_text(&text, MAX_VALUE_BYTES).into());
        } else {
            let result = evaluator.hash_counter(attributes, counter, &mut hasher);
            result.map_err(|error| (index, error))?;
        }
    }
    Ok(hasher.finish())
}
