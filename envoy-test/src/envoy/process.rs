//! The process of an Envoy, and its files.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io,
    net::SocketAddr,
    path::PathBuf,
    process::{Command, Stdio},
    time::Duration,
};

use nix::{
    time::{clock_getcpuclockid, clock_gettime},
    unistd::Pid,
};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::error::Error;
use crate::{binary::Binary, child::Child, wait::TimedOut};

/// How many lines of the log an error shows.
const MAX_LOG_LINES: usize = 40;

/// The directory of the listeners.
const LISTENERS: &str = "listeners";

/// The directory of the clusters.
const CLUSTERS: &str = "clusters";

/// The file in either directory.
const RESOURCES: &str = "resources.json";

/// How the names of the threads of workers begin.
const WORKER: &str = "wrk:";

/// The options of the process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Options {
    /// Worker threads.
    pub concurrency: u32,
    /// The core that all threads are bound to.
    pub core: Option<usize>,
    /// The log level of the `wasm` component. All others log warnings.
    pub wasm_log_level: String,
    /// Further command line arguments.
    pub arguments: Vec<String>,
}

/// A running process and its files.
#[derive(Debug)]
pub(super) struct Process {
    child: Child,
    files: Files,
}

/// The files of a process.
#[derive(Debug)]
pub(super) struct Files {
    directory: TempDir,
}

impl Options {
    /// Returns options with this number of workers.
    pub(super) fn new(workers: u32) -> Self {
        Self {
            concurrency: workers,
            core: None,
            wasm_log_level: "info".to_owned(),
            arguments: Vec::new(),
        }
    }
}

impl Files {
    /// Creates a directory whose name begins with `prefix`.
    pub(super) fn new(prefix: &str) -> io::Result<Self> {
        let directory = tempfile::Builder::new().prefix(prefix).tempdir()?;
        // Envoy watches these directories for renames.
        for name in [LISTENERS, CLUSTERS] {
            fs::create_dir(directory.path().join(name))?;
        }
        Ok(Self { directory })
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Returns the path of the access log of a gateway, of which the process may have several in turn.
    pub(super) fn access_log(&self, gateway: u64) -> PathBuf {
        self.path(&format!("access-{gateway}.log"))
    }

    /// Returns the `path_config_source` of listeners.
    pub(super) fn listeners(&self) -> Value {
        self.watched(LISTENERS)
    }

    /// Returns the `path_config_source` of clusters.
    pub(super) fn clusters(&self) -> Value {
        self.watched(CLUSTERS)
    }

    fn log(&self) -> PathBuf {
        self.path("envoy.log")
    }

    /// Replaces the listeners.
    pub(super) fn write_listeners(&self, listeners: &[Value]) -> io::Result<()> {
        self.write(LISTENERS, listeners)
    }

    /// Replaces the clusters.
    pub(super) fn write_clusters(&self, clusters: &[Value]) -> io::Result<()> {
        self.write(CLUSTERS, clusters)
    }

    fn watched(&self, name: &str) -> Value {
        let directory = self.path(name);
        json!({
            "path": directory.join(RESOURCES),
            "watched_directory": { "path": directory },
        })
    }

    /// Writes resources. Envoy notices them because the file is renamed into place.
    fn write(&self, name: &str, resources: &[Value]) -> io::Result<()> {
        let new = self.path(RESOURCES);
        fs::write(&new, json!({ "resources": resources }).to_string())?;
        fs::rename(new, self.path(name).join(RESOURCES))
    }
}

impl Process {
    /// Starts Envoy.
    pub(super) fn spawn(
        binary: &Binary,
        files: Files,
        bootstrap: &Value,
        options: &Options,
    ) -> io::Result<Self> {
        let configuration = files.path("bootstrap.json");
        fs::write(&configuration, bootstrap.to_string())?;
        let log = File::create(files.log())?;
        let mut command = Command::new(&binary.path);
        command
            .arg("--config-path")
            .arg(configuration)
            .args(["--concurrency", &options.concurrency.to_string()])
            .arg("--admin-address-path")
            .arg(files.path("admin"))
            .args(["--disable-hot-restart", "--log-level", "warning"])
            .args([
                "--component-log-level",
                &format!("wasm:{}", options.wasm_log_level),
            ])
            .args(["--file-flush-interval-msec", "20"])
            .args(&options.arguments)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log);
        Ok(Self {
            child: Child::spawn(command, options.core)?,
            files,
        })
    }

    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(super) fn files(&self) -> &Files {
        &self.files
    }

    pub(super) fn is_alive(&self) -> bool {
        self.child.is_alive()
    }

    /// Returns the address of the admin interface, once Envoy has written it.
    pub(super) fn admin_address(&self) -> Option<SocketAddr> {
        let address = fs::read_to_string(self.files.path("admin")).ok()?;
        address.trim().parse().ok()
    }

    pub(super) fn log(&self) -> io::Result<String> {
        Ok(String::from_utf8_lossy(&fs::read(self.files.log())?).into_owned())
    }

    /// Returns the error that the process has ended.
    pub(super) fn ended(&self) -> Error {
        Error::Ended {
            log: self.end_of_log(),
        }
    }

    /// Adds the end of the log to a timeout.
    pub(super) fn with_log<T>(&self, awaited: Result<T, TimedOut>) -> Result<T, Error> {
        awaited.map_err(|source| Error::TimedOut {
            source,
            log: self.end_of_log(),
        })
    }

    fn end_of_log(&self) -> String {
        let log = match self.log() {
            Ok(log) => log,
            Err(error) => return format!("(unreadable: {error})"),
        };
        let lines: Vec<_> = log.lines().collect();
        lines[lines.len().saturating_sub(MAX_LOG_LINES)..].join("\n")
    }

    pub(super) fn cpu_time(&self) -> io::Result<Duration> {
        Ok(clock_gettime(clock_getcpuclockid(self.nix_pid())?)?.into())
    }

    /// Returns the CPU time of each worker, by the name of its thread.
    pub(super) fn worker_cpu_times(&self) -> io::Result<BTreeMap<String, Duration>> {
        let mut times = BTreeMap::new();
        for thread in fs::read_dir(format!("/proc/{}/task", self.pid()))? {
            let thread = thread?.path();
            // A thread may have ended since it was listed; workers last.
            let Ok(name) = fs::read_to_string(thread.join("comm")) else {
                continue;
            };
            if name.starts_with(WORKER) {
                let statistics = fs::read_to_string(thread.join("schedstat"))?;
                let nanoseconds = statistics
                    .split(' ')
                    .next()
                    .and_then(|time| time.parse().ok());
                let nanoseconds = nanoseconds.ok_or(io::ErrorKind::InvalidData)?;
                times.insert(name.trim().to_owned(), Duration::from_nanos(nanoseconds));
            }
        }
        Ok(times)
    }

    /// Returns the resident memory, in bytes.
    pub(super) fn resident(&self) -> io::Result<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid()))?;
        let kibibytes = status
            .lines()
            .find_map(|line| line.strip_prefix("VmRSS:"))
            .and_then(|value| value.trim().trim_end_matches(" kB").parse::<u64>().ok());
        kibibytes
            .map(|kibibytes| kibibytes * 1024)
            .ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "envoy has ended"))
    }

    fn nix_pid(&self) -> Pid {
        Pid::from_raw(self.pid().cast_signed())
    }
}
