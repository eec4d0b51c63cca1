//! Settlement: what an exchange used becomes its cost, and is added to its counters.

#[cfg(test)]
mod tests;

use crate::admit::Admission;
use crate::meter::{Meter, Usage};
use crate::plugin::Plugin;
use crate::storage::StorageError;
use filter_config::OnMissing;

/// Bytes of text that make a token, where nothing better is known: the average of English prose
/// over the tokenizers of the large providers.
const BYTES_PER_TOKEN: u64 = 4;

/// What an exchange used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reading {
    /// The tokens.
    pub usage: Usage,
    /// Whether they were estimated rather than reported.
    pub estimated: bool,
}

/// What the response that a meter read used; `None` when it is nothing that costs.
///
/// A completion that reported nothing, because nobody asked or somebody hung up, is estimated from
/// what passed: `request_bytes` of request and the content of the response.
#[must_use]
pub fn reading(meter: &Meter, request_bytes: u64, on_missing: OnMissing) -> Option<Reading> {
    let reported = meter.usage();
    if meter.is_final() || !meter.is_completion() || on_missing == OnMissing::Ignore {
        return reported.map(|usage| Reading {
            usage,
            estimated: false,
        });
    }
    match reported {
        Some(usage) => Some(Reading {
            usage,
            estimated: false,
        }),
        None => Some(estimate(request_bytes, meter.output_bytes())),
    }
}

/// An estimate from the sizes of a request and of the content that came back.
#[must_use]
pub fn estimate(request_bytes: u64, output_bytes: u64) -> Reading {
    let input_tokens = request_bytes.div_ceil(BYTES_PER_TOKEN);
    let output_tokens = output_bytes.div_ceil(BYTES_PER_TOKEN);
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
    let claims = plugin.claims(&admission.charges);
    let costs = vec![cost; claims.len()];
    plugin.storage.settle(
        &*plugin.host,
        now,
        &claims,
        &admission.tickets,
        &costs,
        &mut admission.standings,
    )
}
