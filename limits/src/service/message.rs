//! The messages of rate limit services, as far as the client uses them.
//!
//! `envoy.service.ratelimit.v3` is Envoy's protocol, `kuadrant.service.ratelimit.v1` limitador's.
//! Descriptors stay serialized: they are the same bytes in every message about an exchange, and identify
//! what is counted under them.

use crate::time::Nanos;
use prost::Message;

/// The size of the largest reply that is read, in bytes.
pub const MAX_REPLY_BYTES: usize = 65_536;

/// The size of the longest reservation ID that is kept, in bytes. limitador's are UUIDs.
const MAX_RESERVATION_BYTES: usize = 256;

/// A pair of a descriptor: `envoy.extensions.common.ratelimit.v3.RateLimitDescriptor.Entry`.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct Entry {
    /// The key.
    #[prost(string, tag = "1")]
    pub key: String,
    /// The value.
    #[prost(string, tag = "2")]
    pub value: String,
}

/// The identity of a counter: `envoy.extensions.common.ratelimit.v3.RateLimitDescriptor`.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct Descriptor {
    /// The pairs, in order.
    #[prost(message, repeated, tag = "1")]
    pub entries: Vec<Entry>,
}

/// The bytes that a `RateLimitDescriptor.hits_addend` of 0 adds to a descriptor: a field of tag 3 with an
/// empty `google.protobuf.UInt64Value`.
pub const NO_HITS: [u8; 2] = [0x1a, 0];

/// `envoy.service.ratelimit.v3.RateLimitRequest`.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct RateLimitRequest {
    /// The domain of the limits.
    #[prost(string, tag = "1")]
    pub domain: String,
    /// The serialized [`Descriptor`]s.
    #[prost(bytes = "vec", repeated, tag = "2")]
    pub descriptors: Vec<Vec<u8>>,
    /// The hits to add; services take 0 as 1.
    #[prost(uint32, tag = "3")]
    pub hits_addend: u32,
}

/// `kuadrant.service.ratelimit.v1.ReserveRequest`.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct ReserveRequest {
    /// The domain of the limits.
    #[prost(string, tag = "1")]
    pub domain: String,
    /// The serialized [`Descriptor`]s.
    #[prost(bytes = "vec", repeated, tag = "2")]
    pub descriptors: Vec<Vec<u8>>,
    /// The amount to reserve.
    #[prost(uint64, tag = "3")]
    pub amount: u64,
    /// How long the reservation lives.
    #[prost(message, optional, tag = "4")]
    pub ttl: Option<prost_types::Duration>,
}

/// `kuadrant.service.ratelimit.v1.ReserveResponse`.
#[derive(Clone, PartialEq, Eq, Message)]
struct ReserveResponse {
    #[prost(int32, tag = "1")]
    code: i32,
    #[prost(string, tag = "2")]
    reservation_id: String,
}

/// `kuadrant.service.ratelimit.v1.CommitRequest`.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct CommitRequest {
    /// The domain of the limits.
    #[prost(string, tag = "1")]
    pub domain: String,
    /// The serialized [`Descriptor`]s.
    #[prost(bytes = "vec", repeated, tag = "2")]
    pub descriptors: Vec<Vec<u8>>,
    /// The reservation to release.
    #[prost(string, tag = "3")]
    pub reservation_id: String,
    /// The amount to add.
    #[prost(uint64, tag = "4")]
    pub actual_amount: u64,
}

/// `envoy.service.ratelimit.v3.RateLimitResponse`.
#[derive(Clone, PartialEq, Eq, Message)]
struct RateLimitResponse {
    #[prost(int32, tag = "1")]
    overall_code: i32,
    #[prost(message, repeated, tag = "2")]
    statuses: Vec<WireStatus>,
    #[prost(message, repeated, tag = "3")]
    response_headers_to_add: Vec<HeaderValue>,
}

/// `envoy.service.ratelimit.v3.RateLimitResponse.DescriptorStatus`.
#[derive(Clone, PartialEq, Eq, Message)]
struct WireStatus {
    #[prost(int32, tag = "1")]
    code: i32,
    #[prost(message, optional, tag = "2")]
    current_limit: Option<CurrentLimit>,
    #[prost(uint32, tag = "3")]
    limit_remaining: u32,
    #[prost(message, optional, tag = "4")]
    duration_until_reset: Option<prost_types::Duration>,
}

/// `envoy.service.ratelimit.v3.RateLimitResponse.RateLimit`.
#[derive(Clone, Copy, PartialEq, Eq, Message)]
struct CurrentLimit {
    #[prost(uint32, tag = "1")]
    requests_per_unit: u32,
}

/// `envoy.config.core.v3.HeaderValue`, with values of any bytes.
#[derive(Clone, PartialEq, Eq, Message)]
struct HeaderValue {
    #[prost(bytes = "vec", tag = "1")]
    key: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    value: Vec<u8>,
    #[prost(bytes = "vec", tag = "3")]
    raw_value: Vec<u8>,
}

/// The ID of a reservation at a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReservationId(pub String);

/// The reply of a service.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reply {
    /// Whether there is no room.
    pub is_over_limit: bool,
    /// The reservation, if one was made.
    pub reservation: Option<ReservationId>,
    /// How each descriptor stands, in their order; empty if the service does not say.
    pub statuses: Vec<DescriptorStatus>,
    /// Headers for the client, as they came.
    pub headers: Vec<(Vec<u8>, Vec<u8>)>,
}

/// How a descriptor stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DescriptorStatus {
    /// Whether it is the one, or one of those, without room.
    pub is_over_limit: bool,
    /// The most that may be used in a window, if a limit matches.
    pub limit: Option<u32>,
    /// What is left.
    pub remaining: u32,
    /// The time until the window ends, if the service says so.
    pub resets_in: Option<Nanos>,
}

/// Why a reply cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MessageError {
    /// It is not the expected message.
    #[error("not a reply of a rate limit service: {0}")]
    Malformed(#[from] prost::DecodeError),
    /// It is larger than [`MAX_REPLY_BYTES`].
    #[error("a reply of more than {MAX_REPLY_BYTES} bytes")]
    TooLarge,
    /// It neither admits nor rejects.
    #[error("a reply with the code {0}")]
    Code(i32),
}

/// Returns whether a code is `OVER_LIMIT` rather than `OK`. No other code decides.
fn is_over_limit(code: i32) -> Result<bool, MessageError> {
    match code {
        1 => Ok(false),
        2 => Ok(true),
        code => Err(MessageError::Code(code)),
    }
}

/// Reads the reply to `Reserve`.
///
/// # Errors
/// [`MessageError`].
pub(super) fn read_reserve(bytes: &[u8]) -> Result<Reply, MessageError> {
    let response = ReserveResponse::decode(bounded(bytes)?)?;
    let id = response.reservation_id;
    let is_id = !id.is_empty() && id.len() <= MAX_RESERVATION_BYTES;
    Ok(Reply {
        is_over_limit: is_over_limit(response.code)?,
        reservation: is_id.then_some(ReservationId(id)),
        ..Reply::default()
    })
}

/// Reads the reply to `CheckRateLimit`, `Report` and `ShouldRateLimit`.
///
/// # Errors
/// [`MessageError`].
pub(super) fn read_check(bytes: &[u8]) -> Result<Reply, MessageError> {
    let response = RateLimitResponse::decode(bounded(bytes)?)?;
    let statuses = response
        .statuses
        .into_iter()
        .map(|status| DescriptorStatus {
            is_over_limit: status.code == 2,
            limit: status.current_limit.map(|limit| limit.requests_per_unit),
            remaining: status.limit_remaining,
            resets_in: status.duration_until_reset.and_then(from_wire),
        });
    let headers = response.response_headers_to_add.into_iter().map(|header| {
        let value = if header.value.is_empty() {
            header.raw_value
        } else {
            header.value
        };
        (header.key, value)
    });
    Ok(Reply {
        is_over_limit: is_over_limit(response.overall_code)?,
        reservation: None,
        statuses: statuses.collect(),
        headers: headers.collect(),
    })
}

/// Reads the reply to `Commit`, which is empty.
///
/// # Errors
/// [`MessageError`].
pub(super) fn read_commit(bytes: &[u8]) -> Result<(), MessageError> {
    Ok(<()>::decode(bounded(bytes)?)?)
}

fn bounded(bytes: &[u8]) -> Result<&[u8], MessageError> {
    if bytes.len() > MAX_REPLY_BYTES {
        return Err(MessageError::TooLarge);
    }
    Ok(bytes)
}

/// Returns a length of time as a message.
pub(super) fn to_wire(length: Nanos) -> prost_types::Duration {
    let nanos = length.saturating_sub(Nanos::from_secs(length.as_secs()));
    prost_types::Duration {
        seconds: i64::try_from(length.as_secs()).unwrap_or(i64::MAX),
        nanos: i32::try_from(nanos.as_u64()).unwrap_or_default(),
    }
}

/// Reads a length of time; `None` for one below zero or beyond [`Nanos::MAX`].
fn from_wire(duration: prost_types::Duration) -> Option<Nanos> {
    let seconds = u64::try_from(duration.seconds).ok()?;
    let nanos = u64::try_from(duration.nanos).ok()?;
    let nanoseconds = seconds.checked_mul(1_000_000_000)?.checked_add(nanos)?;
    Some(Nanos::new(nanoseconds))
}
