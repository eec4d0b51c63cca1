//! Where the CPU time of Envoy goes: in the module, in calls from it, and elsewhere.

use std::{
    collections::{BTreeMap, HashSet},
    fs,
    process::Stdio,
    time::Duration,
};

use envoy_test::{debian, workspace};
use tokio::process::Command;

use crate::{
    contender::Contender,
    error::Error,
    load::{self, Callers},
    symbols::{Functions, PREFIX},
    workload::Workload,
};

#[cfg(test)]
mod tests;

/// Samples per second: a prime, so that they do not coincide with what recurs at fixed intervals.
const FREQUENCY: &str = "4999";
/// The rows of each table.
const ROWS: usize = 40;
/// The functions of the filter that call Envoy.
const HOST_CALLS: &str = "host::abi::Abi";

/// The samples of a profile.
#[derive(Debug, Default)]
struct Profile {
    samples: usize,
    /// Those in functions of the module.
    in_module: usize,
    /// Those in Envoy below a function of the module.
    in_calls: usize,
    /// Those in Envoy below each function of the module.
    calls: BTreeMap<String, usize>,
    /// Those in each function of the module, and in it or below it.
    functions: BTreeMap<String, (usize, usize)>,
}

/// A frame of a stack.
#[derive(Debug, Clone, Copy)]
struct Frame<'a> {
    /// The function, if it is of the module.
    function: Option<&'a str>,
}

/// Profiles a contender under one workload, and prints the tables.
pub(crate) async fn print(
    contender: &Contender,
    workload: &Workload,
    connections: u32,
    time: Duration,
) -> Result<(), Error> {
    let pid = contender.envoy.pid();
    let address = contender.envoy.address();
    let load = async |time| load::run(address, workload, Callers::One, connections, time).await;
    // V8 optimizes what runs often.
    load(time).await?;
    let functions = Functions::read(&fs::read(workspace::module())?)?;
    let map = functions.write_map(pid)?;
    let directory = tempfile::tempdir()?;
    let data = directory.path().join("perf.data");
    let perf = debian::program("perf", "linux-perf")?;
    let seconds = time.as_secs().to_string();
    let mut record = Command::new(&perf)
        .args([
            "record",
            "--quiet",
            "--event",
            "cpu-clock",
            "--call-graph",
            "fp",
        ])
        .args(["--freq", FREQUENCY, "--pid", &pid.to_string(), "--output"])
        .arg(&data)
        .args(["--", "sleep", &seconds])
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .spawn()?;
    load(time).await?;
    record.wait().await?;
    let script = Command::new(&perf)
        .args(["script", "--fields", "ip,sym", "--input"])
        .arg(&data)
        .stdin(Stdio::null())
        .output()
        .await?;
    // Another process may have this number later.
    fs::remove_file(map)?;
    let profile = Profile::read(&String::from_utf8_lossy(&script.stdout));
    println!(
        "{}: {}\n\n{}",
        workload.title,
        contender.name,
        profile.markdown()
    );
    Ok(())
}

// === impl Profile ===

impl Profile {
    /// Reads the output of `perf script`: samples, each a line for each frame from the innermost on, and an empty line.
    fn read(script: &str) -> Self {
        let mut profile = Self::default();
        for sample in script.split("\n\n") {
            let frames: Vec<_> = sample.lines().filter_map(Frame::read).collect();
            if !frames.is_empty() {
                profile.add(&frames);
            }
        }
        profile
    }

    /// Adds a sample.
    fn add(&mut self, frames: &[Frame<'_>]) {
        self.samples += 1;
        let is_innermost = frames.first().is_some_and(|it| it.function.is_some());
        let mut functions = frames.iter().filter_map(|it| it.function);
        let Some(innermost) = functions.clone().next() else {
            return;
        };
        if is_innermost {
            self.in_module += 1;
            let (own, _) = self.functions.entry(innermost.to_owned()).or_default();
            *own += 1;
        } else {
            self.in_calls += 1;
            *self.calls.entry(innermost.to_owned()).or_default() += 1;
        }
        let mut seen = HashSet::new();
        for name in functions.by_ref().filter(|name| seen.insert(*name)) {
            let (_, all) = self.functions.entry(name.to_owned()).or_default();
            *all += 1;
        }
    }

    /// Writes the tables.
    fn markdown(&self) -> String {
        #[expect(clippy::cast_precision_loss, reason = "one digit is printed")]
        let share = |count: usize| format!("{:.1} %", 100.0 * count as f64 / self.samples as f64);
        let elsewhere = self.samples.saturating_sub(self.in_module + self.in_calls);
        let mut lines = vec![
            format!("| CPU time, of {} samples | share |", self.samples),
            "|---|---:|".to_owned(),
            format!("| in the module | {} |", share(self.in_module)),
            format!(
                "| in Envoy, called by the module | {} |",
                share(self.in_calls)
            ),
            format!("| elsewhere in Envoy | {} |", share(elsewhere)),
            String::new(),
            "| called by | share |".to_owned(),
            "|---|---:|".to_owned(),
        ];
        let mut calls: Vec<_> = self
            .calls
            .iter()
            .filter(|(name, _)| name.contains(HOST_CALLS))
            .collect();
        calls.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
        lines.extend(
            calls
                .iter()
                .map(|(name, count)| format!("| `{name}` | {} |", share(**count))),
        );
        lines.push(String::new());
        lines.push("| function | itself | with what it calls |".to_owned());
        lines.push("|---|---:|---:|".to_owned());
        let mut functions: Vec<_> = self.functions.iter().collect();
        functions.sort_by_key(|(_, (_, all))| std::cmp::Reverse(*all));
        lines.extend(
            functions.iter().take(ROWS).map(|(name, (own, all))| {
                format!("| `{name}` | {} | {} |", share(*own), share(*all))
            }),
        );
        lines.join("\n")
    }
}

// === impl Frame ===

impl<'a> Frame<'a> {
    /// Reads a line: an address and a name. `None` of another line.
    fn read(line: &'a str) -> Option<Self> {
        let (address, symbol) = line.trim().split_once(' ')?;
        u64::from_str_radix(address, 16).ok()?;
        let function = symbol.trim().strip_prefix(PREFIX);
        Some(Self { function })
    }
}
