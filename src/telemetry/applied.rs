//! The limits that applied to an exchange, as access logs have them.

use super::record_struct::RecordStruct;
use crate::policies::{Policies, Rate, RateIndex, Unit};
use filter_config::{Limit, Usd};
use limits::{Nanos, Standing};
use std::fmt::Write;

/// The most limits that an exchange lists, each window of a limit counting as one.
pub(super) const MAX_LISTED: usize = 32;

/// A limit that applied to an exchange.
#[derive(Clone, Copy, Debug)]
pub(crate) struct AppliedLimit {
    /// The limit's rate.
    pub(crate) rate: RateIndex,
    /// How its counter stands; `None` if it was not read.
    pub(crate) standing: Option<Standing>,
    /// The limit's value.
    pub(crate) limit: u64,
    /// The length of its window.
    pub(crate) window: Nanos,
}

// === impl AppliedLimit ===

impl AppliedLimit {
    /// Appends the limit to a text, as `test/llm/free=40/50 tokens per 1m`.
    pub(crate) fn describe(&self, policies: &Policies, text: &mut String) {
        let Some((rate, policy, limit)) = policies.rate_of(self.rate) else {
            return;
        };
        text.extend([&policy.name, "/", &limit.name, "="]);
        match self.standing {
            Some(standing) => rate.unit.push_amount(text, standing.used),
            None => text.push('-'),
        }
        text.push('/');
        rate.unit.push_amount(text, self.limit);
        self.push_unit(text, rate, limit);
    }

    /// Returns why the limit rejects a request, such as `test/llm/free: 50 used and 0 reserved of 50 tokens per 1m`.
    pub(crate) fn describe_rejection(&self, policies: &Policies) -> String {
        let mut text = String::new();
        if let Some((rate, policy, limit)) = policies.rate_of(self.rate) {
            let standing = self.standing.unwrap_or_default();
            text.extend([&policy.name, "/", &limit.name, ": "]);
            rate.unit.push_amount(&mut text, standing.used);
            text.push_str(" used and ");
            rate.unit.push_amount(&mut text, standing.reserved);
            text.push_str(" reserved of ");
            rate.unit.push_amount(&mut text, self.limit);
            self.push_unit(&mut text, rate, limit);
        }
        text
    }

    /// Appends a unit and its window, as ` tokens per 1m`.
    fn push_unit(&self, text: &mut String, rate: &Rate, limit: &Limit) {
        text.push(' ');
        text.push_str(rate.unit.name());
        if rate.unit == Unit::InFlight {
            return;
        }
        text.push_str(" per ");
        match rate.written_window(limit) {
            Some(window) => text.push_str(window),
            // Writing to a text does not fail.
            None => drop(write!(text, "{}s", self.window.as_secs_rounded_up())),
        }
    }

    /// Writes the limit as fields of a record.
    pub(super) fn record(&self, policies: &Policies, record: &mut RecordStruct) {
        let Some((rate, policy, limit)) = policies.rate_of(self.rate) else {
            return;
        };
        let mut amount = |name: &str, amount: u64| match rate.unit {
            Unit::Usd(_) => record.text(name, &Usd(amount).to_string()),
            _ => record.number(name, amount),
        };
        if let Some(standing) = self.standing {
            amount("used", standing.used);
            amount("reserved", standing.reserved);
        }
        amount("limit", self.limit);
        record.text("name", &[&policy.name, "/", &limit.name].concat());
        record.text("unit", rate.unit.name());
        if rate.unit != Unit::InFlight {
            record.number("window_seconds", self.window.as_secs_rounded_up());
        }
    }
}

/// Returns limits as a text, as `test/llm/free=40/50 tokens per 1m; test/llm/all=0/4 concurrent requests`.
pub(super) fn list(policies: &Policies, limits: &[AppliedLimit]) -> String {
    let mut text = String::with_capacity(limits.len().saturating_mul(48));
    for limit in limits.iter().take(MAX_LISTED) {
        if !text.is_empty() {
            text.push_str("; ");
        }
        limit.describe(policies, &mut text);
    }
    text
}
