//! The numbers of a provider's usage report.

use crate::json::number::Reported;

mod merge;
mod normalize;
#[cfg(test)]
mod tests;

/// The maximum of a plausible number of tokens. In a report, what exceeds it is a defect of the upstream, such
/// as -1 cast to an unsigned type, and makes the report unreadable; in a request it bounds nothing.
pub const MAX_TOKENS: u64 = 1 << 40;

/// A number in a provider's usage report, by what it includes.
///
/// "Included" means that another number has these tokens too, "extra" that no other has them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Count {
    /// Input that includes cache reads and cache writes.
    InputWithCache,
    /// Input that excludes the cache if [`Self::CacheReadExtra`] or [`Self::CacheWriteExtra`] are
    /// reported beside it.
    InputWithoutCache,
    /// Output, including reasoning unless that is reported as [`Self::ReasoningExtra`].
    Output,
    /// Output at the start of a stream, before any was generated: a placeholder.
    OutputAtStart,
    /// Total.
    Total,
    /// Total of a report that repeats all that the reports before it have.
    SnapshotTotal,
    /// Cache reads that the input includes.
    CacheReadIncluded,
    /// Cache reads beside [`Self::InputWithoutCache`].
    CacheReadExtra,
    /// Cache writes that the input includes.
    CacheWriteIncluded,
    /// Cache writes beside [`Self::InputWithoutCache`].
    CacheWriteExtra,
    /// Prompts of server-side tools, beside the input.
    ToolPromptExtra,
    /// Prompts of server-side tools; the total shows whether the input includes them.
    ConnectorInput,
    /// Reasoning that the output includes.
    ReasoningIncluded,
    /// Reasoning beside the output.
    ReasoningExtra,
    /// Audio input; the total shows whether the input includes it.
    AudioInput,
    /// Input as billed, used where the report has no other.
    BilledInput,
    /// Images as billed, beside [`Self::BilledInput`].
    BilledImages,
    /// Output as billed, used where the report has no other.
    BilledOutput,
}

/// The number of variants of [`Count`].
const COUNTS: usize = 18;

/// The numbers that have been read of a usage report.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    /// The numbers that were reported; the others are 0.
    tokens: [u64; COUNTS],
    /// A bit for each number that was reported.
    reported: u32,
    /// Whether a number is not plausible, so that none of them can be trusted.
    is_unreadable: bool,
}

// === impl Count ===

impl Count {
    const fn bit(self) -> u32 {
        1 << self as u32
    }
}

// === impl Counts ===

impl Counts {
    /// Returns whether the report has no number.
    pub(crate) const fn is_empty(&self) -> bool {
        self.reported == 0
    }

    /// Returns whether the report has a number that is not plausible.
    pub(crate) const fn is_unreadable(&self) -> bool {
        self.is_unreadable
    }

    /// Returns a number, if it was reported.
    pub(crate) fn get(&self, count: Count) -> Option<u64> {
        let tokens = self.tokens.get(count as usize)?;
        (self.reported & count.bit() != 0).then_some(*tokens)
    }

    /// Sets a number, or removes it.
    pub(crate) fn set(&mut self, count: Count, tokens: Option<u64>) {
        if let Some(slot) = self.tokens.get_mut(count as usize) {
            *slot = tokens.unwrap_or(0);
            self.reported &= !count.bit();
            if tokens.is_some() {
                self.reported |= count.bit();
            }
        }
    }

    /// Reads a number that may have been reported under another name before. The larger one counts, so
    /// that no alias of 0 or null erases it.
    pub(crate) fn read(&mut self, count: Count, value: Reported) {
        if let Some(tokens) = self.plausible(value) {
            self.set(count, Some(tokens).max(self.get(count)));
        }
    }

    /// Adds to a number that is reported in parts.
    pub(crate) fn add(&mut self, count: Count, value: Reported) {
        if let Some(tokens) = self.plausible(value) {
            let sum = self.get(count).unwrap_or(0).saturating_add(tokens);
            self.is_unreadable |= sum > MAX_TOKENS;
            self.set(count, Some(sum));
        }
    }

    /// Returns the number, if it is plausible.
    fn plausible(&mut self, value: Reported) -> Option<u64> {
        match value {
            Reported::Tokens(tokens) if tokens <= MAX_TOKENS => Some(tokens),
            Reported::Tokens(_) | Reported::Negative => {
                self.is_unreadable = true;
                None
            }
            Reported::None => None,
        }
    }
}
