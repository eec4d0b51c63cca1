//! What the workers of an Envoy share about a service: whether it implements `Reserve`, and when it last replied.

use crate::shared_data::{CREATE, SharedData};
use crate::time::{Nanos, Timestamp};
use std::cell::Cell;
use std::rc::Rc;

/// The first byte of every value: a value of another version is ignored.
const VERSION: u8 = 1;

/// How long `Reserve` is not tried again with a service that does not implement it.
pub(super) const RETRY: Nanos = Nanos::HOUR;

/// How often a worker writes down that the service has replied.
const REPLIED_INTERVAL: Nanos = Nanos::from_millis(250);

/// Whether a service implements `Reserve` and `Commit`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum ReserveSupport {
    /// It has not replied to a call yet.
    #[default]
    Unknown,
    /// It does.
    Supported,
    /// It did not when it was last called, and is called again at this time.
    Unsupported(Timestamp),
}

/// The part of shared data that is about one service.
pub(super) struct Shared {
    data: Rc<dyn SharedData>,
    support_key: Vec<u8>,
    replied_key: Vec<u8>,
    /// When this worker has last written down that the service replied.
    written_at: Cell<Timestamp>,
}

// === impl ReserveSupport ===

impl ReserveSupport {
    fn encode(self) -> Vec<u8> {
        let (state, until) = match self {
            Self::Unknown => (0, 0),
            Self::Supported => (1, 0),
            Self::Unsupported(until) => (2, until.as_u64()),
        };
        let mut bytes = vec![VERSION, state];
        bytes.extend(until.to_le_bytes());
        bytes
    }

    fn decode(bytes: &[u8]) -> Self {
        match bytes.split_first_chunk::<2>() {
            Some(([VERSION, 1], _)) => Self::Supported,
            Some(([VERSION, 2], until)) => until
                .try_into()
                .map(|until| Self::Unsupported(Timestamp::new(u64::from_le_bytes(until))))
                .unwrap_or_default(),
            _ => Self::Unknown,
        }
    }
}

// === impl Shared ===

impl Shared {
    /// Returns the part about the service at a cluster.
    pub(super) fn new(data: Rc<dyn SharedData>, cluster: &str) -> Self {
        let key = |what: &str| format!("tollgate.service.{what}.{cluster}").into_bytes();
        Self {
            data,
            support_key: key("reserve"),
            replied_key: key("replied"),
            written_at: Cell::default(),
        }
    }

    /// Returns what a worker has learnt.
    pub(super) fn support(&self) -> ReserveSupport {
        let value = self.read(&self.support_key);
        value.map_or(ReserveSupport::Unknown, |(value, _)| {
            ReserveSupport::decode(&value)
        })
    }

    /// Shares what this worker has learnt.
    pub(super) fn set_support(&self, support: ReserveSupport) {
        self.write(&self.support_key, &support.encode());
    }

    /// Postpones the next call that tests for support, unless another worker has meanwhile made one or postponed it. Returns
    /// what is known then, and whether this worker makes the call.
    pub(super) fn claim(&self, now: Timestamp, until: Timestamp) -> (ReserveSupport, bool) {
        let mine = ReserveSupport::Unsupported(until);
        let (known, version) = self.read(&self.support_key).unwrap_or((vec![], CREATE));
        match ReserveSupport::decode(&known) {
            ReserveSupport::Unsupported(at) if !is_over(now, at) => {
                return (ReserveSupport::Unsupported(at), false);
            }
            ReserveSupport::Supported => return (ReserveSupport::Supported, false),
            ReserveSupport::Unsupported(_) | ReserveSupport::Unknown => {}
        }
        let claimed = self
            .data
            .set_shared_data(&self.support_key, &mine.encode(), version);
        (mine, claimed.is_ok())
    }

    /// Takes note that the service has replied.
    pub(super) fn set_replied(&self, now: Timestamp) {
        let written_at = self.written_at.get();
        // A clock that stepped back would otherwise put it off until it is where it was.
        if now.since(written_at) >= REPLIED_INTERVAL || now < written_at {
            self.written_at.set(now);
            self.write(&self.replied_key, &now.as_u64().to_le_bytes());
        }
    }

    /// Returns when the service last replied to any worker, but for [`REPLIED_INTERVAL`].
    pub(super) fn replied(&self) -> Timestamp {
        let value = self.read(&self.replied_key);
        let at = value.and_then(|(value, _)| Some(u64::from_le_bytes(value.try_into().ok()?)));
        at.map_or(Timestamp::EPOCH, Timestamp::new)
    }

    fn read(&self, key: &[u8]) -> Option<(Vec<u8>, u32)> {
        // If Envoy cannot read it, this worker makes a call of its own.
        self.data.shared_data(key).ok()?
    }

    fn write(&self, key: &[u8], value: &[u8]) {
        let version = self.read(key).map_or(CREATE, |(_, version)| version);
        // Where another worker has written meanwhile, it knows as much.
        let _ = self.data.set_shared_data(key, value, version);
    }
}

/// Returns whether a time has come. A clock that stepped backwards must not put it off for longer than [`RETRY`].
pub(super) fn is_over(now: Timestamp, until: Timestamp) -> bool {
    now >= until || now.saturating_add(RETRY) < until
}
