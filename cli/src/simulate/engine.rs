//! The exchanges of a log, some of which overlap, through one filter.

use std::{
    cmp::{Ordering, Reverse},
    collections::BinaryHeap,
};

use filter_config::Configuration;
use tollgate::{ConfigureError, CounterState, Counters};

use super::request::Run;
use crate::replay::{Exchange, Outcome, Replay, Response, Unplaced};

/// The most exchanges at once. Beyond, the one that ends first is ended.
const MAX_IN_FLIGHT: usize = 10_000;

/// How often queued requests are checked again, in nanoseconds.
const QUEUE_TICK: u64 = 10_000_000;

/// How often what is due is done, in nanoseconds.
const TICK: u64 = 1_000_000_000;

/// An exchange that has ended.
#[derive(Debug)]
pub(super) struct Settled {
    pub(super) line: u64,
    pub(super) time: u64,
    pub(super) outcome: Outcome,
    pub(super) recorded: Option<String>,
    /// How its counters stand; of a rejection, none.
    pub(super) states: Vec<CounterState>,
    /// The caller that was rejected: the values that the limit counts by, or else the user.
    pub(super) caller: Option<String>,
    /// When it ended.
    pub(super) end: u64,
}

/// A filter with exchanges in flight.
pub(super) struct Engine {
    replay: Replay,
    in_flight: BinaryHeap<Reverse<InFlight>>,
    queued: Vec<InFlight>,
    ticked: u64,
    shows_demand: bool,
    /// How many exchanges were ended before their time, because there were too many.
    pub(super) ended_early: u64,
}

struct InFlight {
    end: u64,
    line: u64,
    time: u64,
    exchange: Exchange,
    response: Response,
    recorded: Option<String>,
    counters: Counters,
    /// The exchanges in flight when it began.
    concurrent: Vec<CounterState>,
    user: String,
    duration: u64,
}

// === impl Engine ===

impl Engine {
    /// Returns the filter. `shows_demand` is for the run in which nothing is rejected.
    pub(super) fn new(
        configuration: Configuration,
        shows_demand: bool,
    ) -> Result<Self, ConfigureError> {
        Ok(Self {
            shows_demand,
            replay: Replay::new(configuration, 1)?,
            in_flight: BinaryHeap::new(),
            queued: Vec::new(),
            ticked: 0,
            ended_early: 0,
        })
    }

    /// Ends the exchanges that end until a time.
    pub(super) fn until(&mut self, time: u64) -> Vec<Settled> {
        let mut settled = Vec::new();
        loop {
            let next = self
                .in_flight
                .peek()
                .map_or(u64::MAX, |Reverse(next)| next.end);
            if !self.queued.is_empty() {
                let tick = self.replay.now().saturating_add(QUEUE_TICK);
                if tick < next && tick <= time {
                    self.replay.set_time(tick);
                    self.poll(&mut settled);
                    continue;
                }
            }
            if next > time || self.in_flight.is_empty() {
                break;
            }
            let Some(Reverse(ended)) = self.in_flight.pop() else {
                break;
            };
            self.replay.set_time(ended.end);
            settled.push(self.settle(ended));
            if !self.queued.is_empty() {
                self.poll(&mut settled);
            }
        }
        if time < u64::MAX {
            self.replay.set_time(time);
            if time.saturating_sub(self.ticked) >= TICK {
                self.ticked = time;
                self.replay.tick();
            }
        }
        settled
    }

    /// Begins an exchange. Returns those that have ended.
    pub(super) fn start(
        &mut self,
        run: &Run,
        finds_caller: bool,
    ) -> Result<Vec<Settled>, Unplaced> {
        let exchange = self.replay.start(&run.request)?;
        let duration = run.end.saturating_sub(run.time);
        let started = InFlight {
            end: run.end,
            line: run.line,
            time: run.time,
            concurrent: self.concurrent(&exchange),
            counters: exchange.counters(),
            exchange,
            response: run.response.clone(),
            recorded: run.recorded.clone(),
            user: run.user.clone(),
            duration,
        };
        let mut settled = Vec::new();
        if started.exchange.is_queued() {
            if self.queued.len() >= MAX_IN_FLIGHT {
                self.ended_early += 1;
                let first = self.queued.remove(0);
                settled.push(self.end_rejected(first, None));
            }
            self.queued.push(started);
        } else if started.exchange.outcome.is_admitted {
            self.in_flight.push(Reverse(started));
            if self.in_flight.len() > MAX_IN_FLIGHT
                && let Some(Reverse(first)) = self.in_flight.pop()
            {
                self.ended_early += 1;
                settled.push(self.settle(first));
            }
        } else {
            let user = (!started.user.is_empty()).then(|| started.user.clone());
            let mut done = self.end_rejected(started, user);
            if finds_caller && let Some(caller) = self.caller(run, done.outcome.limit())? {
                done.caller = Some(caller);
            }
            settled.push(done);
        }
        Ok(settled)
    }

    /// Returns how many exchanges are in flight, where a limit counts them.
    fn concurrent(&self, exchange: &Exchange) -> Vec<CounterState> {
        let counters = exchange.counters().concurrent();
        if self.shows_demand && !counters.is_empty() {
            self.replay.states(&counters)
        } else {
            Vec::new()
        }
    }

    /// Checks queued requests again.
    fn poll(&mut self, settled: &mut Vec<Settled>) {
        self.replay.tick();
        let mut exchanges: Vec<&mut Exchange> = self
            .queued
            .iter_mut()
            .map(|queued| &mut queued.exchange)
            .collect();
        self.replay.poll_all(&mut exchanges);
        let (waiting, decided) = std::mem::take(&mut self.queued)
            .into_iter()
            .partition(|queued| queued.exchange.is_queued());
        self.queued = waiting;
        let decided: Vec<InFlight> = decided;
        for mut queued in decided {
            if queued.exchange.outcome.is_admitted {
                queued.end = self.replay.now().saturating_add(queued.duration);
                queued.counters = queued.exchange.counters();
                self.in_flight.push(Reverse(queued));
            } else {
                let user = (!queued.user.is_empty()).then(|| queued.user.clone());
                settled.push(self.end_rejected(queued, user));
            }
        }
    }

    fn settle(&self, mut ended: InFlight) -> Settled {
        self.replay.respond(&mut ended.exchange, &ended.response);
        let mut states = ended.concurrent;
        let outcome = self.replay.end(ended.exchange);
        if self.shows_demand {
            let mut after = self.replay.states(&ended.counters);
            after.retain(|state| state.window > 0);
            states.extend(after);
        }
        Settled {
            line: ended.line,
            time: ended.time,
            outcome,
            recorded: ended.recorded,
            states,
            caller: None,
            end: self.replay.now(),
        }
    }

    fn end_rejected(&self, ended: InFlight, caller: Option<String>) -> Settled {
        Settled {
            line: ended.line,
            time: ended.time,
            outcome: self.replay.end(ended.exchange),
            recorded: ended.recorded,
            states: Vec::new(),
            caller,
            end: self.replay.now(),
        }
    }

    /// Returns the values that the limit counts by which has rejected a request.
    fn caller(&mut self, run: &Run, limit: Option<&str>) -> Result<Option<String>, Unplaced> {
        let Some(limit) = limit else {
            return Ok(None);
        };
        let considered = self.replay.consider(&run.request)?;
        let found = considered.limits.into_iter();
        let mut found = found.filter(|found| found.limit == limit && found.applies);
        let values = found.next().map(|found| {
            let values = found
                .counters
                .into_iter()
                .map(|counter| match counter.result {
                    Some(Ok(serde_json::Value::String(text))) => text,
                    _ => String::new(),
                });
            values.collect::<Vec<_>>().join(" ")
        });
        Ok(values.filter(|values| !values.is_empty()))
    }
}

// === impl InFlight ===

impl PartialEq for InFlight {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for InFlight {}

impl PartialOrd for InFlight {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for InFlight {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.end, self.line).cmp(&(other.end, other.line))
    }
}
