//! The calls between Envoy and the module in an exchange, as Envoy's trace log has them.

use std::future::Future;

use envoy_test::{
    client::{Protocol, client},
    envoy::{Builder, Envoy},
    filters::Tollgate,
    wait,
};
use serde::Serialize;

use crate::{error::Error, policies, workload::Workload};

/// What Envoy writes for a callback, and for a call from the module.
const CALLBACK: &str = "[host->vm] ";
const CALL: &str = "[vm->host] ";
/// The last callback of an exchange.
const END: &str = "[host->vm] proxy_on_log";

/// The number of calls between Envoy and the module in one exchange.
#[derive(Debug, Serialize)]
pub(crate) struct Crossings {
    pub workload: &'static str,
    pub filter: &'static str,
    /// Calls from the module to Envoy.
    pub calls: usize,
    /// Calls from Envoy to the module, those for memory as well.
    pub callbacks: usize,
}

/// Counts the calls of each workload, with each form of the access log.
pub(crate) async fn count(
    envoy: impl Fn() -> Builder,
    workloads: &[Workload],
) -> Result<Vec<Crossings>, Error> {
    let forms = [
        ("tollgate", "keys"),
        ("tollgate, `accessLog: record`", "record"),
    ];
    let mut counted = Vec::new();
    for (filter, form) in forms {
        let mut configuration = policies::tutorial();
        configuration["accessLog"] = form.into();
        let builder = envoy()
            .wasm_log_level("trace")
            .tollgate(Tollgate::new(configuration));
        let envoy = builder.start().await?;
        for workload in workloads {
            // The first exchange defines metrics.
            exchange(&envoy, workload).await?;
            let lines = exchange(&envoy, workload).await?;
            let with = |kind: &str| lines.iter().filter(|line| line.contains(kind)).count();
            counted.push(Crossings {
                workload: workload.title,
                filter,
                calls: with(CALL),
                callbacks: with(CALLBACK),
            });
        }
    }
    Ok(counted)
}

/// Sends the request of a workload, and returns the lines that Envoy has written for its stream.
async fn exchange(envoy: &Envoy, workload: &Workload) -> Result<Vec<String>, Error> {
    let before = envoy.logs()?.len();
    let request = client(Protocol::Http1)
        .post(envoy.url("/v1/chat/completions"))
        .header("host", workload.host)
        .header("x-user-id", "user-1")
        .header("x-groups", "free")
        .json(&workload.request);
    request.send().await?.error_for_status()?.bytes().await?;
    let written = wait::until("the end of the exchange in Envoy's log", || {
        ended(envoy, before)
    });
    let written = written.await??;
    Ok(without_ticks(&written))
}

/// Returns what Envoy has written after this many bytes, once an exchange has ended there.
fn ended(envoy: &Envoy, before: usize) -> impl Future<Output = Option<Result<String, Error>>> {
    let logs = envoy.logs().map_err(Error::from);
    std::future::ready(match logs {
        Ok(logs) => {
            let new = logs.get(before..).unwrap_or_default();
            new.contains(END).then(|| Ok(new.to_owned()))
        }
        Err(error) => Some(Err(error)),
    })
}

/// Returns the lines that are not of a tick, which runs between those of the exchange.
fn without_ticks(log: &str) -> Vec<String> {
    let mut is_tick = false;
    let mut lines = Vec::new();
    for line in log.lines() {
        if line.contains("[host->vm] proxy_on_tick") {
            is_tick = true;
        } else if line.contains("[host<-vm] proxy_on_tick") {
            is_tick = false;
        } else if !is_tick {
            lines.push(line.to_owned());
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::without_ticks;

    #[test]
    fn calls_of_ticks_do_not_count() {
        let log = "[host->vm] proxy_on_request_headers(2)\n\
                   [host->vm] proxy_on_tick(1)\n\
                   [vm->host] env.proxy_increment_metric(1)\n\
                   [host<-vm] proxy_on_tick return\n\
                   [vm->host] env.proxy_get_shared_data()\n";
        let lines = without_ticks(log);
        assert_eq!(lines.len(), 2);
        assert!(lines[1].contains("proxy_get_shared_data"));
    }
}
