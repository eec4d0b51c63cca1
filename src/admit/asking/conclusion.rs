//! What follows from the answers of a rate limit service, or from there being none.

use super::own::{self, count_request};
use super::{Asking, Pending, Told, is_counted};
use crate::admit::{Admission, Denial, Fault, Outcome, is_shadow};
use crate::host::is_header_value;
use crate::plugin::{Count, Plugin, Service};
use crate::settle;
use filter_config::RemoteFailureMode;
use limits::service::{DescriptorStatus, Protocol};
use limits::{Nanos, Standing, Timestamp};

/// Headers of the service that are passed on to a caller, at most.
const TOLD_HEADERS: usize = 16;

/// Bytes of the longest name and value of such a header.
const TOLD_BYTES: usize = 512;

// === impl Pending ===

impl Pending {
    /// How the descriptor stands that a reply says has no room, with its position among the limits
    /// where each has one; `None` where there is room.
    pub(super) fn refused(&self) -> Option<(Option<usize>, DescriptorStatus)> {
        let reply = self.reply()?;
        // Of what is asked without a hit nothing being left is what it takes to be refused.
        let is_spent = |status: &DescriptorStatus| {
            status.is_over_limit || (status.limit.is_some() && status.remaining == 0)
        };
        let spent = reply.statuses.iter().position(is_spent);
        match spent {
            Some(position) => {
                let limit = match self.limits.len() {
                    1 => Some(0),
                    _ => position.checked_sub(1),
                };
                let status = reply.statuses.get(position).copied();
                Some((limit, status.unwrap_or_default()))
            }
            None if reply.is_over_limit => Some((None, DescriptorStatus::default())),
            None => None,
        }
    }
}

// === impl Asking ===

impl Asking {
    /// Decides, if everything is answered.
    pub(super) fn conclude(
        mut self,
        plugin: &Plugin,
        service: &Service,
        now: u64,
    ) -> Result<Outcome, Fault> {
        if self.pending.iter().any(Pending::is_open) {
            return Ok(Outcome::Asking(Box::new(self)));
        }
        let told = self.told();
        let firm = || self.pending.iter().filter(|pending| !pending.shadow);
        let refused = firm().find_map(|pending| Some((pending, pending.refused()?)));
        if let Some((pending, (limit, status))) = refused
            && let Some(denial) = self.denial(plugin, now, pending, limit, status)
        {
            self.abandon(plugin);
            return Ok(Outcome::Denied(denial, told));
        }
        let failed = firm().any(|pending| pending.reply().is_none());
        if failed {
            match service.failure_mode {
                RemoteFailureMode::Deny => {
                    self.abandon(plugin);
                    return Err(Fault::ServiceUnavailable);
                }
                RemoteFailureMode::Allow => self.admission.failed_open = true,
                RemoteFailureMode::Local => {
                    if let Some(denial) = self.local_denial(plugin, now) {
                        self.abandon(plugin);
                        return Ok(Outcome::Denied(denial, told));
                    }
                }
            }
        }
        let adds = service.remote.protocol() == Protocol::EnvoyRls;
        let Self {
            mut admission,
            pending,
            ..
        } = self;
        for pending in pending {
            if pending.shadow && pending.refused().is_some() {
                let charge = pending.charges.first();
                let charge = charge.and_then(|&charge| admission.charges.get(charge));
                let charge = charge.filter(|charge| is_shadow(plugin, charge));
                admission.shadow_denied = charge.copied().or(admission.shadow_denied);
            }
            admission.asked.push(pending.asked(adds));
        }
        admission.told = told;
        count_request(plugin, service, now, &mut admission);
        Ok(Outcome::Admitted(admission))
    }

    /// The exchange waits no longer, and is not to go on: nothing stays held for it. What the service
    /// still grants it is given back when it comes.
    pub fn abandon(&mut self, plugin: &Plugin) {
        for pending in self.pending.drain(..) {
            self.admission.asked.push(pending.asked(false));
        }
        if settle::release(plugin, &mut self.admission).is_err() {
            // What it holds expires.
            plugin.metrics.count(&*plugin.host, Count::StorageErrors);
        }
    }

    /// The exchange waits no longer, and goes on whatever is still to be answered. What the service has
    /// granted already is settled with the rest.
    #[must_use]
    pub fn unanswered(self, plugin: &Plugin) -> Admission {
        let Self {
            mut admission,
            pending,
            ..
        } = self;
        if let Some(service) = &plugin.service {
            let adds = service.remote.protocol() == Protocol::EnvoyRls;
            let asked = pending.into_iter().map(|pending| pending.asked(adds));
            admission.asked = asked.collect();
            let now = plugin.host.now().unwrap_or_default();
            count_request(plugin, service, now, &mut admission);
        }
        admission
    }

    /// The refusal of a service, as far as it tells: which limit, how much of it, until when. What it
    /// does not tell is what this Envoy knows.
    fn denial(
        &self,
        plugin: &Plugin,
        now: u64,
        pending: &Pending,
        limit: Option<usize>,
        status: DescriptorStatus,
    ) -> Option<Denial> {
        let limit = limit.and_then(|limit| pending.limits.get(limit));
        let positions = pending.charges.iter().filter(|&&position| {
            let charge = self.admission.charges.get(position);
            let rate = charge.and_then(|charge| plugin.rates.get(charge.rate));
            rate.is_some_and(|rate| limit.is_none_or(|limit| *limit == (rate.policy, rate.limit)))
        });
        let candidates = positions.filter_map(|&position| {
            let charge = self.admission.charges.get(position)?;
            Some((charge, self.admission.standings.get(position).copied()?))
        });
        // Of several it is likely the one that this Envoy has seen used up, else the shortest.
        let (charge, known) = candidates.min_by_key(|(charge, standing)| {
            let left = standing.used < charge.limit;
            (left, charge.counted.window().length)
        })?;
        let window = charge.counted.window().length;
        let at = Timestamp::new(now);
        let resets_at = match status.resets_in {
            Some(resets_in) => at.saturating_add(resets_in),
            None if known.resets_at > at => known.resets_at,
            None => at.saturating_add(window.min(Nanos::MINUTE)),
        };
        let most = status.limit.map_or(charge.limit, u64::from);
        Some(Denial {
            charge: *charge,
            standing: Standing {
                limit: most,
                used: most,
                reserved: known.reserved,
                resets_at,
            },
            now,
        })
    }

    /// The refusal by this Envoy's own count, where there is no answer.
    fn local_denial(&self, plugin: &Plugin, now: u64) -> Option<Denial> {
        let firm = self.pending.iter().filter(|pending| !pending.shadow);
        let positions = firm.flat_map(|pending| &pending.charges);
        let mut counted = positions.filter_map(|&position| {
            let charge = self.admission.charges.get(position)?;
            Some((charge, self.admission.standings.get(position)?))
        });
        let (charge, standing) = counted.find(|(charge, standing)| {
            is_counted(plugin, charge) && !own::fits(charge, standing)
        })?;
        Some(Denial {
            charge: *charge,
            standing: *standing,
            now,
        })
    }

    /// What the service wants the caller to be told, as far as it can be.
    fn told(&self) -> Told {
        let mut told = Told::new();
        let firm = self.pending.iter().filter(|pending| !pending.shadow);
        for (name, value) in firm
            .filter_map(Pending::reply)
            .flat_map(|reply| &reply.headers)
        {
            let Ok(name) = str::from_utf8(name) else {
                continue;
            };
            let name = name.to_ascii_lowercase();
            let is_quota = name.starts_with("x-ratelimit-")
                || name.starts_with("ratelimit")
                || name.starts_with("retry-after");
            let is_token =
                |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
            if is_quota
                && name.bytes().all(is_token)
                && name.len() <= TOLD_BYTES
                && value.len() <= TOLD_BYTES
                && is_header_value(value)
                && told.len() < TOLD_HEADERS
            {
                told.retain(|(known, _)| *known != name);
                told.push((name, value.clone()));
            }
        }
        told
    }
}
