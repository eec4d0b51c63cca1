//! The charge of an exchange, once its usage is known.

use super::machine::Stream;
use super::parts::Parts;
use super::state::{Admitted, Metering};
use crate::ledger::Admission;
use crate::policies::{Unit, price};
use crate::settle::{self, CostContext, MeteredUsage, RequestSize};
use crate::telemetry::{Count, Telemetry};
use filter_config::Usd;
use limits::Timestamp;
use std::rc::Rc;
use usage_meter::{Observation, Usage};

// === impl Stream ===

impl Stream {
    /// Charges an exchange whose response has ended, or cannot change its usage report any more.
    pub(super) fn end_response(&mut self, metering: Metering, is_complete: bool) {
        let Metering {
            admitted,
            mut meter,
        } = metering;
        // Read before the end: a response that breaks off is not final.
        let is_complete = is_complete || meter.is_final();
        if is_complete {
            meter.finish();
        } else {
            meter.cut_off();
        }
        // The name goes into logs and metrics.
        let plain = |model: &str| model.replace(char::is_control, "_");
        self.outcome.model = meter.model().map(plain);
        let Parts {
            policies,
            telemetry,
            estimator,
            ..
        } = &*self.parts;
        if meter.is_completion() && meter.usage().is_none() {
            telemetry.count(Count::MissingUsage);
        }
        let on_missing = policies.configuration().usage.on_missing;
        let now = self.parts.host.now().unwrap_or_default();
        let duration = admitted.admission.elapsed(now);
        let generating = duration.filter(|_| self.request.may_generate_text());
        let answered_by = self.outcome.model.as_deref();
        let size = RequestSize {
            is_complete,
            ..self
                .request
                .size(estimator, answered_by, generating.unwrap_or_default())
        };
        let metered = settle::metered(estimator, on_missing, &meter, &size);
        if let Some(MeteredUsage {
            usage,
            is_estimated: false,
        }) = &metered
        {
            let observation = Observation {
                input_bytes: size.input_bytes,
                output_bytes: meter.output_bytes(),
                usage: *usage,
                is_bounded: self.request.parameters.max_output_tokens.is_some(),
                duration,
                ended_at: now.since(Timestamp::EPOCH).into(),
            };
            estimator.learn(size.model, &observation);
        }
        let raw = admitted.retained.is_some().then(|| meter.raw_usage());
        self.charge(*admitted, metered, raw.flatten().unwrap_or_default());
    }

    /// Charges an exchange for its usage, of which `raw` is the provider's report, and releases its
    /// reservations.
    pub(super) fn charge(&mut self, admitted: Admitted, metered: Option<MeteredUsage>, raw: &[u8]) {
        let Admitted {
            mut admission,
            mut retained,
        } = admitted;
        let parts = Rc::clone(&self.parts);
        let Parts {
            policies,
            ledger,
            telemetry,
            ..
        } = &*parts;
        self.report_reserved(&admission, -1);
        if let Some(MeteredUsage {
            usage,
            is_estimated,
        }) = &metered
        {
            if *is_estimated {
                telemetry.count(Count::Estimated);
            }
            self.outcome.usd = self.usd(usage);
            telemetry.tokens(self.outcome.model.as_deref(), usage, self.outcome.usd);
        }
        let usd = self.outcome.usd.unwrap_or_default();
        let mut context = CostContext::new(metered, usd, retained.as_deref_mut(), raw);
        let settled = settle::settle(policies, ledger, telemetry, &mut admission, &mut context);
        if let Err(error) = settled {
            telemetry.count(Count::StorageErrors);
            let tokens = metered.map_or(0, |metered| metered.usage.total_tokens);
            Telemetry::usage_not_recorded(tokens, &error);
        }
        settle::export(policies, telemetry, &mut context);
        self.outcome.usage = metered;
    }

    /// Reports the tokens that the exchange reserves of each limit: with 1 as the sign when they are
    /// reserved, and with -1 when they are released. Of a limit's rates, which reserve the same, the
    /// first counts.
    pub(super) fn report_reserved(&self, admission: &Admission, sign: i64) {
        let Parts {
            policies,
            telemetry,
            ..
        } = &*self.parts;
        for charge in &admission.charges {
            let amount = charge.counter.amount;
            if charge.unit == Unit::Tokens(0)
                && amount > 0
                && let Some(rate) = policies.rate(charge.rate)
            {
                let tokens = i64::try_from(amount).unwrap_or(i64::MAX);
                telemetry.reserved(rate.limit, tokens.saturating_mul(sign));
            }
        }
    }

    /// Returns the cost of usage in dollars, by the requested model and the one that answered; `None`
    /// where there are no prices.
    fn usd(&self, usage: &Usage) -> Option<Usd> {
        let pricing = self.parts.policies.configuration().pricing.as_ref()?;
        let models = [self.request.model(), self.outcome.model.as_deref()];
        let priced = price::priced(pricing, models.into_iter().flatten(), usage);
        if !priced.is_known {
            self.parts.telemetry.count(Count::Unpriced);
        }
        Some(priced.usd)
    }
}
