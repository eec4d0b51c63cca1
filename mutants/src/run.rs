//! Runs mutants against the tests that reach them.

use crate::compile::{Build, Program};
use crate::mutant::Mutant;
use crate::outcomes::{Outcome, Outcomes};
use crate::suite::{self, Suite, Test};
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, mpsc};
use std::time::Duration;
use std::{io, thread};

/// The tests of the first process of a mutant. Each next process has four times as many: most
/// mutants fail at once, and one that does not should not start a process for each test.
const FIRST_TESTS: usize = 4;

/// How much more processor time than without a mutant its tests may take, and how much any may.
const SLOWER: u32 = 5;
const MIN_CPU: Duration = Duration::from_secs(2);

/// How long tests may wait for something that does not come, at least, and how many times their
/// processor time: a machine that is busy gives them a small part of it.
const MAX_WAIT: Duration = Duration::from_secs(300);
const MAX_WAIT_SHARE: u32 = 20;

/// The memory that a process may reserve, in KiB: a mutant that allocates in a loop should fail.
const MAX_MEMORY_KIB: u32 = 4 * 1024 * 1024;

/// `RLIMIT_CPU` ends a process with `SIGKILL` or `SIGXCPU`.
const SIGKILL: i32 = 9;
const SIGXCPU: i32 = 24;

/// How many mutants are run between two lines about the progress.
const PROGRESS: usize = 100;

/// Runs the mutants that are chosen, some at once.
pub(crate) fn all(
    build: &Build,
    suite: &Suite,
    mutants: &[Mutant],
    chosen: &[usize],
    jobs: usize,
    written: &Outcomes,
) -> BTreeMap<usize, Outcome> {
    let next = AtomicUsize::new(0);
    let outcomes = Mutex::new(BTreeMap::new());
    eprintln!("running {} mutants", chosen.len());
    thread::scope(|scope| {
        for _ in 0..jobs {
            scope.spawn(|| {
                while let Some(&id) = chosen.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let outcome = one(build, suite, id);
                    if let Some(mutant) = mutants.get(id) {
                        written.add(id, mutant, outcome);
                        if outcome >= Outcome::Missed {
                            eprintln!("{outcome:?} {}: {}", id + 1, mutant.name);
                        }
                    }
                    if let Ok(mut outcomes) = outcomes.lock() {
                        outcomes.insert(id, outcome);
                        if outcomes.len() % PROGRESS == 0 {
                            eprintln!("{} of {}", outcomes.len(), chosen.len());
                        }
                    }
                }
            });
        }
    });
    outcomes.into_inner().unwrap_or_default()
}

/// Runs a mutant until a test fails.
fn one(build: &Build, suite: &Suite, mutant: usize) -> Outcome {
    let tests = build.site(mutant).map(|site| suite.reaching(site));
    let tests = tests.unwrap_or_default();
    if tests.is_empty() {
        return Outcome::Unreached;
    }
    for (number, program) in build.programs.iter().enumerate() {
        let mut tests = tests.iter().filter(|test| test.program == number).copied();
        let mut size = FIRST_TESTS;
        loop {
            let process: Vec<&Test> = tests.by_ref().take(size).collect();
            if process.is_empty() {
                break;
            }
            match run(program, &process, mutant) {
                Ok(Outcome::Missed) => {}
                Ok(outcome) => return outcome,
                // A process that cannot be started says nothing about the mutant.
                Err(error) => eprintln!("{}: {error}", program.path.display()),
            }
            size = size.saturating_mul(4);
        }
    }
    Outcome::Missed
}

/// Runs tests in one process, until one fails.
fn run(program: &Program, tests: &[&Test], mutant: usize) -> io::Result<Outcome> {
    let duration = tests.iter().map(|test| test.duration).sum::<Duration>() * SLOWER + MIN_CPU;
    let mut shell = Command::new("sh");
    let script = format!(
        "ulimit -t {}; ulimit -v {MAX_MEMORY_KIB}; ulimit -c 0; exec \"$@\"",
        duration.as_secs()
    );
    shell.args(["-c", &script, "sh"]);
    let mut command = suite::command(program, shell);
    command.args(tests.iter().map(|test| &test.name));
    command.env("TOLLGATE_MUTANT", (mutant + 1).to_string());
    let mut child = command.stdout(Stdio::piped()).spawn()?;
    let ended = wait_for_failure(&mut child, (duration * MAX_WAIT_SHARE).max(MAX_WAIT));
    if ended.is_some() {
        child.kill()?;
    }
    let status = child.wait()?;
    Ok(match (ended, status.signal()) {
        (Some(outcome), _) => outcome,
        (None, Some(SIGKILL | SIGXCPU)) => Outcome::TimedOut,
        (None, _) if status.success() => Outcome::Missed,
        (None, _) => Outcome::Caught,
    })
}

/// Waits until a test fails or the time is over; without either, until the output ends.
fn wait_for_failure(child: &mut Child, limit: Duration) -> Option<Outcome> {
    let output = child.stdout.take()?;
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        let lines = BufReader::new(output).lines().map_while(Result::ok);
        let has_failed = lines.into_iter().any(|line| line.ends_with("... FAILED"));
        // The receiver waits no longer if the time is over.
        let _ = sender.send(has_failed);
    });
    match receiver.recv_timeout(limit) {
        Ok(true) => Some(Outcome::Caught),
        Ok(false) => None,
        Err(_) => Some(Outcome::TimedOut),
    }
}
