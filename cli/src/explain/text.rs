//! An explanation as text.

use std::fmt::Write;

use serde_json::Value;
use tollgate::{ConsideredLimit, CounterState, Evaluated};

use super::Explanation;
use crate::amounts::{amount, window};

/// The most characters of a value that are printed.
const MAX_CHARS: usize = 100;

/// What the access log has of usage, with the names in text.
const USAGE: [(&str, &str); 4] = [
    ("total_tokens", "tokens"),
    ("input_tokens", "input"),
    ("output_tokens", "output"),
    ("cached_tokens", "cached"),
];

// === impl Explanation ===

impl Explanation {
    pub(super) fn text(&self) -> String {
        let mut text = String::new();
        // Writing to a string does not fail.
        let _ = self.write(&mut text);
        text
    }

    fn write(&self, text: &mut String) -> std::fmt::Result {
        let outcome = &self.outcome;
        write!(text, "decision: {}", outcome.decision())?;
        if let Some(limit) = outcome.limit() {
            write!(text, ", limit {limit}")?;
        }
        writeln!(text)?;
        match (outcome.is_admitted, self.has_response) {
            (true, false) => writeln!(
                text,
                "status: that of the upstream; nothing is charged without --response"
            )?,
            _ => writeln!(text, "status: {}", outcome.status)?,
        }
        if !outcome.queued.is_zero() {
            writeln!(text, "queued: {} ms", outcome.queued.as_millis())?;
        }
        if self.is_service_replaced {
            writeln!(
                text,
                "storage: counters of this run, in place of those of the rate limit service"
            )?;
        }
        writeln!(text, "\nlimits:")?;
        if self.considered.limits.is_empty() {
            writeln!(text, "  none is in force for this request")?;
        }
        for limit in &self.considered.limits {
            self.limit(text, limit)?;
        }
        if let Some(error) = &self.considered.error {
            writeln!(text, "\nerror: {error}")?;
        }
        if outcome.values.contains_key("total_tokens") {
            let parts = USAGE
                .iter()
                .filter_map(|(name, text)| Some(format!("{} {text}", outcome.values.get(*name)?)));
            let parts: Vec<String> = parts.collect();
            write!(text, "\ncharged: {}", parts.join(", "))?;
            for (name, label) in [
                ("usd", "USD"),
                ("model", "model"),
                ("estimated", "estimated"),
            ] {
                if let Some(value) = outcome.values.get(name) {
                    write!(text, ", {label} {value}")?;
                }
            }
            writeln!(text)?;
        }
        for (name, value) in &outcome.values {
            if let Some(name) = name.strip_prefix("cost.") {
                writeln!(text, "exported cost {name}: {value}")?;
            }
        }
        if outcome.status > 0 {
            writeln!(text, "\nheaders:")?;
            for (name, value) in &outcome.headers {
                writeln!(text, "  {name}: {value}")?;
            }
        }
        if !outcome.is_admitted && !outcome.body.is_empty() {
            writeln!(
                text,
                "\nbody:\n  {}",
                String::from_utf8_lossy(&outcome.body)
            )?;
        }
        Ok(())
    }

    fn limit(&self, text: &mut String, limit: &ConsideredLimit) -> std::fmt::Result {
        let applies = if limit.applies {
            "applies"
        } else {
            "does not apply"
        };
        writeln!(text, "  {} of {}: {applies}", limit.limit, limit.policy)?;
        for predicate in &limit.when {
            expression(text, "when", predicate)?;
        }
        for counter in limit.counters.iter().filter(|_| limit.applies) {
            expression(text, "counter", counter)?;
        }
        let states = self.before.iter().zip(&self.after);
        for (before, after) in states {
            if before.policy == limit.policy && before.limit == limit.limit {
                self.rate(text, before, after)?;
            }
        }
        Ok(())
    }

    fn rate(
        &self,
        text: &mut String,
        before: &CounterState,
        after: &CounterState,
    ) -> std::fmt::Result {
        let unit = before.unit;
        let counted = |value: u64| amount(unit, value);
        write!(text, "    {}: {}", before.path, counted(before.max))?;
        if before.window > 0 {
            write!(text, " in {}", window(before.window))?;
        }
        write!(text, "; used {}", counted(before.used))?;
        if before.reserved > 0 {
            write!(text, ", reserved {}", counted(before.reserved))?;
        }
        if before.amount > 0 {
            write!(text, "; reserves {}", counted(before.amount))?;
        }
        write!(text, "; used afterwards {}", counted(after.used))?;
        if after.resets_at > self.now && after.used > 0 {
            let seconds = (after.resets_at - self.now).div_ceil(1_000_000_000);
            write!(text, ", resets in {seconds}s")?;
        }
        if !before.is_enforced {
            write!(text, "; only reported")?;
        }
        writeln!(text)
    }
}

fn expression(text: &mut String, kind: &str, evaluated: &Evaluated) -> std::fmt::Result {
    let source: Vec<&str> = evaluated.expression.split_whitespace().collect();
    let source = source.join(" ");
    match &evaluated.result {
        None => return writeln!(text, "    {kind} {source}: not evaluated"),
        Some(Ok(value)) => writeln!(text, "    {kind} {source}: {}", short(value))?,
        Some(Err(error)) => writeln!(text, "    {kind} {source}: {error}")?,
    }
    for (name, value) in &evaluated.reads {
        if *name != source {
            let value = match value {
                Value::Null => "missing".to_owned(),
                value => short(value),
            };
            writeln!(text, "      {name} = {value}")?;
        }
    }
    Ok(())
}

fn short(value: &Value) -> String {
    let mut text = value.to_string();
    if let Some((end, _)) = text.char_indices().nth(MAX_CHARS) {
        text.truncate(end);
        text.push('…');
    }
    text
}
