//! Mutation testing of the parts that admit, meter and charge.
//!
//! `cargo-mutants` lists the mutants. All of them are written into one copy of the source tree, each as
//! a branch beside the original, so that the tests are built once. The variable `TOLLGATE_MUTANT`
//! selects the mutant of a process. A mutant is run against those tests only that reach it, the fastest first.

mod compile;
mod error;
mod mutant;
mod options;
mod outcomes;
mod report;
mod rewrite;
mod run;
mod sites;
mod suite;
mod survivors;
mod tree;

use error::Error;
use options::Options;
use outcomes::Outcomes;
use report::Report;
use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    let options = match Options::read(std::env::args().skip(1)) {
        Ok(options) => options,
        Err(usage) => {
            eprintln!("{usage}");
            return ExitCode::from(2);
        }
    };
    match test(&options) {
        Ok(report) => {
            print!("{report}");
            if report.passes() {
                ExitCode::SUCCESS
            } else {
                ExitCode::FAILURE
            }
        }
        Err(error) => {
            eprintln!("mutants: {error}");
            ExitCode::from(2)
        }
    }
}

fn test(options: &Options) -> Result<Report, Error> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .unwrap_or(Path::new("."));
    let listed = survivors::read(root)?;
    let mut mutants = mutant::list(root)?;
    mutants.retain(|mutant| options.selects(mutant));
    let folder = tree::folder(root);
    let outcomes = folder.join("outcomes.txt");
    if options.missed {
        let missed = outcomes::missed(&outcomes)?;
        mutants.retain(|mutant| missed.contains(&mutant.stable_name()));
    }
    let tree = tree::Copy::new(root, folder, |path| compile::writes(path, &mutants))?;
    eprintln!("{} mutants, compiling them", mutants.len());
    let build = compile::build(&tree, &mutants, &options.packages)?;
    let chosen: Vec<usize> = build
        .viable()
        .enumerate()
        .filter_map(|(position, id)| options.shard.contains(position).then_some(id))
        .collect();
    eprintln!("measuring {} programs of tests", build.programs.len());
    let suite = suite::Suite::measure(&tree, &build.programs)?;
    let written = Outcomes::create(&outcomes)?;
    let outcomes = run::all(&build, &suite, &mutants, &chosen, options.jobs, &written);
    Ok(Report::new(&mutants, &build, &outcomes, &listed, options))
}
