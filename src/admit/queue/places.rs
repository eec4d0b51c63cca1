//! How many places of a queue each caller has.

use crate::ledger::CounterId;
use crate::policies::CallerId;
use std::collections::BTreeMap;

/// Where places are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Scope {
    /// In all lines of the worker.
    Worker,
    /// In the line of a counter.
    Line(CounterId),
}

/// The number of places of each caller that has any, in each line and in all lines.
#[derive(Debug, Default)]
pub(super) struct Places(BTreeMap<(Scope, CallerId), usize>);

// === impl Places ===

impl Places {
    /// Adds a place in the line of a counter.
    pub(super) fn add(&mut self, counter: CounterId, caller: CallerId) {
        for scope in [Scope::Worker, Scope::Line(counter)] {
            let places = self.0.entry((scope, caller)).or_default();
            *places = places.saturating_add(1);
        }
    }

    /// Removes a place in the line of a counter.
    pub(super) fn remove(&mut self, counter: CounterId, caller: CallerId) {
        for scope in [Scope::Worker, Scope::Line(counter)] {
            let key = (scope, caller);
            match self.of(scope, caller) {
                0 | 1 => self.0.remove(&key),
                places => self.0.insert(key, places.saturating_sub(1)),
            };
        }
    }

    /// Returns the number of places of a caller.
    pub(super) fn of(&self, scope: Scope, caller: CallerId) -> usize {
        self.0.get(&(scope, caller)).copied().unwrap_or_default()
    }

    /// Returns the number of places of the caller that has most.
    pub(super) fn most(&self, scope: Scope) -> usize {
        let callers = (scope, CallerId::MIN)..=(scope, CallerId::MAX);
        let places = self.0.range(callers).map(|(_, places)| *places);
        places.max().unwrap_or_default()
    }
}
