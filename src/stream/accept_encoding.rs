//! The content codings that an upstream may use: those that are cheap to read.
//!
//! The window of a gzip stream takes 32 KiB, those of brotli and zstd up to 16 and 8 MiB, and a response that
//! cannot be decoded is estimated.

#[cfg(test)]
mod tests;

use super::machine::Stream;
use crate::host::{HeaderMap, Headers};
use crate::telemetry::Telemetry;

/// A coding, as far as it matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Coding {
    Gzip,
    Identity,
    /// Every coding that is not named.
    Any,
    Other,
}

/// The codings that a client accepts, as far as it says so.
#[derive(Clone, Copy, Debug, Default)]
struct Preferences {
    gzip: Option<bool>,
    identity: Option<bool>,
    any: Option<bool>,
    /// Whether it accepts one of the other codings.
    others: bool,
}

// === impl Stream ===

impl Stream {
    /// Narrows `accept-encoding`, so that the response is cheap to read. The headers must not have been passed
    /// on yet.
    pub(super) fn narrow_accept_encoding(&self, headers: &Headers) {
        if let Some(narrowed) = narrowed(headers.all("accept-encoding")) {
            self.set_accept_encoding(narrowed);
        }
    }

    /// Narrows `accept-encoding` to no coding at all, so that a usage report can be withheld from the response, unless
    /// the client accepts nothing but encoded responses. The headers must not have been passed on yet.
    pub(super) fn accept_no_encoding(&self, headers: &Headers) {
        if headers.get("accept-encoding").is_some()
            && Preferences::read(headers.all("accept-encoding")).accepts_identity()
        {
            self.set_accept_encoding("identity");
        }
    }

    fn set_accept_encoding(&self, value: &str) {
        let host = &self.parts.host;
        let set = host.set_header(HeaderMap::Request, "accept-encoding", value.as_bytes());
        if let Err(error) = set {
            Telemetry::host_call_failed("accept-encoding", error);
        }
    }
}

// === impl Preferences ===

impl Preferences {
    /// Reads the values of `accept-encoding`.
    fn read<'a>(values: impl Iterator<Item = &'a [u8]>) -> Self {
        let mut preferences = Self::default();
        let items = values.flat_map(|value| value.split(|byte| *byte == b','));
        for (coding, is_accepted) in items.filter_map(preference) {
            match coding {
                Coding::Gzip => preferences.gzip = Some(is_accepted),
                Coding::Identity => preferences.identity = Some(is_accepted),
                Coding::Any => preferences.any = Some(is_accepted),
                Coding::Other => preferences.others |= is_accepted,
            }
        }
        preferences
    }

    /// Returns whether a response that is not encoded is accepted.
    fn accepts_identity(self) -> bool {
        self.identity.or(self.any).unwrap_or(true)
    }
}

/// Returns the value that replaces those of `accept-encoding`; `None` if they stay: a client that accepts
/// nothing but other codings gets them.
fn narrowed<'a>(values: impl Iterator<Item = &'a [u8]>) -> Option<&'static str> {
    let preferences = Preferences::read(values);
    let Preferences {
        gzip, any, others, ..
    } = preferences;
    if !others && any != Some(true) {
        return None;
    }
    match (
        gzip.or(any).unwrap_or(false),
        preferences.accepts_identity(),
    ) {
        (true, true) => Some("gzip"),
        (true, false) => Some("gzip, identity;q=0"),
        (false, true) => Some("identity"),
        (false, false) => None,
    }
}

/// Returns the coding of one item of the list, and whether it is accepted: its weight is not 0 (RFC 9110,
/// section 12.4.2).
fn preference(item: &[u8]) -> Option<(Coding, bool)> {
    let mut parts = item.split(|byte| *byte == b';').map(<[u8]>::trim_ascii);
    let coding = parts.next().filter(|coding| !coding.is_empty())?;
    let is_zero = |part: &[u8]| match part {
        [b'q' | b'Q', b'=', weight @ ..] => {
            let weight = weight.trim_ascii();
            !weight.is_empty() && weight.iter().all(|byte| matches!(byte, b'0' | b'.'))
        }
        _ => false,
    };
    let is_accepted = !parts.any(is_zero);
    let coding = match coding {
        b"*" => Coding::Any,
        _ if is(coding, b"gzip") || is(coding, b"x-gzip") => Coding::Gzip,
        _ if is(coding, b"identity") => Coding::Identity,
        _ => Coding::Other,
    };
    Some((coding, is_accepted))
}

fn is(coding: &[u8], name: &[u8]) -> bool {
    coding.eq_ignore_ascii_case(name)
}
