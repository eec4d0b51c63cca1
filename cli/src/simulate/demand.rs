//! The demand: what callers would use if nothing were rejected.

use std::fmt::Write;

use serde_json::{Value, json};
use tollgate::CounterState;

use crate::{
    amounts::{amount, window},
    sketch::{Percentiles, Sample},
};

/// The most callers of a rate that are followed. Of more, a uniform sample is.
const MAX_CALLERS: usize = 50_000;

/// The percentiles that are reported.
const PERCENTS: [u32; 4] = [50, 90, 95, 99];

/// The demand at one rate.
#[derive(Debug)]
pub(super) struct RateDemand {
    /// The rate, as the last exchange had it.
    state: CounterState,
    /// The use of callers in windows that are over.
    uses: Percentiles,
    callers: Sample<Window>,
}

/// The use of one caller.
#[derive(Debug, Default)]
struct Window {
    end: u64,
    used: u64,
    peak: u64,
}

// === impl RateDemand ===

impl RateDemand {
    pub(super) fn new(state: &CounterState) -> Self {
        Self {
            state: state.clone(),
            uses: Percentiles::default(),
            callers: Sample::new(MAX_CALLERS),
        }
    }

    /// Adds how a counter stands at a time.
    pub(super) fn add(&mut self, state: &CounterState, now: u64) {
        self.state.max = state.max;
        let used = if state.window == 0 {
            state.reserved
        } else {
            state.used
        };
        let Some(caller) = self.callers.get(state.key, Window::default) else {
            return;
        };
        if state.window > 0 && now >= caller.end {
            if caller.end > 0 {
                self.uses.add(caller.used);
            }
            caller.used = 0;
            let end = now.saturating_add(state.window);
            let resets = state.resets_at;
            caller.end = if resets > now { end.min(resets) } else { end };
        }
        caller.used = caller.used.max(used);
        caller.peak = caller.peak.max(used);
    }

    /// Returns the name of the limit and the path to the rate.
    pub(super) fn limit(&self) -> (&str, &str) {
        (&self.state.limit, &self.state.policy)
    }

    /// Returns the use in windows, also in those that are not over, and the peaks of callers.
    fn percentiles(&self) -> [Percentiles; 2] {
        let mut uses = self.uses.clone();
        let mut peaks = Percentiles::default();
        for caller in self.callers.values() {
            uses.add(caller.used);
            peaks.add(caller.peak);
        }
        [uses, peaks]
    }

    pub(super) fn text(&self, suggest: Option<f64>) -> String {
        let [uses, peaks] = self.percentiles();
        // Writing to a string does not fail.
        let unit = self.state.unit;
        let counted = |value: u64| amount(unit, value);
        let mut text = format!("  {}: {}", self.state.path, counted(self.state.max));
        let per = if self.state.window > 0 {
            let _ = write!(text, " in {}", window(self.state.window));
            "use of a counter in a window"
        } else {
            "the most of a counter"
        };
        let parts =
            PERCENTS.map(|percent| format!("p{percent} {}", counted(uses.at(percent.into()))));
        let about = if self.callers.is_whole() {
            ""
        } else {
            "about "
        };
        let _ = write!(
            text,
            "; counters: {about}{}\n    {per}, if nothing were rejected: {}, max {}\n",
            self.callers.total(),
            parts.join(", "),
            counted(uses.max())
        );
        if let Some(percent) = suggest {
            let _ = writeln!(
                text,
                "    suggested for {percent} % of the counters: {}",
                counted(peaks.at(percent).max(1))
            );
        }
        text
    }

    pub(super) fn json(&self, suggest: Option<f64>) -> Value {
        let [uses, peaks] = self.percentiles();
        let percentiles = |percentiles: &Percentiles| {
            let mut json = json!({ "max": percentiles.max(), "count": percentiles.count() });
            for percent in PERCENTS {
                json[format!("p{percent}")] = percentiles.at(percent.into()).into();
            }
            json
        };
        let mut json = json!({
            "policy": self.state.policy,
            "limit": self.state.limit,
            "path": self.state.path,
            "unit": if self.state.unit == "USD" { "billionths of a dollar" } else { self.state.unit },
            "value": self.state.max,
            "windowSeconds": self.state.window / 1_000_000_000,
            "counters": self.callers.total(),
            "countersAreEstimated": !self.callers.is_whole(),
            "usePerWindow": percentiles(&uses),
            "peakPerCounter": percentiles(&peaks),
        });
        if let Some(percent) = suggest {
            json["suggested"] = peaks.at(percent).max(1).into();
        }
        json
    }
}
