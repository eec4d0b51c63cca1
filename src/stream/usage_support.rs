//! Upstreams that reject requests for a usage report, as the workers remember them: by cluster and model.
//!
//! A rejected request alone is not sufficient: any client could stop the requests for all others by an
//! invalid body. An upstream is taken to reject `stream_options` only if it also accepts the next
//! request, to which nothing was added. One rejection counts if its error names the field and the client's body does
//! not; otherwise there have to be several, and none count within a day of a request that was accepted.

#[cfg(test)]
mod tests;

use crate::host::Host;
use crate::telemetry::Telemetry;
use limits::{CREATE, Nanos, SharedDataError, Timestamp};
use usage_meter::request::include_usage;

/// The number of upstreams that are remembered.
const SLOTS: u64 = 1024;

/// The key of a slot in shared data, before its number.
const KEY_PREFIX: &str = "tollgate/1/include-usage/";

/// How long an upstream that rejects such requests is not asked.
const SKIP_DURATION: Nanos = Nanos::HOUR;

/// How long an upstream that has accepted a request is trusted to accept others.
const TRUST_DURATION: Nanos = Nanos::DAY;

/// The age at which that knowledge is renewed.
const RENEWAL_AGE: Nanos = Nanos::MINUTE.saturating_mul(10);

/// The rejections whose errors do not name the field before an upstream is suspected.
const MIN_UNNAMED_REJECTIONS: u8 = 3;

/// The most bytes of an error in which the name of the field is searched.
const MAX_ERROR_BYTES: usize = 8192;

/// How often a write is tried while other workers write the same slot.
const MAX_WRITES: usize = 4;

/// What is done with a request whose client did not ask for a usage report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Approach {
    /// It is asked for.
    Ask,
    /// It is not asked for, to see whether the upstream accepts the request then.
    Probe,
    /// It is not asked for, because the upstream rejects that.
    Skip,
}

/// A request whose outcome shows whether its upstream accepts requests for usage reports.
#[derive(Debug)]
pub(super) struct Attempt {
    upstream: Upstream,
    /// What is done with the request.
    pub(super) approach: Approach,
    /// Whether the upstream is known to accept such requests, so that nothing is to be written.
    is_known: bool,
    /// Whether an error may name the field because the client's body does.
    is_named_by_client: bool,
    /// The beginning of the error, once the upstream has rejected the request.
    error: Option<Vec<u8>>,
}

/// A cluster and a model.
#[derive(Debug)]
struct Upstream {
    hash: u128,
    cluster: String,
    model: String,
}

/// What is remembered of an upstream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Support {
    /// A part of the hash of the upstream.
    tag: u64,
    /// When it last accepted a request for a report.
    accepted_at: Timestamp,
    /// Until when it is not asked.
    skipped_until: Timestamp,
    /// The requests for a report that it has rejected, and those without that it has accepted after that.
    rejected: u8,
    accepted_without: u8,
    /// Whether an error has named the field.
    is_named: bool,
}

/// The outcome of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Accepted,
    Rejected { is_named: bool },
}

// === impl Attempt ===

impl Attempt {
    /// Decides on a request to an upstream, by what is remembered of it. `hash` is that of the cluster and
    /// the model, with the secret of the workers. `is_mistral` is whether the client expects Mistral's API, which is only
    /// asked if it is known to accept that.
    pub(super) fn new(
        host: &dyn Host,
        hash: u128,
        cluster: &[u8],
        model: &str,
        is_named_by_client: bool,
        is_mistral: bool,
    ) -> Self {
        let upstream = Upstream {
            hash,
            cluster: String::from_utf8_lossy(cluster).into_owned(),
            model: model.chars().take(64).collect(),
        };
        let now = host.now().unwrap_or_default();
        let (support, _) = upstream.read(host, now).unwrap_or_default();
        Self {
            approach: if is_mistral && !support.is_trusted(now) {
                Approach::Skip
            } else {
                support.approach(now)
            },
            is_known: support.rejected == 0 && now.since(support.accepted_at) < RENEWAL_AGE,
            upstream,
            is_named_by_client,
            error: None,
        }
    }

    /// Takes the status of the response. Returns whether the attempt continues, with the body of an error.
    pub(super) fn on_status(
        &mut self,
        host: &dyn Host,
        telemetry: &Telemetry,
        status: u16,
    ) -> bool {
        match (self.approach, status) {
            (Approach::Skip, _) => false,
            (Approach::Ask, 200..=299) if self.is_known => false,
            (_, 200..=299) => {
                self.remember(host, telemetry, Outcome::Accepted);
                false
            }
            (_, 400 | 422) => {
                self.error = Some(Vec::new());
                true
            }
            // Others say nothing about the body.
            _ => false,
        }
    }

    /// Takes a part of the error.
    pub(super) fn on_error_body(&mut self, bytes: &[u8]) {
        if let Some(error) = &mut self.error {
            let left = MAX_ERROR_BYTES.saturating_sub(error.len());
            error.extend_from_slice(bytes.get(..left).unwrap_or(bytes));
        }
    }

    /// Ends the attempt: the error is complete, or as much of it as there will be.
    pub(super) fn finish(&self, host: &dyn Host, telemetry: &Telemetry) {
        if let Some(error) = &self.error {
            // What repeats the request names what was added to it, and may be cut off before it shows.
            let is_named = !self.is_named_by_client
                && error.len() < MAX_ERROR_BYTES
                && !include_usage::repeats_request(error)
                && include_usage::is_named_in(error);
            self.remember(host, telemetry, Outcome::Rejected { is_named });
        }
    }

    fn remember(&self, host: &dyn Host, telemetry: &Telemetry, outcome: Outcome) {
        let now = host.now().unwrap_or_default();
        for _ in 0..MAX_WRITES {
            let Some((known, version)) = self.upstream.read(host, now) else {
                return;
            };
            let support = known.after(self.approach, outcome, now);
            if support == known {
                return;
            }
            let key = self.upstream.key();
            match host.set_shared_data(key.as_bytes(), &support.to_bytes(), version) {
                Ok(()) => {
                    if support.skipped_until > known.skipped_until {
                        let Upstream { cluster, model, .. } = &self.upstream;
                        telemetry.include_usage_rejected(cluster, model);
                    }
                    return;
                }
                Err(SharedDataError::CasMismatch) => {}
                Err(SharedDataError::Failed(_)) => return,
            }
        }
    }
}

// === impl Upstream ===

impl Upstream {
    fn key(&self) -> String {
        let slot = u64::try_from(self.hash & u128::from(u64::MAX)).unwrap_or_default() % SLOTS;
        format!("{KEY_PREFIX}{slot}")
    }

    /// Returns what is remembered of the upstream, and the version of its slot; `None` if the slot cannot be read
    /// or belongs to another upstream.
    fn read(&self, host: &dyn Host, now: Timestamp) -> Option<(Support, u32)> {
        let tag = u64::try_from(self.hash >> 64).unwrap_or_default();
        let new = Support {
            tag,
            ..Support::default()
        };
        let Some((bytes, version)) = host.shared_data(self.key().as_bytes()).ok()? else {
            return Some((new, CREATE));
        };
        match Support::from_bytes(&bytes) {
            Some(support) if support.tag == tag => Some((support, version)),
            Some(support) if support.is_live(now) => None,
            _ => Some((new, version)),
        }
    }
}

// === impl Support ===

impl Support {
    const BYTES: usize = 27;

    fn approach(&self, now: Timestamp) -> Approach {
        if self.skipped_until > now {
            Approach::Skip
        } else if self.is_suspected() {
            Approach::Probe
        } else {
            Approach::Ask
        }
    }

    /// Returns whether it has accepted a request lately.
    fn is_trusted(&self, now: Timestamp) -> bool {
        self.accepted_at > Timestamp::EPOCH && now.since(self.accepted_at) < TRUST_DURATION
    }

    /// Returns whether there were enough rejections to try requests without the field.
    const fn is_suspected(&self) -> bool {
        let needed = if self.is_named {
            1
        } else {
            MIN_UNNAMED_REJECTIONS
        };
        self.rejected >= needed.saturating_add(self.accepted_without)
    }

    /// Returns whether the upstream must not be forgotten yet.
    fn is_live(&self, now: Timestamp) -> bool {
        self.skipped_until > now || now.since(self.accepted_at) < TRUST_DURATION
    }

    /// Returns what is to be remembered after a request.
    fn after(self, approach: Approach, outcome: Outcome, now: Timestamp) -> Self {
        let cleared = Self {
            rejected: 0,
            accepted_without: 0,
            is_named: false,
            ..self
        };
        match (approach, outcome) {
            (Approach::Ask, Outcome::Accepted) => Self {
                accepted_at: now,
                ..cleared
            },
            (Approach::Ask, Outcome::Rejected { is_named }) => {
                if !is_named && now.since(self.accepted_at) < TRUST_DURATION {
                    return self;
                }
                Self {
                    rejected: self.rejected.saturating_add(1),
                    is_named: self.is_named || is_named,
                    ..self
                }
            }
            (Approach::Probe, Outcome::Accepted) => {
                let accepted_without = self.accepted_without.saturating_add(1);
                if self.is_named || accepted_without > 1 {
                    return Self {
                        skipped_until: now.saturating_add(SKIP_DURATION),
                        ..cleared
                    };
                }
                Self {
                    accepted_without,
                    ..self
                }
            }
            // The client has caused both.
            (Approach::Probe, Outcome::Rejected { .. }) => cleared,
            (Approach::Skip, _) => self,
        }
    }

    fn to_bytes(self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(Self::BYTES);
        for number in [
            self.tag,
            self.accepted_at.as_u64(),
            self.skipped_until.as_u64(),
        ] {
            bytes.extend_from_slice(&number.to_le_bytes());
        }
        bytes.extend([self.rejected, self.accepted_without, self.is_named.into()]);
        bytes
    }

    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (numbers, rest) = bytes.as_chunks::<8>();
        let (&[tag, accepted_at, skipped_until], &[rejected, accepted_without, is_named]) =
            (numbers, rest)
        else {
            return None;
        };
        Some(Self {
            tag: u64::from_le_bytes(tag),
            accepted_at: Timestamp::new(u64::from_le_bytes(accepted_at)),
            skipped_until: Timestamp::new(u64::from_le_bytes(skipped_until)),
            rejected,
            accepted_without,
            is_named: is_named != 0,
        })
    }
}
