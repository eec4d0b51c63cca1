//! The run of scenarios.

use std::time::Duration;

use filter_config::{Configuration, Window};
use serde_json::Value;
use tollgate::Counters;

use super::{
    comparison::{self, Observed},
    model,
    scenario::{Answer, Plays, Scenario, Step},
};
use crate::replay::{Outcome, Replay, Request, Response, seconds};

/// When scenarios begin: 2026-01-01, midnight in UTC, so that calendar windows of an hour, a day and a month are at their start.
const START: u64 = 1_767_225_600;

/// The result of a request.
#[derive(Debug)]
pub(super) struct Report {
    pub(super) title: String,
    /// The number of the step, from 1 on.
    pub(super) step: usize,
    pub(super) why: String,
    /// Which time it was sent, from 1 on, if it is sent several times.
    pub(super) time: Option<u32>,
    pub(super) mismatches: Vec<String>,
    pub(super) is_skipped: bool,
}

/// A step that cannot be run.
#[derive(Debug, thiserror::Error)]
#[error("{place}: {reason}")]
pub struct Failed {
    place: String,
    reason: String,
}

/// Runs a scenario, with unused limits.
pub(super) fn scenario(
    plays: &Plays,
    scenario: &Scenario,
    configuration: Configuration,
    reports: &mut Vec<Report>,
) -> Result<(), Failed> {
    let now = seconds(plays.start.unwrap_or(START));
    let replay = Replay::new(configuration, now);
    let mut replay = replay.map_err(|error| Failed {
        place: scenario.title.clone(),
        reason: error.to_string(),
    })?;
    for (index, step) in scenario.steps.iter().enumerate() {
        steps(plays, scenario, index, step, &mut replay, reports)?;
    }
    Ok(())
}

fn steps(
    plays: &Plays,
    scenario: &Scenario,
    index: usize,
    step: &Step,
    replay: &mut Replay,
    reports: &mut Vec<Report>,
) -> Result<(), Failed> {
    let report = |time: u32| Report {
        title: scenario.title.clone(),
        step: index + 1,
        why: step.why.clone(),
        time: (step.times > 1).then_some(time),
        mismatches: Vec::new(),
        is_skipped: step.envoy_only,
    };
    let failed = |reason: String| Failed {
        place: report(1).place(),
        reason,
    };
    if let Some(wait) = &step.wait {
        let wait: Window = wait
            .parse()
            .map_err(|error| failed(format!("wait: {error}")))?;
        replay.advance(Duration::from_nanos(wait.as_nanos()));
    }
    for time in 1..=step.times {
        let mut report = report(time);
        if !step.envoy_only {
            let observed = send(plays, step, replay).map_err(failed)?;
            report.mismatches = comparison::mismatches(&step.expect, &observed);
        }
        reports.push(report);
    }
    Ok(())
}

/// Sends the request of a step once.
fn send(plays: &Plays, step: &Step, replay: &mut Replay) -> Result<Observed, String> {
    let Some(request) = request(plays, step) else {
        return Ok(Observed {
            outcome: Outcome {
                status: 401,
                ..Outcome::default()
            },
            states: Vec::new(),
        });
    };
    let counters = if step.expect.remaining.is_empty() {
        Counters::default()
    } else {
        let considered = replay.consider(&request);
        considered.map_err(|error| error.to_string())?.counters
    };
    let outcome = replay.exchange(&request, |outcome| match &step.response {
        Some(answer) => answered(answer),
        None => model::respond(outcome, step.model),
    });
    let outcome = outcome.map_err(|error| error.to_string())?;
    let states = replay.states(&counters);
    Ok(Observed { outcome, states })
}

/// Returns the request of a step as tollgate sees it; `None` if authentication rejects it.
fn request(plays: &Plays, step: &Step) -> Option<Request> {
    let mut auth = step.auth.clone();
    let mut headers: Vec<(String, String)> = step
        .headers
        .iter()
        .map(|(name, value)| (name.to_ascii_lowercase(), value.clone()))
        .filter(|(name, _)| !plays.removed_headers.contains(name))
        .collect();
    if let Some(authentication) = plays.authentication.as_ref().filter(|_| auth.is_none()) {
        let key = headers
            .iter()
            .find(|(name, _)| *name == authentication.header);
        let key = key.map(|(_, key)| key.strip_prefix("Bearer ").unwrap_or(key));
        auth = Some(authentication.keys.get(key?)?.clone());
        headers.retain(|(name, _)| *name != authentication.header);
    }
    let body = step.body.as_ref().map(|body| match body {
        Value::String(text) => text.clone().into_bytes(),
        json => json.to_string().into_bytes(),
    });
    let method = if body.is_some() { "POST" } else { "GET" };
    let mut request = Request {
        method: step.method.clone().unwrap_or_else(|| method.to_owned()),
        path: step.path.clone(),
        headers,
        body,
        auth,
        metadata: step.metadata.clone(),
        source: step.source.clone(),
        ..Request::default()
    };
    if request.body.is_some() {
        request.default_header("content-type", "application/json");
    }
    Some(request)
}

fn answered(answer: &Answer) -> Response {
    let body = match &answer.body {
        None => Vec::new(),
        Some(Value::String(text)) => text.clone().into_bytes(),
        Some(json) => json.to_string().into_bytes(),
    };
    let mut response = Response::guessed(body);
    response.status = answer.status;
    for (name, value) in &answer.headers {
        let name = name.to_ascii_lowercase();
        response.headers.retain(|(known, _)| *known != name);
        response.headers.push((name, value.clone()));
    }
    response
}

// === impl Report ===

impl Report {
    /// Returns which request it is.
    pub(super) fn place(&self) -> String {
        let Self {
            title,
            step,
            why,
            time,
            ..
        } = self;
        let time = time.map_or_else(String::new, |time| format!(", time {time}"));
        format!("{title:?}, step {step} ({why}){time}")
    }
}
