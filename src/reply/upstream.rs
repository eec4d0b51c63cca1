//! Quota headers of the upstream.

use crate::host::{HeaderMap, Headers, Host};
use filter_config::UpstreamHeaders;

/// The prefix of the names of quota headers that are renamed.
const PREFIX: &str = "x-upstream-";

/// The prefixes of the names of quota headers.
const QUOTA: [&str; 4] = [
    "x-ratelimit",
    "x-rate-limit",
    "ratelimit",
    "anthropic-ratelimit",
];

/// The headers that say when to retry.
const RETRY: [&str; 2] = ["retry-after", "retry-after-ms"];

/// The most headers that are removed or renamed. No provider sends as many.
const MAX_NAMES: usize = 64;

/// The lowest status of an error. Its `retry-after` is about the upstream's own rejection.
const ERRORS: u16 = 400;

/// Keeps, removes or renames the upstream's quota headers, as configured. Returns whether the filter may write its
/// own: not beside headers that are kept.
pub(super) fn apply(
    host: &dyn Host,
    headers: &Headers,
    status: u16,
    handling: UpstreamHeaders,
) -> bool {
    let mut names: Vec<&str> = Vec::new();
    for (name, _) in headers.iter() {
        let Ok(name) = str::from_utf8(name) else {
            continue;
        };
        let is_affected = is_quota(name) || (status < ERRORS && RETRY.contains(&name));
        if is_affected && names.len() < MAX_NAMES && !names.contains(&name) {
            names.push(name);
        }
    }
    if handling == UpstreamHeaders::Keep {
        return !names.into_iter().any(is_quota);
    }
    for name in names {
        if handling == UpstreamHeaders::Prefix {
            let value = headers.text(name).unwrap_or_default();
            // A header that cannot be set is no reason to fail the response.
            let _ = host.set_header(
                HeaderMap::Response,
                &[PREFIX, name].concat(),
                value.as_bytes(),
            );
        }
        let _ = host.remove_header(HeaderMap::Response, name);
    }
    true
}

fn is_quota(name: &str) -> bool {
    QUOTA.iter().any(|start| name.starts_with(start))
}
