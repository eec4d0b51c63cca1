//! A gateway under attack, and what must hold of it.

use std::{
    error::Error,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use envoy_test::{
    client::{Protocol, client},
    envoy::Builder,
    metered::{CALLER, Metered},
};
use serde_json::Value;

/// The result of an attack.
pub(crate) type Outcome<T = ()> = Result<T, Box<dyn Error>>;

/// A limit that no caller reaches.
pub(crate) const AMPLE: u64 = 1_000_000_000;

/// How long an input may block a worker. It is printed where it takes longer, but machines that run tests are busy and
/// slow: what is asserted is [`MAX_WORK`].
const INTENDED_WORK: Duration = Duration::from_millis(50);

/// The most CPU time of a worker for a part of an attack: a fraction of what the attacks took before there were bounds.
const MAX_WORK: Duration = Duration::from_secs(1);

/// Starts a gateway with one worker and a process of its own.
pub(crate) async fn start(
    configuration: Value,
    build: impl FnOnce(Builder) -> Builder,
) -> Outcome<Metered> {
    let metered = Metered::build(configuration, |builder| build(builder.own_process())).await?;
    // The first request of a process takes longer, whatever its answer.
    let first = client(Protocol::Http1).get(metered.envoy.url("/v1/models"));
    first.send().await?.bytes().await?;
    Ok(metered)
}

/// Runs an attack that consists of `parts` requests while another caller sends requests of its own. Checks that
/// the module is not trapped, that the other caller is served, and how much CPU time of a worker each part takes.
pub(crate) async fn attack<T>(
    metered: &Metered,
    name: &str,
    parts: u32,
    action: impl Future<Output = Outcome<T>>,
) -> Outcome<T> {
    let address = metered.envoy.address();
    let stop = Arc::new(AtomicBool::new(false));
    let bystander = tokio::spawn({
        let stop = Arc::clone(&stop);
        async move {
            let client = client(Protocol::Http1);
            let (mut served, mut longest) = (0_u64, Duration::ZERO);
            while !stop.load(Ordering::SeqCst) || served == 0 {
                let start = Instant::now();
                let request = client.get(format!("http://{address}/v1/models"));
                let response = request.header(CALLER, "bystander").send().await?;
                response.error_for_status()?.bytes().await?;
                longest = longest.max(start.elapsed());
                served += 1;
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            Ok::<_, reqwest::Error>((served, longest))
        }
    });
    let before = metered.envoy.worker_cpu_times()?;
    let result = action.await;
    let after = metered.envoy.worker_cpu_times()?;
    stop.store(true, Ordering::SeqCst);
    let (served, longest) = bystander
        .await?
        .map_err(|error| format!("{name}: a bystander is not served: {error}"))?;
    let work = after
        .iter()
        .filter_map(|(worker, after)| after.checked_sub(*before.get(worker)?))
        .max()
        .ok_or("no worker")?;
    let each = work / parts.max(1);
    println!(
        "| {name} | {parts} | {:.1} ms{} | {served} requests, at most {} ms |",
        each.as_secs_f64() * 1e3,
        if each > INTENDED_WORK {
            ", too long"
        } else {
            ""
        },
        longest.as_millis(),
    );
    metered
        .check()
        .await
        .map_err(|error| format!("{name}: {error}"))?;
    let result = result?;
    assert!(each < MAX_WORK, "{name}: {each:?} of a worker");
    Ok(result)
}

/// The tokens that a caller of a limit of [`AMPLE`] tokens has been charged.
pub(crate) async fn charged(metered: &Metered, caller: &str) -> Outcome<u64> {
    Ok(AMPLE - metered.remaining(caller).await?)
}
