//! Hard limits: the request's own bound on its output is lowered to what is left, so that it cannot go past the limit.

use super::chargeable::Chargeable;
use super::held_body::WholeBody;
use super::machine::Stream;
use super::parts::Parts;
use crate::admit::{AdmissionError, Unbounded};
use crate::attributes::Attributes;
use crate::host::HeaderMap;
use crate::ledger::{Check, Demands, Verdict};
use filter_config::Cap;
use usage_meter::request::{OutputBound, Parameters};

/// The response header that has the bound on output to which a hard limit has lowered that of the request.
const HEADER: &str = "x-tollgate-capped";

/// How often a bound is lowered: each time, other requests have taken of what was left. After that, the least is tried.
const MAX_ATTEMPTS: usize = 16;

/// The most tokens that templates of chats add to the text of a body beyond what its JSON makes up for.
const TEMPLATE_TOKENS: u64 = 64;

/// The most tokens that the template of a chat adds for a message beyond what its JSON makes up for: an empty one has few
/// bytes.
const MESSAGE_TOKENS: u64 = 8;

/// The most tokens that a server adds to the input if there are tools.
const TOOLS_TOKENS: u64 = 1024;

/// What a request can use at most, by its bound on output.
#[derive(Clone, Copy, Debug)]
struct Capping {
    /// The most input tokens.
    input: u64,
    /// The bound on output of each choice without a limit.
    own: Option<u64>,
    /// The choices.
    choices: u64,
    /// The bound on its reasoning, which is a part of the output.
    thinking: u64,
}

// === impl Capping ===

impl Capping {
    /// A request that uses nothing.
    const NOTHING: Self = Self {
        input: 0,
        own: Some(0),
        choices: 1,
        thinking: 0,
    };

    /// Returns what the request uses at most with a bound.
    const fn amount(&self, bound: u64) -> u64 {
        self.input
            .saturating_add(bound.saturating_mul(self.choices))
    }

    /// Returns the highest bound with which the request uses no more than this.
    fn bound_within(&self, amount: u64) -> u64 {
        let output = amount.saturating_sub(self.input);
        output.checked_div(self.choices).unwrap_or_default()
    }
}

// === impl Stream ===

impl Stream {
    /// Checks a request to which hard limits apply: with all that it can use at most, and with a lower bound on its
    /// output where that has no room. The body of a request that is admitted then has that bound.
    ///
    /// # Errors
    /// [`AdmissionError::Uncapped`], where the request cannot be bounded, and as for other checks.
    pub(super) fn check_capped(
        &mut self,
        attributes: &Attributes,
        mut demands: Demands,
        body: Option<&mut WholeBody>,
        stream: Option<u32>,
    ) -> Result<Check, AdmissionError> {
        let cap = self.cap(&demands);
        let capping = self.capping(body.as_deref(), cap.parts);
        let capping = capping.map_err(AdmissionError::Uncapped)?;
        // APIs reject a bound on the output that is not above that on the reasoning.
        let min = match capping.thinking {
            0 => cap.min,
            thinking => thinking.saturating_add(cap.min),
        };
        let mut bound = capping.own.unwrap_or(cap.max.max(min));
        let min = min.min(bound);
        for left in (0..MAX_ATTEMPTS).rev() {
            demands.set_hard_amount(capping.amount(bound));
            let check = self.check(attributes, demands.clone(), stream)?;
            match &check {
                Check::Decided(Verdict::Rejected(rejection, _))
                    if rejection.charge.counter.is_hard && bound > min =>
                {
                    let room = rejection.charge.counter.standing.remaining();
                    let lower = capping.bound_within(room).min(bound.saturating_sub(1));
                    bound = if left > 1 { lower.max(min) } else { min };
                }
                Check::Decided(Verdict::Admitted(_)) => {
                    let is_lowered = capping.own.is_none_or(|own| bound < own);
                    return match body.filter(|_| is_lowered) {
                        Some(body) => self.admit_capped(attributes, check, body, bound),
                        None => Ok(check),
                    };
                }
                _ => return Ok(check),
            }
        }
        // Not reached: the last attempt is with the least bound.
        Err(AdmissionError::Uncapped(Unbounded::Form))
    }

    /// Sets the bound in the body of a request that was admitted with it.
    fn admit_capped(
        &mut self,
        attributes: &Attributes,
        check: Check,
        body: &mut WholeBody,
        bound: u64,
    ) -> Result<Check, AdmissionError> {
        match self.write_bound(attributes, &body.bytes, bound) {
            Ok(written) => {
                self.request.parameters = Parameters::read(&written);
                body.bytes = written;
                self.outcome.capped = Some(bound);
                Ok(check)
            }
            Err(error) => {
                if let Check::Decided(Verdict::Admitted(mut admission)) = check {
                    // What cannot be released expires.
                    let _ = self.parts.ledger.release(&mut admission);
                }
                Err(error)
            }
        }
    }

    /// Writes the body with a bound.
    fn write_bound(
        &self,
        attributes: &Attributes,
        body: &[u8],
        bound: u64,
    ) -> Result<Vec<u8>, AdmissionError> {
        let found = self.output_bound_of(body);
        let written = found.and_then(|found| found.set(bound));
        let written = written.ok_or(AdmissionError::Uncapped(Unbounded::Form))?;
        self.write_body(attributes.headers(), &written)
            .map_err(AdmissionError::Unchangeable)?;
        Ok(written)
    }

    /// Returns what the request can use at most, if each image and the like is of no more than `part_tokens`.
    ///
    /// # Errors
    /// If that is not known.
    fn capping(
        &self,
        body: Option<&WholeBody>,
        part_tokens: Option<u64>,
    ) -> Result<Capping, Unbounded> {
        let request = &self.request;
        let is_empty = request.has_ended && request.bytes == 0;
        if is_empty || request.chargeable != Chargeable::Usage {
            return Ok(Capping::NOTHING);
        }
        let body = body.ok_or(Unbounded::Body)?.bytes.as_slice();
        let endpoint = request.endpoint.as_ref().ok_or(Unbounded::Api)?;
        let parameters = &request.parameters;
        let mut capping = Capping {
            choices: parameters.choices(),
            ..Capping::NOTHING
        };
        let (mut parts, mut tools, mut messages) = (parameters.parts, 0, 0_u64);
        // What has the form of an image is text for the model, except where APIs have images.
        let mut part_bytes = 0;
        if endpoint.api != "embeddings" {
            let bound = self.output_bound_of(body).ok_or(Unbounded::Form)?;
            capping.own = bound.tokens();
            capping.choices = bound.choices();
            capping.thinking = bound.thinking_tokens();
            parts = parts.max(bound.parts());
            part_bytes = parameters.part_bytes.min(bound.part_bytes());
            messages = bound.messages();
            tools = if bound.has_tools() { TOOLS_TOKENS } else { 0 };
        }
        let parts = match parts {
            0 => 0,
            parts => parts.saturating_mul(part_tokens.ok_or(Unbounded::Parts)?),
        };
        // A token has at least a byte.
        let text = (body.len() as u64).saturating_sub(part_bytes);
        let messages = messages.saturating_mul(MESSAGE_TOKENS);
        let added = [parts, TEMPLATE_TOKENS, tools, messages];
        capping.input = added.into_iter().fold(text, u64::saturating_add);
        Ok(capping)
    }

    fn output_bound_of<'b>(&self, body: &'b [u8]) -> Option<OutputBound<'b>> {
        let endpoint = self.request.endpoint.as_ref()?;
        OutputBound::of(body, endpoint, self.request.model())
    }

    /// Returns the bounds of all hard limits that apply.
    fn cap(&self, demands: &Demands) -> Cap {
        let Parts { policies, .. } = &*self.parts;
        let hard = demands
            .charges
            .iter()
            .filter(|charge| charge.counter.is_hard);
        let caps = hard.filter_map(|charge| policies.rate_of(charge.rate)?.2.cap);
        let all = caps.reduce(|one, other| Cap {
            min: one.min.max(other.min),
            max: one.max.min(other.max),
            parts: one
                .parts
                .zip(other.parts)
                .map(|(one, other)| one.max(other)),
        });
        all.unwrap_or_default()
    }

    /// Names the bound on output that a hard limit has set.
    pub(super) fn report_cap(&self) {
        if let Some(bound) = self.outcome.capped {
            let mut number = itoa::Buffer::new();
            let value = number.format(bound).as_bytes();
            // The response is worth more than a header about it.
            let _ = self
                .parts
                .host
                .set_header(HeaderMap::Response, HEADER, value);
        }
    }
}
