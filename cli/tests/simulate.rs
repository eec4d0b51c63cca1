//! `tollgate simulate`, as a user calls it.

use std::{fmt::Write, fs, process::Command};

use serde_json::{Value, json};

const POLICY: &str = r"
policies:
- apiVersion: kuadrant.io/v1alpha1
  kind: TokenRateLimitPolicy
  metadata: { name: llm }
  spec:
    targetRef: { group: gateway.networking.k8s.io, kind: Gateway, name: llm }
    limits:
      each-user:
        rates: [ { limit: LIMIT, window: 1h } ]
        counters: [ { expression: auth.identity.userid } ]
      crowd:
        concurrency: 3
        onExceeded: allow
        counters: [ { expression: auth.identity.userid } ]
";

/// The seconds at which logs begin.
const START: u64 = 1_700_000_000;

/// Simulates a log and returns the report, with the decisions by line.
fn simulate(limit: u64, log: &str, arguments: &[&str]) -> (Value, Vec<Value>) {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    fs::write(
        path("policy.yaml"),
        POLICY.replace("LIMIT", &limit.to_string()),
    )
    .unwrap();
    fs::write(path("log"), log).unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_tollgate"))
        .args([
            "simulate",
            "--config",
            "policy.yaml",
            "--log",
            "log",
            "--json",
        ])
        .args(["--decisions", "decisions"])
        .args(arguments)
        .current_dir(directory.path())
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let decisions = fs::read_to_string(path("decisions")).unwrap();
    let decisions = decisions
        .lines()
        .map(|line| serde_json::from_str(line).unwrap());
    let mut decisions: Vec<Value> = decisions.collect();
    decisions.sort_by_key(|decision| decision["line"].as_u64());
    (serde_json::from_slice(&output.stdout).unwrap(), decisions)
}

/// Returns a line of a log: an exchange that begins so many seconds after the start.
fn line(second: u64, millis: u64, user: &str, tokens: u64) -> String {
    let entry = json!({
        "time": START + second, "duration": millis, "path": "/v1/chat/completions", "status": 200, "user": user,
        "model": "m", "input_tokens": tokens.to_string(), "output_tokens": "0", "total_tokens": tokens.to_string(),
    });
    format!("{entry}\n")
}

fn names(decisions: &[Value]) -> Vec<&str> {
    decisions
        .iter()
        .map(|decision| decision["decision"].as_str().unwrap())
        .collect()
}

#[test]
fn entries_are_decided_by_their_own_clock() {
    let log = [
        line(0, 0, "alice", 60),
        line(1, 0, "alice", 60),
        line(2, 0, "alice", 60),
        line(3, 0, "bob", 60),
        line(3599, 0, "alice", 60),
        line(3600, 0, "alice", 60),
    ];
    let (report, decisions) = simulate(100, &log.concat(), &[]);
    let expected = [
        "admitted", "admitted", "denied", "admitted", "denied", "admitted",
    ];
    assert_eq!(names(&decisions), expected);
    let limit = &report["limits"][1];
    assert_eq!(limit["limit"], "each-user");
    assert_eq!(limit["rejected"], 2);
    assert_eq!(
        limit["top"],
        json!([ { "caller": "alice", "rejected": 2, "error": 0 } ])
    );
    assert_eq!(limit["from"], "2023-11-14T22:13:22.000Z");
    // Without rejections alice would use 240 tokens in the first window.
    assert_eq!(report["rates"][0]["usePerWindow"]["max"], 240);
}

#[test]
fn exchanges_are_charged_when_they_end() {
    let log = [
        line(0, 10_000, "alice", 200),
        line(5, 0, "alice", 1),
        line(11, 0, "alice", 1),
    ];
    // Entries are logged at their end, not in the order in which they began.
    let reordered = [&*log[1], &log[0], &log[2]].concat();
    for (log, order) in [(log.concat(), [0, 1, 2]), (reordered, [1, 0, 2])] {
        let (report, decisions) = simulate(100_000, &log, &[]);
        let admitted = order.map(|line: usize| decisions[line]["decision"].clone());
        assert_eq!(admitted, ["admitted", "admitted", "admitted"]);
        let concurrent = report["rates"].as_array().unwrap();
        let concurrent = concurrent
            .iter()
            .find(|rate| rate["path"] == "concurrency")
            .unwrap();
        assert_eq!(concurrent["peakPerCounter"]["max"], 2, "{concurrent:#}");
        let (_, decisions) = simulate(150, &log, &[]);
        assert_eq!(decisions[order[2]]["decision"], "denied");
    }
}

#[test]
fn suggested_limits_reject_few_callers() {
    let mut log = String::new();
    for user in 0..300_u64 {
        for second in 0..5 {
            log += &line(second, 0, &format!("user-{user}"), 1 + user * 7 % 1000);
        }
    }
    let (report, _) = simulate(1, &log, &["--suggest", "99"]);
    let rates = report["rates"].as_array().unwrap();
    let tokens = rates
        .iter()
        .find(|rate| rate["path"] == "rates[0]")
        .unwrap();
    assert_eq!(tokens["counters"], 300);
    let suggested = tokens["suggested"].as_u64().unwrap();
    let (report, _) = simulate(suggested, &log, &["--top", "1000"]);
    let rejected = report["limits"][1]["callers"].as_u64().unwrap();
    assert!(rejected <= 3, "{rejected} of 300 with {suggested}");
    let (report, _) = simulate(suggested / 2, &log, &[]);
    assert!(report["limits"][1]["callers"].as_u64().unwrap() > 3);
}

#[test]
fn csv_with_mapped_names_is_simulated() {
    let mut log = "ts,who,model,tokens\n".to_owned();
    for second in 0..4 {
        writeln!(log, "{},\"alice, \"\"a\"\"\",m,60", START + second).unwrap();
    }
    let fields = "ts=time,who=auth.identity.userid,tokens=total_tokens";
    let (report, decisions) = simulate(100, &log, &["--fields", fields]);
    assert_eq!(
        names(&decisions),
        ["admitted", "admitted", "denied", "denied"]
    );
    assert_eq!(report["limits"][1]["top"][0]["caller"], "alice, \"a\"");
}

#[test]
fn decisions_of_logs_are_compared() {
    let with = |line: String, decision: &str| {
        line.replace(
            "\"model\"",
            &format!("\"decision\":\"{decision}\",\"model\""),
        )
    };
    let log = [
        with(line(0, 0, "alice", 100), "admitted"),
        "not JSON\n".to_owned(),
        with(line(1, 0, "alice", 100), "admitted"),
        "{\"user\":\"alice\"}\n".to_owned(),
    ];
    let (report, _) = simulate(100, &log.concat(), &[]);
    assert_eq!(
        (&report["compared"], &report["differing"]),
        (&json!(2), &json!(1))
    );
    assert_eq!(report["firstDiffering"], 3);
    assert_eq!(report["skipped"], 2);
    assert_eq!(report["firstSkipped"]["line"], 2);
}
