//! What callers are told: refusals, and headers that say what is left.

#[cfg(test)]
mod tests;

use crate::admit::Denial;
use crate::host::{HeaderMap, Host, LocalReply, is_header_value};
use crate::plugin::{Plugin, Rate};
use crate::storage::Standing;
use filter_config::{Limit, QuotaHeaders};
use std::fmt::Write;

/// Nanoseconds in a second.
const SECOND: u64 = 1_000_000_000;

/// gRPC's `RESOURCE_EXHAUSTED`.
const RESOURCE_EXHAUSTED: i32 = 8;

/// gRPC's `INTERNAL`.
const INTERNAL: i32 = 13;

/// `x-ratelimit-*`, after draft 3 of "RateLimit Header Fields for HTTP" and as Envoy's own rate
/// limit filter writes them.
struct Draft03 {
    limit: String,
    remaining: String,
    reset: String,
}

impl Draft03 {
    fn new(limit: &Limit, rate: &Rate, standing: &Standing, now: u64) -> Self {
        let max = standing.limit;
        let window = seconds(rate.counted.window().length);
        Self {
            limit: format!("{max}, {max};w={window};name=\"{}\"", quoted(&limit.name)),
            remaining: standing.remaining().to_string(),
            reset: seconds(standing.resets_at.saturating_sub(now)).to_string(),
        }
    }

    fn pairs(&self) -> [(&'static str, &[u8]); 3] {
        [
            ("x-ratelimit-limit", self.limit.as_bytes()),
            ("x-ratelimit-remaining", self.remaining.as_bytes()),
            ("x-ratelimit-reset", self.reset.as_bytes()),
        ]
    }
}

/// Refuses a request because of a limit. Returns whether Envoy took the reply.
pub fn deny(plugin: &Plugin, denial: &Denial) -> bool {
    let Some(rate) = plugin.rates.get(denial.charge.rate) else {
        return false;
    };
    let Some((_, limit)) = plugin.limit_of(rate) else {
        return false;
    };
    let replies = &plugin.configuration.replies;
    let wait = seconds(denial.standing.resets_at.saturating_sub(denial.now)).max(1);
    let retry_after = wait.to_string();
    let quota = Draft03::new(limit, rate, &denial.standing, denial.now);
    let content_type = replies.content_type.as_deref();
    let mut headers = vec![
        (
            "content-type",
            content_type.unwrap_or("application/json").as_bytes(),
        ),
        ("retry-after", retry_after.as_bytes()),
    ];
    if replies.headers != Some(QuotaHeaders::None) {
        headers.extend(quota.pairs());
    }
    headers.retain(|(_, value)| is_header_value(value));
    let body = match &replies.body {
        Some(body) => body.clone(),
        None => refusal(limit, rate, plugin, wait),
    };
    let reply = LocalReply {
        status: replies.status,
        details: "tollgate_denied",
        headers: &headers,
        body: body.as_bytes(),
        grpc_status: RESOURCE_EXHAUSTED,
    };
    plugin.host.reply(&reply).is_ok()
}

/// Refuses a request because its policy could not be evaluated. Returns whether Envoy took the
/// reply.
pub fn fail(host: &dyn Host) -> bool {
    let body = error_body(
        "The token rate limit of this request could not be determined.",
        "server_error",
        "rate_limit_unavailable",
    );
    let reply = LocalReply {
        status: 500,
        details: "tollgate_failed",
        headers: &[("content-type", b"application/json")],
        body: body.as_bytes(),
        grpc_status: INTERNAL,
    };
    host.reply(&reply).is_ok()
}

/// Adds the quota headers that the configuration asks for to an admitted response: those of the
/// limit with the least left.
pub fn annotate(plugin: &Plugin, rates: &[usize], standings: &[Standing], now: u64) {
    if plugin.configuration.replies.headers != Some(QuotaHeaders::Draft03) {
        return;
    }
    let tightest = rates
        .iter()
        .zip(standings)
        .min_by_key(|(_, standing)| standing.remaining());
    let Some((rate, standing)) = tightest else {
        return;
    };
    let Some(rate) = plugin.rates.get(*rate) else {
        return;
    };
    let Some((_, limit)) = plugin.limit_of(rate) else {
        return;
    };
    for (name, value) in Draft03::new(limit, rate, standing, now).pairs() {
        // The response is worth more than a header about it.
        let _ = plugin.host.set_header(HeaderMap::Response, name, value);
    }
}

/// The body of a refusal, in the shape of an `OpenAI` error.
fn refusal(limit: &Limit, rate: &Rate, plugin: &Plugin, wait: u64) -> String {
    let window = limit.rates.get(rate.rate).map(|rate| &rate.window);
    let policy = plugin.limit_of(rate).map_or("", |(policy, _)| &policy.name);
    let mut message = format!(
        "Token rate limit \"{}\" of policy \"{policy}\" reached: {} tokens",
        limit.name, rate.max
    );
    if let Some(window) = window {
        let _ = write!(message, " per {window}");
    }
    let _ = write!(message, ". Try again in {wait} s.");
    error_body(&message, "tokens", "rate_limit_exceeded")
}

/// `{"error": {...}}`, as clients of `OpenAI`'s API read it.
fn error_body(message: &str, kind: &str, code: &str) -> String {
    serde_json::json!({
        "error": { "message": message, "type": kind, "param": null, "code": code }
    })
    .to_string()
}

/// Whole seconds, rounded up.
const fn seconds(nanoseconds: u64) -> u64 {
    nanoseconds.div_ceil(SECOND)
}

/// A text for between double quotes in a structured field.
fn quoted(text: &str) -> String {
    text.chars()
        .filter(|c| c.is_ascii_graphic() || *c == ' ')
        .flat_map(|c| {
            let escape = matches!(c, '"' | '\\').then_some('\\');
            escape.into_iter().chain(Some(c))
        })
        .collect()
}
