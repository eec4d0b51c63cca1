//! The response of an exchange: it is metered as it passes, and charged when its usage is known.

use super::head::status;
use super::{Next, State, Stream, Turn};
use crate::admit::Admission;
use crate::attributes::BodyError;
use crate::host::{Buffer, HeaderMap, Headers};
use crate::plugin::{Count, Decision};
use crate::reply;
use crate::settle::{self, Reading, Request, Spent, price};
use filter_config::Usd;
use std::mem;
use std::rc::Rc;
use usage_meter::{BedrockCounts, Meter, ResponseHead, Usage};

impl Stream {
    /// The response's headers are here: the upstream's, or those of a reply of Envoy's own.
    pub fn on_response_headers(&mut self, end_of_stream: bool) -> Next {
        self.tell_alternative();
        if matches!(self.state, State::New | State::Done | State::Metering(_)) {
            return Next::Continue;
        }
        let headers = self.plugin.host.headers(HeaderMap::Response);
        let headers = headers.unwrap_or_else(|error| {
            log::error!("response headers: {error}");
            Headers::default()
        });
        let status = status(&headers);
        match self.state {
            State::Queued(_) => self.on_response_before_turn(status),
            State::Asking(_) => self.on_response_before_answer(status),
            _ => {}
        }
        if matches!(self.state, State::Reading(_)) && !self.on_early_response(status) {
            return Next::Continue;
        }
        if !matches!(self.state, State::Admitted) {
            // The early response was replaced by a refusal.
            return match self.decision {
                Some(Decision::Denied | Decision::Failed) => Next::Pause,
                _ => Next::Continue,
            };
        }
        let Admission {
            charges,
            standings,
            told,
            ..
        } = &self.admission;
        reply::annotate(&self.plugin, charges, standings);
        reply::pass_on(&*self.plugin.host, told);
        if status == 101 {
            self.state = State::Upgraded;
            return Next::Continue;
        }
        self.prepare_to_withhold(&headers);
        let head = ResponseHead {
            status,
            content_type: headers.get("content-type"),
            content_encoding: headers.get("content-encoding"),
            path: self.path.as_bytes(),
            bedrock_counts: BedrockCounts {
                input: headers.get("x-amzn-bedrock-input-token-count"),
                output: headers.get("x-amzn-bedrock-output-token-count"),
                cache_read_input: headers.get("x-amzn-bedrock-cache-read-input-token-count"),
                cache_write_input: headers.get("x-amzn-bedrock-cache-write-input-token-count"),
            },
        };
        let meter = Meter::with_paths(&head, &self.plugin.usage_paths);
        self.state = State::Metering(Box::new(meter));
        if let Some(kept) = &mut self.kept {
            kept.answered(status, headers);
        }
        if end_of_stream {
            self.on_response_end(true);
        }
        Next::Continue
    }

    /// A response began while the request's body was kept back. Returns whether it is to be looked
    /// at any further.
    ///
    /// The upstream has not seen the body, so what it answers is hardly a completion. One that
    /// looks like it is admitted, or replaced by a refusal, as the policy has it without the body.
    pub(super) fn on_early_response(&mut self, status: u16) -> bool {
        let admitted = matches!(&self.state, State::Reading(waiting) if waiting.admitted);
        if !(200..300).contains(&status) {
            self.state = if admitted {
                State::Admitted
            } else {
                State::Done
            };
            return admitted;
        }
        let paused = self.request_paused;
        if self.on_whole_body(0, None, BodyError::Unfinished, Turn::Late) == Next::Continue
            && paused
        {
            self.resume_request();
        }
        true
    }

    /// `size` bytes of the response's body are here, and go on to the client afterwards.
    pub fn on_response_body(&mut self, size: usize, end_of_stream: bool) -> Next {
        let is_metering = matches!(self.state, State::Metering(_));
        if !is_metering && self.withhold.is_none() {
            return Next::Continue;
        }
        let bytes = match size {
            0 => Ok(Vec::new()),
            size => self.plugin.host.buffer(Buffer::ResponseBody, 0, size),
        };
        let bytes = bytes.unwrap_or_else(|error| {
            log::error!("response body: {error}");
            Vec::new()
        });
        let mut reported = true;
        if let State::Metering(meter) = &mut self.state {
            meter.push(&bytes);
            reported = meter.usage().is_some();
            if end_of_stream || meter.is_final() {
                self.on_response_end(end_of_stream);
            }
        }
        self.withhold(&bytes, reported, end_of_stream);
        Next::Continue
    }

    /// The response ends with trailers.
    pub fn on_response_trailers(&mut self) -> Next {
        self.on_response_end(true);
        self.withhold(&[], true, true);
        Next::Continue
    }

    /// Nothing more that matters will come: the exchange is charged.
    pub(super) fn on_response_end(&mut self, is_complete: bool) {
        if let State::Metering(mut meter) = mem::replace(&mut self.state, State::Done) {
            // Asked before the end is made: what breaks off is not final.
            let is_complete = is_complete || meter.is_final();
            meter.finish();
            // It goes into logs and metrics.
            let plain = |model: &str| model.replace(char::is_control, "_");
            self.model = meter.model().map(plain);
            if meter.is_completion() && meter.usage().is_none() {
                let host = &*self.plugin.host;
                self.plugin.metrics.count(host, Count::MissingUsage);
            }
            let reading = settle::reading(&self.plugin, &meter, &self.request(is_complete));
            if let Some(Reading {
                usage,
                estimated: false,
            }) = &reading
            {
                let Request { model, bytes, .. } = self.request(is_complete);
                let estimates = &self.plugin.estimates;
                estimates.learn(model, bytes, meter.output_bytes(), usage);
            }
            let raw = self.kept.is_some().then(|| meter.raw_usage()).flatten();
            self.charge(reading, raw.unwrap_or_default());
        }
    }

    /// The model that is asked: the path's, where it names one, whatever the body says.
    pub(super) fn asked_model(&self) -> Option<&str> {
        let target = self.target.as_ref();
        let named = target.and_then(|target| target.model.as_deref());
        named.or(self.ask.model.as_deref())
    }

    /// What is known of the exchange besides its response.
    pub(super) fn request(&self, is_complete: bool) -> Request<'_> {
        Request {
            model: self.asked_model().or(self.model.as_deref()),
            bytes: self.ask.input_bytes(self.request_bytes),
            is_complete,
        }
    }

    /// Charges the exchange for what it used, as the provider reported it in `raw`, and releases what
    /// it holds.
    pub(super) fn charge(&mut self, reading: Option<Reading>, raw: &[u8]) {
        let plugin = Rc::clone(&self.plugin);
        let host = &*plugin.host;
        self.tell_held(-1);
        if let Some(Reading { usage, estimated }) = &reading {
            if *estimated {
                plugin.metrics.count(host, Count::Estimated);
            }
            self.usd = self.priced(usage);
            let model = self.model.as_deref();
            plugin.metrics.tokens(host, model, usage, self.usd);
        }
        let usd = self.usd.unwrap_or_default();
        let mut spent = Spent::new(reading, usd, self.kept.as_deref_mut());
        spent.tell(raw);
        if let Err(error) = settle::settle(&plugin, &mut self.admission, &mut spent) {
            plugin.metrics.count(host, Count::StorageErrors);
            let cost = reading.map_or(0, |reading| reading.usage.total_tokens);
            log::error!("{cost} tokens not counted: {error}");
        }
        settle::export(&plugin, &mut spent);
        let Admission {
            charges,
            standings,
            costs,
            ..
        } = &self.admission;
        for ((charge, standing), cost) in charges.iter().zip(standings).zip(costs) {
            settle::alert(&plugin, charge, standing, *cost);
        }
        self.reading = reading;
    }

    /// What usage costs in money, by the model that was asked, else by that which answered; `None` where
    /// there are no prices.
    pub(super) fn priced(&self, usage: &Usage) -> Option<Usd> {
        let pricing = self.plugin.configuration.pricing.as_ref()?;
        let models = [self.asked_model(), self.model.as_deref()];
        let priced = price::priced(pricing, models.into_iter().flatten(), usage);
        if !priced.is_known {
            let host = &*self.plugin.host;
            self.plugin.metrics.count(host, Count::Unpriced);
        }
        Some(priced.usd)
    }
}
