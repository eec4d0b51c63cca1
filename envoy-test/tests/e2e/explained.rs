//! `tollgate explain` and `tollgate simulate` decide as the module does in an Envoy.

use std::io::Cursor;

use envoy_test::{
    client::{Chat, Protocol, client},
    metered::{CALLER, Metered, configuration},
};
use serde_json::{Value, json};
use tollgate_cli::{
    replay::{Replay, Request, Response, seconds},
    simulate::{self, Options},
};

use crate::support::TestResult;

/// How many random policies there are, each of which applies to the requests of one case.
const CASES: u64 = 40;

/// How many random requests there are of each case.
const REQUESTS: u64 = 8;

/// The time at which the replay begins.
const START: u64 = 1_700_000_000;

/// Random numbers (xorshift64) that are the same in each run.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }

    fn of<'a>(&mut self, values: &[&'a str]) -> &'a str {
        values[usize::try_from(self.below(values.len() as u64)).unwrap_or_default()]
    }
}

/// Returns a random limit for the requests of a case.
fn limit(random: &mut Random, case: u64) -> Value {
    let mut when =
        vec![json!({ "predicate": format!("request.headers[\"x-case\"] == \"{case}\"") })];
    if random.below(2) == 0 {
        when.push(json!({ "predicate": random.of(&[
            "auth.identity.groups.split(\",\").exists(g, g == \"gold\")",
            "llm.model.startsWith(\"a\")",
            "requestBodyJSON(\"/max_tokens\") > 40",
            "request.headers[\"x-tier\"] != \"free\"",
            "llm.max_output_tokens < 50",
            "request.headers.size() > 1 && !(llm.stream == true)",
        ]) }));
    }
    let mut limit = json!({ "when": when });
    if random.below(4) > 0 {
        let counter = random.of(&[
            "auth.identity.userid",
            "llm.model",
            "request.headers[\"x-tier\"]",
        ]);
        limit["counters"] = json!([{ "expression": counter }]);
    }
    let algorithm = random.of(&["fixed", "bucket", "sliding"]);
    match random.below(4) {
        0 => {
            limit["requests"] =
                json!([{ "limit": 1 + random.below(4), "window": "1h", "algorithm": algorithm }]);
        }
        1 => {
            limit["budgets"] =
                json!([{ "usd": format!("0.0{}", 1 + random.below(9)), "window": "1h" }]);
        }
        _ => {
            limit["rates"] = json!([{ "limit": 20 + random.below(300), "window": "24h", "algorithm": algorithm }]);
        }
    }
    if limit.get("rates").is_some() && random.below(3) == 0 {
        limit["cost"] = random
            .of(&[
                "input_tokens",
                "output_tokens * 2",
                "usage.total_tokens + 7",
            ])
            .into();
    }
    match random.below(6) {
        0 => limit["shadow"] = true.into(),
        1 => limit["onExceeded"] = "allow".into(),
        2 => limit["whenMissing"] = "skip".into(),
        _ => {}
    }
    limit
}

/// Returns a random configuration: two limits for each case.
fn policies(random: &mut Random) -> Value {
    let mut limits = json!({});
    for case in 0..CASES {
        for name in ["first", "second"] {
            limits[format!("{name}-{case}")] = limit(random, case);
        }
    }
    let mut configuration = configuration(limits);
    configuration["pricing"] = json!({
        "a1": { "input": "100", "output": "200" }, "b2": { "input": "10", "output": "30" },
    });
    configuration
}

/// Returns a random request of a case, and the tokens of its response.
fn chat(random: &mut Random, case: u64) -> (Chat, Vec<(String, String)>, [u64; 2]) {
    let tokens = [1 + random.below(60), 1 + random.below(60)];
    let mut headers = vec![
        ("x-case".to_owned(), case.to_string()),
        (CALLER.to_owned(), random.of(&["alice", "bob"]).to_owned()),
        (
            "x-groups".to_owned(),
            random.of(&["free", "gold", "free,gold"]).to_owned(),
        ),
        ("x-mock-prompt-tokens".to_owned(), tokens[0].to_string()),
        ("x-mock-completion-tokens".to_owned(), tokens[1].to_string()),
    ];
    if random.below(3) > 0 {
        headers.push(("x-tier".to_owned(), random.of(&["free", "gold"]).to_owned()));
    }
    let mut chat = Chat::new("Hello, what is Kubernetes?", 20 + random.below(60));
    chat = chat.field("model", random.of(&["a1", "b2"]));
    for (name, value) in &headers {
        chat = chat.header(name, value);
    }
    (chat, headers, tokens)
}

/// What is compared of an exchange.
type Compared = Vec<(String, Option<String>)>;

/// The values of the access log that are compared.
const VALUES: [&str; 7] = [
    "decision",
    "limit",
    "total_tokens",
    "input_tokens",
    "usd",
    "model",
    "estimated",
];

/// The response headers that are compared: those that do not depend on the time.
const HEADERS: [&str; 3] = [
    "x-ratelimit-limit",
    "x-ratelimit-remaining",
    "x-ratelimit-alert",
];

#[tokio::test]
async fn replay_and_envoy_agree() -> TestResult {
    let mut random = Random(0x5eed);
    let configuration = policies(&mut random);
    let text = configuration.to_string();
    let parsed = || filter_config::parse(text.as_bytes()).map_err(|errors| errors.to_string());
    let mut replay = Replay::new(parsed()?, seconds(START))?;
    let metered = Metered::start(configuration.clone()).await?;
    let http = client(Protocol::Http1);
    let mut decisions = std::collections::BTreeMap::new();
    let mut log = String::new();
    for number in 0..CASES * REQUESTS {
        let case = number / REQUESTS;
        let (chat, headers, tokens) = chat(&mut random, case);
        let body = chat.body().clone();
        let request = Request {
            method: "POST".to_owned(),
            path: "/v1/chat/completions".to_owned(),
            headers: [("content-type".to_owned(), "application/json".to_owned())]
                .into_iter()
                .chain(headers.clone())
                .collect(),
            body: Some(body.to_string().into_bytes()),
            ..Request::default()
        };
        let outcome = replay.exchange(&request, |_| {
            let [input, output] = tokens;
            let usage = json!({ "prompt_tokens": input, "completion_tokens": output, "total_tokens": input + output });
            let response = json!({ "model": body["model"], "usage": usage, "choices": [] });
            Response::guessed(response.to_string().into_bytes())
        })?;
        let exchange = metered.exchange(&http, &number.to_string(), chat).await?;
        let found = |value: &dyn Fn(&str) -> Option<String>,
                     header: &dyn Fn(&str) -> Option<String>,
                     status: u16| {
            let mut compared: Compared = vec![("status".to_owned(), Some(status.to_string()))];
            compared.extend(VALUES.map(|name| (name.to_owned(), value(name))));
            compared.extend(HEADERS.map(|name| (name.to_owned(), header(name))));
            compared
        };
        let entry = &exchange.entry;
        let in_envoy = found(
            &|name| entry.tollgate(name).map(str::to_owned),
            &|name| Some(exchange.headers.get(name)?.to_str().ok()?.to_owned()),
            exchange.status.as_u16(),
        );
        let explained = found(
            &|name| outcome.values.get(name).cloned(),
            &|name| outcome.header(name).map(str::to_owned),
            outcome.status,
        );
        let limits = &configuration["policies"][0]["spec"]["limits"];
        let of_case = [
            &limits[format!("first-{case}")],
            &limits[format!("second-{case}")],
        ];
        assert_eq!(
            explained, in_envoy,
            "request {number}: {headers:?} {body} {of_case:#?}"
        );
        *decisions.entry(outcome.decision().to_owned()).or_insert(0) += 1;
        log += &line(number, &headers, &body, entry);
    }
    // The requests are worth the name: they have all outcomes.
    for decision in ["admitted", "denied", "shadow_denied", "unmatched"] {
        assert!(
            decisions.get(decision).is_some_and(|count| *count >= 5),
            "{decisions:?}"
        );
    }
    simulated(&log, [parsed()?, parsed()?])
}

/// Returns the line of an access log on an exchange.
fn line(
    number: u64,
    headers: &[(String, String)],
    body: &Value,
    entry: &envoy_test::envoy::AccessLogEntry,
) -> String {
    let mut line = json!({
        "time": START + number / 100, "path": entry.path(), "status": entry.status(),
        "model": body["model"], "max_tokens": body["max_tokens"], "request_bytes": body.to_string().len(),
    });
    for (name, value) in headers {
        line[format!("header.{name}")] = value.as_str().into();
    }
    let names = [
        "decision",
        "limit",
        "input_tokens",
        "output_tokens",
        "total_tokens",
        "cached_tokens",
        "usd",
    ];
    for name in names {
        line[name] = entry.tollgate(name).into();
    }
    format!("{line}\n")
}

/// Simulates the log of a run: each decision is the one of the run.
fn simulated(log: &str, configurations: [filter_config::Configuration; 2]) -> TestResult {
    let options = Options {
        config: "policy".into(),
        log: "log".into(),
        fields: Vec::new(),
        suggest: None,
        decisions: None,
        top: 10,
        reorder: 1000,
        json: true,
    };
    let report = simulate::simulate(&options, configurations, Cursor::new(log), None)?;
    let json = report.json();
    assert_eq!(json["entries"], CASES * REQUESTS);
    assert_eq!(json["skipped"], 0);
    assert_eq!(json["compared"], CASES * REQUESTS);
    assert_eq!(json["differing"], 0, "{json:#}");
    Ok(())
}
