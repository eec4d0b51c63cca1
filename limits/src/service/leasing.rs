//! The calls of leases: slices are reserved and committed beside the requests that are admitted from them.

use super::check::CheckResult;
use super::client::{Call, ServiceClient};
use super::descriptors::DescriptorSet;
use super::lease::{self, Ended, Step};
use super::leases::{LeaseCall, LeaseDemand, LeaseHold, LeaseId, Leases};
use super::message::{self, Reply, ReserveRequest};
use super::method::Method;
use super::observer::ServiceEvent;
use super::transport::Metadata;
use crate::time::Timestamp;
use prost::Message;
use std::rc::Rc;

// === impl ServiceClient ===

impl ServiceClient {
    /// Returns whether counters can be leased now.
    #[must_use]
    pub fn leases(&self) -> bool {
        self.leases.is_some() && self.support.is_confirmed() && !self.link.is_open()
    }

    /// Takes as much of a demand as the lease of its counters has room for, and starts the call that the lease needs.
    /// Returns what it holds, which can be nothing; `None` without a lease.
    ///
    /// `descriptors` returns those of the counters of one limit. It is called if a busy counter gets a lease.
    pub fn hold(
        &self,
        now: Timestamp,
        demand: &LeaseDemand,
        descriptors: impl FnOnce() -> Option<DescriptorSet>,
    ) -> Option<LeaseHold> {
        let leases = self.leases.as_ref().filter(|_| self.leases())?;
        let hold = Leases::hold(leases, now, demand);
        let call = leases.borrow_mut().request(now, demand, true, descriptors);
        if let Some(call) = call {
            self.call_of_lease(now, call);
            self.observe_leases();
        }
        hold
    }

    /// Reports that a request was admitted without a call.
    pub fn admitted_by_lease(&self) {
        self.link.observe(ServiceEvent::LeaseAdmission);
    }

    /// Starts the calls that leases need.
    pub(super) fn advance_leases(&self, now: Timestamp) {
        let Some(leases) = &self.leases else {
            return;
        };
        let calls = leases.borrow_mut().due(now, self.leases());
        if calls.is_empty() {
            return;
        }
        for call in calls {
            self.call_of_lease(now, call);
        }
        self.observe_leases();
    }

    /// Ends leases, and commits those of which no request in flight holds a part.
    pub(super) fn end_leases(&self, now: Timestamp) {
        if let Some(leases) = &self.leases {
            leases.borrow_mut().end();
            self.advance_leases(now);
        }
    }

    /// Queues the usage of all slices, and the release of their reservations.
    pub(super) fn reset_leases(&self, now: Timestamp) {
        let Some(leases) = &self.leases else {
            return;
        };
        let calls = leases.borrow_mut().reset();
        for LeaseCall {
            descriptors, step, ..
        } in calls
        {
            if let Step::Commit(Ended { reservation, used }) = step {
                self.settlements
                    .settle_later(now, &descriptors, reservation, used);
            }
        }
        self.observe_leases();
    }

    /// Returns whether no lease has a slice or is about to get one.
    pub(super) fn has_no_lease(&self) -> bool {
        let leases = self.leases.as_ref();
        leases.is_none_or(|leases| leases.borrow().is_empty())
    }

    /// Takes the result of the `Reserve` of a lease.
    pub(super) fn on_lease_reply(
        &self,
        now: Timestamp,
        (id, number): (LeaseId, u64),
        descriptors: &Rc<DescriptorSet>,
        result: CheckResult,
    ) {
        let Some(leases) = &self.leases else {
            return;
        };
        let reservation = match result {
            CheckResult::Reply(Reply {
                is_over_limit: false,
                reservation,
                ..
            }) => reservation,
            _ => None,
        };
        if let Some(reservation) = reservation {
            let ended = leases.borrow_mut().grant(id, number, reservation);
            if let Some(ended) = ended {
                self.commit_slice(now, descriptors, ended);
            }
        } else {
            // Also where the service has no limit for the counters, and reserves nothing.
            leases.borrow_mut().deny(now, id, number);
        }
        self.observe_leases();
    }

    fn call_of_lease(&self, now: Timestamp, call: LeaseCall) {
        let LeaseCall {
            id,
            number,
            descriptors,
            step,
        } = call;
        let amount = match step {
            Step::Reserve(amount) => amount,
            Step::Commit(ended) => return self.commit_slice(now, &descriptors, ended),
        };
        let Some(leases) = &self.leases else {
            return;
        };
        let ttl = lease::service_ttl(leases.borrow().ttl());
        let request = ReserveRequest {
            domain: descriptors.domain.to_string(),
            descriptors: descriptors.descriptors.clone(),
            amount,
            ttl: Some(message::to_wire(ttl)),
        };
        let message = request.encode_to_vec();
        let call = Call::Lease {
            id,
            number,
            descriptors,
        };
        let metadata = Metadata::new();
        if self
            .call(now, Method::Reserve, &message, &metadata, call)
            .is_err()
        {
            leases.borrow_mut().deny(now, id, number);
        }
    }

    fn commit_slice(&self, now: Timestamp, descriptors: &Rc<DescriptorSet>, ended: Ended) {
        let Ended { reservation, used } = ended;
        let metadata = Metadata::new();
        self.settlements
            .settle(now, descriptors, Some(reservation), used, &metadata);
    }

    fn observe_leases(&self) {
        if let Some(leases) = &self.leases {
            let tokens = leases.borrow().tokens();
            self.link.observe(ServiceEvent::TokensLeased(tokens));
        }
    }
}
