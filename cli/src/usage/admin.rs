//! The report of the largest counters, as the usage endpoint lists them to administrators.

use std::{
    collections::BTreeMap,
    io::{self, Read},
};

use serde::{Deserialize, Serialize};
use serde_json::{Number, json};

use super::forms::{self, Form};

/// The most bytes of an answer: a thousand counters take a fraction of it.
const MAX_BYTES: u64 = 16 << 20;

/// The columns.
const COLUMNS: [&str; 6] = ["policy", "limit", "counter", "unit", "used", "error"];

/// Why the largest counters cannot be reported.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The answer cannot be read.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// What is not the endpoint's list of the largest counters.
    #[error("found {0}, expected the answer of the usage endpoint to `GET PATH?top=N`")]
    Answer(String),
}

/// What the endpoint answers.
#[derive(Deserialize)]
struct Answer {
    top: Option<Vec<Counter>>,
    #[serde(default)]
    truncated: bool,
    error: Option<String>,
}

/// A counter with its use.
#[derive(Deserialize, Serialize)]
struct Counter {
    policy: String,
    limit: String,
    /// By expression.
    #[serde(rename = "counter")]
    values: BTreeMap<String, String>,
    used: Number,
    error: Number,
    unit: String,
}

/// Reports the largest counters. The second text is a warning on counters that are left out.
///
/// # Errors
/// [`Error`].
pub fn largest(
    form: Form,
    top: usize,
    answer: impl Read,
) -> Result<(String, Option<String>), Error> {
    let mut bytes = Vec::new();
    let mut answer = answer.take(MAX_BYTES + 1);
    answer.read_to_end(&mut bytes)?;
    if u64::try_from(bytes.len()).is_ok_and(|length| length > MAX_BYTES) {
        return Err(Error::Answer("more than 16 MiB".to_owned()));
    }
    let answer: Answer =
        serde_json::from_slice(&bytes).map_err(|error| Error::Answer(error.to_string()))?;
    let Some(mut counters) = answer.top else {
        let found = answer.error.map_or_else(
            || "no `top`".to_owned(),
            |error| format!("the error {:?}", forms::printable(&error)),
        );
        return Err(Error::Answer(found));
    };
    let warning = if counters.len() > top {
        let left_out = counters.len() - top;
        Some(format!(
            "--admin: left out {left_out} counters, raise --top"
        ))
    } else {
        answer.truncated.then(|| {
            "--admin: the list is truncated, restrict it with `policy` and `limit` in the query"
                .to_owned()
        })
    };
    counters.truncate(top);
    let rows = || {
        let header = COLUMNS.map(str::to_owned).to_vec();
        let counters = counters.iter().map(Counter::texts);
        std::iter::once(header).chain(counters).collect::<Vec<_>>()
    };
    let text = match form {
        Form::Table => forms::table(&rows(), 4..COLUMNS.len()),
        Form::Csv => forms::csv(&rows()),
        Form::Json => format!("{:#}\n", json!({ "rows": counters })),
    };
    Ok((text, warning))
}

// === impl Counter ===

impl Counter {
    /// Returns the columns.
    fn texts(&self) -> Vec<String> {
        let values = self.values.iter();
        let values: Vec<String> = values
            .map(|(expression, value)| {
                let (expression, value) = (forms::printable(expression), forms::printable(value));
                format!("{expression}={value}")
            })
            .collect();
        vec![
            forms::printable(&self.policy),
            forms::printable(&self.limit),
            values.join(", "),
            forms::printable(&self.unit),
            decimal(&self.used),
            decimal(&self.error),
        ]
    }
}

/// Returns a number without an exponent.
fn decimal(number: &Number) -> String {
    match (number.as_u64(), number.as_f64()) {
        (None, Some(decimal)) => decimal.to_string(),
        _ => number.to_string(),
    }
}
