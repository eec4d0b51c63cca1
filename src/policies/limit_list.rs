//! The limits of requests that the same policies apply to, in the order in which they are evaluated.

use super::evaluate::Evaluator;
use super::index::{PredicateIndex, Predicates, Selection};
use crate::attributes::Attributes;
use filter_config::{Configuration, EffectivePolicy, Expression, LimitIndex};

/// Limits, with an index of their predicates.
#[derive(Debug, Default)]
pub(crate) struct LimitList {
    entries: Vec<LimitEntry>,
    index: PredicateIndex,
}

/// An entry of a list of limits.
#[derive(Debug)]
pub(crate) enum LimitEntry {
    /// A limit.
    Limit(LimitIndex),
    /// The limits that apply only if the predicates of the policy at this position hold.
    Policy(usize, LimitList),
}

// === impl LimitList ===

impl LimitList {
    /// Returns the limits of effective policies.
    pub(super) fn of(configuration: &Configuration, policies: &[EffectivePolicy]) -> Self {
        let mut entries = Vec::new();
        for policy in policies {
            let limits = policy.limits.iter().copied().map(LimitEntry::Limit);
            match policy.when {
                None => entries.extend(limits),
                Some(when) => {
                    let limits = Self::indexed(configuration, limits.collect());
                    entries.push(LimitEntry::Policy(when, limits));
                }
            }
        }
        Self::indexed(configuration, entries)
    }

    fn indexed(configuration: &Configuration, entries: Vec<LimitEntry>) -> Self {
        let predicates: Vec<Predicates<'_>> = entries
            .iter()
            .map(|entry| Predicates {
                when: entry.when(configuration),
                decides_more: matches!(entry, LimitEntry::Policy(..)),
            })
            .collect();
        let index = PredicateIndex::of(&predicates);
        Self { entries, index }
    }

    /// Returns the entry at a position.
    pub(crate) fn entry(&self, position: usize) -> Option<&LimitEntry> {
        self.entries.get(position)
    }

    /// Finds the entries whose predicates may be true for a request.
    pub(crate) fn select(
        &self,
        evaluator: &Evaluator,
        attributes: &mut Attributes,
    ) -> Selection<'_> {
        self.index.select(evaluator, attributes)
    }

    /// Returns the selection of all entries.
    #[cfg(test)]
    pub(crate) fn all(&self) -> Selection<'_> {
        Selection::all(self.entries.len())
    }
}

// === impl LimitEntry ===

impl LimitEntry {
    /// Returns the predicates.
    fn when<'c>(&self, configuration: &'c Configuration) -> &'c [Expression] {
        let when = match self {
            Self::Limit(index) => {
                let policy = configuration.policies.get(index.policy);
                let limit = policy.and_then(|policy| policy.limits.get(index.limit));
                limit.map(|limit| &limit.when)
            }
            Self::Policy(policy, _) => {
                let policy = configuration.policies.get(*policy);
                policy.map(|policy| &policy.when)
            }
        };
        when.map(Vec::as_slice).unwrap_or_default()
    }
}
