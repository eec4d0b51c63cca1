//! The limits of a caller, whatever it requests: what the usage endpoint reports.
//!
//! A limit is left out if a predicate is false that only reads the identity of the caller: its headers, `auth`, its address.
//! What reads the request itself is not evaluated: the endpoint is requested by another path and without a body. A
//! limit with such a predicate is conditional.

use super::applicable::{charge, counted_by, failed_counter, key, reads_request};
use super::error::{AdmissionError, or_open};
use crate::attributes::Attributes;
use crate::ledger::Charge;
use crate::policies::{EvaluationError, LimitRef, Policies, RateIndex};
use crate::telemetry::Telemetry;
use filter_config::{Expression, LimitIndex, WhenMissing};
use std::rc::Rc;

/// The most rates that are reported.
const MAX_ENTRIES: usize = 1_000;

/// The limits of a caller.
#[derive(Debug, Default)]
pub(crate) struct Overview {
    /// The rates of the limits, in the order of the configuration.
    pub(crate) entries: Vec<OverviewEntry>,
    /// Whether there are more.
    pub(crate) is_cut_off: bool,
}

/// A rate of a limit of a caller.
#[derive(Debug)]
pub(crate) struct OverviewEntry {
    /// The rate.
    pub(crate) rate: RateIndex,
    /// The caller's counter; `None` if it depends on the request.
    pub(crate) charge: Option<Charge>,
    /// What of a request decides whether the limit applies to it, or which counter it has; empty if nothing does.
    pub(crate) depends_on: Rc<[&'static str]>,
}

/// Finds the limits of the caller of a request.
///
/// # Errors
/// [`AdmissionError`], where the failure mode is to deny; where it is to allow, the limit in question is left out.
pub(crate) fn overview(
    policies: &Policies,
    telemetry: &Telemetry,
    attributes: &mut Attributes,
) -> Result<Overview, AdmissionError> {
    let configuration = policies.configuration();
    let mut overview = Overview::default();
    let depends_on_route = configuration.effective_lists().len() > 1;
    for (policy_index, policy) in configuration.policies.iter().enumerate() {
        for limit_index in 0..policy.limits.len() {
            let index = LimitIndex {
                policy: policy_index,
                limit: limit_index,
            };
            let Some(limit) = policies.limit(index) else {
                continue;
            };
            if limit.limit.shadow {
                continue;
            }
            let mode = configuration.failure_mode;
            let found = find(policies, attributes, &limit, depends_on_route);
            let found = or_open(telemetry, mode, limit.limit.enforces(), &mut false, found)?;
            for entry in found {
                if overview.entries.len() == MAX_ENTRIES {
                    overview.is_cut_off = true;
                    return Ok(overview);
                }
                overview.entries.push(entry);
            }
        }
    }
    Ok(overview)
}

/// Returns the rates of a limit, none if it does not apply to the caller.
fn find(
    policies: &Policies,
    attributes: &mut Attributes,
    limit_ref: &LimitRef<'_>,
    depends_on_route: bool,
) -> Result<Vec<OverviewEntry>, AdmissionError> {
    let LimitRef { policy, limit, .. } = limit_ref;
    let mut depends_on: Vec<&'static str> = Vec::new();
    if depends_on_route {
        depends_on.push("route");
    }
    let of_limit = format!("limits.{}.when", limit.name);
    for (when, path) in [(&policy.when, "when"), (&limit.when, of_limit.as_str())] {
        for (index, predicate) in when.iter().enumerate() {
            if adds(predicate, &mut depends_on) {
                continue;
            }
            match policies.evaluator().predicate(attributes, predicate) {
                Ok(true) => {}
                Ok(false) | Err(EvaluationError::Missing) => return Ok(Vec::new()),
                Err(error) => {
                    let path = format!("{path}[{index}]");
                    return Err(AdmissionError::evaluation(policy, path, error));
                }
            }
        }
    }
    let mut is_known = true;
    for expression in counted_by(limit) {
        is_known &= !adds(expression, &mut depends_on);
    }
    let key = if is_known {
        match key(policies, attributes, policy, limit, None) {
            Ok(key) => Some(key),
            Err((_, EvaluationError::Missing)) if limit.when_missing == Some(WhenMissing::Skip) => {
                return Ok(Vec::new());
            }
            Err((index, error)) => return Err(failed_counter(policy, limit, index, error)),
        }
    } else {
        None
    };
    let depends_on: Rc<[&'static str]> = depends_on.into();
    let mut entries = Vec::new();
    for rate in limit_ref.rates() {
        let charge = match key {
            Some(key) => charge(policies, attributes, rate, key)?,
            None => None,
        };
        entries.push(OverviewEntry {
            rate,
            charge,
            depends_on: Rc::clone(&depends_on),
        });
    }
    Ok(entries)
}

/// Adds what an expression reads of the request itself. Returns whether there is any.
fn adds(expression: &Expression, depends_on: &mut Vec<&'static str>) -> bool {
    let source = expression.source();
    let pseudo_headers = [(":path", "request.path"), (":method", "request.method")];
    let of_headers = pseudo_headers.into_iter();
    let of_headers = of_headers.filter(|(header, _)| source.contains(header));
    let of_headers = of_headers.map(|(_, name)| name);
    let uses = expression.uses().iter().filter_map(reads_request);
    let mut reads = false;
    for name in uses.chain(of_headers) {
        reads = true;
        if !depends_on.contains(&name) {
            depends_on.push(name);
        }
    }
    reads
}
