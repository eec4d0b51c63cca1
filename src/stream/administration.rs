//! Administration of counters at the usage endpoint: a given counter is read, reset, or topped up.
//!
//! A browser sends no such change for another site: it takes a header that a simple request cannot have.

use super::grant::{Failed, GrantBody, PendingGrant, Target};
use super::machine::{Next, Stream};
use super::parts::Parts;
use super::query::Query;
use super::state::State;
use crate::attributes::Attributes;
use crate::host::{Buffer, Headers};
use crate::ledger::Charge;
use crate::policies::{LimitRef, Unit};
use crate::reply::{self, UsageEntry};
use crate::telemetry::Telemetry;
use std::rc::Rc;

/// The header that every change of counters has to have, with any value.
const HEADER: &str = "x-tollgate-admin";

/// The longest body of a grant in bytes.
const MAX_BODY_BYTES: usize = 4096;

/// What is done with a counter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Action {
    Read,
    Reset,
    Grant,
}

// === impl Action ===

impl Action {
    const fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Reset => "reset",
            Self::Grant => "grant",
        }
    }
}

// === impl Stream ===

impl Stream {
    /// Carries out an administrative request, or waits for its body.
    pub(super) fn administer(
        &mut self,
        method: &str,
        query: &Query,
        mut attributes: Attributes,
        end_of_stream: bool,
    ) -> Next {
        let action = match method {
            "DELETE" => Action::Reset,
            "POST" => Action::Grant,
            _ => Action::Read,
        };
        let parts = Rc::clone(&self.parts);
        let policies = &parts.policies;
        if !self.may_administer(&mut attributes) {
            parts.telemetry.administration_rejected(action.name());
            return self.answer_error(403, "not allowed");
        }
        let headers = attributes.headers();
        if action != Action::Read
            && let Err((status, message)) = check_origin(headers)
        {
            parts.telemetry.administration_rejected(action.name());
            return self.answer_error(status, &message);
        }
        let is_json = headers.text("content-type").is_some_and(|kind| {
            let media = kind.split(';').next().unwrap_or_default().trim();
            media.eq_ignore_ascii_case("application/json")
        });
        if action == Action::Grant && !is_json {
            return self.answer_error(415, "the body has to be application/json");
        }
        if action != Action::Read && parts.ledger.is_remote() {
            let message = "a rate limit service has the counters: they are changed there";
            return self.answer_error(501, message);
        }
        let target = match Target::of(policies, query) {
            Ok(target) => target,
            Err((status, message)) => return self.answer_error(status, &message),
        };
        let limit = policies.limit(target.limit);
        let by = limit.map(|it| policies.describe_caller(&mut attributes, it.limit));
        let by = by.unwrap_or_default();
        match action {
            Action::Read => {
                let mut charges = target.charges(policies);
                match parts.ledger.read(&mut charges) {
                    Ok(()) => self.answer_counter(action, &target, &charges, &by, None),
                    Err(error) => self.fail(&error.into()),
                }
            }
            Action::Reset => self.credit(action, &target, &by, None, u64::MAX),
            Action::Grant if end_of_stream => self.answer_error(400, "the request has no body"),
            Action::Grant => {
                self.state = State::Granting(Box::new(PendingGrant { target, by }));
                if policies.configuration().hold_headers {
                    Next::Pause
                } else {
                    Next::Continue
                }
            }
        }
    }

    /// Takes a part of the body of a grant, of which `size` bytes are in Envoy's buffer.
    pub(super) fn on_grant_body(&mut self, size: usize, end_of_stream: bool) -> Next {
        if size > MAX_BODY_BYTES {
            return self.answer_error(413, "the body is too large");
        }
        if !end_of_stream {
            return Next::Pause;
        }
        let body = self.parts.host.buffer(Buffer::RequestBody, 0, size);
        let State::Granting(pending) = std::mem::replace(&mut self.state, State::Done) else {
            return Next::Continue;
        };
        let PendingGrant { target, by } = *pending;
        let Some(grant) = GrantBody::read(&body.unwrap_or_default()) else {
            let message =
                "the body has to be {\"grant\": n}, with a \"unit\" where the limit has several";
            return self.answer_error(400, message);
        };
        let charges = target.charges(&self.parts.policies);
        match grant.amount(&charges) {
            Ok((unit, amount)) => self.credit(Action::Grant, &target, &by, Some(unit), amount),
            Err((status, message)) => self.answer_error(status, &message),
        }
    }

    /// Returns whether a request may administer counters.
    pub(super) fn may_administer(&self, attributes: &mut Attributes) -> bool {
        let policies = &self.parts.policies;
        let endpoint = policies.configuration().usage_endpoint.as_ref();
        let when = endpoint.and_then(|endpoint| endpoint.admin.as_ref());
        when.is_some_and(|when| {
            matches!(policies.evaluator().predicate(attributes, when), Ok(true))
        })
    }

    /// Takes back what is used of a counter, in the rates of a unit or in all.
    fn credit(
        &mut self,
        action: Action,
        target: &Target,
        by: &str,
        unit: Option<&'static str>,
        amount: u64,
    ) -> Next {
        let parts = Rc::clone(&self.parts);
        let Parts {
            policies, ledger, ..
        } = &*parts;
        let charges = target.charges(policies).into_iter();
        let mut charges: Vec<Charge> = charges
            .filter(|charge| match unit {
                Some(unit) => reply::unit(charge.unit) == unit,
                None => charge.unit != Unit::InFlight,
            })
            .collect();
        match ledger.credit(&mut charges, amount) {
            Ok(taken) => {
                // What is granted has one unit.
                let granted = charges.first().filter(|_| action == Action::Grant);
                let granted = granted.map(|charge| charge.unit.amount(taken));
                self.answer_counter(action, target, &charges, by, granted.as_deref())
            }
            Err(error) => self.fail(&error.into()),
        }
    }

    /// Reports how a counter stands, by charges that were read or changed.
    fn answer_counter(
        &mut self,
        action: Action,
        target: &Target,
        charges: &[Charge],
        by: &str,
        granted: Option<&str>,
    ) -> Next {
        let parts = Rc::clone(&self.parts);
        let Parts {
            policies,
            ledger,
            responder,
            ..
        } = &*parts;
        let entries = charges.iter().map(|charge| UsageEntry {
            rate: charge.rate,
            counter: Some((charge.counter.rate, charge.counter.standing)),
            depends_on: &[],
        });
        let entries: Vec<UsageEntry<'_>> = entries.collect();
        if let Some(LimitRef { policy, limit, .. }) = policies.limit(target.limit) {
            let names = [policy.name.as_str(), &limit.name];
            let key = charges.first().map_or(0, |charge| charge.counter.key);
            Telemetry::administered(action.name(), names, key, granted.unwrap_or_default(), by);
        }
        let now = ledger.now().unwrap_or_default();
        let entries = reply::entries(policies, &entries, self.scope(), now);
        let granted = granted.map_or_else(String::new, |it| format!("\"granted\":{it},"));
        let body = format!("{{{granted}\"limits\":{entries}}}\n");
        responder.answer(200, "application/json", None, &body);
        Next::Pause
    }
}

/// Checks that a browser does not send a change for another site.
fn check_origin(headers: &Headers) -> Result<(), Failed> {
    if headers.get(HEADER).is_none() {
        return Err((403, format!("a change needs the header \"{HEADER}\"")));
    }
    let site = headers.text("sec-fetch-site");
    let is_other_site = site.is_some_and(|it| !matches!(&*it, "same-origin" | "none"));
    let authority = headers.text(":authority").unwrap_or_default();
    let is_other_origin = headers.text("origin").is_some_and(|origin| {
        let host = origin.split_once("://").map(|(_, host)| host);
        !host.is_some_and(|host| host.eq_ignore_ascii_case(&authority))
    });
    if is_other_site || is_other_origin {
        return Err((403, "a change from another site is not allowed".to_owned()));
    }
    Ok(())
}
