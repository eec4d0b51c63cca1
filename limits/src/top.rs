//! The largest counters of a limit, in bounded memory: a space-saving sketch (Metwally, Agrawal, El Abbadi 2005) that can
//! be merged with others.
//!
//! A sketch has a fixed number of counters. A new one displaces the smallest, and takes over what that had used as its
//! error. What a counter that is absent has used is never more than the sketch's floor: the most that a displaced one had.
//! Merged, a counter that only one sketch has may have used as much as the other's floor. After `n` in total with room for
//! `k` counters, no error is more than `n / k`, however the stream was divided among sketches.

mod encoding;
mod store;
#[cfg(test)]
mod tests;

use std::rc::Rc;

/// The largest counters of a limit in a window of time and in the window before it.
///
/// Windows are numbered. What was used in a window is forgotten when the one after the next begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopCounters {
    /// The most counters of each window.
    capacity: usize,
    /// The number of the current window.
    window: u64,
    current: Sketch,
    previous: Sketch,
}

/// A counter of a sketch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopCounter {
    /// The hash of the values that its limit counts by.
    pub key: u128,
    /// The most that was used: what was used is between `used - error` and this.
    pub used: u64,
    /// The most by which `used` is too high.
    pub error: u64,
    /// The values in words; empty if they are not known.
    pub text: Rc<str>,
}

/// The largest counters of a stream of usage.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Sketch {
    /// The counters, by key.
    counters: Vec<TopCounter>,
    /// The most that a counter has used that is not here.
    floor: u64,
}

// === impl TopCounters ===

impl TopCounters {
    /// Returns a sketch of so many counters, at least one, in each of two windows.
    #[must_use]
    pub fn new(capacity: usize) -> Self {
        Self {
            capacity: capacity.max(1),
            window: 0,
            current: Sketch::default(),
            previous: Sketch::default(),
        }
    }

    /// Returns whether nothing was used.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.current.is_empty() && self.previous.is_empty()
    }

    /// Begins a window, if it is not the current one. The sketch is emptied if the window does not follow the current
    /// one, as after a step of the clock; a step back by one window changes nothing.
    pub fn advance(&mut self, window: u64) {
        if window == self.window || window.checked_add(1) == Some(self.window) {
            return;
        }
        let current = std::mem::take(&mut self.current);
        let follows = self.window.checked_add(1) == Some(window);
        self.previous = if follows { current } else { Sketch::default() };
        self.window = window;
    }

    /// Adds usage to a counter in the current window. `text` is called if the counter is not known yet, or without its
    /// text. Unless `may_grow`, the sketch takes no more memory: the counter displaces another, or raises the floor.
    pub fn add(
        &mut self,
        key: u128,
        amount: u64,
        may_grow: bool,
        text: &mut dyn FnMut() -> Rc<str>,
    ) {
        let capacity = if may_grow {
            self.capacity
        } else {
            self.current.counters.len()
        };
        self.current.add(capacity, key, amount, text);
    }

    /// Adds what another sketch has counted.
    pub fn merge(&mut self, other: &Self) {
        let window = self.window.max(other.window);
        let mut other = other.clone();
        self.advance(window);
        other.advance(window);
        self.current.merge(other.current, self.capacity);
        self.previous.merge(other.previous, self.capacity);
    }

    /// Returns the counters with what they have used in both windows, the largest first.
    #[must_use]
    pub fn largest(&self) -> Vec<TopCounter> {
        let mut both = self.current.clone();
        both.merge(self.previous.clone(), self.capacity.saturating_mul(2));
        sort(&mut both.counters, true);
        both.counters
    }
}

// === impl Sketch ===

impl Sketch {
    const fn is_empty(&self) -> bool {
        self.counters.is_empty() && self.floor == 0
    }

    fn add(&mut self, capacity: usize, key: u128, amount: u64, text: &mut dyn FnMut() -> Rc<str>) {
        let position = self.counters.binary_search_by_key(&key, |it| it.key);
        let position = match position {
            Ok(position) => {
                if let Some(counter) = self.counters.get_mut(position) {
                    counter.used = counter.used.saturating_add(amount);
                    if counter.text.is_empty() {
                        counter.text = text();
                    }
                }
                return;
            }
            Err(position) => position,
        };
        let position = if self.counters.len() < capacity {
            position
        } else if let Some(displaced) = self.displace_smallest() {
            position.saturating_sub(usize::from(displaced < position))
        } else {
            self.floor = self.floor.saturating_add(amount);
            return;
        };
        let counter = TopCounter {
            key,
            used: self.floor.saturating_add(amount),
            error: self.floor,
            text: text(),
        };
        self.counters.insert(position, counter);
    }

    /// Removes the smallest counter. Returns the position that it had.
    fn displace_smallest(&mut self) -> Option<usize> {
        let counters = self.counters.iter().enumerate();
        let (smallest, _) = counters.min_by_key(|(_, it)| it.used)?;
        let displaced = self.counters.remove(smallest);
        self.floor = self.floor.max(displaced.used);
        Some(smallest)
    }

    /// Adds the counters of another sketch, and keeps the largest `capacity`.
    fn merge(&mut self, other: Self, capacity: usize) {
        if other.is_empty() {
            return;
        }
        let [own_floor, other_floor] = [self.floor, other.floor];
        let add = |counter: TopCounter, floor: u64| TopCounter {
            used: counter.used.saturating_add(floor),
            error: counter.error.saturating_add(floor),
            ..counter
        };
        let room = self.counters.len().saturating_add(other.counters.len());
        let mut merged = Vec::with_capacity(room);
        let mut own = std::mem::take(&mut self.counters).into_iter().peekable();
        for counter in other.counters {
            while let Some(smaller) = own.next_if(|it| it.key < counter.key) {
                merged.push(add(smaller, other_floor));
            }
            merged.push(match own.next_if(|it| it.key == counter.key) {
                Some(same) => TopCounter {
                    key: same.key,
                    used: same.used.saturating_add(counter.used),
                    error: same.error.saturating_add(counter.error),
                    text: if same.text.is_empty() {
                        counter.text
                    } else {
                        same.text
                    },
                },
                None => add(counter, own_floor),
            });
        }
        merged.extend(own.map(|it| add(it, other_floor)));
        self.floor = own_floor.saturating_add(other_floor);
        if merged.len() > capacity {
            sort(&mut merged, true);
            let displaced = merged.get(capacity).map_or(0, |it| it.used);
            self.floor = self.floor.max(displaced);
            merged.truncate(capacity);
            sort(&mut merged, false);
        }
        self.counters = merged;
    }
}

/// Sorts counters, the largest first or by key.
fn sort(counters: &mut [TopCounter], is_by_use: bool) {
    counters.sort_unstable_by_key(|it| (if is_by_use { !it.used } else { 0 }, it.key));
}
