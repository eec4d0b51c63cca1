//! What the clients have sent and received.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use crate::kind::Kind;

/// How an exchange ended for its client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Ending {
    /// The whole response has arrived, with this status.
    Response(u16),
    /// The client has left.
    Left,
    /// The connection was closed.
    Cut,
}

/// An exchange.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Exchange {
    pub(crate) kind: Kind,
    /// The tokens that the provider generates for it.
    pub(crate) tokens: u64,
    pub(crate) ending: Ending,
}

/// The exchanges by the value of their header `x-test-id`. Clones refer to the same ones.
#[derive(Debug, Clone, Default)]
pub(crate) struct Journal(Arc<Mutex<BTreeMap<String, Exchange>>>);

// === impl Journal ===

impl Journal {
    /// Adds an exchange that has ended.
    pub(crate) fn add(&self, id: String, exchange: Exchange) {
        self.exchanges().insert(id, exchange);
    }

    /// Returns the exchanges.
    pub(crate) fn exchanges(&self) -> MutexGuard<'_, BTreeMap<String, Exchange>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
