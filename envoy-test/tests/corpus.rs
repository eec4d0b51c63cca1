//! Recorded responses of real services, played through Envoy: charged exactly, and passed on as they were.
//!
//! The corpus is where `TOLLGATE_CORPUS` says, else next to the repository.

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
    random::{self, Random},
    workspace,
};
use reqwest::{Client, Method};
use serde_json::{Value, json};
use tokio::task::JoinSet;

type Outcome = Result<(), Box<dyn Error>>;
type Failure = Box<dyn Error + Send + Sync>;

const LIMIT: u64 = 1_000_000_000_000;

/// How many exchanges are in flight at once.
const AT_ONCE: usize = 32;

fn corpus() -> Option<PathBuf> {
    let path = std::env::var_os("TOLLGATE_CORPUS")
        .map_or_else(|| workspace::root().join("../shared/corpus"), PathBuf::from);
    path.join("cases").is_dir().then_some(path)
}

/// A recorded exchange.
#[derive(Debug, Clone)]
struct Case {
    id: String,
    method: Method,
    path: String,
    content_type: String,
    request: Bytes,
    /// Whether the client asked for a usage report by `stream_options`.
    asked: bool,
    response: Script,
    expected: Value,
}

impl Case {
    fn read(directory: &Path) -> Result<Self, Failure> {
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
            asked: request["body"]["stream_options"]["include_usage"] == true,
            response,
            expected,
        })
    }

    /// Input, output, total and cached tokens; `None` if there is nothing to charge.
    fn tokens(&self) -> Option<[u64; 4]> {
        let number = |value: &Value| value.as_u64().unwrap_or(0);
        let expected = &self.expected;
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

    /// Whether a client may get this body: the recorded one, save a usage report he did not ask for.
    fn may_be(&self, body: &[u8]) -> bool {
        let recorded = &self.response.body;
        if recorded == body {
            return true;
        }
        let Some(missing) = recorded.len().checked_sub(body.len()) else {
            return false;
        };
        let same = recorded
            .iter()
            .zip(body)
            .take_while(|(a, b)| a == b)
            .count();
        let (taken_out, rest) = recorded[same..].split_at(missing);
        // It may be seen to begin anywhere in what the event before has as well.
        let event = [taken_out, taken_out].concat();
        !self.asked
            && rest == &body[same..]
            && String::from_utf8_lossy(&event).contains("\"usage\"")
    }
}

/// Plays one case and returns what the client got.
async fn play(
    client: Client,
    url: String,
    case: Case,
    seed: u64,
) -> Result<(Case, u16, Bytes), Failure> {
    let mut request = client
        .request(case.method.clone(), url)
        .header(CALLER, "everybody")
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn recorded_responses_are_charged_exactly_and_passed_on() -> Outcome {
    let Some(corpus) = corpus() else {
        println!(
            "recorded_responses_are_charged_exactly_and_passed_on: skipped, there is no corpus"
        );
        return Ok(());
    };
    let seed = random::seed();
    println!("TOLLGATE_SEED={seed}");
    let mut random = Random::new(seed);
    let metered = Metered::build(each_caller(LIMIT), |builder| builder.concurrency(2)).await?;
    let mut cases = Vec::new();
    for directory in fs::read_dir(corpus.join("cases"))? {
        let case = Case::read(&directory?.path()).map_err(|error| error.to_string())?;
        if case.expected["ambiguous"] != true {
            metered.llm.script(&case.id, case.response.clone());
            cases.push(case);
        }
    }
    let count = cases.len();

    let clients = Protocol::ALL.map(client);
    let mut faults = Vec::new();
    let mut played = Vec::new();
    let mut playing = JoinSet::new();
    let mut waiting = cases.into_iter();
    loop {
        while playing.len() < AT_ONCE
            && let Some(case) = waiting.next()
        {
            let client = clients[playing.len() % 2].clone();
            let url = metered.envoy.url(&case.path);
            playing.spawn(play(client, url, case, random.below(u64::MAX)));
        }
        match playing.join_next().await {
            Some(Ok(Ok(exchange))) => played.push(exchange),
            Some(Ok(Err(error))) => faults.push(error.to_string()),
            Some(Err(error)) => return Err(error.into()),
            None => break,
        }
    }

    let log = metered.envoy.access_log(played.len()).await?;
    let (mut charged, mut estimated, mut shortened) = (0, Vec::new(), Vec::new());
    for (case, status, body) in played {
        let id = &case.id;
        let entry = log.iter().find(|entry| entry.test_id() == Some(id));
        let entry = entry.ok_or("an exchange that is not logged")?;
        if status != case.response.status {
            faults.push(format!("{id}: {status} {entry:?}"));
        }
        if !case.may_be(&body) {
            let lengths = (case.response.body.len(), body.len());
            faults.push(format!("{id}: another body, {lengths:?} bytes"));
        } else if case.response.body != body {
            shortened.push(id.clone());
        }
        let kinds = [
            "input_tokens",
            "output_tokens",
            "total_tokens",
            "cached_tokens",
        ];
        let tokens = kinds.map(|kind| entry.tollgate_number(kind).unwrap_or(0));
        charged += tokens[2];
        let is_estimate = entry.tollgate("estimated") == Some("true");
        match case.tokens() {
            Some(expected) if expected != tokens || is_estimate => {
                faults.push(format!(
                    "{id}: {tokens:?} for {expected:?}, estimated: {is_estimate}"
                ));
            }
            None if is_estimate && case.response.status < 300 => {
                estimated.push(format!("{id} {tokens:?}"));
            }
            None if tokens != [0; 4] => faults.push(format!("{id}: {tokens:?} for nothing")),
            _ => {}
        }
    }
    println!("{count} cases; estimated: {estimated:#?}; without a report: {shortened:#?}");
    assert!(faults.is_empty(), "{} faults: {faults:#?}", faults.len());
    assert_eq!(metered.left("everybody").await?, LIMIT - charged);
    metered.check().await?;
    Ok(())
}
