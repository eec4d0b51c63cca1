//! Callers: what sends a request, and the values that a limit counts it by, as text for the log.

#[cfg(test)]
mod tests;

use super::Policies;
use super::counter_text::{WITHHELD, is_credential};
use super::identity::{CallerId, CounterPosition, network};
use crate::attributes::Attributes;
use crate::host::Host;
use filter_config::Limit;

/// The most characters of one value.
const MAX_CHARS: usize = 64;

// === impl Policies ===

impl Policies {
    /// Returns the caller of a request, by the values of the counter expressions that identify callers, or by its
    /// address if it has no such value. An expression without a value is one that the caller does not have.
    ///
    /// The exchange does not pay for it: a request that waits would else have less fuel for its cost.
    #[must_use]
    pub(crate) fn caller(&self, attributes: &mut Attributes, host: &dyn Host) -> CallerId {
        let evaluator = self.evaluator();
        evaluator.apart(attributes, |attributes| self.caller_of(attributes, host))
    }

    fn caller_of(&self, attributes: &mut Attributes, host: &dyn Host) -> CallerId {
        let mut hasher = self.hasher();
        let mut is_identified = false;
        for &CounterPosition(policy, limit, counter) in &self.needs.identities {
            let limits = self.configuration.policies.get(policy);
            let limit = limits.and_then(|policy| policy.limits.get(limit));
            let Some(counter) = limit.and_then(|limit| limit.counters.get(counter)) else {
                continue;
            };
            let value = self.evaluator.text(attributes, counter).ok();
            is_identified |= value.is_some();
            hasher.value(counter.source().as_bytes());
            hasher.value(value.unwrap_or_default().as_bytes());
        }
        if !is_identified {
            // Without an address, all such callers count as one.
            let address = host.property(&["source", "address"]);
            hasher.value(&network(&address.ok().flatten().unwrap_or_default()));
        }
        CallerId::new(hasher.finish())
    }

    /// Returns the values of a limit's counter expressions, such as `auth.identity.userid = alice`:
    /// as much of each as distinguishes callers, and nothing of a value that an expression takes from
    /// where credentials are.
    #[must_use]
    pub(crate) fn describe_caller(&self, attributes: &mut Attributes, limit: &Limit) -> String {
        let mut caller = String::new();
        for counter in &limit.counters {
            let value = if is_credential(counter) {
                WITHHELD.to_owned()
            } else {
                let value = self.evaluator().text(attributes, counter);
                let value = value.unwrap_or_else(|error| error.to_string());
                value.chars().take(MAX_CHARS).collect()
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
}
