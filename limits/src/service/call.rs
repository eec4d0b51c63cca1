//! A call of a settlement that is under way.

use super::method::Method;
use super::queue::Settlement;
use crate::time::Timestamp;

/// A call under way.
#[derive(Debug)]
pub(super) struct Call {
    /// What it is about.
    pub(super) settlement: Settlement,
    /// What it does.
    pub(super) kind: CallKind,
    /// When it was made.
    pub(super) sent: Timestamp,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum CallKind {
    /// Adds the settlement.
    Add { method: Method },
    /// Asks how the counters stand, before a settlement that has failed is sent again.
    Inquiry,
    /// Adds part of a settlement that did not fit, of which less than `room` fits.
    Fill { room: u64 },
}

// === impl Call ===

impl Call {
    /// Returns the settlement of which it is not known that it was added.
    pub(super) fn into_settlement(self) -> Settlement {
        let mut settlement = self.settlement;
        if let CallKind::Fill { room } = self.kind {
            settlement.amount = room;
        }
        settlement
    }
}
