//! `tollgate test`, as a user calls it.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

const POLICY: &str = r"
policies:
- apiVersion: kuadrant.io/v1alpha1
  kind: TokenRateLimitPolicy
  metadata: { name: llm }
  spec:
    targetRef: { group: gateway.networking.k8s.io, kind: Gateway, name: llm }
    limits:
      each:
        rates: [ { limit: 50, window: 1m } ]
        budgets: [ { usd: '10.00', window: 1h } ]
        counters: [ { expression: auth.user } ]
pricing: { m: { input: '1000', output: '1000' } }
";

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn tollgate(directory: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tollgate"));
    command.arg("test").args(arguments);
    command.current_dir(directory).output().unwrap()
}

/// Runs a scenario with these steps.
fn test(steps: &str, arguments: &[&str]) -> (Option<i32>, String, tempfile::TempDir) {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("tollgate.yaml"), POLICY).unwrap();
    let plays = format!("- title: <A> & \"B\"\n  steps:\n{steps}");
    fs::write(directory.path().join("plays.yaml"), plays).unwrap();
    let arguments: Vec<&str> = arguments.iter().copied().chain(["plays.yaml"]).collect();
    let output = tollgate(directory.path(), &arguments);
    let text = [output.stdout, output.stderr].concat();
    (
        output.status.code(),
        String::from_utf8(text).unwrap(),
        directory,
    )
}

#[test]
fn all_examples_have_their_outcomes() {
    let mut files = Vec::new();
    for entry in fs::read_dir(root().join("examples")).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() && path.join("README.md").exists() {
            let names = ["scenarios.yaml", "plays.yaml"].map(|name| path.join(name));
            let found: Vec<&PathBuf> = names.iter().filter(|path| path.exists()).collect();
            assert!(!found.is_empty(), "{} has no scenarios", path.display());
            files.extend(found.into_iter().cloned());
        }
    }
    files.push(root().join("examples/envoy-ai-gateway/metering/scenarios.yaml"));
    let files: Vec<&str> = files.iter().map(|file| file.to_str().unwrap()).collect();
    let output = tollgate(&root(), &files);
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stdout)
    );
}

#[test]
fn unexpected_outcomes_are_reported_with_their_place() {
    let steps = r#"
  - why: first
    path: /v1/chat/completions
    auth: { user: alice }
    body: { model: m }
    model: [ 10, 20 ]
    times: 2
    expect: { status: 200, tokens: 31, usd: "0.03", remaining: { each: 20, "each.budgets[0]": "9.97" } }
"#;
    let (code, text, directory) = test(steps, &["--junit", "results.xml"]);
    assert_eq!(code, Some(1), "{text}");
    let expected = r#"plays.yaml: "<A> & \"B\"", step 1 (first), time 1
  tokens: found 30, expected 31
plays.yaml: "<A> & \"B\"", step 1 (first), time 2
  tokens: found 30, expected 31
  remaining.each: found 0, expected 20
  remaining.each.budgets[0]: found 9.94, expected 9.97
plays.yaml: passed: 0, failed: 2
"#;
    assert_eq!(text, expected);
    let xml = fs::read_to_string(directory.path().join("results.xml")).unwrap();
    let suite = r#"<testsuite name="plays.yaml" tests="2" failures="2" skipped="0">"#;
    assert!(xml.contains(suite), "{xml}");
    let case = r#"<testcase classname="&lt;A&gt; &amp; &quot;B&quot;" name="1. first, time 1"><failure message="tokens: found 30, expected 31"/></testcase>"#;
    assert!(xml.contains(case), "{xml}");
}

#[test]
fn waiting_moves_the_clock() {
    let step = |wait: &str, expect: &str| {
        format!(
            "  - why: x\n    wait: {wait}\n    path: /v1/chat/completions\n    auth: {{ user: alice }}\n    body: {{ model: m }}\n    model: [ 30, 30 ]\n    expect: {{ {expect} }}\n"
        )
    };
    let steps = [
        step("1s", "status: 200, tokens: 60"),
        step(
            "1ms",
            "status: 429, decision: denied, limit: each, headers: { retry-after: '60' }",
        ),
        step("59s", "status: 429, headers: { retry-after: '1' }"),
        step("1s", "status: 200, tokens: 60"),
    ];
    let steps = steps.concat();
    let (code, text, _) = test(&steps, &[]);
    assert_eq!(code, Some(0), "{text}");
    assert_eq!(text, "plays.yaml: passed: 4, failed: 0\n");
}

#[test]
fn answers_are_metered_as_by_the_module() {
    let steps = r#"
  - why: a stream
    path: /v1/messages
    auth: { user: alice }
    body: { model: m, stream: true }
    response:
      body: "event: message_delta\ndata: {\"type\":\"message_delta\",\"usage\":{\"input_tokens\":3,\"output_tokens\":4}}\n\n"
    expect: { status: 200, tokens: 7 }
  - why: an error of the upstream
    path: /v1/chat/completions
    auth: { user: alice }
    body: { model: m }
    response: { status: 503, body: { error: { message: no } } }
    expect: { status: 503 }
  - why: without identity
    path: /v1/chat/completions
    body: { model: m }
    expect: { status: 401, decision: unauthenticated }
"#;
    let (code, text, _) = test(steps, &[]);
    assert_eq!(code, Some(0), "{text}");
}

#[test]
fn wrong_files_exit_with_code_2() {
    for (steps, message) in [
        (
            "  - why: x\n    path: /\n    expekt: {}\n",
            "unknown field `expekt`",
        ),
        (
            "  - why: x\n    path: /\n    wait: 1 minute\n    expect: { status: 200 }\n",
            "step 1 (x): wait: ",
        ),
    ] {
        let (code, text, _) = test(steps, &[]);
        assert_eq!(code, Some(2), "{text}");
        assert!(text.contains(message), "{text}");
    }
    let output = tollgate(&root(), &["no-such-file.yaml"]);
    assert_eq!(output.status.code(), Some(2));
}
