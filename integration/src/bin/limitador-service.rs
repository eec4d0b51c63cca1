//! A limitador service, to try tollgate with one where Kuadrant does not run.

use std::{net::SocketAddr, path::PathBuf, process::ExitCode};

use clap::Parser;
use integration::{Error, Limitador, limits};

/// A rate limit service on the limitador library: gRPC, and GET of /limits/{namespace} and
/// /counters/{namespace}, on one port.
#[derive(Debug, Parser)]
#[command(name = "limitador-service", version)]
struct Arguments {
    /// File of limits in limitador's format, as `tollgate limits` prints them
    limits: PathBuf,
    /// Address to listen at
    #[arg(long, default_value = "127.0.0.1:8081")]
    address: SocketAddr,
    /// URL of the Redis for the counters; by default they are in memory
    #[arg(long, value_name = "redis://HOST:PORT")]
    redis: Option<String>,
    /// Answer `ShouldRateLimit` with the quota headers of draft 3
    #[arg(long)]
    quota_headers: bool,
    /// Answer Reserve and Commit with UNIMPLEMENTED, as older versions do
    #[arg(long)]
    without_reservations: bool,
}

#[tokio::main]
async fn main() -> ExitCode {
    match run(Arguments::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: Arguments) -> Result<(), Error> {
    let limits = limits::read(&arguments.limits)?;
    let count = limits.len();
    let mut builder = Limitador::builder(limits).address(arguments.address);
    if let Some(url) = &arguments.redis {
        builder = builder.redis(url);
    }
    if arguments.quota_headers {
        builder = builder.quota_headers();
    }
    if arguments.without_reservations {
        builder = builder.without_reservations();
    }
    let limitador = builder.start().await?;
    println!("{count} limits, listening at {}", limitador.address());
    tokio::signal::ctrl_c().await?;
    Ok(())
}
