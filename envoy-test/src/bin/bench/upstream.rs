//! The upstream: nginx, which serves the responses of the workloads as files.

use std::{
    collections::BTreeSet,
    fmt::Write,
    fs, io,
    net::{SocketAddr, TcpListener},
    path::Path,
    process::{Command, Stdio},
};

use envoy_test::{child::Child, debian, wait};
use tempfile::TempDir;
use tokio::net::TcpStream;

use crate::{error::Error, workload::Workload};

/// How many ports are tried.
const MAX_ATTEMPTS: u32 = 5;

/// A running nginx. It ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Upstream {
    address: SocketAddr,
    process: Child,
    _directory: TempDir,
}

impl Upstream {
    pub(crate) async fn start(workloads: &[Workload]) -> Result<Self, Error> {
        let program = debian::program("nginx", "nginx-light")?;
        let mut attempts = 0;
        loop {
            attempts += 1;
            match Self::try_start(&program, workloads).await {
                // nginx cannot listen on port 0, and another process may have taken the port chosen for it.
                Err(_) if attempts < MAX_ATTEMPTS => {}
                upstream => return upstream,
            }
        }
    }

    async fn try_start(program: &Path, workloads: &[Workload]) -> Result<Self, Error> {
        let directory = tempfile::tempdir()?;
        let address = TcpListener::bind(("127.0.0.1", 0))?.local_addr()?;
        let configuration = directory.path().join("nginx.conf");
        fs::write(
            &configuration,
            configure(directory.path(), address, workloads)?,
        )?;
        let mut command = Command::new(program);
        command
            .arg("-c")
            .arg(configuration)
            .arg("-p")
            .arg(directory.path())
            .args(["-e", "stderr"])
            .stdin(Stdio::null());
        let upstream = Self {
            address,
            process: Child::spawn(command, None)?,
            _directory: directory,
        };
        wait::until("nginx", async || {
            if !upstream.process.is_alive() {
                return Some(Err(io::Error::other("nginx ended")));
            }
            TcpStream::connect(address).await.ok().map(|_| Ok(()))
        })
        .await??;
        Ok(upstream)
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }
}

/// Writes the files, and returns a configuration that serves each under the name of its host.
fn configure(directory: &Path, address: SocketAddr, workloads: &[Workload]) -> io::Result<String> {
    let mut servers = String::new();
    // Workloads that differ in their requests only have one host.
    let mut hosts = BTreeSet::new();
    for workload in workloads.iter().filter(|it| hosts.insert(it.host)) {
        let Workload {
            host, content_type, ..
        } = workload;
        let coding = if workload.gzip {
            "    add_header content-encoding gzip;\n"
        } else {
            ""
        };
        let root = directory.join(host);
        fs::create_dir_all(root.join("v1/chat"))?;
        fs::write(root.join("v1/chat/completions"), &workload.response)?;
        writeln!(
            servers,
            "  server {{\n    listen {address};\n    server_name {host};\n{coding}    root {};\n    \
             default_type {content_type};\n    error_page 405 =200 $uri;\n  }}",
            root.display()
        )
        .map_err(io::Error::other)?;
    }
    // One process, which can be ended by its id. The worker of a master that runs as root could not read the files.
    let temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|kind| format!("  {kind}_temp_path {kind};\n"))
        .concat();
    Ok(format!(
        "daemon off;\nmaster_process off;\npid nginx.pid;\nevents {{ worker_connections 512; }}\n\
         http {{\n  access_log off;\n  sendfile on;\n  keepalive_requests 1000000000;\n{temporary}{servers}}}\n"
    ))
}
