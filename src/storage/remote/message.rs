//! The messages of rate limit services, as far as they are spoken.
//!
//! `envoy.service.ratelimit.v3` is Envoy's, `kuadrant.service.ratelimit.v1` limitador's. Descriptors
//! travel serialised: they are the same bytes in every message about an exchange, and tell what is
//! counted under one of them from everything else.

use prost::Message;

/// Bytes of the largest reply that is read.
pub const MOST_BYTES: usize = 65_536;

/// Bytes of the longest reservation that is remembered. limitador's are UUIDs.
const RESERVATION_BYTES: usize = 256;

/// One pair of a descriptor: `envoy.extensions.common.ratelimit.v3.RateLimitDescriptor.Entry`.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct Entry {
    /// The key.
    #[prost(string, tag = "1")]
    pub key: String,
    /// The value.
    #[prost(string, tag = "2")]
    pub value: String,
}

/// What is counted: `envoy.extensions.common.ratelimit.v3.RateLimitDescriptor`.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct Descriptor {
    /// The pairs, in order.
    #[prost(message, repeated, tag = "1")]
    pub entries: Vec<Entry>,
}

/// What `RateLimitDescriptor.hits_addend` of 0 adds to the bytes of a descriptor: a field of tag 3
/// with an empty `google.protobuf.UInt64Value`.
pub const NO_HITS: [u8; 2] = [0x1a, 0];

/// `envoy.service.ratelimit.v3.RateLimitRequest`.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct RateLimitRequest {
    /// Where the limits are known.
    #[prost(string, tag = "1")]
    pub domain: String,
    /// Serialised [`Descriptor`]s.
    #[prost(bytes = "vec", repeated, tag = "2")]
    pub descriptors: Vec<Vec<u8>>,
    /// What is added; 0 counts as 1.
    #[prost(uint32, tag = "3")]
    pub hits_addend: u32,
}

/// `kuadrant.service.ratelimit.v1.ReserveRequest`.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct ReserveRequest {
    /// Where the limits are known.
    #[prost(string, tag = "1")]
    pub domain: String,
    /// Serialised [`Descriptor`]s.
    #[prost(bytes = "vec", repeated, tag = "2")]
    pub descriptors: Vec<Vec<u8>>,
    /// What is held.
    #[prost(uint64, tag = "3")]
    pub amount: u64,
    /// For how long.
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
    /// Where the limits are known.
    #[prost(string, tag = "1")]
    pub domain: String,
    /// Serialised [`Descriptor`]s.
    #[prost(bytes = "vec", repeated, tag = "2")]
    pub descriptors: Vec<Vec<u8>>,
    /// What is released.
    #[prost(string, tag = "3")]
    pub reservation_id: String,
    /// What is added.
    #[prost(uint64, tag = "4")]
    pub actual_amount: u64,
}

/// `envoy.service.ratelimit.v3.RateLimitResponse`.
#[derive(Clone, PartialEq, Eq, Message)]
struct RateLimitResponse {
    #[prost(int32, tag = "1")]
    overall_code: i32,
    #[prost(message, repeated, tag = "2")]
    statuses: Vec<DescriptorStatus>,
    #[prost(message, repeated, tag = "3")]
    response_headers_to_add: Vec<HeaderValue>,
}

/// `envoy.service.ratelimit.v3.RateLimitResponse.DescriptorStatus`.
#[derive(Clone, PartialEq, Eq, Message)]
struct DescriptorStatus {
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

/// What a service answers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reply {
    /// Whether there is no room.
    pub is_over_limit: bool,
    /// What was reserved, if anything was.
    pub reservation: Option<String>,
    /// How each descriptor stands, in their order; empty where the service does not say.
    pub statuses: Vec<Status>,
    /// Headers for the caller, as they came.
    pub headers: Vec<(Vec<u8>, Vec<u8>)>,
}

/// How a descriptor stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// Whether it is the one, or one of those, that has no room.
    pub is_over_limit: bool,
    /// The most that may be used in a window, where a limit matches.
    pub limit: Option<u32>,
    /// What is left.
    pub remaining: u32,
    /// Nanoseconds until the window ends, where the service says.
    pub resets_in: Option<u64>,
}

/// Why a reply cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MessageError {
    /// It is not the message that it should be.
    #[error("not a reply of a rate limit service: {0}")]
    Malformed(#[from] prost::DecodeError),
    /// It is larger than [`MOST_BYTES`].
    #[error("a reply of more than {MOST_BYTES} bytes")]
    TooLarge,
    /// It does not decide.
    #[error("a reply with the code {0}")]
    Code(i32),
}

/// `OK` and `OVER_LIMIT` of the protocol; whatever else a service says decides nothing.
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
pub fn reserved(bytes: &[u8]) -> Result<Reply, MessageError> {
    let response = ReserveResponse::decode(bounded(bytes)?)?;
    let id = response.reservation_id;
    Ok(Reply {
        is_over_limit: is_over_limit(response.code)?,
        reservation: (!id.is_empty() && id.len() <= RESERVATION_BYTES).then_some(id),
        ..Reply::default()
    })
}

/// Reads the reply to `CheckRateLimit`, `Report` and `ShouldRateLimit`.
///
/// # Errors
/// [`MessageError`].
pub fn checked(bytes: &[u8]) -> Result<Reply, MessageError> {
    let response = RateLimitResponse::decode(bounded(bytes)?)?;
    let statuses = response.statuses.into_iter().map(|status| Status {
        is_over_limit: status.code == 2,
        limit: status.current_limit.map(|limit| limit.requests_per_unit),
        remaining: status.limit_remaining,
        resets_in: status.duration_until_reset.and_then(nanoseconds),
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
pub fn committed(bytes: &[u8]) -> Result<(), MessageError> {
    Ok(<()>::decode(bounded(bytes)?)?)
}

fn bounded(bytes: &[u8]) -> Result<&[u8], MessageError> {
    if bytes.len() > MOST_BYTES {
        return Err(MessageError::TooLarge);
    }
    Ok(bytes)
}

/// A duration in nanoseconds; nothing for one that has passed.
fn nanoseconds(duration: prost_types::Duration) -> Option<u64> {
    let seconds = u64::try_from(duration.seconds).ok()?;
    let nanos = u64::try_from(duration.nanos).ok()?;
    seconds.checked_mul(1_000_000_000)?.checked_add(nanos)
}
