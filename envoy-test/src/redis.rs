//! A Redis of one's own: Debian's `redis-server`, on a free port, in memory.

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

/// How often another port is tried.
const ATTEMPTS: usize = 3;

/// A running Redis; ended when dropped, and all that it holds is lost.
#[derive(Debug)]
pub struct Redis {
    address: SocketAddr,
    process: Child,
    _directory: tempfile::TempDir,
}

/// What goes wrong with it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It is not there, and cannot be installed.
    #[error(transparent)]
    Missing(#[from] debian::Error),
    /// It cannot be started.
    #[error("redis-server: {0}")]
    Io(#[from] io::Error),
    /// It does not come up.
    #[error("redis-server: {0}")]
    TimedOut(#[from] TimedOut),
}

impl Redis {
    /// Starts a Redis, installing it where it is missing.
    ///
    /// # Errors
    /// When it cannot be had, or does not start.
    pub async fn start() -> Result<Self, Error> {
        let mut attempts = 0;
        loop {
            attempts += 1;
            match Self::try_start().await {
                // It takes no port of the system's choice, and the one chosen for it may be taken by now.
                Err(Error::Io(_)) if attempts < ATTEMPTS => {}
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
                return Some(Err(io::Error::other("it ended at once")));
            }
            TcpStream::connect(address).await.ok().map(|_| Ok(()))
        })
        .await??;
        Ok(redis)
    }

    /// Where it listens.
    #[must_use]
    pub fn url(&self) -> String {
        format!("redis://{}", self.address)
    }
}
