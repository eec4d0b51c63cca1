//! The queue of requests that wait for room at a counter, in the order of their arrival.
//!
//! Each worker has its own queue: workers share counters, not requests. Where places are short, callers
//! share them: the request that gets none is the newest of the caller that has most. The queue knows
//! neither Envoy nor a clock.

mod places;
#[cfg(test)]
mod tests;

use self::places::{Places, Scope};
use crate::ledger::CounterId;
use crate::policies::CallerId;
use limits::{Standing, Timestamp};
use std::collections::{BTreeMap, VecDeque};
use std::mem;
use std::ops::Bound;

/// The most requests that wait in one worker, at all counters together. The caller that has most is found by
/// a search through all of them.
pub(crate) const MAX_QUEUED: usize = 1024;

/// The most requests that have lost their places and are still to be rejected, as they are within a tick.
const MAX_DISPLACED: usize = 1024;

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

/// The place that a request has got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// None.
    None,
    /// One that was free.
    Free,
    /// That of another request, which is displaced.
    Taken,
}

/// A request that arrives at the queue.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Arrival {
    pub(crate) stream: u32,
    pub(crate) caller: CallerId,
    /// When it stops waiting.
    pub(crate) until: Timestamp,
}

/// The queued requests.
#[derive(Debug)]
pub(crate) struct Queue<Reason = Standing> {
    /// The requests at each counter; no line is empty.
    lines: BTreeMap<CounterId, Line<Reason>>,
    /// The number of requests in all lines.
    len: usize,
    /// The places of each caller.
    places: Places,
    /// The requests that were displaced and not rejected yet. They are in no line.
    displaced: Vec<u32>,
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
    caller: CallerId,
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
            places: Places::default(),
            displaced: Vec::new(),
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

    /// Adds a request to the end of a counter's line, which has `depth` places; all lines together have
    /// [`MAX_QUEUED`]. Where none is free, the newest request of the caller that has most is displaced: in
    /// the line if that is full, else in the worker, there in the longest line. A request of the caller that
    /// has most, counting this one, gets no place.
    pub(crate) fn push(
        &mut self,
        counter: CounterId,
        arrival: Arrival,
        depth: usize,
        reason: Reason,
    ) -> Place {
        let scope = if self.line_len(counter) >= depth {
            Some(Scope::Line(counter))
        } else {
            (self.len >= MAX_QUEUED).then_some(Scope::Worker)
        };
        let place = self.make_room(scope, counter, (arrival.caller, self.arrivals));
        if place != Place::None {
            let Arrival {
                stream,
                caller,
                until,
            } = arrival;
            let request = Queued {
                stream,
                caller,
                until,
                arrival: self.arrivals,
            };
            self.insert(counter, request, reason);
            self.arrivals = self.arrivals.saturating_add(1);
        }
        place
    }

    /// Moves a request from one counter's line to another's, where it keeps its order of arrival. Where
    /// the other is full, the newest request of the caller that has most is displaced, as by [`push`](Self::push):
    /// one that arrived later, or else this one gets no place. Without a place, it stays where it is.
    pub(crate) fn move_to(
        &mut self,
        from: CounterId,
        to: CounterId,
        stream: u32,
        depth: usize,
        reason: Reason,
    ) -> Place {
        let line = self.lines.get(&from);
        let request =
            line.and_then(|line| line.requests.iter().find(|known| known.stream == stream));
        let Some(request) = request.copied().filter(|_| from != to) else {
            return Place::None;
        };
        let scope = (self.line_len(to) >= depth).then_some(Scope::Line(to));
        let place = self.make_room(scope, to, (request.caller, request.arrival));
        if place != Place::None {
            self.remove(from, stream);
            self.insert(to, request, reason);
        }
        place
    }

    /// Returns the number of requests in a counter's line.
    fn line_len(&self, counter: CounterId) -> usize {
        let line = self.lines.get(&counter);
        line.map_or(0, |line| line.requests.len())
    }

    /// Returns whether a request is in a counter's line.
    #[must_use]
    pub(crate) fn contains(&self, counter: CounterId, stream: u32) -> bool {
        let line = self.lines.get(&counter);
        line.is_some_and(|line| line.requests.iter().any(|known| known.stream == stream))
    }

    /// Returns the requests that were displaced since the last call, which are to be rejected.
    #[must_use]
    pub(crate) fn take_displaced(&mut self) -> Vec<u32> {
        mem::take(&mut self.displaced)
    }

    /// Makes room for a request in a scope that is full, if there is one. `request` is its caller, and its place in the
    /// order of arrivals.
    fn make_room(
        &mut self,
        full: Option<Scope>,
        counter: CounterId,
        request: (CallerId, u64),
    ) -> Place {
        let Some(scope) = full else {
            return Place::Free;
        };
        if self.displaced.len() >= MAX_DISPLACED {
            return Place::None;
        }
        let Some((line, stream)) = self.newest_of_most(scope, counter, request) else {
            return Place::None;
        };
        self.remove(line, stream);
        self.displaced.push(stream);
        Place::Taken
    }

    /// Returns the request that has to give its place to another: the newest of the caller that has most
    /// places, or, of several such callers, in the longest line that one of them is in. `None` if it is the
    /// other request itself, which counts as if it had a place already.
    fn newest_of_most(
        &self,
        scope: Scope,
        counter: CounterId,
        (caller, arrival): (CallerId, u64),
    ) -> Option<(CounterId, u32)> {
        let places = |other: CallerId| {
            let places = self.places.of(scope, other);
            places.saturating_add((other == caller).into())
        };
        let most = self.places.most(scope).max(places(caller));
        let mut longest = 0;
        let mut newest_arrival = 0;
        if places(caller) == most {
            longest = self.line_len(counter).saturating_add(1);
            newest_arrival = arrival;
        }
        let mut newest = None;
        for (&line_counter, line) in &self.lines {
            let is_own = line_counter == counter;
            let len = line.requests.len().saturating_add(is_own.into());
            let is_elsewhere = matches!(scope, Scope::Line(full) if full != line_counter);
            if is_elsewhere || len < longest {
                continue;
            }
            let mut requests = line.requests.iter().rev();
            let Some(request) = requests.find(|request| places(request.caller) == most) else {
                continue;
            };
            if len > longest || request.arrival > newest_arrival {
                longest = len;
                newest = Some((line_counter, request.stream));
                newest_arrival = request.arrival;
            }
        }
        newest
    }

    fn insert(&mut self, counter: CounterId, request: Queued, reason: Reason) {
        let line = self.lines.entry(counter).or_insert_with(|| Line {
            reason,
            requests: VecDeque::new(),
        });
        line.reason = reason;
        let place = line
            .requests
            .partition_point(|known| known.arrival < request.arrival);
        line.requests.insert(place, request);
        self.places.add(counter, request.caller);
        self.len = self.len.saturating_add(1);
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
        let removed = line.requests.remove(place);
        if let Some(request) = removed {
            self.places.remove(counter, request.caller);
        }
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
