//! Headers of a request that accompany the calls about it to a rate limit service.

use crate::host::Headers;

/// Headers that accompany calls, with their values.
pub(super) type Trace = limits::service::Metadata;

/// The headers: the request's identifier, and those of W3C and B3 tracing.
const TRACED: [&str; 9] = [
    "x-request-id",
    "traceparent",
    "tracestate",
    "b3",
    "x-b3-traceid",
    "x-b3-spanid",
    "x-b3-parentspanid",
    "x-b3-sampled",
    "x-b3-flags",
];

/// The most bytes of values that are passed on, in the order of the names: they are kept until the exchange ends.
/// Those of W3C and of B3 have less, but for long states of vendors, which W3C permits to leave out.
const MAX_BYTES: usize = 256;

/// Returns the headers of a request that accompany the calls about it.
pub(super) fn trace(headers: &Headers) -> Trace {
    let mut trace = Trace::new();
    let mut left = MAX_BYTES;
    for name in TRACED {
        let value = headers.get(name).unwrap_or_default();
        // The values that gRPC permits in metadata.
        let is_plain = value.iter().all(|byte| (b' '..=b'~').contains(byte));
        if !value.is_empty() && value.len() <= left && is_plain {
            left = left.saturating_sub(value.len());
            trace.reserve_exact(1);
            trace.push((name, value.to_vec()));
        }
    }
    trace
}
