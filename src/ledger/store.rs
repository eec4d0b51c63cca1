//! The ledger's own counters, in the shared data of this Envoy.

use super::admission::Admission;
use super::charge::{self, Charge, Rejection, Stage};
use super::deferred::DeferredCharges;
use super::error::LedgerError;
use super::service::Service;
use super::top::TopLists;
use crate::host::Host;
use crate::policies::{Policies, RateIndex};
use crate::telemetry::{Count, Telemetry};
use filter_config::{FailureMode, LimitIndex, Storage};
use limits::service::{CallId, CheckReply};
use limits::{GenerationId, LocalStore, Nanos, StoreError, Timestamp, Verdict};
use std::rc::Rc;

/// The counters of all limits.
pub(crate) struct Ledger {
    pub(super) host: Rc<dyn Host>,
    pub(super) policies: Rc<Policies>,
    pub(super) telemetry: Rc<Telemetry>,
    /// All counters or, beside a service, what this Envoy knows of them.
    pub(super) local: LocalStore,
    /// The charges of background responses.
    pub(super) deferred: DeferredCharges,
    /// The rate limit service, if there is one.
    pub(super) service: Option<Service>,
    /// The largest counters, where they are tracked.
    pub(super) top: Option<TopLists>,
}

// === impl Ledger ===

impl Ledger {
    /// Returns the ledger of the configured storage.
    ///
    /// # Errors
    /// Whatever Envoy answers to the definition of metrics; none is expected.
    pub(crate) fn new(
        host: Rc<dyn Host>,
        policies: Rc<Policies>,
        telemetry: Rc<Telemetry>,
    ) -> crate::host::Result<Self> {
        let configuration = policies.configuration();
        let max_counters = match &configuration.storage {
            Storage::Local { max_counters } => *max_counters,
            Storage::Remote(remote) => remote.max_counters,
        };
        Ok(Self {
            local: LocalStore::new(max_counters),
            deferred: DeferredCharges::new(&policies),
            service: Service::new(&host, configuration)?,
            top: TopLists::new(&host, &policies, &telemetry),
            host,
            policies,
            telemetry,
        })
    }

    /// Returns the tick period that the ledger needs; `None` without a rate limit service.
    #[must_use]
    pub(crate) fn tick_period(&self) -> Option<Nanos> {
        let service = self.service.as_ref()?;
        Some(service.client.tick_period())
    }

    /// Sends settlements that are due, and adds what was tracked to what the workers share.
    pub(crate) fn on_tick(&self) {
        let now = self.host.now().unwrap_or_default();
        if let Some(service) = &self.service {
            service.client.on_tick(now);
        }
        if let Some(top) = &self.top {
            top.on_tick(now);
        }
    }

    /// Takes a reply of the rate limit service: its message, or the gRPC status of a failure. Returns
    /// the reply to a check, for the stream that waits for it.
    pub(crate) fn on_reply(&self, call: CallId, reply: Result<&[u8], u32>) -> Option<CheckReply> {
        let now = self.host.now().unwrap_or_default();
        let service = self.service.as_ref()?;
        service.client.on_reply(now, call, reply)
    }

    /// Returns a reply to a check that has waited for what another has shown.
    pub(crate) fn next_ready(&self) -> Option<CheckReply> {
        self.service.as_ref()?.client.next_ready()
    }

    /// Releases what a reply grants to a check that no longer waits.
    pub(crate) fn release_reply(&self, reply: CheckReply) {
        if let Some(service) = &self.service {
            let now = self.host.now().unwrap_or_default();
            service.client.release(now, reply);
        }
    }

    /// Sends all settlements now, because the configuration is no longer in force. Returns whether
    /// none is left.
    pub(crate) fn drain(&self) -> bool {
        let now = self.host.now().unwrap_or_default();
        if let Some(top) = &self.top {
            top.publish(now);
        }
        let service = self.service.as_ref();
        service.is_none_or(|service| service.client.drain(now))
    }

    /// Returns whether no settlement is left to send.
    #[must_use]
    pub(crate) fn is_drained(&self) -> bool {
        let service = self.service.as_ref();
        service.is_none_or(|service| service.client.is_drained())
    }

    /// Returns whether both have the same rate limit service.
    #[must_use]
    pub(crate) fn is_of_same_service(&self, other: &Self) -> bool {
        match (&self.service, &other.service) {
            (Some(own), Some(other)) => own.client.is_of_same_service(&other.client),
            _ => false,
        }
    }

    /// Hands the settlements that wait to the ledger of a configuration with the same service.
    pub(crate) fn hand_over(&self, successor: &Self) {
        if let (Some(own), Some(other)) = (&self.service, &successor.service) {
            let now = self.host.now().unwrap_or_default();
            own.client.hand_over(now, &other.client);
        }
    }

    /// Ends the settlements that are left, also those under way: hands them over, or else gives them up.
    pub(crate) fn end(&self, successor: Option<&Self>) {
        if let Some(service) = &self.service {
            let now = self.host.now().unwrap_or_default();
            service.client.fail_calls(now);
            if let Some(successor) = successor {
                self.hand_over(successor);
            }
            service.client.lose_all("no configuration has the service");
        }
    }

    /// Records the cost of an exchange at each counter, and releases what it reserved there. `cost` is
    /// called once for each charge, in the unit of its rate.
    ///
    /// At the end of an exchange that was charged early, the difference is recorded, up or down. What is
    /// counted in flight is released at the end only.
    ///
    /// # Errors
    /// [`StoreError`] when a counter could not be written; the others are.
    pub(crate) fn settle(
        &self,
        admission: &mut Admission,
        stage: Stage,
        mut cost: impl FnMut(&Charge) -> u64,
    ) -> Result<(), StoreError> {
        for charge in &mut admission.charges {
            charge.counter.cost = cost(charge);
        }
        let charges = admission.charges.iter_mut();
        let mut due: Vec<&mut Charge> = charges.filter(|charge| charge.is_due(stage)).collect();
        if due.is_empty() {
            self.track(admission, stage);
            return Ok(());
        }
        let now = self.host.now().unwrap_or_default();
        let settled = self.local.settle(&*self.host, now, &mut due);
        self.settle_remote(now, admission, stage);
        self.track(admission, stage);
        settled
    }

    /// Tracks what an exchange that has ended was charged.
    fn track(&self, admission: &mut Admission, stage: Stage) {
        if let Some(top) = self.top.as_ref().filter(|_| stage == Stage::End) {
            let now = self.host.now().unwrap_or_default();
            let tracked = std::mem::take(&mut admission.tracked);
            for charge in &admission.charges {
                let charged = charge.counter.charged.map_or(0, |charged| charged.cost());
                top.add(now, charge, charged, &tracked);
            }
        }
    }

    /// Releases what is reserved for an exchange that does not take place.
    ///
    /// # Errors
    /// [`StoreError`] when a counter could not be written; the others are.
    pub(crate) fn release(&self, admission: &mut Admission) -> Result<(), StoreError> {
        self.settle(admission, Stage::End, |_| 0)
    }

    /// Returns the time.
    ///
    /// # Errors
    /// [`LedgerError::Clock`] when Envoy returns none; that is not expected.
    pub(crate) fn now(&self) -> Result<Timestamp, LedgerError> {
        Ok(self.host.now()?)
    }

    /// Returns whether a rate limit service has the counters.
    #[must_use]
    pub(crate) const fn is_remote(&self) -> bool {
        self.service.is_some()
    }

    /// Returns whether the values that limits count by have to be known.
    #[must_use]
    pub(crate) const fn needs_values(&self) -> bool {
        self.service.is_some() || self.top.is_some()
    }

    /// Reports what the counters went through.
    pub(crate) fn report_occupancy(&self) {
        self.telemetry.occupancy(self.local.occupancy());
    }

    /// Returns how a counter stands; `None` if it cannot be read.
    #[cfg(not(target_arch = "wasm32"))]
    #[must_use]
    pub(crate) fn standing(&self, charge: &Charge) -> Option<limits::Standing> {
        let mut charge = *charge;
        charge.counter.amount = 0;
        charge.counter.is_hard = false;
        let now = self.host.now().ok()?;
        let rejection = self.reserve(now, std::slice::from_mut(&mut charge)).ok()?;
        Some(
            rejection
                .map_or(charge, |rejection| rejection.charge)
                .counter
                .standing,
        )
    }

    /// Reserves at all counters or at none.
    pub(super) fn reserve(
        &self,
        now: Timestamp,
        charges: &mut [Charge],
    ) -> Result<Option<Rejection>, StoreError> {
        if charges.is_empty() {
            return Ok(None);
        }
        let ttl = charge::ttl(charges);
        let verdict = self.local.reserve(&*self.host, now, charges, ttl)?;
        let Verdict::Rejected { index, standing } = verdict else {
            return Ok(None);
        };
        Ok(charges.get(index).map(|&charge| {
            let mut charge = charge;
            charge.counter.standing = standing;
            Rejection { charge, now }
        }))
    }

    /// Reserves at the counters whose limits only count and report, one by one.
    pub(super) fn reserve_all_reported(&self, now: Timestamp, admission: &mut Admission) {
        let mut shadow_rejected = None;
        let (_, reported) = admission.split_mut();
        for charge in reported {
            self.reserve_reported(now, charge, &mut shadow_rejected);
        }
        admission.shadow_rejected = shadow_rejected;
    }

    /// Reserves at a counter whose limit only counts and reports. Without room, nothing is reserved.
    fn reserve_reported(
        &self,
        now: Timestamp,
        charge: &mut Charge,
        shadow_rejected: &mut Option<LimitIndex>,
    ) {
        match self.reserve(now, std::slice::from_mut(charge)) {
            Ok(None) => return,
            Ok(Some(Rejection { charge, now })) => {
                if self.policies.is_shadow(charge.rate) {
                    *shadow_rejected = self.limit_index(charge.rate);
                } else {
                    let standing = &charge.counter.standing;
                    let telemetry = &self.telemetry;
                    telemetry.alert_concurrency(&self.policies, charge.id(), standing, now);
                }
            }
            Err(_) => self.telemetry.count(Count::StorageErrors),
        }
        charge.counter.amount = 0;
    }

    /// Counts an admitted request where requests are counted: now rather than at its end, or a stream
    /// would block the next request for as long as it lasts. If that fails, it is counted with the
    /// rest at the end.
    pub(super) fn count_request(&self, now: Timestamp, admission: &mut Admission) {
        admission.admitted_at = now;
        let requests = admission.charges.iter().filter(|it| it.counts_requests());
        let mut requests: Vec<Charge> = requests.copied().collect();
        if requests.is_empty() {
            return;
        }
        for charge in &mut requests {
            charge.counter.cost = 1;
        }
        if self.local.settle(&*self.host, now, &mut requests).is_err() {
            self.telemetry.count(Count::StorageErrors);
            return;
        }
        if let Some(top) = &self.top {
            for charge in &requests {
                top.add(now, charge, 1, &admission.tracked);
            }
        }
        let mut settled = requests.iter();
        for charge in &mut admission.charges {
            if charge.counts_requests() {
                charge.counter.amount = 0;
                charge.counter.generation = GenerationId::default();
                if let Some(settled) = settled.next() {
                    // The request itself is used.
                    charge.counter.standing = settled.counter.standing;
                }
            }
        }
        for charge in &requests {
            let standing = &charge.counter.standing;
            let telemetry = &self.telemetry;
            telemetry.alert(&self.policies, charge.id(), standing, 1);
        }
    }

    /// Returns a result of the store; `None` where it failed and `failureMode` is `allow`.
    pub(super) fn or_failure_mode<T>(
        &self,
        result: Result<T, StoreError>,
    ) -> Result<Option<T>, LedgerError> {
        result.map(Some).or_else(|error| {
            self.telemetry.count(Count::StorageErrors);
            match self.policies.configuration().failure_mode {
                FailureMode::Deny => Err(error.into()),
                FailureMode::Allow => Ok(None),
            }
        })
    }

    /// Returns the limit of a rate.
    pub(super) fn limit_index(&self, rate: RateIndex) -> Option<LimitIndex> {
        self.policies.rate(rate).map(|rate| rate.limit)
    }
}
