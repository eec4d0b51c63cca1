//! The file with the outcome of each mutant, which is written as they are run.

use crate::error::Error;
use crate::mutant::{Mutant, stable_name};
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::Write as _;
use std::path::Path;
use std::sync::Mutex;

/// What became of a mutant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Outcome {
    /// A test failed.
    Caught,
    /// The tests did not end in time.
    TimedOut,
    /// Every test passed.
    Missed,
    /// No test reaches it.
    Unreached,
}

/// The file that outcomes are written to.
#[derive(Debug)]
pub(crate) struct Outcomes {
    file: Mutex<File>,
}

// === impl Outcomes ===

impl Outcomes {
    /// Begins the file anew.
    pub(crate) fn create(path: &Path) -> Result<Self, Error> {
        let file = File::create(path).map_err(Error::at(path))?;
        Ok(Self {
            file: Mutex::new(file),
        })
    }

    /// Writes the outcome of a mutant, whose numbers begin with zero.
    pub(crate) fn add(&self, id: usize, mutant: &Mutant, outcome: Outcome) {
        let line = format!("{outcome:?} {}: {}\n", id + 1, mutant.name);
        if let Ok(mut file) = self.file.lock()
            && let Err(error) = file.write_all(line.as_bytes())
        {
            eprintln!("outcome of mutant {} is not written: {error}", id + 1);
        }
    }
}

/// Reads which mutants the run before has missed, by their stable names.
pub(crate) fn missed(path: &Path) -> Result<BTreeSet<String>, Error> {
    let text = fs::read_to_string(path).map_err(Error::at(path))?;
    Ok(parse(&text))
}

fn parse(text: &str) -> BTreeSet<String> {
    let missed = text.lines().filter_map(|line| {
        let (outcome, rest) = line.split_once(' ')?;
        let (_, name) = rest.split_once(": ")?;
        let (file, _) = name.split_once(':')?;
        let is_missed = ["Missed", "Unreached"].contains(&outcome);
        is_missed.then(|| stable_name(file, name))
    });
    missed.collect()
}

#[test]
fn only_missed_mutants_are_read() {
    let text = "Caught 1: src/a.rs:1:2: replace < with <= in f\n\
                Missed 12: src/a.rs:3:4: delete ! in g\n\
                Unreached 3: src/b.rs:5:6: replace h with ()\nTimedOut 4";
    let expected = ["src/a.rs: delete ! in g", "src/b.rs: replace h with ()"];
    assert_eq!(parse(text), expected.map(str::to_owned).into());
}
