//! What is printed in the end.

use crate::compile::Build;
use crate::mutant::{Mutant, PARTS};
use crate::options::Options;
use crate::outcomes::Outcome;
use crate::survivors::{self, Survivors};
use std::collections::BTreeMap;
use std::fmt;

/// The least share of the mutants of a part that is caught, in per cent.
const MIN_CAUGHT: usize = 95;

/// The outcomes, by modules and parts.
#[derive(Debug)]
pub(crate) struct Report {
    modules: BTreeMap<String, Counts>,
    parts: BTreeMap<&'static str, Counts>,
    /// Survivors that are not listed.
    unlisted: Vec<String>,
    /// Listed mutants that no run has missed.
    outdated: Vec<String>,
}

/// How many mutants of a module have which outcome.
#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    listed: usize,
    rejected: usize,
    skipped: usize,
    caught: usize,
    timed_out: usize,
    missed: usize,
    unreached: usize,
}

// === impl Report ===

impl Report {
    /// Counts the outcomes, and compares the survivors with those that are listed.
    pub(crate) fn new(
        mutants: &[Mutant],
        build: &Build,
        outcomes: &BTreeMap<usize, Outcome>,
        survivors: &Survivors,
        options: &Options,
    ) -> Self {
        let mut report = Self {
            modules: BTreeMap::new(),
            parts: BTreeMap::new(),
            unlisted: Vec::new(),
            outdated: Vec::new(),
        };
        let mut listed = survivors.clone();
        for (id, mutant) in mutants.iter().enumerate() {
            let outcome = outcomes.get(&id).copied();
            let is_rejected = build.is_rejected(id);
            let is_skipped = !is_rejected && build.site(id).is_none();
            let module = report.modules.entry(mutant.module().to_owned());
            for counts in [
                module.or_default(),
                report.parts.entry(mutant.part()).or_default(),
            ] {
                counts.listed += 1;
                counts.rejected += usize::from(is_rejected);
                counts.skipped += usize::from(is_skipped);
                counts.add(outcome);
            }
            if outcome >= Some(Outcome::Missed) {
                match listed.get_mut(&mutant.stable_name()) {
                    Some(count) if *count > 0 => *count -= 1,
                    _ => report.unlisted.push(mutant.name.clone()),
                }
            }
        }
        if options.is_complete() {
            let outdated = listed.into_iter().filter(|(_, count)| *count > 0);
            report.outdated = outdated.map(|(name, _)| name).collect();
        }
        report
    }

    /// Whether enough mutants of each part are caught.
    pub(crate) fn passes(&self) -> bool {
        self.parts.values().all(|counts| {
            let caught = counts.caught + counts.timed_out;
            caught * 100 >= counts.run() * MIN_CAUGHT
        })
    }
}

impl fmt::Display for Report {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let heading = Counts::HEADING;
        writeln!(out, "{:<32}{heading}", "module")?;
        for (module, counts) in &self.modules {
            writeln!(out, "{module:<32}{counts}")?;
        }
        writeln!(out, "\n{:<32}{heading}", "part")?;
        for part in PARTS {
            if let Some(counts) = self.parts.get(part) {
                writeln!(out, "{part:<32}{counts}")?;
            }
        }
        for (heading, names) in [
            ("Survivors that are not listed", &self.unlisted),
            ("Listed, but not missed", &self.outdated),
        ] {
            if !names.is_empty() {
                writeln!(out, "\n{heading} in {}:", survivors::PAGE)?;
            }
            for name in names {
                writeln!(out, "  {name}")?;
            }
        }
        if !self.passes() {
            writeln!(out, "\nFewer than {MIN_CAUGHT} % of a part are caught.")?;
        }
        Ok(())
    }
}

// === impl Counts ===

impl Counts {
    const HEADING: &str =
        "  listed rejected  skipped      run   caught  timeout   missed  unreached  caught %";

    fn add(&mut self, outcome: Option<Outcome>) {
        match outcome {
            Some(Outcome::Caught) => self.caught += 1,
            Some(Outcome::TimedOut) => self.timed_out += 1,
            Some(Outcome::Missed) => self.missed += 1,
            Some(Outcome::Unreached) => self.unreached += 1,
            None => {}
        }
    }

    fn run(&self) -> usize {
        self.caught + self.timed_out + self.missed + self.unreached
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let run = self.run();
        write!(
            out,
            "{:>8} {:>8} {:>8} {run:>8} {:>8} {:>8} {:>8} {:>10}",
            self.listed,
            self.rejected,
            self.skipped,
            self.caught,
            self.timed_out,
            self.missed,
            self.unreached
        )?;
        if run == 0 {
            return Ok(());
        }
        let tenths = (self.caught + self.timed_out) * 1000 / run;
        write!(out, "{:>7}.{}", tenths / 10, tenths % 10)
    }
}
