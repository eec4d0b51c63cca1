//! `tollgate explain`: what the filter decides on a request, and why.

mod text;

use std::path::PathBuf;

use clap::Args;
use filter_config::{Configuration, Found};
use serde_json::{Map, Value, json};
use tollgate::{Considered, CounterState, Evaluated};

use crate::{
    replay::{Outcome, Replay, Response, Unplaced},
    requests,
};

/// What `tollgate explain` takes.
#[derive(Debug, Args)]
pub struct Options {
    /// The configuration, as `tollgate check` reads it
    #[arg(long)]
    pub config: PathBuf,
    /// The request: JSON, a curl command line or a HAR file; - for standard input
    #[arg(long)]
    pub request: PathBuf,
    /// The object `auth` in JSON. It is put where the configuration reads it
    #[arg(long)]
    pub auth: Option<PathBuf>,
    /// The body of the response: JSON or a stream of events. Without one, nothing is charged
    #[arg(long)]
    pub response: Option<PathBuf>,
    /// The status of the response
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u16).range(200..600))]
    pub response_status: u16,
    /// The number of the entry of a HAR file
    #[arg(long, default_value_t = 1)]
    pub entry: usize,
    /// Send the request so many times at once, and explain the last
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub times: u32,
    /// The time, in seconds since the Unix epoch; by default now
    #[arg(long)]
    pub at: Option<u64>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// What the files of the options contain.
#[derive(Debug, Clone, Copy)]
pub struct Files<'f> {
    /// The request.
    pub request: &'f [u8],
    /// `auth`.
    pub auth: Option<&'f [u8]>,
    /// The response.
    pub response: Option<&'f [u8]>,
}

/// Why nothing is explained.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file has several configurations.
    #[error("--config: found {0} configurations, expected one; pass each by itself")]
    Several(usize),
    /// The request cannot be read.
    #[error("--request: {0}")]
    Request(#[from] requests::Error),
    /// `auth` is no JSON.
    #[error("--auth: invalid JSON: {0}")]
    Auth(serde_json::Error),
    /// The configuration does not read `auth`.
    #[error("--auth: {0}")]
    Unplaced(#[from] Unplaced),
    /// The filter does not take the configuration.
    #[error("--config: {0}")]
    Configure(String),
}

/// An explanation.
#[derive(Debug)]
struct Explanation {
    considered: Considered,
    before: Vec<CounterState>,
    after: Vec<CounterState>,
    outcome: Outcome,
    has_response: bool,
    now: u64,
    is_service_replaced: bool,
}

/// Returns the one configuration of a file.
///
/// # Errors
/// [`Error::Several`].
pub fn only(mut found: Vec<Found>) -> Result<Configuration, Error> {
    let number = found.len();
    match found.pop() {
        Some(found) if number == 1 => Ok(found.configuration),
        _ => Err(Error::Several(number)),
    }
}

/// Explains what becomes of a request, as text or JSON. `now` is the time in nanoseconds since the Unix epoch.
///
/// # Errors
/// [`Error`].
pub fn explain(
    options: &Options,
    found: Vec<Found>,
    files: Files<'_>,
    now: u64,
) -> Result<String, Error> {
    let configuration = only(found)?;
    let read = requests::read(files.request, options.entry)?;
    let mut request = read.request;
    if let Some(auth) = files.auth {
        request.auth = Some(serde_json::from_slice(auth).map_err(Error::Auth)?);
    }
    let response = files.response.map(|body| Response {
        status: options.response_status,
        ..Response::guessed(body.to_vec())
    });
    let response = response.or(read.response);
    let replay = Replay::new(configuration, now);
    let mut replay = replay.map_err(|error| Error::Configure(error.to_string()))?;
    let run = |replay: &mut Replay| {
        let mut exchange = replay.start(&request)?;
        replay.wait(&mut exchange);
        if let Some(response) = response.as_ref().filter(|_| exchange.outcome.is_admitted) {
            replay.respond(&mut exchange, response);
        }
        Ok::<_, Unplaced>(replay.end(exchange))
    };
    for _ in 1..options.times {
        run(&mut replay)?;
    }
    let considered = replay.consider(&request)?;
    let before = replay.states(&considered.counters);
    let outcome = run(&mut replay)?;
    let after = replay.states(&considered.counters);
    let explanation = Explanation {
        considered,
        before,
        after,
        outcome,
        has_response: response.is_some(),
        now,
        is_service_replaced: replay.is_service_replaced,
    };
    Ok(if options.json {
        format!("{:#}\n", explanation.json())
    } else {
        explanation.text()
    })
}

// === impl Explanation ===

impl Explanation {
    fn json(&self) -> Value {
        let outcome = &self.outcome;
        let limits = self.considered.limits.iter().map(|limit| {
            let states = self.before.iter().zip(&self.after);
            let states = states
                .filter(|(state, _)| state.policy == limit.policy && state.limit == limit.limit);
            json!({
                "policy": limit.policy,
                "limit": limit.limit,
                "applies": limit.applies,
                "when": limit.when.iter().map(evaluated).collect::<Vec<_>>(),
                "counters": limit.counters.iter().map(evaluated).collect::<Vec<_>>(),
                "rates": states.map(|(before, after)| rate(before, after)).collect::<Vec<_>>(),
            })
        });
        let headers = outcome.headers.iter();
        let headers: Map<String, Value> = headers
            .map(|(name, value)| (name.clone(), value.as_str().into()))
            .collect();
        let mut json = json!({
            "decision": outcome.decision(),
            "limit": outcome.limit(),
            "admitted": outcome.is_admitted,
            "limits": limits.collect::<Vec<_>>(),
            "accessLog": outcome.values,
            "queuedMs": u64::try_from(outcome.queued.as_millis()).unwrap_or(u64::MAX),
        });
        if outcome.status > 0 {
            json["status"] = outcome.status.into();
            json["headers"] = headers.into();
        }
        if !outcome.is_admitted {
            json["body"] = String::from_utf8_lossy(&outcome.body).into();
            json["details"] = outcome.details.clone().into();
        }
        if let Some(error) = &self.considered.error {
            json["error"] = error.as_str().into();
        }
        json
    }
}

fn evaluated(evaluated: &Evaluated) -> Value {
    let reads = evaluated.reads.iter().cloned().collect::<Map<_, _>>();
    let mut json = json!({
        "path": evaluated.path,
        "expression": evaluated.expression,
        "reads": reads,
    });
    match &evaluated.result {
        Some(Ok(value)) => json["value"] = value.clone(),
        Some(Err(error)) => json["error"] = error.as_str().into(),
        None => json["value"] = Value::Null,
    }
    json
}

fn rate(before: &CounterState, after: &CounterState) -> Value {
    let state = |state: &CounterState| json!({ "used": state.used, "reserved": state.reserved });
    json!({
        "path": before.path,
        "unit": if before.unit == "USD" { "billionths of a dollar" } else { before.unit },
        "limit": before.max,
        "windowSeconds": before.window / 1_000_000_000,
        "enforced": before.is_enforced,
        "reserves": before.amount,
        "before": state(before),
        "after": state(after),
    })
}
