//! What callers are told: refusals, and headers that say what is left.

#[cfg(test)]
mod tests;

use crate::admit::{Denial, Told};
use crate::host::{HeaderMap, Host, LocalReply, is_header_value};
use crate::plugin::{Charge, Counts, Plugin, Rate};
use crate::storage::Standing;
use filter_config::{Limit, QuotaHeaders};

/// Nanoseconds in a second.
const SECOND: u64 = 1_000_000_000;

/// gRPC's `RESOURCE_EXHAUSTED`.
const RESOURCE_EXHAUSTED: i32 = 8;

/// gRPC's `INTERNAL`.
const INTERNAL: i32 = 13;

/// `x-ratelimit-*`, after draft 3 of "`RateLimit` header fields for HTTP" and as Envoy's own rate
/// limit filter writes them.
struct Draft03 {
    limit: String,
    remaining: String,
    reset: String,
}

impl Draft03 {
    fn new(limit: &Limit, rate: &Rate, standing: &Standing, now: u64) -> Self {
        let max = standing.limit;
        let name = quoted(&limit.name);
        Self {
            limit: match rate.counts {
                Counts::Tokens(_) => {
                    let window = seconds(rate.counted.window().length);
                    format!("{max}, {max};w={window};name=\"{name}\"")
                }
                Counts::InFlight => format!("{max}, {max};name=\"{name}\""),
            },
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

/// Refuses a request because of a limit; `told` are headers that a rate limit service adds, in place
/// of ours with the same names. Returns whether Envoy took the reply.
pub fn deny(plugin: &Plugin, denial: &Denial, told: &Told) -> bool {
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
    headers.retain(|(name, value)| {
        is_header_value(value) && told.iter().all(|(told, _)| told != name)
    });
    headers.extend(told.iter().map(|(name, value)| (&**name, &**value)));
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

/// The header that tells of a limit whose use is past its `alertAt`.
const ALERT: &str = "x-ratelimit-alert";

/// Adds to an admitted response what its caller is to know: the limits that are nearly used up and,
/// where the configuration asks for quota headers, those of the limit with the least left.
pub fn annotate(plugin: &Plugin, charges: &[Charge], standings: &[Standing]) {
    let counted = charges
        .iter()
        .zip(standings)
        .filter_map(|(charge, standing)| {
            let rate = plugin.rates.get(charge.rate)?;
            let (_, limit) = plugin.limit_of(rate)?;
            let told = matches!(rate.counts, Counts::Tokens(_)) && !limit.shadow;
            told.then_some((rate, limit, standing))
        });
    let add = |name: &str, value: &[u8]| {
        // The response is worth more than a header about it.
        let _ = plugin.host.set_header(HeaderMap::Response, name, value);
    };
    let alerts = counted
        .clone()
        .filter(|(rate, _, standing)| standing.used >= rate.alert_past);
    let alerts: Vec<String> = alerts
        .map(|(_, limit, _)| format!("\"{}\"", quoted(&limit.name)))
        .collect();
    if !alerts.is_empty() {
        add(ALERT, alerts.join(", ").as_bytes());
    }
    if plugin.configuration.replies.headers != Some(QuotaHeaders::Draft03) {
        return;
    }
    let Some((rate, limit, standing)) = counted.min_by_key(|(_, _, standing)| standing.remaining())
    else {
        return;
    };
    let now = plugin.host.now().unwrap_or_default();
    for (name, value) in Draft03::new(limit, rate, standing, now).pairs() {
        add(name, value);
    }
}

/// Adds to an admitted response what a rate limit service wants its caller to be told.
pub fn tell(host: &dyn Host, told: &Told) {
    for (name, value) in told {
        // The response is worth more than a header about it.
        let _ = host.set_header(HeaderMap::Response, name, value);
    }
}

/// The body of a refusal, in the shape of an `OpenAI` error.
fn refusal(limit: &Limit, rate: &Rate, plugin: &Plugin, wait: u64) -> String {
    let policy = plugin.limit_of(rate).map_or("", |(policy, _)| &policy.name);
    let Rate { max, .. } = rate;
    let name = &limit.name;
    let (message, kind) = match rate.counts {
        Counts::Tokens(index) => {
            let per = limit.rates.get(index);
            let per = per.map_or(String::new(), |rate| format!(" per {}", rate.window));
            let message = format!(
                "Token rate limit \"{name}\" of policy \"{policy}\" reached: {max} tokens{per}. \
                 Try again in {wait} s."
            );
            (message, "tokens")
        }
        Counts::InFlight => {
            let message = format!(
                "Concurrency limit \"{name}\" of policy \"{policy}\" reached: {max} requests at \
                 once. Try again when one of them is done."
            );
            (message, "requests")
        }
    };
    error_body(&message, kind, "rate_limit_exceeded")
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
