//! Top lists at the usage endpoint: an administrator lists the largest counters.

use super::machine::{Next, Stream};
use super::parts::Parts;
use super::query::Query;
use super::usage_endpoint::list;
use crate::attributes::Attributes;
use crate::reply;
use filter_config::{LimitIndex, bounds};
use std::rc::Rc;

/// The most counters of an answer.
const MAX_ENTRIES: usize = 1_000;

// === impl Stream ===

impl Stream {
    /// Answers with the largest counters of the limits that a query names, or of all.
    pub(super) fn list_top(&mut self, query: &Query, mut attributes: Attributes) -> Next {
        let parts = Rc::clone(&self.parts);
        let Parts {
            policies,
            ledger,
            telemetry,
            responder,
            ..
        } = &*parts;
        if !self.may_administer(&mut attributes) {
            telemetry.administration_rejected("top");
            return self.answer_error(403, "not allowed");
        }
        if !ledger.tracks() {
            return self.answer_error(
                404,
                "nothing is tracked: the configuration has no \"track\"",
            );
        }
        let number = query.get("top").and_then(|text| text.parse::<u64>().ok());
        let number = number.filter(|number| bounds::TRACKED_COUNTERS.contains(number));
        let Some(number) = number.and_then(|number| usize::try_from(number).ok()) else {
            let (min, max) = (
                bounds::TRACKED_COUNTERS.start(),
                bounds::TRACKED_COUNTERS.end(),
            );
            let message = format!("expected one \"top\", a whole number from {min} to {max}");
            return self.answer_error(400, &message);
        };
        let is_named = |parameter: &str, name: &str| {
            !query.has(parameter) || query.get(parameter) == Some(name)
        };
        let (mut entries, mut left, mut is_found) = (String::from("["), MAX_ENTRIES, false);
        let mut is_cut_off = false;
        let of_configuration = policies.configuration().policies.iter().enumerate();
        for (policy_index, policy) in of_configuration {
            for (limit_index, limit) in policy.limits.iter().enumerate() {
                if !is_named("policy", &policy.name) || !is_named("limit", &limit.name) {
                    continue;
                }
                is_found = true;
                if left == 0 {
                    is_cut_off = true;
                    break;
                }
                let index = LimitIndex {
                    policy: policy_index,
                    limit: limit_index,
                };
                let (rate, largest) = match ledger.largest(index) {
                    Ok(Some(found)) => found,
                    Ok(None) => continue,
                    Err(error) => return self.fail(&error.into()),
                };
                is_cut_off |= largest.len().min(number) > left;
                for counter in largest.iter().take(number.min(left)) {
                    reply::push_top(&mut entries, policies, rate, counter);
                    left = left.saturating_sub(1);
                }
            }
        }
        if !is_found {
            return self.answer_error(404, "there is no such limit");
        }
        entries.push(']');
        let body = list("top", &entries, is_cut_off);
        responder.answer(200, "application/json", None, &body);
        Next::Pause
    }
}
