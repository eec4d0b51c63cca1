//! What the compiler rejected in the run before, so that this run need not find it again.

use crate::error::Error;
use crate::mutant::Mutant;
use crate::tree::Copy;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::PathBuf;

/// What the compiler rejects.
#[derive(Debug, Default)]
pub(super) struct Verdicts {
    /// Mutants.
    pub rejected: BTreeSet<usize>,
    /// The names of functions that constants call, which have no branches.
    pub constant: BTreeSet<String>,
}

// === impl Verdicts ===

impl Verdicts {
    /// Reads those of the run before. A verdict on a mutant holds while its file is the same.
    pub(super) fn read(tree: &Copy, mutants: &[Mutant]) -> Result<Self, Error> {
        let text = fs::read_to_string(path(tree)).unwrap_or_default();
        let (constant, rejected): (Vec<_>, Vec<_>) = text
            .lines()
            .filter_map(|line| line.split_once(' '))
            .partition(|(kind, _)| *kind == "constant");
        let rejected: BTreeSet<(&str, &str)> = rejected.into_iter().collect();
        let hashes = hashes(tree, mutants)?;
        let rejected = mutants.iter().enumerate().filter(|(_, mutant)| {
            let hash = hashes.get(mutant.file.as_str());
            hash.is_some_and(|hash| rejected.contains(&(hash.as_str(), &mutant.name)))
        });
        Ok(Self {
            rejected: rejected.map(|(id, _)| id).collect(),
            constant: constant
                .into_iter()
                .map(|(_, name)| name.to_owned())
                .collect(),
        })
    }

    /// Writes them for the next run, with those of mutants that this run has not selected.
    pub(super) fn write(&self, tree: &Copy, mutants: &[Mutant]) -> Result<(), Error> {
        let hashes = hashes(tree, mutants)?;
        let constant = self.constant.iter();
        let constant = constant.map(|name| format!("constant {name}\n"));
        let rejected = self.rejected.iter().filter_map(|&id| {
            let mutant = mutants.get(id)?;
            let hash = hashes.get(mutant.file.as_str())?;
            Some(format!("{hash} {}\n", mutant.name))
        });
        let path = path(tree);
        let names: BTreeSet<&str> = mutants.iter().map(|mutant| mutant.name.as_str()).collect();
        let before = fs::read_to_string(&path).unwrap_or_default();
        let others = before.lines().filter(|line| {
            let verdict = line.split_once(' ');
            verdict.is_some_and(|(kind, name)| kind != "constant" && !names.contains(name))
        });
        let others = others.map(|line| format!("{line}\n"));
        let text: String = constant.chain(rejected).chain(others).collect();
        fs::write(&path, text).map_err(Error::at(&path))
    }
}

fn path(tree: &Copy) -> PathBuf {
    tree.folder().join("rejected.txt")
}

/// The hashes of the files that have mutants.
fn hashes<'a>(tree: &Copy, mutants: &'a [Mutant]) -> Result<BTreeMap<&'a str, String>, Error> {
    let mut hashes = BTreeMap::new();
    for mutant in mutants {
        let file = mutant.file.as_str();
        if !hashes.contains_key(file) {
            let mut state = DefaultHasher::new();
            tree.read(file)?.hash(&mut state);
            hashes.insert(file, format!("{:016x}", state.finish()));
        }
    }
    Ok(hashes)
}
