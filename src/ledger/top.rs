//! The largest counters of each limit, tracked by every worker and shared among them.
//!
//! A worker adds what exchanges are charged to sketches of its own, and from time to time adds these to the ones that
//! all workers share. What counts is the cost in the unit of the limit's first rate; a window of the sketch is as long
//! as that of the rate.

use super::admission::CounterValues;
use super::charge::Charge;
use crate::host::Host;
use crate::memory::{Budget, Need};
use crate::policies::{Policies, RateIndex, Unit, tracked_text};
use crate::telemetry::{Count, Telemetry};
use filter_config::LimitIndex;
use limits::{Nanos, StoreError, Timestamp, TopCounter, TopCounters};
use std::cell::{Cell, RefCell};
use std::rc::Rc;

/// How often a worker adds what it has tracked to what the workers share.
const PERIOD: Nanos = Nanos::SECOND;

/// The memory that a counter of a sketch takes at most, with its text.
const COUNTER_BYTES: usize = 256;

/// The largest counters of all limits that have counters.
pub(super) struct TopLists {
    host: Rc<dyn Host>,
    policies: Rc<Policies>,
    telemetry: Rc<Telemetry>,
    budget: Budget,
    /// What this worker has not shared yet, by the position of the limit's first rate; `None` at other rates.
    own: RefCell<Vec<Option<TopCounters>>>,
    /// When it is to be shared.
    due: Cell<Timestamp>,
}

// === impl TopLists ===

impl TopLists {
    /// Returns the lists of a configuration; `None` if it tracks none.
    pub(super) fn new(
        host: &Rc<dyn Host>,
        policies: &Rc<Policies>,
        telemetry: &Rc<Telemetry>,
    ) -> Option<Self> {
        let configuration = policies.configuration();
        let capacity = configuration.usage_endpoint.as_ref()?.track?;
        let list = |(position, rate): (usize, &crate::policies::Rate)| {
            let it = policies.limit(rate.limit)?;
            let is_first = it.rates().next() == Some(RateIndex::new(position));
            let is_tracked =
                is_first && rate.unit != Unit::InFlight && !it.limit.counters.is_empty();
            is_tracked.then(|| TopCounters::new(capacity))
        };
        Some(Self {
            budget: Budget::new(configuration.memory.per_worker),
            own: RefCell::new(policies.rates().iter().enumerate().map(list).collect()),
            due: Cell::default(),
            host: Rc::clone(host),
            policies: Rc::clone(policies),
            telemetry: Rc::clone(telemetry),
        })
    }

    /// Adds what was charged to a counter, if its rate is the first of a limit. `values` are those that limits count by.
    pub(super) fn add(
        &self,
        now: Timestamp,
        charge: &Charge,
        amount: u64,
        values: &[CounterValues],
    ) {
        let mut own = self.own.borrow_mut();
        let Some(Some(own)) = own.get_mut(charge.rate.position()) else {
            return;
        };
        let Some((rate, _, limit)) = self.policies.rate_of(charge.rate) else {
            return;
        };
        if amount == 0 {
            return;
        }
        own.advance(window(rate.counters, now));
        let may_grow = self.budget.has_room(Need::Estimate, COUNTER_BYTES);
        own.add(charge.counter.key, amount, may_grow, &mut || {
            let values = values.iter().find(|it| it.limit == rate.limit);
            values.map_or_else(|| "".into(), |it| tracked_text(limit, &it.texts))
        });
    }

    /// Returns the largest counters of a limit, the largest first, and the rate that says what they count; `None` if the
    /// limit is not tracked.
    ///
    /// # Errors
    /// [`StoreError`], when shared data cannot be read.
    pub(super) fn largest(
        &self,
        now: Timestamp,
        limit: LimitIndex,
    ) -> Result<Option<(RateIndex, Vec<TopCounter>)>, StoreError> {
        let first = self.policies.limit(limit).and_then(|it| it.rates().next());
        let rate = first.and_then(|rate| Some((rate, self.policies.rate(rate)?.counters)));
        let Some((rate, counters)) = rate else {
            return Ok(None);
        };
        let mut own = self.own.borrow_mut();
        let Some(Some(own)) = own.get_mut(rate.position()) else {
            return Ok(None);
        };
        own.advance(window(counters, now));
        let all = own.with_shared(&*self.host, counters)?;
        Ok(Some((rate, all.largest())))
    }

    /// Shares what was tracked, once a second.
    pub(super) fn on_tick(&self, now: Timestamp) {
        // A clock that was set back does not delay it for longer.
        if now < self.due.get() && self.due.get().since(now) <= PERIOD {
            return;
        }
        self.due.set(now.saturating_add(PERIOD));
        self.publish(now);
    }

    /// Shares what was tracked. What cannot be shared now stays, to be shared later.
    pub(super) fn publish(&self, now: Timestamp) {
        let mut own = self.own.borrow_mut();
        for (own, rate) in own.iter_mut().zip(self.policies.rates()) {
            let Some(own) = own.as_mut().filter(|it| !it.is_empty()) else {
                continue;
            };
            own.advance(window(rate.counters, now));
            if own.publish(&*self.host, rate.counters).is_err() {
                self.telemetry.count(Count::StorageErrors);
            }
        }
    }
}

/// Exchanges can end after their configuration: what they are charged is shared with the last of them.
impl Drop for TopLists {
    fn drop(&mut self) {
        let now = self.host.now().unwrap_or_default();
        self.publish(now);
    }
}

/// Returns the number of the window of a rate's sketches.
fn window(counters: limits::Rate, now: Timestamp) -> u64 {
    let length = counters.window().length.as_u64();
    now.as_u64().checked_div(length).unwrap_or_default()
}
