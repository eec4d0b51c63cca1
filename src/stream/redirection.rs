//! What the streams of a request that Envoy redirects know of each other.

use crate::ledger::Charge;

/// The most counters that are passed on. Further ones count the request once more.
const MAX_COUNTED: usize = 256;

/// The bytes of a counter: the tag of its rate and its key.
const COUNTER_BYTES: usize = 24;

/// The flag of a request in whose body the filter has requested usage.
const HAS_USAGE_REQUEST: u8 = 1;

/// What the streams before have left for that of a redirected request.
#[derive(Debug, Default)]
pub(super) enum Redirection {
    /// It was not looked up.
    #[default]
    Unknown,
    /// The request was not redirected.
    None,
    /// The request was redirected.
    Some(Box<Passed>),
}

/// What one stream leaves for the next.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Passed {
    /// The counters that have counted the request, in their order.
    counted: Vec<[u8; COUNTER_BYTES]>,
    /// Whether the filter has requested usage in the body, which the client did not.
    pub(super) has_usage_request: bool,
    /// Whether a limit that applies was left out, because it has counted the request before.
    pub(super) is_applied: bool,
}

// === impl Redirection ===

impl Redirection {
    /// Returns whether a limit applies that has counted the request already.
    pub(super) fn is_applied(&self) -> bool {
        matches!(self, Self::Some(passed) if passed.is_applied)
    }

    pub(super) fn has_usage_request(&self) -> bool {
        matches!(self, Self::Some(passed) if passed.has_usage_request)
    }
}

// === impl Passed ===

impl Passed {
    /// Reads what a stream has left. Bytes of another form are ignored.
    pub(super) fn read(bytes: &[u8]) -> Self {
        let Some((flags, counters)) = bytes.split_first() else {
            return Self::default();
        };
        let (counted, _) = counters.as_chunks();
        let counted = counted.get(..MAX_COUNTED).unwrap_or(counted);
        Self {
            counted: counted.to_vec(),
            has_usage_request: flags & HAS_USAGE_REQUEST != 0,
            is_applied: false,
        }
    }

    pub(super) fn write(&self) -> Vec<u8> {
        let flags = if self.has_usage_request {
            HAS_USAGE_REQUEST
        } else {
            0
        };
        [&[flags], self.counted.as_flattened()].concat()
    }

    pub(super) fn contains(&self, charge: &Charge) -> bool {
        self.counted.contains(&counter(charge))
    }

    pub(super) fn add(&mut self, charge: &Charge) {
        if self.counted.len() < MAX_COUNTED && !self.contains(charge) {
            self.counted.push(counter(charge));
        }
    }
}

/// Returns what identifies a counter, in any configuration.
fn counter(charge: &Charge) -> [u8; COUNTER_BYTES] {
    let mut bytes = [0; COUNTER_BYTES];
    let parts = charge.counter.rate.tag().to_le_bytes().into_iter();
    let parts = parts.chain(charge.counter.key.to_le_bytes());
    bytes
        .iter_mut()
        .zip(parts)
        .for_each(|(byte, part)| *byte = part);
    bytes
}
