//! Responses whose reports are only a part of the usage are charged at least what they used.

use crate::settle::{RequestSize, metered};
use filter_config::OnMissing;
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use usage_meter::{Estimator, Meter, RequestPath, ResponseHead, Usage};

/// Returns the directories of the reports: of `TOLLGATE_REPORTS`, else of `shared/reports` beside the
/// repository or above it.
fn directories() -> Option<impl Iterator<Item = PathBuf>> {
    let has_cases = |path: &PathBuf| path.join("cases").is_dir();
    let directory = match std::env::var_os("TOLLGATE_REPORTS") {
        Some(path) => Some(PathBuf::from(path)).filter(has_cases),
        None => Path::new(env!("CARGO_MANIFEST_DIR"))
            .ancestors()
            .map(|directory| directory.join("shared/reports"))
            .find(has_cases),
    };
    let entries = fs::read_dir(directory?.join("cases")).unwrap();
    Some(entries.map(|entry| entry.unwrap().path()))
}

/// Returns the number of bytes of text in a request.
fn text_bytes(request: &Value) -> u64 {
    match request {
        Value::Object(members) => members
            .iter()
            .map(|(key, value)| match value.as_str() {
                Some(text) => {
                    let is_text = ["content", "text", "input", "prompt", "text_input"];
                    is_text.contains(&key.as_str()).then_some(text.len() as u64)
                }
                None => Some(text_bytes(value)),
            })
            .map(Option::unwrap_or_default)
            .sum(),
        Value::Array(elements) => elements.iter().map(text_bytes).sum(),
        _ => 0,
    }
}

/// Returns what a recorded exchange is charged.
fn charged(directory: &Path, expected: &Value, request: &Value) -> Option<Usage> {
    let headers = fs::read_to_string(directory.join("response.headers")).unwrap();
    let header = |name: &str| {
        let lines = headers.lines().filter_map(|line| line.rsplit_once(": "));
        let mut found = lines.filter(|(key, _)| key.eq_ignore_ascii_case(name));
        found.next().map(|(_, value)| value.as_bytes())
    };
    let path = request["url"].as_str().unwrap_or_default();
    let mut meter = Meter::new(&ResponseHead {
        status: 200,
        content_type: header("content-type"),
        content_encoding: header("content-encoding"),
        path: RequestPath::of(path.as_bytes()),
        ..ResponseHead::default()
    });
    for piece in fs::read(directory.join("response.body"))
        .unwrap()
        .chunks(50)
    {
        meter.push(piece);
    }
    let is_complete = expected["cut"] != true;
    if is_complete {
        meter.finish();
    } else {
        meter.cut_off();
    }
    let size = RequestSize {
        input_bytes: text_bytes(&request["body"]),
        is_complete,
        ..RequestSize::default()
    };
    let metered = metered(&Estimator::default(), OnMissing::Estimate, &meter, &size);
    metered.map(|metered| metered.usage)
}

#[test]
fn partial_reports_are_charged_their_estimate() {
    let Some(directories) = directories() else {
        println!("partial_reports_are_charged_their_estimate: skipped, there are no reports");
        return;
    };
    let mut failures = Vec::new();
    for directory in directories {
        let read = |name: &str| -> Value {
            serde_json::from_slice(&fs::read(directory.join(name)).unwrap()).unwrap()
        };
        let (expected, request) = (read("expected.json"), read("request.json"));
        let id = expected["id"].as_str().unwrap_or_default().to_owned();
        let least = &expected["must_estimate"];
        if !least.is_object() {
            continue;
        }
        let usage = charged(&directory, &expected, &request);
        let is_enough = usage.is_some_and(|usage| {
            usage.input_tokens >= least["in"].as_u64().unwrap_or(0)
                && usage.output_tokens >= least["out"].as_u64().unwrap_or(0)
                && usage.total_tokens >= usage.input_tokens + usage.output_tokens
        });
        if !is_enough {
            failures.push(format!("{id}: {usage:?} for {least}"));
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}
