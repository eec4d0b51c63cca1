//! Who was told of already, so that the log has one line for a counter and window.

use std::collections::HashMap;

/// How many refusals are remembered; past that, lines are held back rather than repeated.
const MOST: usize = 1024;

/// The counters whose refusal was logged, each until its window ends.
#[derive(Debug, Default)]
pub struct Announced(HashMap<(usize, u128), u64>);

impl Announced {
    /// Whether this is the first to be told, until `until` (nanoseconds since the epoch), of a
    /// counter by its rate and key. It is remembered.
    pub fn first(&mut self, rate: usize, key: u128, now: u64, until: u64) -> bool {
        if let Some(end) = self.0.get(&(rate, key))
            && *end > now
        {
            return false;
        }
        if self.0.len() >= MOST {
            self.0.retain(|_, end| *end > now);
        }
        if self.0.len() >= MOST {
            return false;
        }
        self.0.insert((rate, key), until);
        true
    }
}
