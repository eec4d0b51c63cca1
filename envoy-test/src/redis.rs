//! A Redis server for one test: Debian's `redis-server`, on a free port, in memory.

use std::{
    io,
    net::{SocketAddr, TcpListener},
    process::{Command, Stdio},
};

use tokio::net::TcpStream;

use crate::{
    child::Child,
    debian,
    wait::{self, TimedOut},
};

/// How many ports are tried.
const MAX_ATTEMPTS: usize = 3;

/// A running Redis. It ends, and its data is lost, when this is dropped.
#[derive(Debug)]
pub struct Redis {
    address: SocketAddr,
    process: Child,
    _directory: tempfile::TempDir,
}

/// Why a Redis is not available.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It is missing and cannot be installed.
    #[error(transparent)]
    Missing(#[from] debian::Error),
    /// It cannot be started.
    #[error("redis-server: {0}")]
    Io(#[from] io::Error),
    /// It does not listen in time.
    #[error("redis-server: {0}")]
    TimedOut(#[from] TimedOut),
}

impl Redis {
    /// Starts a Redis, installing it if necessary.
    ///
    /// # Errors
    /// When it cannot be installed or started.
    pub async fn start() -> Result<Self, Error> {
        let mut attempts = 0;
        loop {
            attempts += 1;
            match Self::try_start().await {
                // Redis cannot listen on port 0, and another process may have taken the port chosen for it.
                Err(Error::Io(_)) if attempts < MAX_ATTEMPTS => {}
                redis => return redis,
            }
        }
    }

    async fn try_start() -> Result<Self, Error> {
        let program = debian::program("redis-server", "redis-server")?;
        let directory = tempfile::tempdir()?;
        let address = TcpListener::bind(("127.0.0.1", 0))?.local_addr()?;
        let mut command = Command::new(program);
        command
            .args(["--bind", "127.0.0.1", "--port", &address.port().to_string()])
            .args(["--save", "", "--appendonly", "no", "--daemonize", "no"])
            .arg("--dir")
            .arg(directory.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null());
        let redis = Self {
            address,
            process: Child::spawn(command, None)?,
            _directory: directory,
        };
        wait::until("redis-server", async || {
            if !redis.process.is_alive() {
                return Some(Err(io::Error::other("the process ended")));
            }
            TcpStream::connect(address).await.ok().map(|_| Ok(()))
        })
        .await??;
        Ok(redis)
    }

    /// Returns its URL.
    #[must_use]
    pub fn url(&self) -> String {
        format!("redis://{}", self.address)
    }
}
