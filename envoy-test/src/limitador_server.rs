//! limitador's own server, where `LIMITADOR_SERVER` names the program: on free ports, with its counters in memory.

use std::{
    env, fs, io,
    net::{SocketAddr, TcpListener},
    path::PathBuf,
    process::{Command, Stdio},
};

use tokio::net::TcpStream;

use crate::{
    child::Child,
    wait::{self, TimedOut},
};

/// The variable that names the program.
const PROGRAM: &str = "LIMITADOR_SERVER";

/// How many ports are tried.
const MAX_ATTEMPTS: usize = 3;

/// A running server, stopped when dropped.
#[derive(Debug)]
pub struct LimitadorServer {
    grpc: SocketAddr,
    http: SocketAddr,
    process: Child,
    /// Has the limits. The server watches it.
    _directory: tempfile::TempDir,
}

/// Why the server does not run.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It cannot be started, or ends at once.
    #[error("limitador-server: {0}")]
    Io(#[from] io::Error),
    /// It does not listen in time.
    #[error("limitador-server: {0}")]
    TimedOut(#[from] TimedOut),
}

impl LimitadorServer {
    /// Starts the server with the limits of a `limits.yaml`; `None` where no program is named.
    ///
    /// # Errors
    /// When it does not run.
    pub async fn start(limits: &str) -> Result<Option<Self>, Error> {
        let Some(program) = env::var_os(PROGRAM).map(PathBuf::from) else {
            return Ok(None);
        };
        let mut attempts = 0;
        loop {
            attempts += 1;
            match Self::try_start(program.clone(), limits).await {
                // It cannot listen on port 0, and another process may have taken a port chosen for it.
                Err(Error::Io(_)) if attempts < MAX_ATTEMPTS => {}
                server => return server.map(Some),
            }
        }
    }

    async fn try_start(program: PathBuf, limits: &str) -> Result<Self, Error> {
        let directory = tempfile::tempdir()?;
        let file = directory.path().join("limits.yaml");
        fs::write(&file, limits)?;
        let ports = [(); 2].map(|()| TcpListener::bind(("127.0.0.1", 0)));
        let [grpc, http] = ports;
        let (grpc, http) = (grpc?, http?);
        let [grpc, http] = [grpc.local_addr()?, http.local_addr()?];
        let mut command = Command::new(program);
        command
            .args(["--rls-ip", "127.0.0.1", "--http-ip", "127.0.0.1"])
            .args(["--rls-port", &grpc.port().to_string()])
            .args(["--http-port", &http.port().to_string()])
            .args(["--rate-limit-headers", "DRAFT_VERSION_03"])
            .arg(file)
            .arg("memory")
            .stdin(Stdio::null())
            .stdout(Stdio::null());
        let server = Self {
            grpc,
            http,
            process: Child::spawn(command, None)?,
            _directory: directory,
        };
        wait::until("limitador-server", async || {
            if !server.process.is_alive() {
                return Some(Err(io::Error::other("the process ended")));
            }
            TcpStream::connect(http).await.ok()?;
            TcpStream::connect(grpc).await.ok().map(|_| Ok(()))
        })
        .await??;
        Ok(server)
    }

    /// Returns the address of its gRPC services.
    #[must_use]
    pub fn grpc(&self) -> SocketAddr {
        self.grpc
    }

    /// Returns the address of its HTTP interface.
    #[must_use]
    pub fn http(&self) -> SocketAddr {
        self.http
    }
}
