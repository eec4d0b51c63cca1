//! The arguments of a run.

use crate::mutant::{Mutant, PACKAGES};

const USAGE: &str = "usage: mutants [--shard N/M] [--jobs N] [--tests PACKAGE] [--missed] [PATH...]

  --shard N/M      run every Mth mutant, from the Nth on (default 1/1)
  --jobs N         run N mutants at once (default 1)
  --tests PACKAGE  build and run only the tests of limits, usage-meter or tollgate (default: all)
  --missed         run only those that the run before has missed
  PATH             run the mutants of files whose paths begin so, such as limits/src/window (default: all)";

/// The arguments of a run.
#[derive(Debug)]
pub(crate) struct Options {
    pub shard: Shard,
    pub jobs: usize,
    /// The packages whose tests are run.
    pub packages: Vec<&'static str>,
    /// Whether only those are run that the run before has missed.
    pub missed: bool,
    paths: Vec<String>,
}

/// One of several parts of the mutants, which together have them all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Shard {
    number: usize,
    count: usize,
}

// === impl Options ===

impl Options {
    /// Reads the arguments, or returns how they are written.
    pub(crate) fn read(arguments: impl IntoIterator<Item = String>) -> Result<Self, &'static str> {
        let mut options = Self {
            shard: Shard {
                number: 1,
                count: 1,
            },
            jobs: 1,
            packages: PACKAGES.to_vec(),
            missed: false,
            paths: Vec::new(),
        };
        let mut arguments = arguments.into_iter();
        while let Some(argument) = arguments.next() {
            match argument.as_str() {
                "--shard" => {
                    let shard = arguments.next().as_deref().and_then(Shard::read);
                    options.shard = shard.ok_or(USAGE)?;
                }
                "--jobs" => {
                    let jobs = arguments.next().and_then(|jobs| jobs.parse().ok());
                    options.jobs = jobs.filter(|&jobs| jobs > 0).ok_or(USAGE)?;
                }
                "--tests" => {
                    let package = arguments.next().ok_or(USAGE)?;
                    options.packages.retain(|known| *known == package);
                    if options.packages.is_empty() {
                        return Err(USAGE);
                    }
                }
                "--missed" => options.missed = true,
                _ if argument.starts_with('-') => return Err(USAGE),
                _ => options.paths.push(argument),
            }
        }
        Ok(options)
    }

    /// Whether a mutant is in one of the files that were named, or none was.
    pub(crate) fn selects(&self, mutant: &Mutant) -> bool {
        self.paths.is_empty() || self.paths.iter().any(|path| mutant.file.starts_with(path))
    }

    /// Whether every mutant is run.
    pub(crate) fn is_complete(&self) -> bool {
        self.paths.is_empty() && self.shard.count == 1 && self.packages == PACKAGES && !self.missed
    }
}

// === impl Shard ===

impl Shard {
    fn read(text: &str) -> Option<Self> {
        let (number, count) = text.split_once('/')?;
        let (number, count) = (number.parse().ok()?, count.parse().ok()?);
        (1..=count)
            .contains(&number)
            .then_some(Self { number, count })
    }

    /// Whether a mutant is in this part. Neighbours are in different parts, so that all take about as long.
    pub(crate) fn contains(self, position: usize) -> bool {
        position % self.count == self.number - 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(arguments: &[&str]) -> Result<Options, &'static str> {
        Options::read(arguments.iter().map(|&argument| argument.to_owned()))
    }

    #[test]
    fn shards_partition_the_mutants() {
        let shards = ["1/3", "2/3", "3/3"].map(|shard| Shard::read(shard).expect("it is valid"));
        for position in 0..10 {
            let owners = shards.iter().filter(|shard| shard.contains(position));
            assert_eq!(owners.count(), 1);
        }
    }

    #[test]
    fn impossible_arguments_are_rejected() {
        for arguments in [
            &["--shard", "0/3"][..],
            &["--shard", "4/3"],
            &["--shard", "1"],
            &["--shard"],
            &["--jobs", "0"],
            &["--tests", "cli"],
            &["--tests"],
            &["--every"],
        ] {
            assert_eq!(read(arguments).err(), Some(USAGE), "{arguments:?}");
        }
    }

    #[test]
    fn run_of_a_selection_is_incomplete() {
        assert!(read(&[]).is_ok_and(|options| options.is_complete()));
        assert!(read(&["limits"]).is_ok_and(|options| !options.is_complete()));
        assert!(read(&["--shard", "1/2"]).is_ok_and(|options| !options.is_complete()));
        assert!(read(&["--tests", "limits"]).is_ok_and(|options| !options.is_complete()));
        assert!(read(&["--missed"]).is_ok_and(|options| !options.is_complete()));
    }
}
