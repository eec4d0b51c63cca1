//! The normalization of a usage report.

use super::{Count, Counts};
use crate::usage::Usage;

// === impl Counts ===

impl Counts {
    /// Normalizes the report.
    ///
    /// * **Cache.** Anthropic and Bedrock report cache reads and writes beside the input, so they are
    ///   added to it; OpenAI and others report them as a part of it.
    ///   Where both report the same input, and the total has no room for the cache, the input includes it.
    /// * **Reasoning.** Gemini reports it beside the output, so it is added, unless its total shows that the
    ///   output has it already. Reasoning that exceeds the output (xAI, Perplexity) cannot be a part of it, and
    ///   is added too.
    /// * **Total.** If it exceeds the sum of its parts, the difference is what they exclude, see
    ///   [`Self::excluded`]; else the part that is not reported, or else output without a number of its own.
    pub(crate) fn normalize(&self) -> Usage {
        let tokens = |count| self.get(count).unwrap_or(0);
        let cache_read = tokens(Count::CacheReadExtra);
        let cache_write = tokens(Count::CacheWriteExtra);
        let cache = cache_read.saturating_add(cache_write);
        let total = tokens(Count::Total).max(tokens(Count::SnapshotTotal));
        let includes_cache = self.get(Count::InputWithoutCache) == self.get(Count::InputWithCache)
            && tokens(Count::InputWithCache) >= cache
            && total == tokens(Count::InputWithCache).saturating_add(tokens(Count::Output));
        let input_and_cache = self
            .get(Count::InputWithoutCache)
            .filter(|_| !includes_cache)
            .map(|input| input.saturating_add(cache));
        let billed = tokens(Count::BilledInput).saturating_add(tokens(Count::BilledImages));
        let mut input = input_and_cache
            .max(self.get(Count::InputWithCache))
            .filter(|input| *input > 0)
            .unwrap_or(billed.max(cache))
            .saturating_add(tokens(Count::ToolPromptExtra));
        let mut output = self
            .get(Count::Output)
            .or(self.get(Count::OutputAtStart))
            .filter(|output| *output > 0)
            .unwrap_or(tokens(Count::BilledOutput));
        let reasoning_extra = tokens(Count::ReasoningExtra);
        let includes_reasoning = output >= reasoning_extra && total == input.saturating_add(output);
        if !includes_reasoning {
            output = output.saturating_add(reasoning_extra);
        }
        let mut reasoning = tokens(Count::ReasoningIncluded);
        let all_reasoning = reasoning.max(reasoning_extra);
        if reasoning > output {
            output = output.saturating_add(std::mem::take(&mut reasoning));
        }
        let gap = total.saturating_sub(input.saturating_add(output));
        if total == 0 {
            input = input.saturating_add(tokens(Count::ConnectorInput));
        } else if let Some((of_input, of_output)) = self.excluded(gap, reasoning) {
            input = input.saturating_add(of_input);
            output = output.saturating_add(of_output);
        } else if input > 0 {
            output = output.saturating_add(gap);
        } else if output > 0 {
            input = gap;
        }
        Usage {
            input_tokens: input,
            output_tokens: output,
            total_tokens: total.max(input.saturating_add(output)),
            cached_tokens: tokens(Count::CacheReadIncluded).max(cache_read),
            cache_creation_tokens: tokens(Count::CacheWriteIncluded).max(cache_write),
            reasoning_tokens: all_reasoning,
        }
    }

    /// Returns the tokens of input and of output that the report has elsewhere and that add up to `gap`:
    /// reasoning, audio (Mistral), prompts of connectors, cache reads and writes. `None` if none do.
    fn excluded(&self, gap: u64, reasoning: u64) -> Option<(u64, u64)> {
        let tokens = |count| self.get(count).unwrap_or(0);
        let has_cache = self.get(Count::InputWithoutCache).is_some();
        let beside = |count| if has_cache { 0 } else { tokens(count) };
        let inputs = [
            tokens(Count::AudioInput),
            tokens(Count::ConnectorInput),
            tokens(Count::CacheReadIncluded).max(beside(Count::CacheReadExtra)),
            tokens(Count::CacheWriteIncluded).max(beside(Count::CacheWriteExtra)),
        ];
        // Each set of the inputs, without and with the reasoning.
        (0_u32..1 << inputs.len()).find_map(|set| {
            let of_input = inputs
                .iter()
                .enumerate()
                .filter(|(index, _)| set & (1 << index) != 0)
                .fold(0_u64, |sum, (_, tokens)| sum.saturating_add(*tokens));
            let of_output = gap.checked_sub(of_input)?;
            (of_output == 0 || of_output == reasoning).then_some((of_input, of_output))
        })
    }
}
