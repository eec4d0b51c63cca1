//! The numbers at configured pointers.

use std::sync::Arc;

use crate::dialects::{Formula, UsageNumber};
use crate::usage::Usage;

/// The numbers that were found at configured pointers.
#[derive(Clone, Debug, Default)]
pub(super) struct ConfiguredNumbers {
    formulas: Arc<[Formula]>,
    /// What each pointer led to, as far as the last one that led to a number: at most
    /// [`UsagePaths::MAX_POINTERS`](crate::UsagePaths::MAX_POINTERS).
    tokens: Vec<Option<u64>>,
    /// A bit for each pointer that last led to a number that is not plausible.
    outdated: u32,
}

// === impl ConfiguredNumbers ===

impl ConfiguredNumbers {
    pub(super) fn new(formulas: Arc<[Formula]>) -> Self {
        Self {
            formulas,
            ..Self::default()
        }
    }

    /// Sets the number that a pointer leads to. A later document replaces it, unless with zero.
    pub(super) fn set(&mut self, pointer: u8, tokens: u64) {
        let index = usize::from(pointer);
        if index >= self.tokens.len() {
            self.tokens.resize(index.saturating_add(1), None);
        }
        if let Some(known) = self.tokens.get_mut(index)
            && (tokens > 0 || known.is_none())
        {
            *known = Some(tokens);
            self.outdated &= !bit(pointer);
        }
    }

    /// Marks the number of a pointer as out of date.
    pub(super) fn set_outdated(&mut self, pointer: u8) {
        self.outdated |= bit(pointer);
    }

    /// Returns whether no pointer led to a number.
    pub(super) fn is_empty(&self) -> bool {
        self.tokens.iter().all(Option::is_none)
    }

    /// Returns whether the pointers led to the whole usage: to the total, or to input and output. Zero counts
    /// unless the response `has_text`.
    pub(super) fn is_whole(&self, has_text: bool) -> bool {
        let is_found = |number| self.find(number) >= Some(u64::from(has_text));
        self.outdated == 0
            && (is_found(UsageNumber::Total)
                || (is_found(UsageNumber::Input) && is_found(UsageNumber::Output)))
    }

    /// Replaces the numbers of a usage report by those that were found.
    pub(super) fn apply(&self, reported: Option<Usage>) -> Option<Usage> {
        if self.is_empty() {
            return reported;
        }
        let mut usage = reported.unwrap_or_default();
        let input = self.find(UsageNumber::Input);
        let output = self.find(UsageNumber::Output);
        let total = self.find(UsageNumber::Total);
        usage.input_tokens = input.unwrap_or(usage.input_tokens);
        usage.output_tokens = output.unwrap_or(usage.output_tokens);
        usage.cached_tokens = self
            .find(UsageNumber::Cached)
            .unwrap_or(usage.cached_tokens);
        if let (None, Some(total)) = (reported, total) {
            // The part that was not found is the rest of the total.
            match (input, output) {
                (Some(input), None) => usage.output_tokens = total.saturating_sub(input),
                (None, Some(output)) => usage.input_tokens = total.saturating_sub(output),
                _ => {}
            }
        }
        let has_parts = input.is_some() || output.is_some();
        let sum = usage.input_tokens.saturating_add(usage.output_tokens);
        usage.total_tokens = match total {
            Some(total) => total,
            None if has_parts => sum,
            None => usage.total_tokens,
        };
        Some(usage)
    }

    /// Returns the number of the first pointer that leads to one. In a sum, what is missing is zero as
    /// long as one of its pointers leads to a number.
    fn find(&self, number: UsageNumber) -> Option<u64> {
        let mut formulas = self
            .formulas
            .iter()
            .filter(|formula| formula.number == number);
        formulas.find_map(|formula| {
            let terms = formula.terms.iter();
            let found = terms.filter_map(|term| *self.tokens.get(usize::from(*term))?);
            found.reduce(u64::saturating_add)
        })
    }
}

fn bit(pointer: u8) -> u32 {
    1_u32.checked_shl(u32::from(pointer)).unwrap_or(0)
}
