//! Where the body of a request is held.

use crate::host::{Headers, Host};

/// Where a body is held.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum BodyLocation {
    /// In the stream.
    #[default]
    Stream,
    /// In Envoy's buffer while it is small, then in the stream.
    EnvoyFirst,
    /// In Envoy's buffer while it is small, then nowhere: it has trailers.
    Envoy,
}

// === impl BodyLocation ===

impl BodyLocation {
    /// Returns where the body of a request is held.
    pub(super) fn of(host: &dyn Host, headers: &Headers, content_length: Option<u64>) -> Self {
        if content_length.is_some() {
            // Its last byte ends it, whatever follows.
            return Self::Stream;
        }
        if headers.get("trailer").is_some() {
            return Self::Envoy;
        }
        // Over HTTP/1.1, the header `trailer` names them.
        match host.property(&["request", "protocol"]) {
            Ok(Some(protocol)) if !protocol.starts_with(b"HTTP/1") => Self::EnvoyFirst,
            _ => Self::Stream,
        }
    }
}
