//! A soak: clients of all kinds, some of which leave at any moment, while the configuration is replaced again and again and
//! a rate limit service comes and goes. At the end all sums must be exact.
//!
//! `make soak MINUTES=20` runs it for that long; otherwise it takes [`DEFAULT_MINUTES`].

mod journal;
mod kind;
mod operator;
mod policy;
mod report;
mod traffic;

use std::{error::Error, time::Duration};

use envoy_test::{
    filters::Tollgate,
    metered::Metered,
    remote::{self, Protocol},
};

use crate::{journal::Journal, operator::Operator, report::Report, traffic::Traffic};

/// How long it runs as one of the tests of a change.
const DEFAULT_MINUTES: f64 = 0.3;

/// The longest run: counters must not reach the end of their windows.
const MAX_MINUTES: f64 = 600.0;

/// The result of a step.
type Outcome<T = ()> = Result<T, Box<dyn Error>>;

/// Returns how long it runs.
fn duration() -> Outcome<Duration> {
    let minutes = match std::env::var("SOAK_MINUTES") {
        Ok(minutes) if !minutes.is_empty() => minutes.parse()?,
        _ => DEFAULT_MINUTES,
    };
    if !(0.0..=MAX_MINUTES).contains(&minutes) {
        return Err(format!("SOAK_MINUTES: {minutes}, expected at most {MAX_MINUTES}").into());
    }
    Ok(Duration::from_secs_f64(minutes * 60.0))
}

/// Starts a gateway with two workers.
async fn gateway(storage: Option<(Protocol, std::net::SocketAddr)>) -> Outcome<Metered> {
    let configuration = policy::configuration(storage.map(|(protocol, _)| protocol), 0);
    let tollgate = Tollgate::new(configuration).holds_headers(true);
    let metered = Metered::build(serde_json::json!({}), |builder| {
        // Connections of a replaced listener end within seconds, and with them what it has kept.
        let builder = builder.tollgate(tollgate).concurrency(2).own_process();
        let builder = builder.arguments(["--drain-time-s", "10"]);
        match storage {
            Some((_, service)) => remote::cluster(builder, service),
            None => builder,
        }
    });
    Ok(metered.await?)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mixed_traffic_is_counted_exactly() -> Outcome {
    let duration = duration()?;
    let metered = gateway(None).await?;
    soak("counters in Envoy", metered, None, duration).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn service_that_comes_and_goes_counts_exactly() -> Outcome {
    let duration = duration()?;
    let protocol = Protocol::Reserve;
    let limitador = remote::limitador(&policy::configuration(Some(protocol), 0))?;
    let limitador = limitador.start().await?;
    let metered = gateway(Some((protocol, limitador.address()))).await?;
    soak("counters in a service", metered, Some(limitador), duration).await
}

/// Runs the traffic and the operator for this long, and compares the sums.
async fn soak(
    title: &str,
    mut metered: Metered,
    limitador: Option<integration::Limitador>,
    duration: Duration,
) -> Outcome {
    let journal = Journal::default();
    let traffic = Traffic::start(&metered, &journal)?;
    let mut operator = Operator::new(duration, limitador);
    operator.run(&mut metered).await?;
    traffic.end().await?;
    operator.settle(&metered).await?;
    let report = Report::of(title, &metered, &journal, &operator).await?;
    println!("{report}");
    metered.check().await?;
    report.check()
}
