//! Settlements that are still to be sent: kept back to be merged, or because sending them failed.
//!
//! Amounts of one subject are one entry. Whatever happens, nothing is lost silently: an amount leaves
//! the queue when it is sent, or is given up by name.

use super::backoff;
use super::subject::Subject;
use std::collections::BTreeMap;
use std::rc::Rc;

/// Entries past which a settlement joins another of the same limits.
pub const MOST_ENTRIES: usize = 4096;

/// Bytes of subjects past which it does so too.
pub const MOST_BYTES: usize = 4 << 20;

/// Entries that are kept whatever their limits. There is one for each set of limits at the least, so
/// that this is never reached but by a policy of very many limits that go together in very many ways.
const MOST_AT_ALL: usize = 2 * MOST_ENTRIES;

/// How old an amount may get, in nanoseconds: a day.
pub const MOST_AGE: u64 = 86_400_000_000_000;

/// An amount to be added to the counters of a subject.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settlement {
    /// Whose counters.
    pub subject: Rc<Subject>,
    /// What is added.
    pub amount: u64,
    /// When the oldest part of it was used, nanoseconds since the epoch.
    pub since: u64,
    /// How often sending it has failed.
    pub failures: u32,
}

/// The queue.
#[derive(Debug, Default)]
pub struct Queue {
    entries: BTreeMap<Rc<Subject>, Waiting>,
    bytes: usize,
}

#[derive(Clone, Copy, Debug)]
struct Waiting {
    amount: u64,
    since: u64,
    failures: u32,
    /// When it is to be sent, nanoseconds since the epoch.
    due: u64,
}

/// Where an amount has gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kept {
    /// It is there under its own subject.
    Own,
    /// The queue was full: it is charged to the oldest subject of the same limits.
    Other,
    /// The queue was full, and it is given up.
    Not,
}

// === impl Queue ===

impl Queue {
    /// Whether nothing waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// How many entries wait.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Takes a settlement in, to be sent once it is `due`.
    pub fn add(&mut self, settlement: Settlement, due: u64) -> Kept {
        let Settlement {
            subject,
            amount,
            since,
            failures,
        } = settlement;
        let waiting = Waiting {
            amount,
            since,
            failures,
            due,
        };
        if let Some(known) = self.entries.get_mut(&subject) {
            known.merge(&waiting);
            return Kept::Own;
        }
        let bytes = self.bytes.saturating_add(subject.size());
        if self.entries.len() >= MOST_ENTRIES || bytes > MOST_BYTES {
            let of_same_limits = self
                .entries
                .iter_mut()
                .filter(|(other, _)| other.limits == subject.limits);
            if let Some((_, oldest)) = of_same_limits.min_by_key(|(_, known)| known.since) {
                oldest.merge(&waiting);
                return Kept::Other;
            }
            if self.entries.len() >= MOST_AT_ALL {
                return Kept::Not;
            }
        }
        self.bytes = bytes;
        self.entries.insert(subject, waiting);
        Kept::Own
    }

    /// Takes a settlement back whose sending has failed, to be sent again after a while.
    pub fn put_back(&mut self, mut settlement: Settlement, now: u64, random: u64) -> Kept {
        settlement.failures = settlement.failures.saturating_add(1);
        let due = now.saturating_add(backoff::wait(settlement.failures, random));
        self.add(settlement, due)
    }

    /// Gives out what is due, at most `most`.
    pub fn take_due(&mut self, now: u64, most: usize) -> Vec<Settlement> {
        let due = self
            .entries
            .iter()
            .filter(|(_, waiting)| waiting.is_due(now))
            .take(most)
            .map(|(subject, _)| Rc::clone(subject))
            .collect();
        self.take(due)
    }

    /// Gives out the oldest entry, due or not.
    pub fn take_oldest(&mut self) -> Option<Settlement> {
        let (oldest, _) = self
            .entries
            .iter()
            .min_by_key(|(_, waiting)| waiting.since)?;
        let oldest = vec![Rc::clone(oldest)];
        self.take(oldest).pop()
    }

    /// Makes everything due now.
    pub fn hasten(&mut self, now: u64) {
        for waiting in self.entries.values_mut() {
            waiting.due = waiting.due.min(now);
        }
    }

    fn take(&mut self, subjects: Vec<Rc<Subject>>) -> Vec<Settlement> {
        let mut taken = Vec::with_capacity(subjects.len());
        for subject in subjects {
            if let Some(waiting) = self.entries.remove(&subject) {
                self.bytes = self.bytes.saturating_sub(subject.size());
                taken.push(Settlement {
                    subject,
                    amount: waiting.amount,
                    since: waiting.since,
                    failures: waiting.failures,
                });
            }
        }
        taken
    }
}

// === impl Settlement ===

impl Settlement {
    /// Whether it is too old to be sent.
    #[must_use]
    pub fn is_stale(&self, now: u64) -> bool {
        self.since.saturating_add(MOST_AGE) < now
    }
}

// === impl Waiting ===

impl Waiting {
    fn merge(&mut self, other: &Self) {
        self.amount = self.amount.saturating_add(other.amount);
        self.since = self.since.min(other.since);
        // What has failed waits; what was merged into it waits with it.
        if other.failures > self.failures {
            self.failures = other.failures;
            self.due = other.due;
        }
    }

    fn is_due(&self, now: u64) -> bool {
        // A clock that stepped back must not put it off for longer than any wait.
        now >= self.due || now.saturating_add(backoff::LONGEST) < self.due
    }
}
