//! Builds the tests with all mutants that compile.

mod message;
mod verdicts;

use crate::error::Error;
use crate::mutant::Mutant;
use crate::rewrite::{self, Rewritten};
use crate::sites;
use crate::tree::Copy;
pub(crate) use message::Program;
use message::{Diagnostic, Message};
use std::collections::{BTreeMap, BTreeSet};
use std::process::{Command, Stdio};
use verdicts::Verdicts;

/// The roots of the crates, to which the module that selects a mutant is written.
const ROOTS: [&str; 3] = ["limits/src/lib.rs", "usage-meter/src/lib.rs", "src/lib.rs"];

/// The parsers are compiled with optimizations: their property tests take most of the time.
const OPTIMIZED: &str = "profile.dev.package.usage-meter.opt-level = 1";

/// The tests, built with the mutants that compile.
#[derive(Debug)]
pub(crate) struct Build {
    pub programs: Vec<Program>,
    /// The site of each mutant that is part of the build.
    sites: Sites,
    /// The mutants that do not compile.
    rejected: BTreeSet<usize>,
}

/// The site of each mutant that has one.
type Sites = BTreeMap<usize, usize>;

/// The files with their mutants, by path.
type Files<'a> = BTreeMap<&'a str, Rewritten>;

/// Whether a file is written by [`build`].
pub(crate) fn writes(path: &str, mutants: &[Mutant]) -> bool {
    ROOTS.contains(&path) || mutants.iter().any(|mutant| mutant.file == path)
}

/// Writes the mutants and builds the tests, without those that the compiler rejects, until it rejects none.
pub(crate) fn build(tree: &Copy, mutants: &[Mutant], packages: &[&str]) -> Result<Build, Error> {
    let Verdicts {
        mut rejected,
        mut constant,
    } = Verdicts::read(tree, mutants)?;
    loop {
        let (files, sites) = write(tree, mutants, &rejected, &constant)?;
        let messages = cargo(tree, packages)?;
        let errors: Vec<&Diagnostic> = messages.iter().filter_map(Message::error).collect();
        if errors.is_empty() {
            let programs = messages.into_iter().filter_map(Message::program);
            let programs = programs.collect();
            let verdicts = Verdicts { rejected, constant };
            verdicts.write(tree, mutants)?;
            return Ok(Build {
                programs,
                sites,
                rejected: verdicts.rejected,
            });
        }
        let before = rejected.len() + constant.len();
        for error in &errors {
            if let Some(function) = error.function_of_constant() {
                constant.insert(function.to_owned());
            } else {
                rejected.extend(culprits(error, &files));
            }
        }
        eprintln!(
            "{} mutants do not compile, {} functions stay constant",
            rejected.len(),
            constant.len()
        );
        if rejected.len() + constant.len() == before {
            let rendered = errors.iter().filter_map(|error| error.rendered.clone());
            return Err(Error::Compile(rendered.collect()));
        }
    }
}

/// Writes the files with their mutants, and returns them with the site of each mutant.
fn write<'a>(
    tree: &Copy,
    mutants: &'a [Mutant],
    rejected: &BTreeSet<usize>,
    constant: &BTreeSet<String>,
) -> Result<(Files<'a>, Sites), Error> {
    let mut by_file: BTreeMap<&str, Vec<(usize, &Mutant)>> = BTreeMap::new();
    for root in ROOTS {
        by_file.insert(root, Vec::new());
    }
    for (id, mutant) in mutants.iter().enumerate() {
        by_file.entry(&mutant.file).or_default().push((id, mutant));
    }
    let mut files = Files::new();
    let mut site_of = Sites::new();
    let mut number = 0;
    for (file, mutants) in by_file {
        let source = tree.read(file)?;
        let found = sites::find(&source, &mutants, constant).map_err(|source| Error::Source {
            file: file.to_owned(),
            source,
        })?;
        let mut sites = Vec::new();
        for site in found.sites {
            let ids = site.mutants.iter().map(|(id, _)| *id);
            let viable = ids.filter(|id| !rejected.contains(id));
            site_of.extend(viable.map(|id| (id, number)));
            sites.push((number, site));
            number += 1;
        }
        let is_viable = |id| !rejected.contains(&id);
        let mut rewritten = rewrite::rewrite(&source, &sites, &found.consts, is_viable);
        if ROOTS.contains(&file) {
            rewritten.text.push_str(rewrite::MODULE);
        }
        tree.write_if_changed(file, rewritten.text.as_bytes())?;
        files.insert(file, rewritten);
    }
    Ok((files, site_of))
}

/// Builds the unit tests of the packages, as far as they compile.
fn cargo(tree: &Copy, packages: &[&str]) -> Result<Vec<Message>, Error> {
    let program = "cargo";
    let mut command = Command::new(program);
    command.args(["test", "--lib", "--no-run"]);
    command.args([
        "--locked",
        "--message-format",
        "json",
        "--config",
        OPTIMIZED,
    ]);
    for package in packages {
        command.args(["--package", package]);
    }
    let output = command
        .current_dir(tree.source())
        .env("CARGO_TARGET_DIR", tree.target())
        .stdin(Stdio::null())
        .output()
        .map_err(|source| Error::Program { program, source })?;
    let lines = output.stdout.split(|&byte| byte == b'\n');
    let messages = lines.filter(|line| line.starts_with(b"{")).map(|line| {
        serde_json::from_slice(line).map_err(|source| Error::Output { program, source })
    });
    let messages: Vec<Message> = messages.collect::<Result<_, _>>()?;
    let has_error = messages.iter().any(|message| message.error().is_some());
    if !output.status.success() && !has_error {
        let output = String::from_utf8_lossy(&output.stderr).into_owned();
        return Err(Error::Failed { program, output });
    }
    Ok(messages)
}

/// The mutants that an error is about: those in whose code it is, else all of the site around it.
fn culprits(error: &Diagnostic, files: &Files<'_>) -> Vec<usize> {
    let places = || {
        let spans = error.spans().into_iter();
        spans.filter_map(|span| Some((files.get(span.file_name.as_str())?, span.byte_start)))
    };
    let own: Vec<usize> = places()
        .flat_map(|(file, offset)| file.mutant_at(offset))
        .copied()
        .collect();
    if !own.is_empty() {
        return own;
    }
    let mut around = places().map(|(file, offset)| file.mutants_around(offset));
    around
        .find(|mutants| !mutants.is_empty())
        .map_or_else(Vec::new, <[usize]>::to_vec)
}

// === impl Build ===

impl Build {
    /// Returns the mutants that are part of the build.
    pub(crate) fn viable(&self) -> impl Iterator<Item = usize> {
        self.sites.keys().copied()
    }

    /// Returns the site of a mutant that is part of the build.
    pub(crate) fn site(&self, mutant: usize) -> Option<usize> {
        self.sites.get(&mutant).copied()
    }

    /// Whether the compiler rejects a mutant.
    pub(crate) fn is_rejected(&self, mutant: usize) -> bool {
        self.rejected.contains(&mutant)
    }
}
