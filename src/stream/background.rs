//! Responses that are generated in the background: their usage is reported to a later request, which may be
//! another caller's, on another worker.
//!
//! The charge of the request that starts one is deferred. The first exchange that fetches its report settles
//! that charge; without one, the charge is estimated when it expires.

use super::chargeable::Chargeable;
use super::machine::Stream;
use super::parts::Parts;
use super::progress::FetchedId;
use super::state::{Admitted, Deferral, Metering};
use crate::attributes::{Attributes, Body};
use crate::host::HeaderMap;
use crate::ledger::{Admission, DeferredCharge, DeferredLookup, Stage};
use crate::settle::{self, CostContext, DeferredCost, MeteredUsage, RequestSize};
use filter_config::OnMissing;
use limits::Timestamp;
use std::mem;
use std::time::Duration;
use usage_meter::{BackgroundStatus, Meter, Usage};

/// The longest identifier of a response that is remembered, in bytes.
const MAX_ID_BYTES: usize = 256;

/// Returns whether a response says that it is generated in the background, and has not ended.
fn is_pending(meter: &Meter) -> bool {
    meter.background() == Some(BackgroundStatus::Pending)
}

// === impl Stream ===

impl Stream {
    /// Returns what a background response is charged if its report is never seen: the usage that was expected
    /// of it, or more if more has been seen already.
    pub(super) fn deferred_estimate(
        &self,
        size: &RequestSize<'_>,
        metered: Option<MeteredUsage>,
    ) -> Option<MeteredUsage> {
        if self.parts.policies.configuration().usage.on_missing == OnMissing::Ignore {
            return None;
        }
        let seen = metered.map(|metered| metered.usage).unwrap_or_default();
        let input_tokens = size.expected.input_tokens.max(seen.input_tokens);
        let output_tokens = size.expected.output_tokens.max(seen.output_tokens);
        Some(MeteredUsage {
            usage: Usage::new(input_tokens, output_tokens),
            is_estimated: true,
        })
    }

    /// Stores the charge of an exchange whose response is generated in the background, so that it can be deferred.
    /// If it is not stored, it is to be charged the estimate in the end.
    pub(super) fn defer(
        &self,
        admitted: &mut Admitted,
        meter: &Meter,
        estimate: Option<MeteredUsage>,
        now: Timestamp,
    ) -> Deferral {
        let Some(id) = meter.response_id().filter(|id| id.len() <= MAX_ID_BYTES) else {
            return Deferral::Failed;
        };
        let Parts {
            host,
            policies,
            ledger,
            telemetry,
            ..
        } = &*self.parts;
        let Admitted {
            admission,
            retained,
        } = admitted;
        let usage = estimate.map(|metered| metered.usage).unwrap_or_default();
        let usd = self.price_of(&usage).map(|priced| priced.usd);
        let usd = usd.unwrap_or_default();
        let mut context = CostContext::new(estimate, usd, retained.as_deref_mut(), &[]);
        settle::estimate_costs(policies, telemetry, admission, &mut context);
        let lifetime = policies.configuration().usage.background_ttl.into();
        let known = (usage, self.request.model());
        let key = self.background_key(id);
        // Few exchanges get here, so that nothing is retained for it: what identifies a caller is still there.
        let headers = host.headers(HeaderMap::Request).unwrap_or_default();
        let mut attributes = Attributes::new(headers);
        attributes.body = Body::Opaque;
        let owner = policies.caller(&mut attributes, &**host).short();
        let stored = ledger.defer(now, lifetime, (owner, key), admission, known);
        let (is_stored, expired) = stored.unwrap_or_else(|error| {
            self.on_unsettled(Stage::Early, &error);
            (false, Vec::new())
        });
        self.settle_all(expired);
        if is_stored {
            settle::take_over_reserved(policies, telemetry, admission, -1);
            Deferral::Stored(key)
        } else {
            Deferral::Failed
        }
    }

    /// Stores the charge of a background response as soon as its identifier is known, because others may fetch it
    /// before its own exchange ends.
    pub(super) fn defer_early(&self, metering: &mut Metering) {
        let Metering {
            admitted,
            meter,
            deferral,
            ..
        } = metering;
        if *deferral == Deferral::None && self.is_deferrable(meter) && meter.response_id().is_some()
        {
            let size = self.request.size(
                &self.parts.estimator,
                self.outcome.model.as_deref(),
                Duration::ZERO,
            );
            let estimate = self.deferred_estimate(&size, None);
            let now = self.parts.host.now().unwrap_or_default();
            *deferral = self.defer(admitted, meter, estimate, now);
        }
    }

    /// Returns whether the charge of an exchange is deferred if its response ends like this.
    pub(super) fn is_deferrable(&self, meter: &Meter) -> bool {
        is_pending(meter)
            && self.request.chargeable == Chargeable::Usage
            && self.request.fetched.is_none()
    }

    /// Takes back the stored charge of an exchange that has the report itself. If another exchange has settled it,
    /// this one costs nothing.
    pub(super) fn take_back(
        &mut self,
        admission: &mut Admission,
        deferral: &mut Deferral,
        now: Timestamp,
    ) {
        let Deferral::Stored(key) = mem::take(deferral) else {
            return;
        };
        match self.parts.ledger.take_deferred(now, key) {
            Ok((found, expired)) => {
                self.settle_all(expired);
                if matches!(found, DeferredLookup::Found(_)) {
                    let Parts {
                        policies,
                        telemetry,
                        ..
                    } = &*self.parts;
                    settle::take_over_reserved(policies, telemetry, admission, 1);
                    return;
                }
            }
            // It stays stored, and will be settled.
            Err(error) => self.on_unsettled(Stage::Early, &error),
        }
        admission.remove_deferred();
        self.request.chargeable = Chargeable::Nothing;
    }

    /// Settles the deferred charge of the response that the request fetches, if this is its report. Returns
    /// whether the response is one that another request is charged for.
    pub(super) fn settle_fetched(&self, meter: &Meter, now: Timestamp) -> bool {
        let Some(id) = self.request.fetched.as_ref().map(FetchedId::as_str) else {
            return false;
        };
        let key = self.background_key(id);
        if meter.usage().is_none() && meter.response_id().is_none_or(|known| known == id) {
            self.raise_deferred(meter, key, now);
        }
        if is_pending(meter) && meter.output_bytes() == 0 {
            return true;
        }
        if meter.response_id() != Some(id) {
            return false;
        }
        let is_free = self.request.chargeable != Chargeable::Usage;
        match meter.background() {
            None | Some(BackgroundStatus::Pending) => return is_free,
            // A client may have disconnected before the report.
            Some(BackgroundStatus::Final) if meter.usage().is_none() && meter.is_completion() => {
                return is_free;
            }
            Some(_) => {}
        }
        match self.parts.ledger.take_deferred(now, key) {
            Ok((found, expired)) => {
                self.settle_all(expired);
                match found {
                    DeferredLookup::Found(deferred) => {
                        self.settle_one(*deferred, self.cost_of(meter));
                    }
                    DeferredLookup::Settled => {}
                    DeferredLookup::Missing => return is_free,
                }
                true
            }
            Err(error) => {
                self.on_unsettled(Stage::Early, &error);
                true
            }
        }
    }

    /// Raises the estimate of a deferred charge to the text that was fetched: a client that disconnects before the
    /// report has received it.
    pub(super) fn raise_deferred(&self, meter: &Meter, key: u128, now: Timestamp) {
        let Parts {
            policies,
            ledger,
            estimator,
            ..
        } = &*self.parts;
        let model = self.outcome.model.as_deref();
        let output_tokens = estimator.output_tokens(model, meter.output_bytes());
        if output_tokens == 0 || policies.configuration().usage.on_missing == OnMissing::Ignore {
            return;
        }
        match ledger.raise_deferred(now, key, output_tokens) {
            Ok(expired) => self.settle_all(expired),
            Err(error) => self.on_unsettled(Stage::Early, &error),
        }
    }

    /// Settles expired deferred charges.
    pub(super) fn settle_expired(&self, now: Timestamp) {
        self.settle_all(self.parts.ledger.take_expired(now));
    }

    /// Returns the cost of a background response that has ended.
    fn cost_of<'a>(&'a self, meter: &'a Meter) -> DeferredCost<'a> {
        match meter.usage() {
            Some(usage) if !meter.is_partial() => DeferredCost::Reported {
                usage,
                model: self.outcome.model.as_deref(),
                raw: meter.raw_usage().unwrap_or_default(),
            },
            // A failed response is an error, not a completion. A cancelled one may have generated text.
            None if !meter.is_completion() => DeferredCost::Nothing,
            _ => DeferredCost::Estimate,
        }
    }

    fn settle_all(&self, expired: Vec<DeferredCharge>) {
        for deferred in expired {
            self.settle_one(deferred, DeferredCost::Estimate);
        }
    }

    fn settle_one(&self, deferred: DeferredCharge, cost: DeferredCost<'_>) {
        let Parts {
            policies,
            ledger,
            telemetry,
            ..
        } = &*self.parts;
        settle::settle_deferred(policies, ledger, telemetry, deferred, cost);
    }

    /// Returns the key of a background response. It includes the upstream, so that no upstream can report the
    /// usage of another's response.
    fn background_key(&self, id: &str) -> u128 {
        let cluster = self.parts.host.property(&["xds", "cluster_name"]);
        let mut hasher = self.parts.policies.hasher();
        hasher.value(&cluster.ok().flatten().unwrap_or_default());
        hasher.value(id.as_bytes());
        hasher.finish()
    }
}
