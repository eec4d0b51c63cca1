//! Which limits apply to a request, and the counters that it would be charged to.

use super::fault::fault_of;
use super::{EvaluationError, Fault, amount, computed, evaluate};
use crate::attributes::Attributes;
use crate::plugin::{Charge, Count, Counts, Plugin};
use filter_config::{Expression, FailureMode, Limit, LimitIndex, Policy, WhenMissing};
use std::rc::Rc;

/// The limits that apply to a request, as the counters it would be charged to.
#[derive(Clone, Debug, Default)]
pub struct Applicable {
    pub(super) charges: Vec<Charge>,
    /// Those of limits that refuse nobody: that are in shadow, or allow what exceeds them.
    pub(super) shadowed: Vec<Charge>,
    /// Whether a limit was left out because it could not be evaluated.
    pub(super) failed_open: bool,
    /// Whether there may be more, which cannot be told before the request's body is known.
    pub undecided: bool,
    /// Whether what is to be held cannot be told before that.
    pub needs_body: bool,
    /// The values that limits count by, where a rate limit service has to know them.
    pub(super) values: Vec<Values>,
}

/// The values that a limit counts by.
#[derive(Clone, Debug)]
pub(super) struct Values {
    /// The limit.
    pub(super) index: LimitIndex,
    /// The values of its counter expressions, in their order.
    pub(super) texts: Vec<Rc<str>>,
}

// === impl Applicable ===

impl Applicable {
    /// Whether no limit applies.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.charges.is_empty() && self.shadowed.is_empty()
    }

    /// Whether it takes the body to tell what it costs: by the model that it names, or what else of it a cost
    /// reads.
    #[must_use]
    pub fn costs_by_body(&self, plugin: &Plugin) -> bool {
        let reads_body = |limit: &Limit| limit.cost.as_ref().is_some_and(Expression::needs_body);
        let charges = self.charges.iter().chain(&self.shadowed);
        let mut rates = charges.filter_map(|charge| plugin.rates.get(charge.rate));
        let mut exports = plugin.configuration.exports.iter();
        exports.any(|export| export.cost.needs_body())
            || rates.any(|rate| match rate.counts {
                Counts::Usd(_) => true,
                Counts::Tokens(_) => plugin.limit_of(rate).is_some_and(|(_, it)| reads_body(it)),
                Counts::Requests(_) | Counts::InFlight => false,
            })
    }
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
pub(super) fn or_open<T: Default>(
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
