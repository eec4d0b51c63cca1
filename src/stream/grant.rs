//! A counter that an administrative request names, and what is granted to it.

use super::query::Query;
use crate::ledger::Charge;
use crate::policies::{LimitRef, Policies, Unit};
use crate::reply;
use filter_config::{Json, LimitIndex, Usd};
use limits::Reservation;

/// The largest grant of what is no money.
const MAX_GRANT: u64 = 1 << 53;

/// A grant that waits for the body that says how much.
#[derive(Debug)]
pub(super) struct PendingGrant {
    pub(super) target: Target,
    /// The administrator.
    pub(super) by: String,
}

/// A counter of a limit.
#[derive(Clone, Debug)]
pub(super) struct Target {
    pub(super) limit: LimitIndex,
    /// The values that the limit counts by, in the order of its counter expressions.
    values: Vec<String>,
}

/// Why an administrative request is not carried out: a status, and what is wrong.
pub(super) type Failed = (u16, String);

/// The body of a grant.
#[derive(Debug, PartialEq)]
pub(super) struct GrantBody {
    /// How much, as it is written in decimals.
    grant: String,
    unit: Option<String>,
}

// === impl Target ===

impl Target {
    /// Finds the counter that a query names.
    pub(super) fn of(policies: &Policies, query: &Query) -> Result<Self, Failed> {
        let required = |name: &str| {
            let value = query.get(name);
            value.ok_or_else(|| {
                (
                    400,
                    format!("the query needs the parameter \"{name}\" once"),
                )
            })
        };
        let (policy_name, limit_name) = (required("policy")?, required("limit")?);
        let configuration = policies.configuration();
        let mut policies_by_name = configuration.policies.iter();
        let policy = policies_by_name.position(|it| it.name == policy_name);
        let limit = policy.and_then(|policy| {
            let mut limits = configuration.policies.get(policy)?.limits.iter();
            let limit = limits.position(|it| it.name == limit_name)?;
            Some(LimitIndex { policy, limit })
        });
        let limit = limit.ok_or_else(|| (404, "there is no such limit".to_owned()))?;
        let LimitRef { limit: found, .. } = policies
            .limit(limit)
            .ok_or_else(|| (404, "there is no such limit".to_owned()))?;
        let mut positional = query.all("counter");
        let mut values = Vec::with_capacity(found.counters.len());
        for counter in &found.counters {
            let source = counter.source();
            let value = if query.has(source) {
                query.get(source)
            } else {
                positional.next()
            };
            let value = value.ok_or_else(|| {
                (
                    400,
                    format!("the query needs a value of the counter \"{source}\", once"),
                )
            })?;
            values.push(value.to_owned());
        }
        // A value that the limit does not count by would change the counter of others.
        let is_known = |name: &str| {
            matches!(name, "policy" | "limit" | "counter")
                || found
                    .counters
                    .iter()
                    .any(|counter| counter.source() == name)
        };
        if positional.next().is_some() || !query.names().all(is_known) {
            let message = "the query has a value that the limit does not count by";
            return Err((400, message.to_owned()));
        }
        Ok(Self { limit, values })
    }

    /// Returns the counters of the limit's rates.
    pub(super) fn charges(&self, policies: &Policies) -> Vec<Charge> {
        let Some(limit_ref) = policies.limit(self.limit) else {
            return Vec::new();
        };
        let LimitRef { policy, limit, .. } = &limit_ref;
        let key = if self.values.is_empty() {
            policies.key_without_values(policy, limit)
        } else {
            let mut hasher = policies.hasher();
            for value in &self.values {
                hasher.value(value.as_bytes());
            }
            hasher.finish()
        };
        let charge = |index| {
            let rate = policies.rate(index)?;
            Some(Charge {
                rate: index,
                unit: rate.unit,
                is_enforced: true,
                ttl: Charge::DEFAULT_TTL,
                counter: Reservation::new(rate.counters, key, rate.max, 0),
            })
        };
        limit_ref.rates().filter_map(charge).collect()
    }
}

// === impl GrantBody ===

impl GrantBody {
    /// Reads a body; `None` if it is no object with these fields.
    pub(super) fn read(bytes: &[u8]) -> Option<Self> {
        let Ok(Json::Object(entries)) = serde_json::from_slice(bytes) else {
            return None;
        };
        let (mut grant, mut unit) = (None, None);
        for (name, value) in entries {
            match (name.as_str(), value) {
                ("grant", Json::Whole(number)) if grant.is_none() => {
                    grant = Some(number.to_string());
                }
                ("grant", Json::Number(number)) if grant.is_none() => {
                    grant = Some(number.to_string());
                }
                ("unit", Json::String(text)) if unit.is_none() => unit = Some(text),
                _ => return None,
            }
        }
        Some(Self {
            grant: grant?,
            unit,
        })
    }

    /// Returns the unit of the grant and how much it is, of a limit with these charges.
    pub(super) fn amount(&self, charges: &[Charge]) -> Result<(&'static str, u64), Failed> {
        let mut units: Vec<&'static str> = Vec::new();
        for charge in charges.iter().filter(|it| it.unit != Unit::InFlight) {
            let name = reply::unit(charge.unit);
            if !units.contains(&name) {
                units.push(name);
            }
        }
        let unit = match (&self.unit, units.as_slice()) {
            (Some(unit), units) => units.iter().find(|it| *it == unit).copied(),
            (None, [unit]) => Some(*unit),
            (None, _) => None,
        };
        let unit = unit.ok_or_else(|| {
            let expected = units.join("\", \"");
            (
                400,
                format!("expected a \"unit\" of the limit: \"{expected}\""),
            )
        })?;
        let text = &self.grant;
        let amount = match unit {
            "usd" => text.parse().ok().map(|Usd(amount)| amount),
            _ => text.parse().ok().filter(|amount| *amount <= MAX_GRANT),
        };
        let amount = amount.filter(|amount| *amount > 0);
        let amount = amount.ok_or_else(|| (400, format!("{text} is no amount of {unit}")))?;
        Ok((unit, amount))
    }
}
