//! The charge of an exchange: early, once its usage is known, and corrected at its end.

use super::machine::Stream;
use super::parts::Parts;
use super::state::{Admitted, Deferral, Metering, State};
use crate::ledger::{Admission, Stage};
use crate::policies::price::{self, Priced};
use crate::settle::{self, CostContext, MeteredUsage, RequestSize};
use crate::telemetry::{Count, Telemetry};
use limits::{StoreError, Timestamp};
use std::mem;
use std::rc::Rc;
use std::time::Duration;
use usage_meter::{Meter, Observation, Usage};

// === impl Stream ===

impl Stream {
    /// Charges an exchange whose usage report is not likely to change any more, so that the caller's
    /// next request is checked against it. The response is metered until its end all the same.
    pub(super) fn charge_early(&mut self) {
        self.charge_if(Meter::is_likely_final);
    }

    /// Charges an exchange whose usage the headers of its response report. If its body reports another, the
    /// difference is settled.
    pub(super) fn charge_by_headers(&mut self) {
        self.charge_if(|meter| meter.usage().is_some());
    }

    fn charge_if(&mut self, is_known: impl FnOnce(&Meter) -> bool) {
        let mut metering = match mem::replace(&mut self.state, State::Done) {
            State::Metering(metering) => metering,
            other => {
                self.state = other;
                return;
            }
        };
        let is_due = !metering.is_charged && self.request.fetched.is_none();
        if is_due {
            self.defer_early(&mut metering);
        }
        let meter = &metering.meter;
        if is_due && is_known(meter) {
            self.request.update_parameters();
            if !self.is_deferrable(meter) && metering.deferral != Deferral::None {
                let now = self.parts.host.now().unwrap_or_default();
                let admission = &mut metering.admitted.admission;
                self.take_back(admission, &mut metering.deferral, now);
            }
            self.note_model(meter);
            let metered = self.metered(meter, &self.size(true, Duration::ZERO));
            // An estimate follows from the whole response.
            if metered.is_some_and(|metered| !metered.is_estimated) {
                let raw = meter.raw_usage().unwrap_or_default();
                self.charge(&mut metering.admitted, Stage::Early, metered, raw);
                metering.is_charged = true;
                if meter.is_likely_final() {
                    metering.reported_at = self.parts.host.now().ok();
                }
            }
        }
        self.state = State::Metering(metering);
    }

    /// Charges an exchange whose response has ended. If it was charged early, the difference is settled.
    pub(super) fn end_response(&mut self, mut metering: Box<Metering>, is_complete: bool) {
        let Metering {
            admitted,
            meter,
            is_charged,
            reported_at,
            is_unread,
            deferral,
        } = &mut *metering;
        let (is_charged, is_unread) = (*is_charged, *is_unread);
        self.request.update_parameters();
        // Read before the end: a response that breaks off is not final.
        let is_complete = (is_complete && !is_unread) || meter.is_likely_final();
        if is_complete {
            meter.finish();
        } else {
            meter.cut_off();
        }
        self.note_model(meter);
        self.outcome.is_unread =
            (is_unread || meter.decoding_error().is_some()) && !meter.is_likely_final();
        let now = reported_at.or_else(|| self.parts.host.now().ok());
        let now = now.unwrap_or_default();
        let duration = admitted.admission.elapsed(now);
        let generating = duration.filter(|_| self.request.may_generate_text());
        let raw = meter.raw_usage().unwrap_or_default();
        self.settle_expired(now);
        let is_deferrable = !is_charged && self.is_deferrable(meter);
        if !is_deferrable {
            self.take_back(&mut admitted.admission, deferral, now);
        }
        let size = RequestSize {
            is_unread,
            ..self.size(is_complete, generating.unwrap_or_default())
        };
        let mut metered = self.metered(meter, &size);
        if self.outcome.is_unread {
            let reserved = settle::reserved_tokens(&self.parts.policies, &admitted.admission);
            metered = metered.map(|metered| metered.at_least(reserved));
        }
        if self.settle_fetched(meter, now) {
            metered = None;
        }
        if is_deferrable {
            let estimate = self.deferred_estimate(&size, metered);
            if let Deferral::Stored(key) = *deferral {
                self.raise_deferred(meter, key, now);
            } else {
                *deferral = self.defer(admitted, meter, estimate, now);
            }
            if *deferral != Deferral::Failed {
                let mut charges = admitted.admission.charges.clone();
                for charge in &mut charges {
                    // It is counted when it is settled.
                    charge.counter.cost = 0;
                }
                admitted.admission.remove_deferred();
                self.charge(admitted, Stage::End, None, raw);
                self.outcome.charges = charges;
                return;
            }
            metered = estimate;
        }
        let Parts {
            telemetry,
            estimator,
            ..
        } = &*self.parts;
        let is_included = self.request.chargeable.includes(meter) && self.request.fetched.is_none();
        if is_included && meter.is_completion() && meter.usage().is_none() {
            telemetry.count(Count::MissingUsage);
        }
        if meter.has_unreadable_counts() {
            telemetry.usage_unreadable(self.outcome.model.as_deref());
        }
        if let Some(MeteredUsage {
            usage,
            is_estimated: false,
        }) = metered
            // A request without a body fetches what was generated before, for a request that is not known.
            && self.request.bytes > 0
        {
            let observation = Observation {
                input_bytes: size.input_bytes,
                input_parts: size.input_parts,
                output_bytes: meter.output_bytes(),
                usage,
                // Several choices are no measure of one.
                is_bounded: self.request.output_bound().is_some()
                    || self.outcome.capped.is_some()
                    || self.request.parameters.choices() > 1,
                duration,
                ended_at: now.since(Timestamp::EPOCH).into(),
            };
            estimator.learn(size.model, &observation);
        }
        if is_charged && self.is_charged_for(admitted, metered, raw) {
            self.release_in_flight(&mut admitted.admission);
        } else {
            self.charge(admitted, Stage::End, metered, raw);
        }
        self.outcome.charges = mem::take(&mut admitted.admission.charges);
        self.count_usage();
    }

    /// Sets the model of the outcome to the one that the response names.
    fn note_model(&mut self, meter: &Meter) {
        // The name goes into logs and metrics.
        let plain = |model: &str| model.replace(char::is_control, "_").into();
        self.outcome.model = meter.model().map(plain);
    }

    /// Returns the size of the request, whose upstream may have generated text for some time.
    fn size(&self, is_complete: bool, generating: Duration) -> RequestSize<'_> {
        let model = self.outcome.model.as_deref();
        RequestSize {
            is_complete,
            ..self.request.size(&self.parts.estimator, model, generating)
        }
    }

    /// Returns the usage of a metered response.
    fn metered(&self, meter: &Meter, size: &RequestSize<'_>) -> Option<MeteredUsage> {
        let Parts {
            policies,
            estimator,
            ..
        } = &*self.parts;
        let on_missing = policies.configuration().usage.on_missing;
        let metered = settle::metered(estimator, on_missing, meter, size);
        metered.filter(|_| self.request.chargeable.includes(meter))
    }

    /// Charges an exchange without a metered response.
    pub(super) fn charge_unmetered(&mut self, mut admitted: Admitted, usage: Option<MeteredUsage>) {
        self.charge(&mut admitted, Stage::End, usage, &[]);
        self.outcome.charges = admitted.admission.charges;
        self.count_usage();
    }

    /// Charges an exchange for its usage, of which `raw` is the provider's report, and releases its
    /// reservations. What it was charged before is corrected.
    fn charge(
        &mut self,
        admitted: &mut Admitted,
        stage: Stage,
        metered: Option<MeteredUsage>,
        raw: &[u8],
    ) {
        let Admitted {
            admission,
            retained,
        } = admitted;
        let parts = Rc::clone(&self.parts);
        let Parts {
            policies,
            ledger,
            telemetry,
            ..
        } = &*parts;
        self.report_released(admission);
        self.outcome.usage = metered;
        self.outcome.usd = self.priced().map(|priced| priced.usd);
        let usd = self.outcome.usd.unwrap_or_default();
        let context = CostContext::new(metered, usd, retained.as_deref_mut(), raw);
        let mut context = context.read(!self.outcome.is_unread);
        let settled = settle::settle(policies, ledger, telemetry, admission, stage, &mut context);
        settle::export(policies, telemetry, &mut context);
        if let Err(error) = settled {
            self.on_unsettled(stage, &error);
        }
    }

    /// Returns whether an exchange was charged for this usage: costs follow from it, from the
    /// provider's report and from the prices of the model.
    fn is_charged_for(
        &self,
        admitted: &Admitted,
        metered: Option<MeteredUsage>,
        raw: &[u8],
    ) -> bool {
        let outcome = &self.outcome;
        let retained = admitted.retained.as_ref();
        let reported = retained.and_then(|retained| retained.outcome.as_ref());
        outcome.usage == metered
            && outcome.usd == self.priced().map(|priced| priced.usd)
            && reported.is_none_or(|reported| reported.raw == raw)
    }

    /// Releases what an early charge left reserved, if it needs no correction.
    fn release_in_flight(&self, admission: &mut Admission) {
        let ledger = &self.parts.ledger;
        let settled = ledger.settle(admission, Stage::End, |charge| charge.counter.cost);
        if let Err(error) = settled {
            self.on_unsettled(Stage::End, &error);
        }
    }

    /// Reports that counters could not be written. After an early charge, they are tried again.
    pub(super) fn on_unsettled(&self, stage: Stage, error: &StoreError) {
        self.parts.telemetry.count(Count::StorageErrors);
        if stage == Stage::End {
            let usage = &self.outcome.usage;
            let tokens = usage.map_or(0, |metered| metered.usage.total_tokens);
            Telemetry::usage_not_recorded(tokens, error);
        }
    }

    /// Counts the usage of an exchange, once, at its end.
    fn count_usage(&self) {
        let telemetry = &self.parts.telemetry;
        let Some(metered) = &self.outcome.usage else {
            return;
        };
        if metered.is_estimated {
            telemetry.count(Count::Estimated);
        }
        if self.priced().is_some_and(|priced| !priced.is_known) {
            telemetry.count(Count::Unpriced);
        }
        let model = self.outcome.model.as_deref();
        telemetry.tokens(model, &metered.usage, self.outcome.usd);
    }

    /// Reports the release of what an exchange reserves, if nothing was charged yet.
    fn report_released(&self, admission: &Admission) {
        let charges = &admission.charges;
        if charges
            .iter()
            .all(|charge| charge.counter.charged.is_none())
        {
            let Parts {
                policies,
                telemetry,
                ..
            } = &*self.parts;
            settle::report_reserved(policies, telemetry, admission, -1);
        }
    }

    /// Returns the price of the usage that is charged, by the requested model and the one that answered;
    /// `None` where there are no prices, or nothing is charged.
    fn priced(&self) -> Option<Priced> {
        self.price_of(&self.outcome.usage.as_ref()?.usage)
    }

    /// Returns the price of usage.
    pub(super) fn price_of(&self, usage: &Usage) -> Option<Priced> {
        let pricing = self.parts.policies.configuration().pricing.as_ref()?;
        let models = [self.request.model(), self.outcome.model.as_deref()];
        let models = models.into_iter().flatten();
        Some(price::priced(pricing, models, usage))
    }
}
