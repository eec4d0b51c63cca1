//! Why no limit applies to a request, by what was evaluated to find that out.

use crate::policies::{Policies, Selection};
use filter_config::LimitIndex;
use std::fmt::Write;

/// The most limits and policies whose predicates are named.
const MAX_MISSES: usize = 3;

/// The limits that do not apply to a request: the first of them with the reason, and the number of the others.
///
/// It is written while limits are found, for every request: it has no memory of its own, and its text is made only where it
/// is read.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Misses {
    first: [Option<Miss>; MAX_MISSES],
    others: u32,
}

/// A limit, or a policy with all of its limits, that does not apply. An exchange has it for as long as it lasts, so
/// that positions have half of their usual size.
#[derive(Clone, Copy, Debug)]
struct Miss {
    policy: u32,
    /// The limit of the policy; [`ALL_LIMITS`] for all of them.
    limit: u32,
    cause: MissCause,
}

/// Stands for all limits of a policy: no policy has as many.
const ALL_LIMITS: u32 = u32::MAX;

/// What does not apply.
#[derive(Clone, Copy, Debug)]
pub(super) enum MissedEntry {
    Limit(LimitIndex),
    /// The policy at this position.
    Policy(usize),
}

/// Why it does not apply.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum MissCause {
    /// The predicate at this position is false.
    False(u32),
    /// The predicate at this position is false because a value is missing.
    Missing(u32),
    /// The counter at this position has no value, and the limit is skipped for that reason.
    Uncounted(u32),
    /// A part of it could not be evaluated.
    #[default]
    Failed,
}

// === impl Misses ===

impl Misses {
    /// Adds a limit or a policy that does not apply.
    pub(super) fn push(&mut self, of: MissedEntry, cause: MissCause) {
        match self.first.iter_mut().find(|miss| miss.is_none()) {
            Some(free) => *free = Some(Miss::new(of, cause)),
            None => self.others = self.others.saturating_add(1),
        }
    }

    /// Adds the entries of a list that the index has left out. Each is known by the predicate that all of its group have
    /// in common.
    pub(super) fn push_left_out(
        &mut self,
        selection: &Selection<'_>,
        entry: impl Fn(usize) -> Option<MissedEntry>,
    ) {
        let mut named = 0_usize;
        for (position, predicate, is_missing) in selection.left_out() {
            if self.first.iter().all(Option::is_some) {
                break;
            }
            if let Some(of) = entry(position) {
                let cause = if is_missing {
                    MissCause::missing(predicate)
                } else {
                    MissCause::is_false(predicate)
                };
                self.push(of, cause);
                named = named.saturating_add(1);
            }
        }
        let unnamed = selection.number_left_out().saturating_sub(named);
        self.others = self.others.saturating_add(narrow(unnamed));
    }

    /// Returns why no limit applies, such as `no limit applies: free.when[1] is false`.
    #[must_use]
    pub(crate) fn describe(&self, policies: &Policies) -> String {
        let configuration = policies.configuration();
        let has_several = configuration.policies.len() > 1;
        let mut text = "no limit applies".to_owned();
        let mut separator = ": ";
        for miss in self.first.iter().flatten() {
            text.push_str(separator);
            separator = "; ";
            match miss.of() {
                MissedEntry::Limit(index) => {
                    if let Some(limit) = policies.limit(index) {
                        if has_several {
                            text.push_str(&limit.policy.name);
                            text.push('/');
                        }
                        text.push_str(&limit.limit.name);
                    }
                }
                MissedEntry::Policy(position) => {
                    if let Some(policy) = configuration.policies.get(position) {
                        text.push_str(&policy.name);
                    }
                }
            }
            // Writing to a text does not fail.
            let _ = match miss.cause {
                MissCause::False(predicate) => write!(text, ".when[{predicate}] is false"),
                MissCause::Missing(predicate) => {
                    write!(text, ".when[{predicate}] is false, a value is missing")
                }
                MissCause::Uncounted(counter) => {
                    write!(text, ".counters[{counter}] has no value")
                }
                MissCause::Failed => write!(text, " could not be evaluated"),
            };
        }
        if self.others > 0 {
            let _ = write!(text, "; {} more", self.others);
        }
        if separator == ": " {
            text.push_str(": no policy is in force for the request");
        }
        text
    }
}

// === impl Miss ===

impl Miss {
    fn new(of: MissedEntry, cause: MissCause) -> Self {
        let (policy, limit) = match of {
            MissedEntry::Limit(index) => (narrow(index.policy), narrow(index.limit)),
            MissedEntry::Policy(position) => (narrow(position), ALL_LIMITS),
        };
        Self {
            policy,
            limit,
            cause,
        }
    }

    fn of(&self) -> MissedEntry {
        let wide = |number: u32| usize::try_from(number).unwrap_or(usize::MAX);
        let policy = wide(self.policy);
        match self.limit {
            ALL_LIMITS => MissedEntry::Policy(policy),
            limit => MissedEntry::Limit(LimitIndex {
                policy,
                limit: wide(limit),
            }),
        }
    }
}

// === impl MissCause ===

impl MissCause {
    /// Returns that the predicate at a position is false.
    pub(super) fn is_false(position: usize) -> Self {
        Self::False(narrow(position))
    }

    /// Returns that the predicate at a position is false because a value is missing.
    pub(super) fn missing(position: usize) -> Self {
        Self::Missing(narrow(position))
    }

    /// Returns that the counter at a position has no value.
    pub(super) fn uncounted(position: usize) -> Self {
        Self::Uncounted(narrow(position))
    }
}

/// Returns a position or a number of a configuration, which has fewer than 2^32 of anything.
fn narrow(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}
