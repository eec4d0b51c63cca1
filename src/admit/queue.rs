//! The requests that wait for room, in the order in which they came to each counter.
//!
//! Each worker has a queue of its own: workers share counters, and not requests. Nothing here knows
//! of Envoy or of time but what it is told.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, VecDeque};
use std::ops::Bound;

/// A counter: the index of its rate, and the hash of the values that it counts by.
pub type Counter = (usize, u128);

/// The most requests that wait in one worker, at whichever counters.
pub const MOST: usize = 1024;

/// What has become of a request that waits, when it was looked at again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Waited {
    /// It waits on.
    StillWaits,
    /// It waits on, in another line.
    HasMoved,
    /// It waits no longer.
    IsOver,
}

/// The requests that wait.
#[derive(Debug)]
pub struct Queue<Reason> {
    /// No line is empty.
    lines: BTreeMap<Counter, Line<Reason>>,
    /// How many wait, in all lines.
    len: usize,
    /// The counter that was looked at last.
    last: Option<Counter>,
}

/// The requests that wait at one counter.
#[derive(Debug)]
struct Line<Reason> {
    /// Why the last that was sent here has to wait.
    reason: Reason,
    /// Those who wait by their contexts, and until when each does.
    waiting: VecDeque<(u32, u64)>,
}

// === impl Queue ===

impl<Reason> Default for Queue<Reason> {
    fn default() -> Self {
        Self {
            lines: BTreeMap::new(),
            len: 0,
            last: None,
        }
    }
}

impl<Reason: Copy> Queue<Reason> {
    /// How many wait.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Whether nobody waits.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Puts a request at the end of a counter's line, for a reason and until a time. Returns whether
    /// there was a place: fewer than `depth` in the line, and than [`MOST`] in all.
    pub fn join(
        &mut self,
        counter: Counter,
        context: u32,
        until: u64,
        depth: usize,
        reason: Reason,
    ) -> bool {
        let length = self
            .lines
            .get(&counter)
            .map_or(0, |line| line.waiting.len());
        if length >= depth || self.len >= MOST {
            return false;
        }
        let line = self.lines.entry(counter).or_insert_with(|| Line {
            reason,
            waiting: VecDeque::new(),
        });
        line.reason = reason;
        line.waiting.push_back((context, until));
        self.len = self.len.saturating_add(1);
        true
    }

    /// Takes a request out of a counter's line, wherever in it it is. Returns whether it was there.
    pub fn leave(&mut self, counter: Counter, context: u32) -> bool {
        let Some(line) = self.lines.get_mut(&counter) else {
            return false;
        };
        let place = line.waiting.iter().position(|(known, _)| *known == context);
        let Some(place) = place else {
            return false;
        };
        line.waiting.remove(place);
        self.len = self.len.saturating_sub(1);
        if line.waiting.is_empty() {
            self.lines.remove(&counter);
        }
        true
    }

    /// Takes a request out of whatever line it is in. Returns whether it was in one.
    pub fn forget(&mut self, context: u32) -> bool {
        let is_here = |line: &Line<Reason>| line.waiting.iter().any(|(known, _)| *known == context);
        let line = self.lines.iter().find(|(_, line)| is_here(line));
        let counter = line.map(|(counter, _)| *counter);
        counter.is_some_and(|counter| self.leave(counter, context))
    }

    /// Why a request has to wait that comes to a counter now: the reason of those who are there before
    /// it. The first of them has nobody before it.
    #[must_use]
    pub fn before(&self, counter: Counter, context: Option<u32>) -> Option<Reason> {
        let line = self.lines.get(&counter)?;
        let (first, _) = line.waiting.front()?;
        (Some(*first) != context).then_some(line.reason)
    }

    /// The requests that are first in line, one of each counter, `most` of them: those of the next
    /// counters in turn.
    pub fn firsts(&mut self, most: usize) -> Vec<u32> {
        let mut firsts = Vec::with_capacity(most.min(self.lines.len()));
        let last = self.last;
        let from = last.map_or(Bound::Unbounded, Bound::Excluded);
        let after = self.lines.range((from, Bound::Unbounded));
        let around = self
            .lines
            .range(..)
            .take_while(|(counter, _)| last.is_some_and(|last| **counter <= last));
        for (counter, line) in after.chain(around).take(most) {
            firsts.extend(line.waiting.front().map(|(context, _)| *context));
            self.last = Some(*counter);
        }
        firsts
    }

    /// The requests that have waited long enough.
    #[must_use]
    pub fn overdue(&self, now: u64) -> Vec<u32> {
        let waiting = self.lines.values().flat_map(|line| &line.waiting);
        let overdue = waiting.filter(|(_, until)| *until <= now);
        overdue.map(|(context, _)| *context).collect()
    }

    /// All requests that wait.
    #[must_use]
    pub fn all(&self) -> Vec<u32> {
        self.overdue(u64::MAX)
    }
}
