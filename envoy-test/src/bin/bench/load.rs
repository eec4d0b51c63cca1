//! Load by wrk.

use std::{io::Write, net::SocketAddr, process::Stdio, time::Duration};

use envoy_test::debian;
use tokio::process::Command;

use crate::{Error, workload::Workload};

/// Who asks.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Callers {
    /// The same caller each time.
    One,
    /// Another one each time, numbered from here on.
    From(u64),
}

/// Asks for the workload over and over again, for so long, on so many connections at once.
pub(crate) async fn run(
    gateway: SocketAddr,
    workload: &Workload,
    callers: Callers,
    connections: u32,
    time: Duration,
) -> Result<(), Error> {
    let mut script = tempfile::Builder::new().suffix(".lua").tempfile()?;
    // JSON text is also a string of Lua, when it is made of characters that need no escape.
    write!(
        script,
        "wrk.method = 'POST'\n\
         wrk.body = {:?}\n\
         wrk.headers['Host'] = '{}'\n\
         wrk.headers['Content-Type'] = 'application/json'\n\
         wrk.headers['x-user-id'] = 'user-1'\n\
         wrk.headers['x-groups'] = 'free'\n",
        workload.request.to_string(),
        workload.host,
    )?;
    if let Callers::From(first) = callers {
        write!(
            script,
            "local caller = {first}\n\
             request = function()\n\
               caller = caller + 1\n\
               wrk.headers['x-user-id'] = 'user-' .. caller\n\
               return wrk.format()\n\
             end\n"
        )?;
    }
    let output = Command::new(debian::program("wrk", "wrk")?)
        .args(["--threads", "1", "--connections", &connections.to_string()])
        .args(["--duration", &format!("{}s", time.as_secs())])
        .arg("--script")
        .arg(script.path())
        .arg(format!("http://{gateway}/v1/chat/completions"))
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await?;
    if output.status.success() {
        Ok(())
    } else {
        Err(Error::Load(
            String::from_utf8_lossy(&output.stderr).into_owned(),
        ))
    }
}
