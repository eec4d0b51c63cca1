//! The numbers of a provider's usage report, and their normalization.

use crate::usage::Usage;

#[cfg(test)]
mod tests;

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
    /// Total.
    Total,
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
    /// Reasoning that the output includes.
    ReasoningIncluded,
    /// Reasoning beside the output.
    ReasoningExtra,
    /// Audio input; the total shows whether the input includes it.
    AudioInput,
    /// Input as billed, used where the report has no other.
    BilledInput,
    /// Output as billed, used where the report has no other.
    BilledOutput,
}

/// The number of variants of [`Count`].
const COUNTS: usize = 14;

/// The numbers that have been read of a usage report.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    tokens: [u64; COUNTS],
    /// A bit for each number that was reported; the others are 0.
    reported: u16,
}

// === impl Count ===

impl Count {
    const fn bit(self) -> u16 {
        1 << self as u16
    }
}

// === impl Counts ===

impl Counts {
    /// Returns whether the report has no number.
    pub(crate) const fn is_empty(&self) -> bool {
        self.reported == 0
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

    /// Adds to a number that is reported in parts.
    pub(crate) fn add(&mut self, count: Count, tokens: Option<u64>) {
        if let Some(tokens) = tokens {
            let known = self.get(count).unwrap_or(0);
            self.set(count, Some(known.saturating_add(tokens)));
        }
    }

    /// Replaces the numbers that a later report of the same response has.
    pub(crate) fn overlay(&mut self, later: &Self) {
        for (index, (slot, tokens)) in self.tokens.iter_mut().zip(later.tokens).enumerate() {
            if later.reported & (1 << index) != 0 {
                *slot = tokens;
            }
        }
        self.reported |= later.reported;
    }

    /// Replaces the numbers that are larger in another report of the same response.
    pub(crate) fn raise(&mut self, other: &Self) {
        for (slot, tokens) in self.tokens.iter_mut().zip(other.tokens) {
            *slot = tokens.max(*slot);
        }
        self.reported |= other.reported;
    }

    /// Normalizes the report.
    ///
    /// * **Cache.** Anthropic and Bedrock report cache reads and writes beside the input, so they are
    ///   added to it; OpenAI and others report them as a part of it.
    /// * **Reasoning.** Gemini reports it beside the output, so it is added. xAI excludes it from the
    ///   output but not from the total: it is added if that makes the sum equal to the total.
    /// * **Audio.** Mistral does the same with the audio of the input.
    pub(crate) fn normalize(&self) -> Usage {
        let tokens = |count| self.get(count).unwrap_or(0);
        let cache_read = tokens(Count::CacheReadExtra);
        let cache_write = tokens(Count::CacheWriteExtra);
        let input_and_cache = self
            .get(Count::InputWithoutCache)
            .map(|input| input.saturating_add(cache_read).saturating_add(cache_write));
        let input = input_and_cache
            .max(self.get(Count::InputWithCache))
            .or(self.get(Count::BilledInput))
            .unwrap_or(0);
        let mut input = input.saturating_add(tokens(Count::ToolPromptExtra));
        let output = self
            .get(Count::Output)
            .or(self.get(Count::BilledOutput))
            .unwrap_or(0);
        let mut output = output.saturating_add(tokens(Count::ReasoningExtra));
        let total = tokens(Count::Total);
        let unexplained = total.saturating_sub(input.saturating_add(output));
        if unexplained > 0 {
            if unexplained == tokens(Count::ReasoningIncluded) {
                output = output.saturating_add(unexplained);
            } else if unexplained == tokens(Count::AudioInput) {
                input = input.saturating_add(unexplained);
            }
        }
        Usage {
            input_tokens: input,
            output_tokens: output,
            total_tokens: total.max(input.saturating_add(output)),
            cached_tokens: tokens(Count::CacheReadIncluded).max(cache_read),
            cache_creation_tokens: tokens(Count::CacheWriteIncluded).max(cache_write),
            reasoning_tokens: tokens(Count::ReasoningIncluded).max(tokens(Count::ReasoningExtra)),
        }
    }
}
