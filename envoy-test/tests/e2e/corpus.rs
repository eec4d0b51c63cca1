//! Recorded responses of real services, replayed through Envoy: charged exactly and forwarded unchanged.
//!
//! The corpus is in the folder that `TOLLGATE_CORPUS` names, by default `../shared/corpus` beside the repository.

use std::{
    error::Error,
    fs,
    path::{Path, PathBuf},
};

use bytes::Bytes;
use envoy_test::{
    client::{Protocol, client},
    llm::Script,
    metered::{CALLER, Metered, each_caller},
    random, workspace,
};
use reqwest::{Client, Method};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::support::{TestResult, logged_tokens};

/// An error that a task can return.
type TaskError = Box<dyn Error + Send + Sync>;

/// More tokens than all recorded responses report together.
const LIMIT: u64 = 1_000_000_000_000;

/// The number of concurrent exchanges.
const MAX_IN_FLIGHT: usize = 32;

/// Returns the undisputed cases in the folder that a variable names, by default a folder in `../shared`.
pub(crate) fn cases(variable: &str, name: &str) -> Result<Option<Vec<Case>>, Box<dyn Error>> {
    let folder = std::env::var_os(variable).map_or_else(
        || workspace::root().join("../shared").join(name),
        PathBuf::from,
    );
    let folder = folder.join("cases");
    if !folder.is_dir() {
        return Ok(None);
    }
    let mut cases = Vec::new();
    for directory in fs::read_dir(folder)? {
        let case = Case::read(&directory?.path()).map_err(|error| error.to_string())?;
        if case.expected["ambiguous"] != true {
            cases.push(case);
        }
    }
    Ok(Some(cases))
}

/// A recorded exchange.
#[derive(Debug, Clone)]
pub(crate) struct Case {
    pub(crate) id: String,
    pub(crate) method: Method,
    pub(crate) path: String,
    pub(crate) content_type: String,
    pub(crate) request: Bytes,
    /// Whether the request has `stream_options.include_usage`.
    includes_usage: bool,
    pub(crate) response: Script,
    pub(crate) expected: Value,
}

impl Case {
    fn read(directory: &Path) -> Result<Self, TaskError> {
        let expected: Value = serde_json::from_slice(&fs::read(directory.join("expected.json"))?)?;
        let request: Value = match fs::read(directory.join("request.json")) {
            Ok(request) => serde_json::from_slice(&request)?,
            Err(_) => Value::Null,
        };
        let mut response = Script {
            status: 200,
            headers: Vec::new(),
            body: fs::read(directory.join("response.body"))?.into(),
        };
        for line in fs::read_to_string(directory.join("response.headers"))?.lines() {
            if let Some(status) = line.strip_prefix(":status: ") {
                response.status = status.parse()?;
            } else if let Some((name, value)) = line.split_once(": ") {
                response.headers.push((name.to_owned(), value.to_owned()));
            }
        }
        let url = request["url"].as_str().unwrap_or_default();
        let url = url.split_once("://").map_or(url, |(_, rest)| rest);
        let path = url
            .split_once('/')
            .map_or("v1/chat/completions", |(_, path)| path);
        let method = request["method"].as_str().unwrap_or("POST").parse()?;
        let body = match &request["body"] {
            Value::Null if request.is_null() => json!({ "model": "m", "messages": [] }).to_string(),
            Value::Null => String::new(),
            Value::String(text) => text.clone(),
            body => body.to_string(),
        };
        let content_type = request["headers"]["content-type"].as_str();
        Ok(Self {
            id: expected["id"].as_str().unwrap_or_default().to_owned(),
            method,
            path: format!("/{path}"),
            content_type: content_type.unwrap_or("application/json").to_owned(),
            request: body.into(),
            includes_usage: request["body"]["stream_options"]["include_usage"] == true,
            response,
            expected,
        })
    }

    /// The expected input, output, total and cached tokens; `None` for a response without usage, and for one that
    /// retrieves what was charged when it was generated.
    pub(crate) fn tokens(&self) -> Option<[u64; 4]> {
        let number = |value: &Value| value.as_u64().unwrap_or(0);
        let expected = &self.expected;
        if self.method != Method::POST {
            return None;
        }
        if expected["usage_present"] == true {
            let normalized = &expected["normalized"];
            let tokens = ["input_tokens", "output_tokens", "total_tokens"];
            let [input, output, total] = tokens.map(|kind| number(&normalized[kind]));
            return Some([input, output, total, number(&expected["cached_tokens"])]);
        }
        let header = &expected["header_usage"];
        let (input, output) = (number(&header["input"]), number(&header["output"]));
        header
            .is_object()
            .then_some([input, output, input + output, 0])
    }

    /// Whether the report has only a part of the usage, so that the rest is estimated: no input although there
    /// is output, zeros beside text, or the placeholder with which a stream starts.
    fn is_partial(&self) -> bool {
        let Some([input, output, total, _]) = self.tokens() else {
            return false;
        };
        let notes = self.expected["notes"].to_string();
        let has_calls = self.expected["tags"].to_string().contains("tool_calls");
        (input == 0 && output > 0) || (total == 0 && has_calls) || notes.contains("placeholder")
    }

    /// Describes what is wrong about the charge, if anything.
    pub(crate) fn mismatch(&self, tokens: [u64; 4], is_estimate: bool) -> Option<String> {
        let least = &self.expected["must_estimate"];
        let is_right = if least.is_object() {
            let least = |key: &str| least[key].as_u64().unwrap_or(0);
            is_estimate && tokens[0] >= least("in") && tokens[1] >= least("out")
        } else {
            match self.tokens() {
                Some(expected) if self.is_partial() => {
                    is_estimate && tokens.iter().zip(expected).all(|(a, b)| *a >= b)
                }
                Some(expected) => !is_estimate && tokens == expected,
                None => tokens == [0; 4] || is_estimate,
            }
        };
        (!is_right).then(|| {
            let expected = self.tokens();
            let id = &self.id;
            format!("{id}: {tokens:?}, expected {expected:?} {least}, estimated: {is_estimate}")
        })
    }

    /// Whether a client may receive this body: the recorded one, without the usage report and the `"usage": null` of other
    /// chunks if the request did not include it.
    pub(crate) fn is_expected(&self, body: &[u8]) -> bool {
        if self.response.body == body {
            return true;
        }
        let (recorded, body) = (without_nulls(&self.response.body), without_nulls(body));
        if self.includes_usage || recorded == body {
            return !self.includes_usage;
        }
        let Some(missing) = recorded.len().checked_sub(body.len()) else {
            return false;
        };
        let same = recorded
            .iter()
            .zip(&body)
            .take_while(|(a, b)| a == b)
            .count();
        let (withheld, rest) = recorded[same..].split_at(missing);
        // The difference may start within an identical prefix of the next event: repeated, it contains the event.
        let event = [withheld, withheld].concat();
        rest == &body[same..] && String::from_utf8_lossy(&event).contains("\"usage\"")
    }
}

/// Returns a body without the members `"usage": null`.
fn without_nulls(body: &[u8]) -> Vec<u8> {
    let text = String::from_utf8_lossy(body).into_owned();
    let nulls = [
        r#","usage":null"#,
        r#","usage": null"#,
        r#", "usage": null"#,
    ];
    nulls
        .iter()
        .fold(text, |text, null| text.replace(null, ""))
        .into_bytes()
}

/// Replays one case and returns it with the status and the body that the client received.
async fn replay(
    client: Client,
    url: String,
    case: Case,
    seed: u64,
) -> Result<(Case, u16, Bytes), TaskError> {
    let mut request = client
        .request(case.method.clone(), url)
        .header(CALLER, "shared")
        .header("x-test-id", &case.id)
        .header("x-mock-script", &case.id)
        .header("x-mock-split-seed", seed);
    if case.method == Method::POST {
        request = request
            .header("content-type", &case.content_type)
            .body(case.request.clone());
    }
    let context = |error: reqwest::Error| format!("{}: {error:?}", case.id);
    let response = request.send().await.map_err(context)?;
    let status = response.status().as_u16();
    let body = response.bytes().await.map_err(context)?;
    Ok((case, status, body))
}

/// Replays cases, several at once, and returns each with the status and the body that the client received.
async fn replay_all(
    metered: &Metered,
    cases: Vec<Case>,
    rng: &mut fastrand::Rng,
) -> Result<Vec<(Case, u16, Bytes)>, Box<dyn Error>> {
    for case in &cases {
        metered.llm.script(&case.id, case.response.clone());
    }
    let clients = Protocol::ALL.map(client);
    let mut replayed = Vec::new();
    let mut in_flight = JoinSet::new();
    let mut pending = cases.into_iter();
    loop {
        while in_flight.len() < MAX_IN_FLIGHT
            && let Some(case) = pending.next()
        {
            let client = clients[in_flight.len() % 2].clone();
            let url = metered.envoy.url(&case.path);
            in_flight.spawn(replay(client, url, case, rng.u64(..)));
        }
        match in_flight.join_next().await {
            Some(exchange) => {
                replayed.push(exchange?.map_err(|error| error.to_string())?);
            }
            None => return Ok(replayed),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn recorded_responses_are_charged_exactly_and_forwarded_unchanged() -> TestResult {
    let Some(cases) = cases("TOLLGATE_CORPUS", "corpus")? else {
        println!("corpus: skipped, there is no folder of recorded responses");
        return Ok(());
    };
    let seed = random::seed();
    println!("TOLLGATE_SEED={seed}");
    let mut rng = fastrand::Rng::with_seed(seed);
    let metered = Metered::build(each_caller(LIMIT), |builder| builder.concurrency(2)).await?;
    let count = cases.len();
    let replayed = replay_all(&metered, cases, &mut rng).await?;

    let log = metered.envoy.access_log(replayed.len()).await?;
    let mut failures = Vec::new();
    let (mut charged, mut estimated, mut withheld) = (0, Vec::new(), Vec::new());
    for (case, status, body) in replayed {
        let id = &case.id;
        let entry = log.iter().find(|entry| entry.test_id() == Some(id));
        let entry = entry.ok_or("an exchange that is not logged")?;
        if status != case.response.status {
            failures.push(format!("{id}: {status} {entry:?}"));
        }
        if !case.is_expected(&body) {
            let lengths = (case.response.body.len(), body.len());
            failures.push(format!("{id}: another body, {lengths:?} bytes"));
        } else if case.response.body != body {
            withheld.push(id.clone());
        }
        let tokens = logged_tokens(entry).map(|tokens| tokens.unwrap_or(0));
        charged += tokens[2];
        let is_estimate = entry.tollgate("estimated") == Some("true");
        if is_estimate && case.response.status < 300 {
            estimated.push(format!("{id} {tokens:?}"));
        }
        failures.extend(case.mismatch(tokens, is_estimate));
    }
    println!("{count} cases; estimated: {estimated:#?}; report withheld: {withheld:#?}");
    assert!(
        failures.is_empty(),
        "{} failures: {failures:#?}",
        failures.len()
    );
    assert_eq!(metered.remaining("shared").await?, LIMIT - charged);
    metered.check().await?;
    Ok(())
}
