//! What a simulation has shown.

use std::{
    collections::{BTreeMap, HashMap},
    fmt::Write as _,
    hash::{BuildHasher, RandomState},
    io::{self, Write},
};

use filter_config::Configuration;
use serde_json::{Value, json};

use super::{demand::RateDemand, engine::Settled};
use crate::{
    log::{Entry, time_text},
    sketch::{Sample, Top},
};

/// How many callers of a limit are followed to find those that are rejected most.
const MAX_TOP: usize = 1000;

/// How many rejected callers of a limit are counted exactly.
const MAX_CALLERS: usize = 50_000;

/// How many hours with rejections are kept for each limit.
const MAX_HOURS: usize = 10_000;

/// An hour in nanoseconds.
const HOUR: u64 = 3_600_000_000_000;

/// What a simulation has shown.
#[derive(Debug)]
pub struct Report {
    /// How many entries were run.
    pub entries: u64,
    /// How many exchanges were ended before their time, because too many overlapped.
    pub ended_early: u64,
    suggest: Option<f64>,
    top: usize,
    skipped: u64,
    first_skipped: Option<(u64, String)>,
    without_time: u64,
    from: u64,
    to: u64,
    decisions: BTreeMap<String, u64>,
    /// How many decisions the log has, how many of them differ, and the first line of these.
    compared: u64,
    differing: u64,
    first_differing: Option<u64>,
    limits: BTreeMap<String, Rejections>,
    rates: BTreeMap<usize, RateDemand>,
    hasher: [RandomState; 2],
}

/// The rejections by one limit.
#[derive(Debug)]
struct Rejections {
    count: u64,
    /// Those that a dry run would have rejected.
    dry: u64,
    from: u64,
    to: u64,
    hours: HashMap<u64, u64>,
    top: Top<String>,
    callers: Sample<()>,
}

/// Writes the decision on an entry as a line of JSON.
pub(super) fn write_decision(file: &mut dyn Write, settled: &Settled) -> io::Result<()> {
    let json = json!({
        "line": settled.line,
        "time": time_text(settled.time),
        "decision": settled.outcome.decision(),
        "limit": settled.outcome.limit(),
        "status": settled.outcome.status,
        "recorded": settled.recorded,
    });
    writeln!(file, "{json}")
}

// === impl Report ===

impl Report {
    /// Returns an empty report. `suggest` is the percentage of callers that suggested limits admit, and `top` how many
    /// callers are listed.
    pub(super) fn new(suggest: Option<f64>, top: usize, configuration: &Configuration) -> Self {
        let limits = configuration
            .policies
            .iter()
            .flat_map(|policy| &policy.limits);
        Self {
            entries: 0,
            ended_early: 0,
            suggest,
            top,
            skipped: 0,
            first_skipped: None,
            without_time: 0,
            from: u64::MAX,
            to: 0,
            decisions: BTreeMap::new(),
            compared: 0,
            differing: 0,
            first_differing: None,
            limits: limits
                .map(|limit| (limit.name.clone(), Rejections::new()))
                .collect(),
            rates: BTreeMap::new(),
            hasher: [RandomState::new(), RandomState::new()],
        }
    }

    pub(super) fn read(&mut self, _entry: &Entry, time: u64) {
        self.entries += 1;
        self.from = self.from.min(time);
        self.to = self.to.max(time);
    }

    pub(super) fn without_time(&mut self, line: u64) {
        self.without_time += 1;
        self.first_skipped
            .get_or_insert((line, "no time".to_owned()));
    }

    pub(super) fn skipped(&mut self, skipped: u64, first: Option<(u64, String)>) {
        self.skipped = skipped + self.without_time;
        if let Some((line, _)) = &first
            && self
                .first_skipped
                .as_ref()
                .is_none_or(|(known, _)| line < known)
        {
            self.first_skipped = first;
        }
    }

    pub(super) fn first_problem(&self) -> String {
        self.first_skipped
            .as_ref()
            .map_or_else(String::new, |(line, reason)| {
                format!("; line {line}: {reason}")
            })
    }

    /// Takes the outcome of an entry.
    pub(super) fn decided(&mut self, settled: &Settled) {
        let decision = settled.outcome.decision();
        let count = self.decisions.get_mut(decision);
        match count {
            Some(count) => *count += 1,
            None => {
                self.decisions.insert(decision.to_owned(), 1);
            }
        }
        if let Some(recorded) = &settled.recorded {
            self.compared += 1;
            if recorded != decision {
                self.differing += 1;
                let first = self.first_differing.get_or_insert(settled.line);
                *first = settled.line.min(*first);
            }
        }
        let is_dry = decision == "shadow_denied";
        if decision != "denied" && !is_dry {
            return;
        }
        let name = settled.outcome.limit().unwrap_or_default();
        let limit = self
            .limits
            .entry(name.to_owned())
            .or_insert_with(Rejections::new);
        if is_dry {
            limit.dry += 1;
            return;
        }
        limit.count += 1;
        limit.from = limit.from.min(settled.time);
        limit.to = limit.to.max(settled.time);
        let hour = settled.time / HOUR;
        if limit.hours.len() < MAX_HOURS || limit.hours.contains_key(&hour) {
            *limit.hours.entry(hour).or_default() += 1;
        }
        if let Some(caller) = &settled.caller {
            limit.top.add(caller, 1);
            let [low, high] = &self.hasher;
            let key = u128::from(high.hash_one(caller)) << 64 | u128::from(low.hash_one(caller));
            limit.callers.get(key, || ());
        }
    }

    /// Takes how counters stand after an exchange of the run in which nothing is rejected.
    pub(super) fn demand(&mut self, settled: &Settled) {
        for state in &settled.states {
            let rate = self.rates.entry(state.rate);
            rate.or_insert_with(|| RateDemand::new(state))
                .add(state, settled.end);
        }
    }

    /// Returns the report as text.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = String::new();
        // Writing to a string does not fail.
        let _ = self.write(&mut text);
        text
    }

    fn write(&self, text: &mut String) -> std::fmt::Result {
        let (from, to) = (time_text(self.from), time_text(self.to));
        writeln!(text, "entries: {} from {from} to {to}", self.entries)?;
        if self.skipped > 0 {
            writeln!(text, "skipped: {}{}", self.skipped, self.first_problem())?;
        }
        if self.ended_early > 0 {
            writeln!(
                text,
                "ended early, as too many overlap: {}",
                self.ended_early
            )?;
        }
        let decisions = self.decisions.iter().map(|(name, count)| {
            let name = if name.is_empty() { "none" } else { name };
            format!("{name} {count}")
        });
        writeln!(
            text,
            "decisions: {}",
            decisions.collect::<Vec<_>>().join(", ")
        )?;
        if self.compared > 0 {
            write!(
                text,
                "other decisions than in the log: {} of {}",
                self.differing, self.compared
            )?;
            if let Some(line) = self.first_differing {
                write!(text, ", first at line {line}")?;
            }
            writeln!(text)?;
        }
        for (name, limit) in &self.limits {
            limit.write(text, name, self.top)?;
            for rate in self.rates.values() {
                if rate.limit().0 == name {
                    text.push_str(&rate.text(self.suggest));
                }
            }
        }
        Ok(())
    }

    /// Returns the report as JSON.
    #[must_use]
    pub fn json(&self) -> Value {
        let limits = self
            .limits
            .iter()
            .map(|(name, limit)| limit.json(name, self.top));
        let rates = self.rates.values().map(|rate| rate.json(self.suggest));
        let first = self.first_skipped.as_ref();
        json!({
            "entries": self.entries,
            "from": time_text(self.from),
            "to": time_text(self.to),
            "skipped": self.skipped,
            "firstSkipped": first.map(|(line, reason)| json!({ "line": line, "reason": reason })),
            "endedEarly": self.ended_early,
            "decisions": self.decisions,
            "compared": self.compared,
            "differing": self.differing,
            "firstDiffering": self.first_differing,
            "limits": limits.collect::<Vec<_>>(),
            "rates": rates.collect::<Vec<_>>(),
        })
    }
}

// === impl Rejections ===

impl Rejections {
    fn new() -> Self {
        Self {
            count: 0,
            dry: 0,
            from: u64::MAX,
            to: 0,
            hours: HashMap::new(),
            top: Top::new(MAX_TOP),
            callers: Sample::new(MAX_CALLERS),
        }
    }

    /// Returns the hour with most rejections.
    fn busiest(&self) -> Option<(u64, u64)> {
        let hours = self.hours.iter().map(|(hour, count)| (*count, *hour));
        let busiest = hours.max_by_key(|(count, hour)| (*count, u64::MAX - hour));
        busiest.map(|(count, hour)| (hour * HOUR, count))
    }

    fn write(&self, text: &mut String, name: &str, top: usize) -> std::fmt::Result {
        write!(text, "\n{name}: {} rejected", self.count)?;
        if !self.top.is_empty() {
            let about = if self.callers.is_whole() {
                ""
            } else {
                "about "
            };
            write!(text, " of {about}{} callers", self.callers.total())?;
        }
        if self.dry > 0 {
            write!(text, ", {} by the dry run", self.dry)?;
        }
        writeln!(text)?;
        if let Some((hour, count)) = self.busiest() {
            let (from, to) = (time_text(self.from), time_text(self.to));
            writeln!(
                text,
                "  from {from} to {to}, most in the hour from {}: {count}",
                time_text(hour)
            )?;
        }
        let callers = self
            .top
            .iter()
            .take(top)
            .map(|(caller, count)| match count.error {
                0 => format!("{caller} {}", count.sum),
                error => format!("{caller} {} to {}", count.sum - error, count.sum),
            });
        let callers: Vec<String> = callers.collect();
        if !callers.is_empty() {
            writeln!(text, "  callers: {}", callers.join(", "))?;
        }
        Ok(())
    }

    fn json(&self, name: &str, top: usize) -> Value {
        let callers = self.top.iter().take(top).map(|(caller, count)| {
            json!({ "caller": caller, "rejected": count.sum, "error": count.error })
        });
        let busiest = self.busiest();
        let mut json = json!({
            "limit": name,
            "rejected": self.count,
            "dryRunRejected": self.dry,
            "callers": self.callers.total(),
            "top": callers.collect::<Vec<_>>(),
        });
        if let Some((hour, count)) = busiest {
            json["from"] = time_text(self.from).into();
            json["to"] = time_text(self.to).into();
            json["busiestHour"] = json!({ "from": time_text(hour), "rejected": count });
        }
        json
    }
}
