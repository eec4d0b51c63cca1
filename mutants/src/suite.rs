//! The tests, how long each takes, and which sites each reaches.

use crate::compile::Program;
use crate::error::Error;
use crate::tree::Copy;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

/// Every test, measured without a mutant.
#[derive(Debug)]
pub(crate) struct Suite {
    tests: Vec<Test>,
    /// The tests that reach a site, the fastest first.
    reaching: BTreeMap<usize, Vec<usize>>,
}

/// A test.
#[derive(Debug)]
pub(crate) struct Test {
    /// The program that has it.
    pub program: usize,
    pub name: String,
    /// Its processor time, which other work of the machine does not change.
    pub duration: Duration,
}

/// Returns a command that runs some of a program's tests, the same way each time.
pub(crate) fn command(program: &Program, mut shell: Command) -> Command {
    shell
        .arg(&program.path)
        .current_dir(&program.folder)
        .env("CARGO_MANIFEST_DIR", &program.folder)
        .env("INSTA_UPDATE", "no")
        .env("INSTA_WORKSPACE_ROOT", &program.folder)
        // Each run has the same cases, and the first that fails is enough.
        .env("PROPTEST_RNG_SEED", "1")
        .env("PROPTEST_MAX_SHRINK_ITERS", "0")
        .env("PROPTEST_DISABLE_FAILURE_PERSISTENCE", "1")
        .env("RUST_BACKTRACE", "0")
        // Recorded responses are not on every machine.
        .env("TOLLGATE_CORPUS", "")
        .env("TOLLGATE_REPORTS", "")
        .args(["--test-threads", "1", "--exact"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    shell
}

// === impl Suite ===

impl Suite {
    /// Runs each test by itself. Those that fail without a mutant are left out, and named.
    pub(crate) fn measure(tree: &Copy, programs: &[Program]) -> Result<Self, Error> {
        let mut suite = Self {
            tests: Vec::new(),
            reaching: BTreeMap::new(),
        };
        let trace = tree.folder().join("sites");
        for (number, program) in programs.iter().enumerate() {
            for name in names(program)? {
                suite.run(number, program, name, &trace)?;
            }
        }
        suite.write(&tree.folder().join("tests.txt"))?;
        let tests = &suite.tests;
        for reaching in suite.reaching.values_mut() {
            reaching.sort_by_key(|&test| tests.get(test).map(|test| test.duration));
        }
        Ok(suite)
    }

    fn run(
        &mut self,
        number: usize,
        program: &Program,
        name: String,
        trace: &Path,
    ) -> Result<(), Error> {
        fs::write(trace, "").map_err(Error::at(trace))?;
        let mut shell = Command::new("sh");
        shell.args(["-c", "\"$@\"; status=$?; times >&2; exit $status", "sh"]);
        let output = command(program, shell)
            .arg(&name)
            .env("TOLLGATE_SITES", trace)
            .stderr(Stdio::piped())
            .output()
            .map_err(Error::at(&program.path))?;
        let duration = processor_time(&String::from_utf8_lossy(&output.stderr));
        if !output.status.success() {
            eprintln!("left out, fails without a mutant: {name}");
            return Ok(());
        }
        let test = self.tests.len();
        let sites = fs::read_to_string(trace).map_err(Error::at(trace))?;
        for site in sites.lines().filter_map(|line| line.parse().ok()) {
            self.reaching.entry(site).or_default().push(test);
        }
        self.tests.push(Test {
            program: number,
            name,
            duration,
        });
        Ok(())
    }

    /// Writes the tests to a file, the slowest first.
    fn write(&self, path: &Path) -> Result<(), Error> {
        let mut tests: Vec<&Test> = self.tests.iter().collect();
        tests.sort_by_key(|test| Reverse(test.duration));
        let lines = tests
            .into_iter()
            .map(|test| format!("{:?} {}\n", test.duration, test.name));
        fs::write(path, lines.collect::<String>()).map_err(Error::at(path))
    }

    /// Returns the tests that reach a site, the fastest first.
    pub(crate) fn reaching(&self, site: usize) -> Vec<&Test> {
        let tests = self.reaching.get(&site).into_iter().flatten();
        tests.filter_map(|&test| self.tests.get(test)).collect()
    }
}

/// Reads the processor time of child processes from what `times` of a shell prints in its last line.
fn processor_time(output: &str) -> Duration {
    let seconds = |time: &str| {
        let (minutes, seconds) = time.strip_suffix('s')?.split_once('m')?;
        Some(minutes.parse::<f64>().ok()? * 60.0 + seconds.parse::<f64>().ok()?)
    };
    let line = output.lines().last().unwrap_or_default();
    let times = line.split_whitespace().filter_map(seconds);
    Duration::from_secs_f64(times.sum::<f64>().max(0.0))
}

#[test]
fn processor_time_is_user_and_system() {
    let output = "warning\n0m0.01s 0m0.02s\n1m2.500000s 0m0.250000s\n";
    assert_eq!(processor_time(output), Duration::from_millis(62_750));
    assert_eq!(processor_time(""), Duration::ZERO);
}

/// The names of a program's tests that are not ignored.
fn names(program: &Program) -> Result<BTreeSet<String>, Error> {
    let list = |arguments: &[&str]| {
        let output = Command::new(&program.path)
            .args(["--list", "--format", "terse"])
            .args(arguments)
            .output()
            .map_err(Error::at(&program.path))?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let tests = text.lines().filter_map(|line| line.strip_suffix(": test"));
        Ok(tests.map(str::to_owned).collect::<BTreeSet<_>>())
    };
    let ignored = list(&["--ignored"])?;
    Ok(list(&[])?.difference(&ignored).cloned().collect())
}
