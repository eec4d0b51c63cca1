//! The process of an Envoy, and its files.

use std::{
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
use serde_json::Value;
use tempfile::TempDir;

use super::error::Error;
use crate::{binary::Binary, child::Child, wait::TimedOut};

/// How many lines of the log an error shows.
const MAX_LOG_LINES: usize = 40;

/// The options of the process.
#[derive(Debug, Clone)]
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

impl Files {
    pub fn new() -> io::Result<Self> {
        let directory = tempfile::Builder::new().prefix("envoy-").tempdir()?;
        // Envoy watches this directory for renames.
        fs::create_dir(directory.path().join("listeners"))?;
        Ok(Self { directory })
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub fn access_log(&self) -> PathBuf {
        self.path("access.log")
    }

    pub fn listeners(&self) -> PathBuf {
        self.path("listeners")
    }

    fn log(&self) -> PathBuf {
        self.path("envoy.log")
    }

    /// Writes the listener. Envoy notices it because it is renamed into place.
    pub fn write_listener(&self, resource: &Value) -> io::Result<()> {
        let new = self.path("listener.json");
        fs::write(&new, resource.to_string())?;
        fs::rename(new, self.listeners().join("listener.json"))
    }
}

impl Process {
    /// Starts Envoy.
    pub fn spawn(
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

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn files(&self) -> &Files {
        &self.files
    }

    pub fn is_alive(&self) -> bool {
        self.child.is_alive()
    }

    /// Returns the address of the admin interface, once Envoy has written it.
    pub fn admin_address(&self) -> Option<SocketAddr> {
        let address = fs::read_to_string(self.files.path("admin")).ok()?;
        address.trim().parse().ok()
    }

    pub fn log(&self) -> io::Result<String> {
        Ok(String::from_utf8_lossy(&fs::read(self.files.log())?).into_owned())
    }

    /// Returns the error that the process has ended.
    pub fn ended(&self) -> Error {
        Error::Ended {
            log: self.end_of_log(),
        }
    }

    /// Adds the end of the log to a timeout.
    pub fn with_log<T>(&self, awaited: Result<T, TimedOut>) -> Result<T, Error> {
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

    pub fn cpu_time(&self) -> io::Result<Duration> {
        Ok(clock_gettime(clock_getcpuclockid(self.nix_pid())?)?.into())
    }

    /// Returns the resident memory, in bytes.
    pub fn resident(&self) -> io::Result<u64> {
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
