//! What a response used, and how the providers' own counts are put on one footing.

#[cfg(test)]
mod tests;

/// Tokens of one exchange, on the same footing whoever the provider is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Input, including cache reads, cache writes and the prompts of server-side tools.
    pub input_tokens: u64,
    /// Output, including reasoning.
    pub output_tokens: u64,
    /// The provider's total, or the sum of input and output where that is larger or it gives none.
    pub total_tokens: u64,
    /// The part of the input that was read from a cache.
    pub cached_tokens: u64,
    /// The part of the input that was written to a cache.
    pub cache_creation_tokens: u64,
    /// The part of the output that was reasoning.
    pub reasoning_tokens: u64,
}

/// One quantity of a provider's usage report, by what it includes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Count {
    /// Input that already includes what was read from and written to a cache.
    Prompt,
    /// Input that excludes the cache if [`Count::CacheRead`] or [`Count::CacheWrite`] are given beside it.
    Input,
    /// Output, including reasoning unless that is given as [`Count::Thoughts`].
    Output,
    /// Total.
    Total,
    /// Cache reads that the input includes.
    Cached,
    /// Cache reads beside [`Count::Input`].
    CacheRead,
    /// Cache writes that the input includes.
    Cacheable,
    /// Cache writes beside [`Count::Input`].
    CacheWrite,
    /// Prompts of server-side tools, beside the input.
    ToolPrompt,
    /// Reasoning that the output includes.
    Reasoning,
    /// Reasoning beside the output.
    Thoughts,
    /// Audio of the input; included or not, which the total tells.
    Audio,
    /// Input as billed, where the report has no other.
    BilledInput,
    /// Output as billed, where the report has no other.
    BilledOutput,
}

/// How many quantities there are.
const KINDS: usize = 14;

/// A provider's report as far as it has been read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    tokens: [u64; KINDS],
    /// A bit for each quantity that the report gives; the others are 0.
    given: u16,
}

impl Counts {
    /// Whether nothing was counted.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.given == 0
    }

    /// The quantity, if the report gives it.
    #[must_use]
    pub fn get(&self, count: Count) -> Option<u64> {
        let tokens = self.tokens.get(count as usize)?;
        (self.given & bit(count) != 0).then_some(*tokens)
    }

    /// Sets a quantity; the last one read counts.
    pub fn set(&mut self, count: Count, tokens: Option<u64>) {
        if let Some(slot) = self.tokens.get_mut(count as usize) {
            *slot = tokens.unwrap_or(0);
            self.given &= !bit(count);
            if tokens.is_some() {
                self.given |= bit(count);
            }
        }
    }

    /// Adds to a quantity that a report gives in parts.
    pub fn add(&mut self, count: Count, tokens: Option<u64>) {
        if let Some(tokens) = tokens {
            let known = self.get(count).unwrap_or(0);
            self.set(count, Some(known.saturating_add(tokens)));
        }
    }

    /// Takes every quantity that a later report of the same exchange gives.
    pub fn overlay(&mut self, later: &Self) {
        for (place, (mine, theirs)) in self.tokens.iter_mut().zip(later.tokens).enumerate() {
            if later.given & (1 << place) != 0 {
                *mine = theirs;
            }
        }
        self.given |= later.given;
    }

    /// Takes every quantity that is larger in another report of the same exchange.
    pub fn raise(&mut self, other: &Self) {
        for (mine, theirs) in self.tokens.iter_mut().zip(other.tokens) {
            *mine = theirs.max(*mine);
        }
        self.given |= other.given;
    }

    /// The report on the footing of [`Usage`].
    ///
    /// Names tell what a number includes: OpenAI's `prompt_tokens` has the cache in it, `input_tokens` and
    /// `inputTokens` with cache counts beside them have not. Some providers leave reasoning (xAI) or audio
    /// (Mistral) out of the parts but not out of the total; they are added where that makes the sum right.
    #[must_use]
    pub fn usage(&self) -> Usage {
        let count = |count| self.get(count).unwrap_or(0);
        let (cache_read, cache_write) = (count(Count::CacheRead), count(Count::CacheWrite));
        let beside_cache = self
            .get(Count::Input)
            .map(|input| input.saturating_add(cache_read).saturating_add(cache_write));
        let input = beside_cache
            .max(self.get(Count::Prompt))
            .or(self.get(Count::BilledInput))
            .unwrap_or(0);
        let mut input = input.saturating_add(count(Count::ToolPrompt));
        let output = self
            .get(Count::Output)
            .or(self.get(Count::BilledOutput))
            .unwrap_or(0);
        let mut output = output.saturating_add(count(Count::Thoughts));
        let total = count(Count::Total);
        let unexplained = total.saturating_sub(input.saturating_add(output));
        if unexplained > 0 {
            if unexplained == count(Count::Reasoning) {
                output = output.saturating_add(unexplained);
            } else if unexplained == count(Count::Audio) {
                input = input.saturating_add(unexplained);
            }
        }
        Usage {
            input_tokens: input,
            output_tokens: output,
            total_tokens: total.max(input.saturating_add(output)),
            cached_tokens: count(Count::Cached).max(cache_read),
            cache_creation_tokens: count(Count::Cacheable).max(cache_write),
            reasoning_tokens: count(Count::Reasoning).max(count(Count::Thoughts)),
        }
    }
}

const fn bit(count: Count) -> u16 {
    1 << count as u16
}
