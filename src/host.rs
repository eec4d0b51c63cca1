//! The API of Envoy that the filter uses, behind the trait [`Host`].
//!
//! `abi` implements it on Proxy-Wasm's ABI (0.2.1), [`double`] for tests. Log lines go through the
//! `log` crate: `logger` writes them to Envoy's log, [`log_capture`] records them for tests.
//!
//! No implementation panics: every status that Envoy returns is returned to the caller. Bytes stay
//! bytes: nothing from a peer is assumed to be UTF-8.

#[cfg(target_arch = "wasm32")]
pub(crate) mod abi;
#[cfg(any(test, not(target_arch = "wasm32")))]
pub(crate) mod double;
#[cfg(any(test, target_arch = "wasm32"))]
mod envoy_message;
mod headers;
#[cfg(test)]
pub(crate) mod log_capture;
#[cfg(target_arch = "wasm32")]
pub(crate) mod logger;
mod metric_batch;

pub(crate) use headers::{Headers, is_header_value};
pub(crate) use limits::service::{CallId, GrpcCall, Transport, TransportError};
use limits::{Nanos, Timestamp};
pub(crate) use limits::{SharedData, SharedDataError};

/// A status other than success that Envoy returned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HostError {
    /// There is nothing by that name.
    #[error("not found")]
    NotFound,
    /// The call is not possible in this phase of the stream, or has invalid arguments.
    #[error("bad argument")]
    BadArgument,
    /// Envoy could not serialize the value.
    #[error("serialization failure")]
    SerializationFailure,
    /// Envoy could not parse the value.
    #[error("parse failure")]
    ParseFailure,
    /// Another worker wrote the shared data since it was read.
    #[error("compare-and-swap mismatch")]
    CasMismatch,
    /// The call failed within Envoy.
    #[error("internal failure")]
    InternalFailure,
    /// A status that this version of the ABI does not name.
    #[error("status {0}")]
    Other(u32),
}

// === impl HostError ===

impl HostError {
    /// Returns the error for a status code of the ABI; `None` for 0, which is success.
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

/// The result of a call to the host.
pub(crate) type Result<T> = std::result::Result<T, HostError>;

/// A header map of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u32)]
pub enum HeaderMap {
    /// Request headers: readable while the request is paused, and in `on_log`.
    Request = 0,
    /// Response headers: readable in their own callback, and in `on_log`.
    Response = 2,
}

/// A buffer of Envoy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u32)]
pub enum Buffer {
    /// The chunk of the request body that the callback is about.
    RequestBody = 0,
    /// The chunk of the response body that the callback is about.
    ResponseBody = 1,
    /// The message of the gRPC reply that the callback is about.
    GrpcReply = 5,
    /// The plugin's configuration, during `on_configure`.
    PluginConfiguration = 7,
}

/// A direction of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u32)]
pub enum Direction {
    /// From the client to the upstream.
    Request = 0,
    /// From the upstream to the client.
    Response = 1,
}

/// A kind of metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u32)]
pub enum MetricKind {
    /// Only increases.
    Counter = 0,
    /// Increases and decreases.
    Gauge = 1,
    /// Distributes recorded values over buckets.
    Histogram = 2,
}

/// Envoy's identifier of a metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct MetricId(pub u32);

/// A form of filter state, other than a string that ends with the stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FilterState {
    /// Bytes that live as long as the request, also if Envoy redirects it internally.
    OfRequest,
    /// A serialized `google.protobuf.Struct`, whose fields access logs and expressions of Envoy can read.
    Record,
}

/// A reply that the filter sends in place of the upstream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalReply<'a> {
    /// HTTP status, 200 to 599.
    pub status: u16,
    /// `%RESPONSE_CODE_DETAILS%` of the access log.
    pub details: &'a str,
    /// Headers, names in lower case; values that are valid by [`is_header_value`].
    pub headers: &'a [(&'a str, &'a [u8])],
    /// The body; Envoy sets `content-length`.
    pub body: &'a [u8],
    /// The gRPC status code for gRPC clients.
    pub grpc_status: i32,
}

/// What Envoy offers to a filter.
///
/// Calls that concern a stream act on the context whose callback is running, or on the one that
/// [`Host::set_effective_context`] set.
pub trait Host: SharedData + Transport {
    /// Returns all headers of a map, in one call to Envoy.
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

    /// Returns a property of the stream, `None` where it is absent. Strings are their bytes; integers,
    /// times and durations are 8 bytes little-endian; booleans are one byte; messages are protobuf.
    ///
    /// # Errors
    /// [`HostError::SerializationFailure`] for values that have no encoding.
    fn property(&self, path: &[&str]) -> Result<Option<Vec<u8>>>;

    /// Sets the filter state `wasm.<key>` for access logs and other filters.
    ///
    /// # Errors
    /// As Envoy returns them; none is expected.
    fn set_filter_state(&self, key: &str, value: &[u8]) -> Result<()>;

    /// Declares the form of the filter state `wasm.<key>`. For the plugin's context, once for each key.
    ///
    /// # Errors
    /// [`HostError::BadArgument`] for a key that was declared before.
    fn declare_filter_state(&self, key: &str, form: FilterState) -> Result<()>;

    /// Sets filter state for Envoy's own filters, at a key that Envoy has registered.
    ///
    /// # Errors
    /// [`HostError::NotFound`] for a key that Envoy does not know.
    fn set_envoy_filter_state(&self, key: &str, value: &[u8]) -> Result<()>;

    /// Returns at most `max` bytes of a buffer from `start` on; empty where there are none.
    ///
    /// # Errors
    /// [`HostError::BadArgument`] outside the phases in which the buffer exists.
    fn buffer(&self, buffer: Buffer, start: usize, max: usize) -> Result<Vec<u8>>;

    /// Replaces all of a buffer.
    ///
    /// # Errors
    /// [`HostError::BadArgument`] outside the phases in which the buffer exists.
    fn replace_buffer(&self, buffer: Buffer, bytes: &[u8]) -> Result<()>;

    /// Puts bytes before those of a buffer.
    ///
    /// # Errors
    /// [`HostError::BadArgument`] outside the phases in which the buffer exists.
    fn prepend_to_buffer(&self, buffer: Buffer, bytes: &[u8]) -> Result<()>;

    /// Returns the time by the wall clock, which can jump.
    ///
    /// # Errors
    /// As Envoy returns them; none is expected.
    fn now(&self) -> Result<Timestamp>;

    /// Resumes a direction that was paused.
    ///
    /// Envoy crashes when a response without headers is resumed: only `stream` calls this, and only
    /// for a direction that it paused.
    ///
    /// # Errors
    /// [`HostError::BadArgument`] when the stream is gone.
    fn resume(&self, direction: Direction) -> Result<()>;

    /// Sends a response to the client in place of the upstream.
    ///
    /// Envoy crashes when this is called after the end of the stream: only `stream` calls it.
    ///
    /// # Errors
    /// [`HostError::BadArgument`] when the stream is gone.
    fn reply(&self, reply: &LocalReply<'_>) -> Result<()>;

    /// Makes subsequent calls act on another context, so that a tick can act on a stream.
    ///
    /// # Errors
    /// [`HostError::BadArgument`] when that context is gone.
    fn set_effective_context(&self, context: u32) -> Result<()>;

    /// Returns the metric of a name, which is created if there is none. Each call takes memory that
    /// Envoy never frees: it is to be called once for each name.
    ///
    /// # Errors
    /// As Envoy returns them; none is expected.
    fn define_metric(&self, kind: MetricKind, name: &str) -> Result<MetricId>;

    /// Adds to a counter (never a negative number) or a gauge. Envoy shows it once it is flushed.
    fn add_to_metric(&self, metric: MetricId, amount: i64);

    /// Adds to a counter or a gauge at once. It does not allocate.
    ///
    /// # Errors
    /// [`HostError::BadArgument`] when a counter is given a negative number.
    fn write_metric(&self, metric: MetricId, amount: i64) -> Result<()>;

    /// Writes what was added to metrics to Envoy. It does not allocate.
    fn flush_metrics(&self);

    /// Sets the interval of the plugin's ticks, in whole milliseconds; zero stops them.
    ///
    /// # Errors
    /// As Envoy returns them; none is expected.
    fn set_tick_period(&self, period: Nanos) -> Result<()>;
}
