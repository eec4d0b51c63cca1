//! The comparison of outcomes with the expected ones.

use serde_json::Value;
use tollgate::CounterState;

use super::scenario::Expect;
use crate::{amounts, replay::Outcome};

/// What was observed of a request.
#[derive(Debug)]
pub(super) struct Observed {
    pub(super) outcome: Outcome,
    /// Its counters after it.
    pub(super) states: Vec<CounterState>,
}

/// Returns the differences from the expected outcome, each with what was found and what was expected.
pub(super) fn mismatches(expect: &Expect, observed: &Observed) -> Vec<String> {
    let outcome = &observed.outcome;
    let mut mismatches = Vec::new();
    let mut check = |what: String, found: Option<String>, expected: Option<String>| {
        if found != expected {
            let text = |value: Option<String>| value.unwrap_or_else(|| "nothing".to_owned());
            mismatches.push(format!(
                "{what}: found {}, expected {}",
                text(found),
                text(expected)
            ));
        }
    };
    let number = |number: u64| Some(number.to_string());
    check(
        "status".to_owned(),
        number(outcome.status.into()),
        number(expect.status.into()),
    );
    let tokens = outcome.number("total_tokens").unwrap_or_default();
    check("tokens".to_owned(), number(tokens), number(expect.tokens));
    if let Some(decision) = &expect.decision {
        let found = Some(outcome.decision().to_owned());
        check("decision".to_owned(), found, Some(decision.clone()));
    }
    if let Some(limit) = &expect.limit {
        let found = outcome.limit().map(str::to_owned);
        check("limit".to_owned(), found, Some(limit.clone()));
    }
    if let Some(usd) = &expect.usd {
        check(
            "usd".to_owned(),
            outcome.values.get("usd").cloned(),
            Some(usd.clone()),
        );
    }
    for (name, cost) in &expect.costs {
        let found = outcome.values.get(&format!("cost.{name}")).cloned();
        check(format!("costs.{name}"), found, number(*cost));
    }
    for (name, expected) in &expect.headers {
        let found = outcome.header(name).map(|value| format!("{value:?}"));
        let expected = expected.as_ref().map(|value| format!("{value:?}"));
        check(format!("headers.{name}"), found, expected);
    }
    for (name, expected) in &expect.remaining {
        let expected = match expected {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        let found = remaining(&observed.states, name);
        check(format!("remaining.{name}"), found, Some(expected));
    }
    if let Some(json) = &expect.json {
        let found = serde_json::from_slice::<Value>(&outcome.body);
        let found = found.map_or_else(
            |_| String::from_utf8_lossy(&outcome.body).into_owned(),
            |found| found.to_string(),
        );
        check("json".to_owned(), Some(found), Some(json.to_string()));
    }
    mismatches
}

/// Returns what is left of a limit: of its first rate, unless `name` has the path to another.
fn remaining(states: &[CounterState], name: &str) -> Option<String> {
    let mut states = states.iter();
    let state = states.find(|state| {
        let rest = name.strip_prefix(state.limit.as_str());
        rest.is_some_and(|rest| rest.is_empty() || rest.strip_prefix('.') == Some(&state.path))
    })?;
    let left = state
        .max
        .saturating_sub(state.used)
        .saturating_sub(state.reserved);
    Some(match state.unit {
        "USD" => amounts::usd(left).trim_start_matches('$').to_owned(),
        _ => left.to_string(),
    })
}
