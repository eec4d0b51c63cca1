//! The requests that wait for room, at each counter in the order in which they came.
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
    /// How many have ever come: the number of the next.
    arrivals: u64,
}

/// The requests that wait at one counter.
#[derive(Debug)]
struct Line<Reason> {
    /// Why the last that was sent here has to wait.
    reason: Reason,
    /// Those who wait, in the order in which they came.
    waiting: VecDeque<Waiter>,
}

/// A request that waits.
#[derive(Clone, Copy, Debug)]
struct Waiter {
    context: u32,
    /// Nanoseconds since the epoch.
    until: u64,
    /// When it came, in the order of all who ever did. It keeps its place in that order in whichever
    /// line it waits: were each line to have an order of its own, two could wait for one another.
    arrival: u64,
}

// === impl Queue ===

impl<Reason> Default for Queue<Reason> {
    fn default() -> Self {
        Self {
            lines: BTreeMap::new(),
            len: 0,
            last: None,
            arrivals: 0,
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
        if self.len >= MOST {
            return false;
        }
        let waiter = Waiter {
            context,
            until,
            arrival: self.arrivals,
        };
        if !self.insert(counter, waiter, depth, reason) {
            return false;
        }
        self.arrivals = self.arrivals.saturating_add(1);
        self.len = self.len.saturating_add(1);
        true
    }

    /// Moves a request from one counter's line to another's, to its place among those who came before
    /// and after it. Returns whether there was a place; else it stays where it is.
    pub fn move_over(
        &mut self,
        from: Counter,
        to: Counter,
        context: u32,
        depth: usize,
        reason: Reason,
    ) -> bool {
        let line = self.lines.get(&from);
        let waiter =
            line.and_then(|line| line.waiting.iter().find(|known| known.context == context));
        let Some(waiter) = waiter.copied() else {
            return false;
        };
        if from == to || !self.insert(to, waiter, depth, reason) {
            return false;
        }
        // It was in two lines, and is in one.
        self.len = self.len.saturating_add(1);
        self.leave(from, context)
    }

    fn insert(&mut self, counter: Counter, waiter: Waiter, depth: usize, reason: Reason) -> bool {
        let line = self.lines.get(&counter);
        if line.map_or(0, |line| line.waiting.len()) >= depth {
            return false;
        }
        let line = self.lines.entry(counter).or_insert_with(|| Line {
            reason,
            waiting: VecDeque::new(),
        });
        line.reason = reason;
        let place = line
            .waiting
            .partition_point(|known| known.arrival < waiter.arrival);
        line.waiting.insert(place, waiter);
        true
    }

    /// Takes a request out of a counter's line, wherever in it it is. Returns whether it was there.
    pub fn leave(&mut self, counter: Counter, context: u32) -> bool {
        let Some(line) = self.lines.get_mut(&counter) else {
            return false;
        };
        let place = line
            .waiting
            .iter()
            .position(|known| known.context == context);
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
        let is_here =
            |line: &Line<Reason>| line.waiting.iter().any(|known| known.context == context);
        let line = self.lines.iter().find(|(_, line)| is_here(line));
        let counter = line.map(|(counter, _)| *counter);
        counter.is_some_and(|counter| self.leave(counter, context))
    }

    /// Why a request has to wait at a counter: the reason of those who wait there and came before it,
    /// if there are any. Who does not wait yet comes after all who do.
    #[must_use]
    pub fn before(&self, counter: Counter, context: Option<u32>) -> Option<Reason> {
        let line = self.lines.get(&counter)?;
        let first = line.waiting.front()?;
        let arrival = context.and_then(|context| self.arrival(context));
        let is_before = arrival.is_none_or(|arrival| first.arrival < arrival);
        is_before.then_some(line.reason)
    }

    /// When a request came that waits.
    fn arrival(&self, context: u32) -> Option<u64> {
        let mut waiting = self.lines.values().flat_map(|line| &line.waiting);
        let waiter = waiting.find(|known| known.context == context);
        waiter.map(|waiter| waiter.arrival)
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
            firsts.extend(line.waiting.front().map(|first| first.context));
            self.last = Some(*counter);
        }
        firsts
    }

    /// The requests that have waited long enough.
    #[must_use]
    pub fn overdue(&self, now: u64) -> Vec<u32> {
        let waiting = self.lines.values().flat_map(|line| &line.waiting);
        let overdue = waiting.filter(|waiter| waiter.until <= now);
        overdue.map(|waiter| waiter.context).collect()
    }

    /// All requests that wait.
    #[must_use]
    pub fn all(&self) -> Vec<u32> {
        self.overdue(u64::MAX)
    }
}
