//! Whether the service implements `Reserve`: the first request calls it, and requests that arrive meanwhile wait for
//! the reply. If the call fails, the next of them makes one. If the service does not implement it, the worker calls it
//! again each hour, and no request waits for that call.

use super::check::{CheckReply, CheckResult};
use super::descriptors::DescriptorSet;
use super::link::Link;
use super::shared::{RETRY, ReserveSupport, is_over};
use super::transport::CallId;
use crate::time::{Nanos, Timestamp};
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;

/// How long the worker that tries again has for it before another does.
const ATTEMPT: Nanos = Nanos::from_secs(10);

/// The most checks that wait for the first reply: as many streams as a busy worker has.
pub(super) const MAX_WAITING: usize = 4096;

/// The number of failed calls in a row that ends the wait of all checks: one call may fail because of its own request,
/// several in a row show an outage.
pub(super) const MAX_FAILED_TURNS: u32 = 3;

/// What a worker knows about `Reserve`.
pub(super) struct Support {
    link: Rc<Link>,
    known: Cell<ReserveSupport>,
    /// The first call of `Reserve`, and the stream that makes it.
    pending: Cell<Option<(CallId, u32)>>,
    /// The calls in a row that failed while checks waited for their reply.
    failed_turns: Cell<u32>,
    /// The checks that wait for its reply.
    waiting: RefCell<VecDeque<CheckReply>>,
    /// Those that wait no longer.
    ready: RefCell<VecDeque<CheckReply>>,
    waited: Cell<u32>,
}

/// How a stream checks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Approach {
    /// By `Reserve`.
    Reserve,
    /// By `CheckRateLimit`.
    Check,
    /// Not before another stream has its reply.
    Wait,
}

// === impl Support ===

impl Support {
    pub(super) fn new(link: Rc<Link>) -> Self {
        Self {
            link,
            known: Cell::default(),
            pending: Cell::default(),
            failed_turns: Cell::default(),
            waiting: RefCell::default(),
            ready: RefCell::default(),
            waited: Cell::default(),
        }
    }

    /// Returns whether the service may implement `Reserve`.
    pub(super) fn is_possible(&self) -> bool {
        !matches!(self.known.get(), ReserveSupport::Unsupported(_))
    }

    /// Returns whether the service is known to implement `Reserve`.
    pub(super) fn is_confirmed(&self) -> bool {
        self.known.get() == ReserveSupport::Supported
    }

    /// Returns how a stream checks now.
    pub(super) fn approach(&self, stream: u32) -> Approach {
        if self.known.get() == ReserveSupport::Unknown {
            match self.pending.get() {
                Some((_, pending)) if pending == stream => {}
                Some(_) => return Approach::Wait,
                // Another worker may have learnt it.
                None => self.set_known(self.link.shared.support()),
            }
        }
        if self.is_possible() {
            Approach::Reserve
        } else {
            Approach::Check
        }
    }

    /// Records a call of `Reserve`.
    pub(super) fn called(&self, call: CallId, stream: u32) {
        if self.known.get() == ReserveSupport::Unknown && self.pending.get().is_none() {
            self.pending.set(Some((call, stream)));
        }
    }

    /// Lets a check wait for the reply. Returns what identifies its own reply, which is that it tries again; `None` if
    /// too many wait.
    pub(super) fn wait(&self, stream: u32, descriptors: &Rc<DescriptorSet>) -> Option<CallId> {
        let mut waiting = self.waiting.borrow_mut();
        if waiting.len() >= MAX_WAITING {
            return None;
        }
        let number = self.waited.get().wrapping_add(1);
        self.waited.set(number);
        let call = CallId(number << 2 | 3);
        waiting.push_back(CheckReply {
            stream,
            call,
            descriptors: Rc::clone(descriptors),
            result: CheckResult::Retry,
        });
        Some(call)
    }

    /// Handles the reply to a call of `Reserve`: whether it is implemented, if the reply says so. If the call that
    /// checks wait for has failed, which the circuit has recorded already, the next of them makes one, up to
    /// [`MAX_FAILED_TURNS`].
    pub(super) fn answered(&self, now: Timestamp, call: CallId, is_implemented: Option<bool>) {
        match is_implemented {
            Some(true) => self.learn(ReserveSupport::Supported),
            Some(false) if self.is_possible() => {
                let until = now.saturating_add(RETRY);
                self.learn(ReserveSupport::Unsupported(until));
            }
            None if self
                .pending
                .get()
                .is_some_and(|(pending, _)| pending == call) =>
            {
                self.pending.set(None);
                let failed_turns = self.failed_turns.get().saturating_add(1);
                let is_alone = self.waiting.borrow().is_empty();
                self.failed_turns
                    .set(if is_alone { 0 } else { failed_turns });
                if failed_turns >= MAX_FAILED_TURNS || self.link.is_open() {
                    self.finish(&CheckResult::Failed);
                }
            }
            Some(false) | None => {}
        }
    }

    /// Handles the reply to the call of [`Support::retries`].
    pub(super) fn retried(&self, now: Timestamp, is_implemented: bool) {
        self.learn(if is_implemented {
            ReserveSupport::Supported
        } else {
            ReserveSupport::Unsupported(now.saturating_add(RETRY))
        });
    }

    /// Returns whether this worker is to try `Reserve` again now.
    pub(super) fn retries(&self, now: Timestamp) -> bool {
        match self.known.get() {
            ReserveSupport::Unsupported(until) if is_over(now, until) => {
                let until = now.saturating_add(ATTEMPT);
                let (known, is_mine) = self.link.shared.claim(now, until);
                self.set_known(known);
                is_mine
            }
            _ => false,
        }
    }

    /// Removes the reply to a check that waits no longer.
    pub(super) fn next_ready(&self) -> Option<CheckReply> {
        let ready = self.ready.borrow_mut().pop_front();
        ready.or_else(|| self.next_turn())
    }

    /// Removes the check whose turn it is to call `Reserve`, unless a call is pending: the stream that had the turn may
    /// have ended, or its call may not have been made.
    fn next_turn(&self) -> Option<CheckReply> {
        if self.pending.get().is_some() {
            return None;
        }
        let mut reply = self.waiting.borrow_mut().pop_front()?;
        if self.link.is_open() {
            reply.result = CheckResult::Failed;
        }
        Some(reply)
    }

    fn learn(&self, support: ReserveSupport) {
        if self.known.get() != support {
            self.link.shared.set_support(support);
            self.set_known(support);
        }
        self.finish(&CheckResult::Retry);
    }

    fn finish(&self, result: &CheckResult) {
        self.pending.set(None);
        self.failed_turns.set(0);
        let waiting = self.waiting.take().into_iter();
        let ready = waiting.map(|reply| CheckReply {
            result: result.clone(),
            ..reply
        });
        self.ready.borrow_mut().extend(ready);
    }

    fn set_known(&self, support: ReserveSupport) {
        let before = self.known.replace(support);
        let cluster = &self.link.settings.cluster;
        match (before, support) {
            (ReserveSupport::Unsupported(_), ReserveSupport::Supported) => log::info!(
                "storage_reserve_supported cluster={cluster} msg=\"using Reserve and Commit\""
            ),
            (
                ReserveSupport::Unknown | ReserveSupport::Supported,
                ReserveSupport::Unsupported(_),
            ) => {
                log::warn!(
                    "storage_reserve_unsupported cluster={cluster} msg=\"using CheckRateLimit and \
                     Report, trying Reserve again each hour\""
                );
            }
            _ => {}
        }
    }
}
