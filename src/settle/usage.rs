//! The usage that an exchange is charged: reported, estimated, or both.

use filter_config::OnMissing;
use std::time::Duration;
use usage_meter::{Estimator, Meter, Usage};

/// The usage that an exchange is charged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct MeteredUsage {
    /// The tokens.
    pub(crate) usage: Usage,
    /// Whether they are estimated rather than reported.
    pub(crate) is_estimated: bool,
}

// === impl MeteredUsage ===

impl MeteredUsage {
    /// Returns an estimate of at least so many tokens: what is missing is added to the output.
    #[must_use]
    pub(crate) fn at_least(self, total_tokens: u64) -> Self {
        let missing = total_tokens.saturating_sub(self.usage.total_tokens);
        Self {
            usage: Usage {
                output_tokens: self.usage.output_tokens.saturating_add(missing),
                total_tokens: self.usage.total_tokens.saturating_add(missing),
                ..self.usage
            },
            is_estimated: true,
        }
    }
}

/// What is known of the request of an exchange.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct RequestSize<'a> {
    /// The model, by which estimates were learned.
    pub(crate) model: Option<&'a str>,
    /// The bytes of text that the model reads.
    pub(crate) input_bytes: u64,
    /// The images and other parts beside it.
    pub(crate) input_parts: u64,
    /// The usage that was expected when the request was admitted.
    pub(crate) expected: Usage,
    /// The time for which the upstream may have generated text that did not arrive: from passing on the
    /// request to the end. Zero where it generates none.
    pub(crate) elapsed: Duration,
    /// Whether the response is complete, or has reached the point after which nothing can change its
    /// report.
    pub(crate) is_complete: bool,
    /// Whether there was no memory to read all of the response.
    pub(crate) is_unread: bool,
}

/// Returns the usage of a metered response; `None` where it costs nothing.
///
/// A response of which a part was not read, for lack of memory for example, may have a report that was not seen.
/// It costs what was expected of it at least, whatever it is and wherever reports are optional.
///
/// A completion without a whole report, because none was requested, the client disconnected or the provider
/// reported only a part, is estimated from what passed. The least that it costs is what was reported; if it
/// is cut off, what the model generates in the time that has passed, so that hidden reasoning is charged;
/// and if it cannot be decoded, what was expected of it.
#[must_use]
pub(crate) fn metered(
    estimator: &Estimator,
    on_missing: OnMissing,
    meter: &Meter,
    request: &RequestSize<'_>,
) -> Option<MeteredUsage> {
    let reported = meter.usage();
    // What follows a report that is final cannot change it.
    let is_unread = request.is_unread || meter.decoding_error().is_some();
    let is_read = !is_unread || meter.is_likely_final();
    let is_whole = reported.is_some() && request.is_complete && is_read && !meter.is_partial();
    let may_be_estimated = meter.is_completion() && on_missing == OnMissing::Estimate;
    if is_whole || !(may_be_estimated || request.is_unread || meter.is_unread()) {
        return reported.map(|usage| MeteredUsage {
            usage,
            is_estimated: false,
        });
    }
    let floor = reported.unwrap_or_default();
    let mut estimate = estimate(estimator, request, meter.output_bytes()).usage;
    if !is_read {
        let Usage {
            input_tokens,
            output_tokens,
            ..
        } = request.expected;
        estimate.input_tokens = estimate.input_tokens.max(input_tokens);
        estimate.output_tokens = estimate.output_tokens.max(output_tokens);
    }
    let input_tokens = match floor.input_tokens {
        0 => estimate.input_tokens,
        reported => reported,
    };
    let output_tokens = floor.output_tokens.max(estimate.output_tokens);
    let (input_tokens, output_tokens) = if is_total_alone(&floor) && request.is_complete {
        // Only the division of the total is not known.
        let input_tokens = input_tokens.min(floor.total_tokens);
        (
            input_tokens,
            floor.total_tokens.saturating_sub(input_tokens),
        )
    } else {
        (input_tokens, output_tokens)
    };
    let usage = Usage {
        input_tokens,
        output_tokens,
        total_tokens: floor
            .total_tokens
            .max(input_tokens.saturating_add(output_tokens)),
        ..floor
    };
    Some(MeteredUsage {
        usage,
        is_estimated: true,
    })
}

/// Returns whether a report has a total but neither input nor output.
fn is_total_alone(usage: &Usage) -> bool {
    usage.total_tokens > 0 && usage.input_tokens == 0 && usage.output_tokens == 0
}

/// Returns an estimate, by the size of a request and of the content of its response. Of a response that is
/// cut off, the output is at least what the model generates in the time that has passed, up to what was
/// expected of it: the bound of the request, if it has one.
#[must_use]
pub(crate) fn estimate(
    estimator: &Estimator,
    request: &RequestSize<'_>,
    output_bytes: u64,
) -> MeteredUsage {
    let text = estimator.input_tokens(request.model, request.input_bytes);
    let parts = estimator.part_tokens(request.model, request.input_parts);
    let input_tokens = text.saturating_add(parts);
    let mut output_tokens = estimator.output_tokens(request.model, output_bytes);
    if !request.is_complete {
        let generated = estimator.generated_tokens(request.model, request.elapsed);
        output_tokens = output_tokens.max(generated.min(request.expected.output_tokens));
    }
    MeteredUsage {
        usage: Usage::new(input_tokens, output_tokens),
        is_estimated: true,
    }
}
