//! Everything the filter asks of Envoy, behind one trait.
//!
//! `abi` implements it on Proxy-Wasm's ABI (0.2.1), [`double`] for tests. Log lines go through the
//! `log` crate: `logger` writes them to Envoy's log, [`log_capture`] keeps them for tests. No
//! implementation panics: every call returns what Envoy answered, and what an
//! answer means is for the caller to decide. Bytes stay bytes; nothing from a
//! peer is assumed to be UTF-8.

#[cfg(target_arch = "wasm32")]
pub mod abi;
#[cfg(any(test, not(target_arch = "wasm32")))]
pub mod double;
#[cfg(any(test, target_arch = "wasm32"))]
mod envoy_message;
mod headers;
#[cfg(any(test, not(target_arch = "wasm32")))]
pub mod log_capture;
#[cfg(target_arch = "wasm32")]
pub mod logger;
#[cfg(test)]
mod tests;

pub use headers::Headers;
pub use limits::service::{CallId, GrpcCall, Transport, TransportError};
pub use limits::{CREATE, SharedData, SharedDataError};
use limits::{Nanos, Timestamp};

/// Why Envoy did not do what it was asked, by its status code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HostError {
    /// Nothing is there under that name.
    #[error("not found")]
    NotFound,
    /// The call is not possible in this phase of the stream, or its arguments are wrong.
    #[error("bad argument")]
    BadArgument,
    /// The value could not be serialised for the module.
    #[error("serialization failure")]
    SerializationFailure,
    /// The value given could not be parsed.
    #[error("parse failure")]
    ParseFailure,
    /// Shared data has changed since it was read.
    #[error("compare-and-swap mismatch")]
    CasMismatch,
    /// Envoy failed.
    #[error("internal failure")]
    InternalFailure,
    /// A status that this version of the ABI does not name.
    #[error("status {0}")]
    Other(u32),
}

impl HostError {
    /// The error for a status code of the ABI; `None` for 0, which is success.
    #[must_use]
    pub const fn from_status(status: u32) -> Option<Self> {
        Some(match status {
            0 => return None,
            1 => Self::NotFound,
            2 => Self::BadArgument,
            3 => Self::SerializationFailure,
            4 => Self::ParseFailure,
            8 => Self::CasMismatch,
            10 => Self::InternalFailure,
            other => Self::Other(other),
        })
    }
}

impl From<HostError> for SharedDataError {
    fn from(error: HostError) -> Self {
        match error {
            HostError::CasMismatch => Self::CasMismatch,
            error => Self::Failed(error.to_string()),
        }
    }
}

impl From<HostError> for TransportError {
    fn from(error: HostError) -> Self {
        Self(error.to_string())
    }
}

/// What a call to the host returns.
pub type Result<T> = std::result::Result<T, HostError>;

/// One of the header maps of a stream, or of the gRPC reply at hand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u32)]
pub enum HeaderMap {
    /// Request headers: readable while the request is held, and when it is logged.
    Request = 0,
    /// Response headers: readable in their own callback, and when the stream is logged.
    Response = 2,
}

/// One of the buffers that Envoy lends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u32)]
pub enum Buffer {
    /// The part of the request body at hand.
    RequestBody = 0,
    /// The part of the response body at hand.
    ResponseBody = 1,
    /// The message of the gRPC reply at hand.
    GrpcReply = 5,
    /// The plugin's configuration, while it is being configured.
    PluginConfiguration = 7,
}

/// One of the two directions of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u32)]
pub enum Direction {
    /// From the client to the upstream.
    Request = 0,
    /// From the upstream to the client.
    Response = 1,
}

/// What a metric does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u32)]
pub enum MetricKind {
    /// Only goes up.
    Counter = 0,
    /// Goes up and down.
    Gauge = 1,
    /// Distributes recorded values over buckets.
    Histogram = 2,
}

/// A metric that Envoy knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct MetricId(pub u32);

/// A reply that the filter sends in place of the upstream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalReply<'a> {
    /// HTTP status, 200 to 599.
    pub status: u16,
    /// `%RESPONSE_CODE_DETAILS%` of the access log.
    pub details: &'a str,
    /// Headers, names in lower case; bytes that [`is_header_value`] admits.
    pub headers: &'a [(&'a str, &'a [u8])],
    /// The body; Envoy sets `content-length`.
    pub body: &'a [u8],
    /// What a gRPC client is told, by gRPC's status codes.
    pub grpc_status: i32,
}

/// What Envoy offers to a filter.
///
/// Calls that concern a stream work on the context whose callback is running, unless
/// [`Host::set_effective_context`] named another.
pub trait Host: SharedData + Transport {
    /// All headers of a map in one read.
    ///
    /// # Errors
    /// [`HostError::BadArgument`] outside the phases in which the map exists.
    fn headers(&self, map: HeaderMap) -> Result<Headers>;

    /// Sets a header, replacing every value it has.
    ///
    /// # Errors
    /// [`HostError::BadArgument`] outside the phases in which the map can be written.
    fn set_header(&self, map: HeaderMap, name: &str, value: &[u8]) -> Result<()>;

    /// Removes every value of a header.
    ///
    /// # Errors
    /// [`HostError::BadArgument`] outside the phases in which the map can be written.
    fn remove_header(&self, map: HeaderMap, name: &str) -> Result<()>;

    /// A property of the stream, `None` where it is absent. Strings come as their bytes, integers,
    /// times and durations as 8 bytes little-endian, booleans as one byte, messages as protobuf.
    ///
    /// # Errors
    /// [`HostError::SerializationFailure`] for values that have no encoding.
    fn property(&self, path: &[&str]) -> Result<Option<Vec<u8>>>;

    /// Sets the filter state `wasm.<key>`, where access logs and other filters find it.
    ///
    /// # Errors
    /// Whatever Envoy answers; none is expected.
    fn set_filter_state(&self, key: &str, value: &[u8]) -> Result<()>;

    /// Sets filter state that Envoy's own filters read, under one of the keys that Envoy registers.
    ///
    /// # Errors
    /// [`HostError::NotFound`] for a key that Envoy does not know.
    fn set_envoy_filter_state(&self, key: &str, value: &[u8]) -> Result<()>;

    /// The bytes of a buffer from `start` on, `max` at most; empty where there are none.
    ///
    /// # Errors
    /// [`HostError::BadArgument`] outside the phases in which the buffer exists.
    fn buffer(&self, buffer: Buffer, start: usize, max: usize) -> Result<Vec<u8>>;

    /// Replaces the whole of a buffer.
    ///
    /// # Errors
    /// [`HostError::BadArgument`] outside the phases in which the buffer exists.
    fn replace_buffer(&self, buffer: Buffer, bytes: &[u8]) -> Result<()>;

    /// The time by the wall clock, which may step.
    ///
    /// # Errors
    /// Whatever Envoy answers; none is expected.
    fn now(&self) -> Result<Timestamp>;

    /// Lets a direction that was paused go on.
    ///
    /// Envoy ends when a response is resumed that has no headers yet: only [`crate::stream`] calls
    /// this, and only for what it paused.
    ///
    /// # Errors
    /// [`HostError::BadArgument`] when the stream is gone.
    fn resume(&self, direction: Direction) -> Result<()>;

    /// Answers the client in place of the upstream.
    ///
    /// Envoy ends when this is called after the stream has ended: only [`crate::stream`] calls it.
    ///
    /// # Errors
    /// [`HostError::BadArgument`] when the stream is gone.
    fn reply(&self, reply: &LocalReply<'_>) -> Result<()>;

    /// Makes the calls that follow concern another context, so that a tick can act on a stream.
    ///
    /// # Errors
    /// [`HostError::BadArgument`] when that context is gone.
    fn set_effective_context(&self, context: u32) -> Result<()>;

    /// The metric of that name, made when there is none. Each call costs memory that Envoy never
    /// gives back: call once a name.
    ///
    /// # Errors
    /// Whatever Envoy answers; none is expected.
    fn define_metric(&self, kind: MetricKind, name: &str) -> Result<MetricId>;

    /// Adds to a counter (never a negative number) or a gauge.
    ///
    /// # Errors
    /// [`HostError::BadArgument`] when a counter is given a negative number.
    fn add_to_metric(&self, metric: MetricId, amount: i64) -> Result<()>;

    /// Calls the plugin's tick periodically; zero stops it. Envoy takes whole milliseconds.
    ///
    /// # Errors
    /// Whatever Envoy answers; none is expected.
    fn set_tick_period(&self, period: Nanos) -> Result<()>;
}

/// Whether bytes may stand in a header's value: visible ASCII, space, tab, and bytes from 0x80 on
/// (RFC 9110, section 5.5). Envoy writes the value of a local reply's header as it is given.
#[must_use]
pub fn is_header_value(value: &[u8]) -> bool {
    value
        .iter()
        .all(|&byte| byte == b'\t' || (byte >= b' ' && byte != 0x7f))
}
