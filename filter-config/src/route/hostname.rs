//! The hostnames of a route: a host, or a wildcard for all hosts below a domain.

use crate::bounds;
use crate::fault::{FaultKind, Faults};
use crate::fields;
use crate::json::Json;
use crate::path::Path;

/// A hostname of the Gateway API.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Hostname {
    /// One host, in lower case.
    Exact(String),
    /// Every host that ends with this, which begins with a dot: `*.example.com` is `.example.com`.
    Below(String),
    /// Every host.
    Any,
}

// === impl Hostname ===

impl Hostname {
    /// Whether a host is meant, given as [`host`] makes it.
    pub(crate) fn matches(&self, host: &str) -> bool {
        match self {
            Self::Exact(name) => name == host,
            // One label at least stands for the star.
            Self::Below(end) => host.len() > end.len() && host.ends_with(end.as_str()),
            Self::Any => true,
        }
    }

    /// What sorts the more specific in front: hosts before wildcards, the longer before the shorter.
    pub(crate) fn generality(&self) -> (u8, std::cmp::Reverse<usize>) {
        let (kind, length) = match self {
            Self::Exact(name) => (0, name.len()),
            Self::Below(end) => (1, end.len()),
            Self::Any => (2, 0),
        };
        (kind, std::cmp::Reverse(length))
    }
}

/// The host of an authority, as hostnames are compared with it: in lower case and without its port.
///
/// A dot at its end stays: to Envoy `example.com.` is another host, unless it is told to take the
/// dot off, and then does so before any filter sees it.
pub(crate) fn host(authority: &str) -> String {
    let end = match authority.rfind(':') {
        // The colons within brackets are those of an IPv6 address.
        Some(colon)
            if !authority
                .get(colon..)
                .is_some_and(|rest| rest.contains(']')) =>
        {
            colon
        }
        _ => authority.len(),
    };
    authority
        .get(..end)
        .unwrap_or(authority)
        .to_ascii_lowercase()
}

/// Reads a hostname.
pub(super) fn read(json: &Json, path: &Path<'_>, faults: &mut Faults) -> Option<Hostname> {
    let text = fields::text(json, bounds::NAME_BYTES, path, faults)?;
    let (name, is_wildcard) = match text.strip_prefix("*.") {
        Some(name) => (name, true),
        None => (text, false),
    };
    let is_label = |label: &str| {
        !label.is_empty()
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    if !name.split('.').all(is_label) {
        let reason = "expected a hostname such as \"llm.example.com\" or \"*.example.com\"";
        faults.push(path, FaultKind::Malformed(reason));
        return None;
    }
    let name = name.to_ascii_lowercase();
    Some(if is_wildcard {
        Hostname::Below(format!(".{name}"))
    } else {
        Hostname::Exact(name)
    })
}
