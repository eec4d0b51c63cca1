//! What a client reports to metrics.

/// Observes the events of a [`ServiceClient`](super::ServiceClient).
pub trait Observer {
    /// Takes note of an event.
    fn observe(&self, event: ServiceEvent);
}

/// An event of a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServiceEvent {
    /// A call is made.
    Call,
    /// A call has failed.
    CallFailed,
    /// Envoy has made no call because too many were under way.
    CallSaturated,
    /// The circuit has opened: the service is not called, except by probes.
    CircuitOpened,
    /// The circuit has closed.
    CircuitClosed,
    /// A settlement has failed and is sent again later.
    SettlementRetried,
    /// A settlement was merged with another of the same limits, because the queue was full.
    SettlementMerged,
    /// A settlement was given up.
    SettlementLost {
        /// The usage that is not counted.
        amount: u64,
    },
    /// A request was admitted by leases, without a call.
    LeaseAdmission,
    /// The tokens of all slices that are reserved may have changed.
    TokensLeased(u64),
    /// The number of settlements in the queue may have changed.
    SettlementsPending(usize),
}
