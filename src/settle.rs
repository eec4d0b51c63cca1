//! Settlement: what an exchange used becomes its cost, and is added to its counters.

#[cfg(test)]
mod tests;

use crate::admit::Admission;
use crate::meter::{Meter, Usage};
use crate::plugin::{Charge, Counts, Plugin};
use crate::storage::StorageError;
use filter_config::OnMissing;

/// What an exchange used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reading {
    /// The tokens.
    pub usage: Usage,
    /// Whether they were estimated rather than reported.
    pub estimated: bool,
}

/// What is known of an exchange besides its response.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// The model, for what was learnt of it.
    pub model: Option<&'a str>,
    /// Bytes of request body that went to the upstream.
    pub bytes: u64,
    /// Whether the response came to its end, or to where nothing that follows can change its report.
    pub is_complete: bool,
}

/// What the response that a meter read used; `None` when it is nothing that costs.
///
/// A completion that reported nothing, because nobody asked or somebody hung up, is estimated from
/// what passed. What it had reported until it broke off is the least that it costs.
#[must_use]
pub fn reading(plugin: &Plugin, meter: &Meter, request: &Request<'_>) -> Option<Reading> {
    let reported = meter.usage();
    let is_whole = reported.is_some() && request.is_complete;
    let estimates = plugin.configuration.usage.on_missing == OnMissing::Estimate;
    if is_whole || !meter.is_completion() || !estimates {
        return reported.map(|usage| Reading {
            usage,
            estimated: false,
        });
    }
    let floor = reported.unwrap_or_default();
    let estimate = estimate(plugin, request, meter.output_bytes()).usage;
    let input_tokens = match floor.input_tokens {
        0 => estimate.input_tokens,
        reported => reported,
    };
    let output_tokens = floor.output_tokens.max(estimate.output_tokens);
    let usage = Usage {
        input_tokens,
        output_tokens,
        total_tokens: floor
            .total_tokens
            .max(input_tokens.saturating_add(output_tokens)),
        ..floor
    };
    Some(Reading {
        usage,
        estimated: true,
    })
}

/// An estimate from the sizes of a request and of the content that came back.
#[must_use]
pub fn estimate(plugin: &Plugin, request: &Request<'_>, output_bytes: u64) -> Reading {
    let estimates = &plugin.estimates;
    let input_tokens = estimates.input_tokens(request.model, request.bytes);
    let output_tokens = estimates.output_tokens(request.model, output_bytes);
    Reading {
        usage: Usage {
            input_tokens,
            output_tokens,
            total_tokens: input_tokens.saturating_add(output_tokens),
            ..Usage::default()
        },
        estimated: true,
    }
}

/// Adds a cost, in tokens, to every counter that an exchange is charged to, and releases what it
/// holds there.
///
/// # Errors
/// [`StorageError`] when a counter could not be written; the others are.
pub fn settle(plugin: &Plugin, admission: &mut Admission, cost: u64) -> Result<(), StorageError> {
    if admission.charges.is_empty() {
        return Ok(());
    }
    let now = plugin.host.now().unwrap_or_default();
    let claims: Vec<_> = admission.charges.iter().map(Charge::claim).collect();
    let rates = admission
        .charges
        .iter()
        .map(|charge| plugin.rates.get(charge.rate));
    let costs: Vec<u64> = rates
        .map(|rate| match rate.map(|rate| rate.counts) {
            Some(Counts::Tokens(_)) => cost,
            Some(Counts::InFlight) | None => 0,
        })
        .collect();
    let settled = plugin.storage.settle(
        &*plugin.host,
        now,
        &claims,
        &admission.tickets,
        &costs,
        &mut admission.standings,
    );
    if let Some(service) = &plugin.service {
        for asked in admission.asked.drain(..) {
            let cost = costs.get(asked.charge).copied().unwrap_or_default();
            service.remote.settle(
                &*plugin.host,
                now,
                &asked.subject,
                asked.reservation,
                cost.saturating_sub(asked.added),
                &admission.trace,
            );
        }
    }
    settled
}
