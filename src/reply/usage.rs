//! The answers of the usage endpoint: how the counters of a caller stand.

use super::error;
use super::units::unit;
use crate::policies::{Policies, Rate, RateIndex, Unit};
use filter_config::Policy;
use limits::{Algorithm, Standing, Timestamp};
use std::fmt::Write;

/// A rate of a limit, and how a counter of it stands.
#[derive(Clone, Debug)]
pub(crate) struct UsageEntry<'a> {
    /// The rate.
    pub(crate) rate: RateIndex,
    /// The counter, with its window; `None` if it depends on the request.
    pub(crate) counter: Option<(limits::Rate, Standing)>,
    /// What of a request decides whether the limit applies to it; empty if nothing does.
    pub(crate) depends_on: &'a [&'static str],
}

/// The form of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum UsageFormat {
    Json,
    Text,
}

/// Where a counter is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Scope {
    /// Whether a rate limit service has the counters, except those of requests in flight.
    pub(crate) has_service: bool,
}

// === impl UsageFormat ===

impl UsageFormat {
    /// Returns the form that a client prefers by its `accept`: JSON, unless it prefers plain text.
    pub(crate) fn of(accept: &str) -> Self {
        let best = |wanted: &str| {
            let qualities = accept.split(',').filter_map(|range| {
                let mut parts = range.split(';').map(str::trim);
                let is_wanted = parts.next()?.eq_ignore_ascii_case(wanted);
                let quality = parts.find_map(|part| part.strip_prefix("q="));
                let quality = quality.map_or(Some(1.0), |it| it.parse::<f64>().ok());
                quality.filter(|_| is_wanted)
            });
            qualities.fold(0.0, f64::max)
        };
        if best("text/plain") > best("application/json").max(best("*/*")) {
            Self::Text
        } else {
            Self::Json
        }
    }

    /// Returns the content type.
    pub(crate) const fn content_type(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::Text => "text/plain; charset=utf-8",
        }
    }
}

// === impl Scope ===

impl Scope {
    const fn name(self, unit: Unit) -> &'static str {
        match unit {
            Unit::InFlight => "envoy",
            _ if self.has_service => "service",
            _ => "envoy",
        }
    }
}

/// The fields of a rate that has a counter, in their order; numbers are in the unit of the rate.
struct Row<'a> {
    rate: &'a Rate,
    policy: &'a Policy,
    limit: &'a filter_config::Limit,
    standing: Option<Standing>,
    window: Option<&'a str>,
}

fn row<'a>(policies: &'a Policies, entry: &UsageEntry<'_>) -> Option<Row<'a>> {
    let (rate, policy, limit) = policies.rate_of(entry.rate)?;
    Some(Row {
        rate,
        policy,
        limit,
        standing: entry.counter.map(|(_, standing)| standing),
        window: rate.written_window(limit),
    })
}

// === impl Row ===

impl Row<'_> {
    const fn algorithm(&self) -> Option<&'static str> {
        match (self.rate.unit, self.rate.counters.window().algorithm) {
            (Unit::InFlight, _) => None,
            (_, Algorithm::Fixed) => Some("fixed"),
            (_, Algorithm::Calendar) => Some("calendar"),
            (_, Algorithm::Sliding) => Some("sliding"),
            (_, Algorithm::Bucket) => Some("bucket"),
        }
    }
}

/// Returns the entries as a JSON array.
pub(crate) fn entries(
    policies: &Policies,
    entries: &[UsageEntry<'_>],
    scope: Scope,
    now: Timestamp,
) -> String {
    let mut json = String::from("[");
    for entry in entries {
        let Some(row) = row(policies, entry) else {
            continue;
        };
        if json.len() > 1 {
            json.push(',');
        }
        push_entry(&mut json, &row, entry, scope, now);
    }
    json.push(']');
    json
}

fn push_entry(
    json: &mut String,
    row: &Row<'_>,
    entry: &UsageEntry<'_>,
    scope: Scope,
    now: Timestamp,
) {
    json.push('{');
    let mut field = |name: &str, value: &str| {
        let separator = if json.ends_with('{') { "" } else { "," };
        // Writing to a string does not fail.
        let _ = write!(json, "{separator}\"{name}\":{value}");
    };
    field("policy", &error::text(&row.policy.name));
    field("limit", &error::text(&row.limit.name));
    field("unit", &error::text(unit(row.rate.unit)));
    if let Some(algorithm) = row.algorithm() {
        field("algorithm", &error::text(algorithm));
    }
    if let Some(window) = row.window {
        field("window", &error::text(window));
    }
    if let Some(standing) = row.standing {
        field("limitValue", &row.rate.unit.amount(standing.limit));
        field("used", &row.rate.unit.amount(standing.used));
        field("reserved", &row.rate.unit.amount(standing.reserved));
        field("remaining", &row.rate.unit.amount(standing.remaining()));
        if row.rate.unit != Unit::InFlight {
            let reset = standing.resets_at.since(now).as_secs_rounded_up();
            field("resetSeconds", &reset.to_string());
        }
    }
    field("scope", &error::text(scope.name(row.rate.unit)));
    if !row.limit.enforces() {
        field("enforced", "false");
    }
    if !entry.depends_on.is_empty() {
        field("conditional", "true");
        let names: Vec<String> = entry.depends_on.iter().map(|it| error::text(it)).collect();
        field("dependsOn", &format!("[{}]", names.join(",")));
    }
    json.push('}');
}

/// Returns the entries as a table for people.
pub(crate) fn table(policies: &Policies, entries: &[UsageEntry<'_>], now: Timestamp) -> String {
    let head = [
        "POLICY",
        "LIMIT",
        "UNIT",
        "WINDOW",
        "VALUE",
        "USED",
        "RESERVED",
        "REMAINING",
        "RESET",
        "DEPENDS ON",
    ];
    let mut rows = vec![head.map(str::to_owned)];
    for entry in entries {
        let Some(row) = row(policies, entry) else {
            continue;
        };
        let number = |of: fn(&Standing) -> u64| {
            let standing = row.standing.as_ref();
            standing.map_or_else(|| "-".to_owned(), |it| row.rate.unit.amount(of(it)))
        };
        let reset = row.standing.filter(|_| row.rate.unit != Unit::InFlight);
        let reset = reset.map(|it| format!("{}s", it.resets_at.since(now).as_secs_rounded_up()));
        rows.push([
            row.policy.name.clone(),
            row.limit.name.clone(),
            unit(row.rate.unit).to_owned(),
            row.window.unwrap_or("-").to_owned(),
            number(|it| it.limit),
            number(|it| it.used),
            number(|it| it.reserved),
            number(Standing::remaining),
            reset.unwrap_or_else(|| "-".to_owned()),
            entry.depends_on.join(", "),
        ]);
    }
    let widths = rows.iter().fold([0; 10], |mut widths, row| {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = cell.chars().count().max(*width);
        }
        widths
    });
    let mut table = String::new();
    for row in rows {
        let mut line = String::new();
        for (width, cell) in widths.into_iter().zip(row) {
            let _ = write!(line, "{cell:width$}  ");
        }
        table.push_str(line.trim_end());
        table.push('\n');
    }
    table
}
