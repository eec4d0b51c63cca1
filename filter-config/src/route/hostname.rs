//! The hostnames of a route: hosts, and wildcards for all hosts below a domain.

use crate::bounds;
use crate::error::{ErrorKind, Invalid, ValidationErrors};
use crate::json::Json;
use crate::path::Path;
use crate::reader;

/// A hostname of the Gateway API.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Hostname {
    /// One host, in lower case.
    Exact(String),
    /// Every host with this suffix, which begins with a dot: `*.example.com` is `.example.com`.
    Below(String),
    /// Every host.
    Any,
}

/// Returns the host of an authority for the comparison with hostnames: in lower case and without its port.
///
/// A trailing dot is kept, as Envoy takes `example.com.` for another host. If it is configured to strip the dot, it
/// does so before any filter.
pub(crate) fn host(authority: &str) -> String {
    let end = match authority.rfind(':') {
        // Colons within brackets belong to an IPv6 address.
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
pub(super) fn read(
    json: &Json,
    path: &Path<'_>,
    errors: &mut ValidationErrors,
) -> Result<Hostname, Invalid> {
    let text = reader::text(json, bounds::NAME_BYTES, path, errors)?;
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
        let message = "invalid hostname, expected e.g. \"llm.example.com\" or \"*.example.com\"";
        return Err(errors.push(path, ErrorKind::Malformed(message)));
    }
    let name = name.to_ascii_lowercase();
    Ok(if is_wildcard {
        Hostname::Below(format!(".{name}"))
    } else {
        Hostname::Exact(name)
    })
}
