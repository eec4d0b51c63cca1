//! Quota headers that an upstream sends of its own account.

use crate::host::{HeaderMap, Headers, Host};
use filter_config::UpstreamHeaders;

/// How the names begin that such headers are given.
const PREFIX: &str = "x-upstream-";

/// How the names of quota headers begin.
const QUOTA: [&str; 4] = [
    "x-ratelimit",
    "x-rate-limit",
    "ratelimit",
    "anthropic-ratelimit",
];

/// The headers that say when to retry.
const RETRY: [&str; 2] = ["retry-after", "retry-after-ms"];

/// The most headers that are treated. No provider has as many.
const MAX_NAMES: usize = 64;

/// The least status of an error, whose `retry-after` is about the upstream's own rejection.
const ERRORS: u16 = 400;

/// Treats the upstream's quota headers as the configuration says. Returns whether others may be written: not
/// beside those that stay.
pub(super) fn treat(
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
        let is_treated = is_quota(name) || (status < ERRORS && RETRY.contains(&name));
        if is_treated && names.len() < MAX_NAMES && !names.contains(&name) {
            names.push(name);
        }
    }
    if handling == UpstreamHeaders::Keep {
        return !names.into_iter().any(is_quota);
    }
    for name in names {
        if handling == UpstreamHeaders::Prefix {
            let value = headers.text(name).unwrap_or_default();
            // The response is worth more than a header about it.
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
