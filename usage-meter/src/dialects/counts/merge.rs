//! The merging of several reports of one response.

use super::{Count, Counts};
use crate::json::number::Reported;

/// The input of Anthropic and Bedrock, whose parts exclude one another.
const INPUT_PARTS: [Count; 3] = [
    Count::InputWithoutCache,
    Count::CacheReadExtra,
    Count::CacheWriteExtra,
];

/// The numbers of an attempt or a step that a report lists on its own.
const ITERATION_COUNTS: [Count; 4] = [
    Count::InputWithoutCache,
    Count::CacheReadExtra,
    Count::CacheWriteExtra,
    Count::Output,
];

// === impl Counts ===

impl Counts {
    /// Replaces the numbers that a later report of the same response has.
    ///
    /// * A snapshot replaces the whole report if its parts add up to its total: an agent may report an inner
    ///   turn first, whose numbers the later ones do not include.
    /// * A number is never replaced by 0: gateways fill in zeros for what they do not know.
    /// * Input and cache are replaced together, because a later report may divide the same prompt otherwise.
    /// * A total is dropped if a part of it changes and the later report has none.
    pub(crate) fn overlay(&mut self, later: &Self) {
        if later.is_whole_snapshot() && (later.has_output() || !self.has_output()) {
            *self = *later;
            return;
        }
        let parts = [
            Count::InputWithCache,
            Count::InputWithoutCache,
            Count::Output,
        ];
        let has_changed = parts.into_iter().any(|part| {
            let pair = self.nonzero(part).zip(later.nonzero(part));
            pair.is_some_and(|(before, after)| before != after)
        });
        if has_changed && later.get(Count::Total).is_none() {
            self.set(Count::Total, None);
        }
        let repeats_input = later.nonzero(Count::CacheReadExtra).is_none()
            && later.nonzero(Count::CacheWriteExtra).is_none()
            && later.nonzero(Count::InputWithoutCache) == self.get(Count::InputWithoutCache);
        let has_input = INPUT_PARTS
            .into_iter()
            .any(|part| later.nonzero(part).is_some());
        if has_input && !repeats_input {
            for part in INPUT_PARTS {
                self.set(part, later.get(part));
            }
        }
        for (slot, tokens) in self.tokens.iter_mut().zip(later.tokens) {
            if tokens > 0 {
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
        self.is_unreadable |= other.is_unreadable;
    }

    /// Adds the numbers of another report, of other work.
    pub(crate) fn add_all(&mut self, other: &Self) {
        for (slot, tokens) in self.tokens.iter_mut().zip(other.tokens) {
            *slot = slot.saturating_add(tokens);
        }
        self.reported |= other.reported;
        self.is_unreadable |= other.is_unreadable;
    }

    /// Adds the numbers of an attempt or a step, unless it generated nothing: an attempt that is declined
    /// before its first token is not billed.
    pub(crate) fn add_iteration(&mut self, iteration: &Self) {
        self.is_unreadable |= iteration.is_unreadable;
        if iteration.nonzero(Count::Output).is_some() {
            for count in ITERATION_COUNTS {
                if let Some(tokens) = iteration.get(count) {
                    self.add(count, Reported::Tokens(tokens));
                }
            }
        }
    }

    /// Makes the output a placeholder that a later report replaces.
    pub(crate) fn demote_output(&mut self) {
        let output = self.get(Count::Output);
        self.set(Count::Output, None);
        self.set(Count::OutputAtStart, output);
    }

    /// Returns the number by which one of several reports of the same work is chosen; `None` if the report is
    /// unreadable.
    pub(crate) fn weight(&self) -> Option<u64> {
        (!self.is_unreadable).then(|| self.normalize().total_tokens)
    }

    /// Returns a number, if it was reported and is not 0.
    fn nonzero(&self, count: Count) -> Option<u64> {
        self.get(count).filter(|tokens| *tokens > 0)
    }

    fn has_output(&self) -> bool {
        self.nonzero(Count::Output).is_some() || self.nonzero(Count::ReasoningExtra).is_some()
    }

    /// Returns whether the report repeats all that the ones before it have, and adds up.
    fn is_whole_snapshot(&self) -> bool {
        let parts = [
            Count::InputWithCache,
            Count::ToolPromptExtra,
            Count::Output,
            Count::ReasoningExtra,
        ];
        let sum = parts
            .into_iter()
            .filter_map(|part| self.get(part))
            .fold(0, u64::saturating_add);
        self.get(Count::SnapshotTotal) == Some(sum)
    }
}
