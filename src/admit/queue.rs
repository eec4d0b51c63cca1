//! The queue of requests that wait for room at a counter, in the order of their arrival.
//!
//! Each worker has its own queue: workers share counters, not requests. The queue knows neither Envoy
//! nor a clock.

#[cfg(test)]
mod tests;

use crate::ledger::CounterId;
use limits::{Standing, Timestamp};
use std::collections::{BTreeMap, VecDeque};
use std::ops::Bound;

/// The most requests that wait in one worker, at all counters together.
pub(crate) const MAX_QUEUED: usize = 1024;

/// What became of a queued request when it was checked again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QueuePoll {
    /// It still waits.
    Pending,
    /// It still waits, at another counter.
    Moved,
    /// It no longer waits.
    Done,
}

/// The queued requests.
#[derive(Debug)]
pub(crate) struct Queue<Reason = Standing> {
    /// The requests at each counter; no line is empty.
    lines: BTreeMap<CounterId, Line<Reason>>,
    /// The number of requests in all lines.
    len: usize,
    /// The counter that was polled last.
    last_polled: Option<CounterId>,
    /// The number of requests that were ever queued.
    arrivals: u64,
}

/// The requests that wait at one counter.
#[derive(Debug)]
struct Line<Reason> {
    /// Why the request that was queued last has to wait.
    reason: Reason,
    /// The requests, in the order of their arrival.
    requests: VecDeque<Queued>,
}

/// A queued request.
#[derive(Clone, Copy, Debug)]
struct Queued {
    stream: u32,
    /// When it stops waiting.
    until: Timestamp,
    /// Its place in the order of all arrivals, which it keeps in whichever line it waits: if each line
    /// had an order of its own, two requests could wait for each other.
    arrival: u64,
}

// === impl Queue ===

impl<Reason> Default for Queue<Reason> {
    fn default() -> Self {
        Self {
            lines: BTreeMap::new(),
            len: 0,
            last_polled: None,
            arrivals: 0,
        }
    }
}

impl<Reason: Copy> Queue<Reason> {
    /// Returns whether no request is queued.
    #[must_use]
    pub(crate) const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Adds a request to the end of a counter's line. Returns whether there was a place: fewer than
    /// `depth` in the line, and fewer than [`MAX_QUEUED`] in all.
    pub(crate) fn push(
        &mut self,
        counter: CounterId,
        stream: u32,
        until: Timestamp,
        depth: usize,
        reason: Reason,
    ) -> bool {
        if self.len >= MAX_QUEUED {
            return false;
        }
        let request = Queued {
            stream,
            until,
            arrival: self.arrivals,
        };
        if !self.insert(counter, request, depth, reason) {
            return false;
        }
        self.arrivals = self.arrivals.saturating_add(1);
        self.len = self.len.saturating_add(1);
        true
    }

    /// Moves a request from one counter's line to another's, where it keeps its order of arrival.
    /// Returns whether there was a place; otherwise it stays where it is.
    pub(crate) fn move_to(
        &mut self,
        from: CounterId,
        to: CounterId,
        stream: u32,
        depth: usize,
        reason: Reason,
    ) -> bool {
        let line = self.lines.get(&from);
        let request =
            line.and_then(|line| line.requests.iter().find(|known| known.stream == stream));
        let Some(request) = request.copied() else {
            return false;
        };
        if from == to || !self.insert(to, request, depth, reason) {
            return false;
        }
        // It was in two lines, and stays in one.
        self.len = self.len.saturating_add(1);
        self.remove(from, stream)
    }

    fn insert(
        &mut self,
        counter: CounterId,
        request: Queued,
        depth: usize,
        reason: Reason,
    ) -> bool {
        let line = self.lines.get(&counter);
        if line.map_or(0, |line| line.requests.len()) >= depth {
            return false;
        }
        let line = self.lines.entry(counter).or_insert_with(|| Line {
            reason,
            requests: VecDeque::new(),
        });
        line.reason = reason;
        let place = line
            .requests
            .partition_point(|known| known.arrival < request.arrival);
        line.requests.insert(place, request);
        true
    }

    /// Removes a request from a counter's line. Returns whether it was there.
    pub(crate) fn remove(&mut self, counter: CounterId, stream: u32) -> bool {
        let Some(line) = self.lines.get_mut(&counter) else {
            return false;
        };
        let place = line
            .requests
            .iter()
            .position(|known| known.stream == stream);
        let Some(place) = place else {
            return false;
        };
        line.requests.remove(place);
        self.len = self.len.saturating_sub(1);
        if line.requests.is_empty() {
            self.lines.remove(&counter);
        }
        true
    }

    /// Removes a request from whichever line it is in. Returns whether it was in one.
    pub(crate) fn remove_stream(&mut self, stream: u32) -> bool {
        let is_here =
            |line: &Line<Reason>| line.requests.iter().any(|known| known.stream == stream);
        let line = self.lines.iter().find(|(_, line)| is_here(line));
        let counter = line.map(|(counter, _)| *counter);
        counter.is_some_and(|counter| self.remove(counter, stream))
    }

    /// Returns why a request has to wait at a counter: the reason of the requests that wait there and
    /// arrived before it, if there are any. A request that is not queued yet arrives after all others.
    #[must_use]
    pub(crate) fn ahead(&self, counter: CounterId, stream: Option<u32>) -> Option<Reason> {
        let line = self.lines.get(&counter)?;
        let first = line.requests.front()?;
        let arrival = stream.and_then(|stream| self.arrival(stream));
        let is_ahead = arrival.is_none_or(|arrival| first.arrival < arrival);
        is_ahead.then_some(line.reason)
    }

    /// Returns the place of a queued request in the order of arrivals.
    fn arrival(&self, stream: u32) -> Option<u64> {
        let mut requests = self.lines.values().flat_map(|line| &line.requests);
        let request = requests.find(|known| known.stream == stream);
        request.map(|request| request.arrival)
    }

    /// Returns the requests that are first in their lines, at most `max` of them. Successive calls take
    /// the counters in turn.
    pub(crate) fn poll_first(&mut self, max: usize) -> Vec<u32> {
        let mut firsts = Vec::with_capacity(max.min(self.lines.len()));
        let last = self.last_polled;
        let from = last.map_or(Bound::Unbounded, Bound::Excluded);
        let after = self.lines.range((from, Bound::Unbounded));
        let around = self
            .lines
            .range(..)
            .take_while(|(counter, _)| last.is_some_and(|last| **counter <= last));
        for (counter, line) in after.chain(around).take(max) {
            firsts.extend(line.requests.front().map(|first| first.stream));
            self.last_polled = Some(*counter);
        }
        firsts
    }

    /// Returns the requests whose queue timeout has passed.
    #[must_use]
    pub(crate) fn overdue(&self, now: Timestamp) -> Vec<u32> {
        let requests = self.lines.values().flat_map(|line| &line.requests);
        let overdue = requests.filter(|request| request.until <= now);
        overdue.map(|request| request.stream).collect()
    }

    #[cfg(test)]
    fn len(&self) -> usize {
        self.len
    }

    #[cfg(test)]
    fn all(&self) -> Vec<u32> {
        self.overdue(Timestamp::MAX)
    }
}
