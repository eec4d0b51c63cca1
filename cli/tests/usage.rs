//! `tollgate usage`, as a user calls it.

use std::{
    fmt::Write as _,
    io::Write,
    process::{Command, Output, Stdio},
};

use serde_json::{Value, json};

const LOG: &str = r#"{"time":"2026-01-31T09:30:00Z","user":"alice","team":"a,b","decision":"admitted","model":"m","input_tokens":"5","output_tokens":"95","total_tokens":"100","usd":"0.25"}
{"time":"2026-01-31T09:30:01Z","user":"alice","team":"a,b","tollgate":{"@type":"x","value":{"decision":"admitted","model":"n","total_tokens":7,"input_tokens":7,"output_tokens":0,"usd":"0.000001"}}}
{"time":"2026-01-31T09:30:02Z","user":"bob","decision":"denied","limit":"free","model":"m"}
broken
"#;

/// What the usage endpoint answers to administrators.
const TOP: &str = r#"{"top":[
{"policy":"default/llm","limit":"each-user","counter":{"auth.identity.userid":"alice"},"used":48210,"error":0,"unit":"tokens"},
{"policy":"default/llm","limit":"each-user","counter":{"auth.identity.userid":"b\u001b\"ob"},"used":9120,"error":12,"unit":"tokens"},
{"policy":"default/llm","limit":"teams","counter":{"llm.model":"m","team":"a"},"used":0.000001,"error":0,"unit":"usd"}]}
"#;

fn usage(log: &str, arguments: &[&str]) -> Output {
    run(log, &[&["--log", "-"], arguments].concat())
}

fn admin(answer: &str, arguments: &[&str]) -> Output {
    run(answer, &[&["--admin", "-"], arguments].concat())
}

fn run(input: &str, arguments: &[&str]) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_tollgate"))
        .arg("usage")
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A program that rejects its arguments ends without reading.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    child.wait_with_output().unwrap()
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

#[test]
fn tables_have_a_row_for_each_user() {
    let output = usage(LOG, &[]);
    let expected = "\
user   requests  rejected  input_tokens  output_tokens  total_tokens       usd
alice         2         0            12             95           107  0.250001
bob           1         1             0              0             0      0.00
total         3         1            12             95           107  0.250001
";
    assert_eq!(text(&output.stdout), expected);
    assert!(text(&output.stderr).starts_with("--log: skipped 1 lines, the first is line 4: "));
}

#[test]
fn csv_is_quoted_and_grouped() {
    let output = usage(LOG, &["--by", "team,model", "--format", "csv"]);
    let expected = "\
team,model,requests,rejected,input_tokens,output_tokens,total_tokens,usd
\"a,b\",m,1,0,5,95,100,0.25
\"a,b\",n,1,0,7,0,7,0.000001
-,m,1,1,0,0,0,0.00
";
    assert_eq!(text(&output.stdout), expected);
}

#[test]
fn groups_beyond_the_top_are_one_row() {
    let mut log = String::new();
    for user in 0..1000 {
        writeln!(log, "{}", json!({ "user": user, "total_tokens": user })).unwrap();
    }
    let output = usage(&log, &["--format", "json", "--top", "2"]);
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["rows"][0]["user"], "999");
    assert_eq!(report["rows"][2]["user"], "(others)");
    assert_eq!(report["rows"][2]["requests"], 998);
    assert_eq!(report["total"]["total_tokens"], 499_500);
}

#[test]
fn unknown_groups_exit_with_code_2() {
    let output = usage(LOG, &["--by", "colour"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).starts_with("--by: found \"colour\", expected user, "));
}

#[test]
fn largest_counters_are_a_table() {
    let output = admin(TOP, &[]);
    let expected = "\
policy       limit      counter                     unit        used  error
default/llm  each-user  auth.identity.userid=alice  tokens     48210      0
default/llm  each-user  auth.identity.userid=b_\"ob  tokens      9120     12
default/llm  teams      llm.model=m, team=a         usd     0.000001      0
";
    assert_eq!(text(&output.stdout), expected);
    assert_eq!(text(&output.stderr), "");
}

#[test]
fn largest_counters_are_csv_and_json() {
    let output = admin(TOP, &["--format", "csv", "--top", "2"]);
    let expected = "\
policy,limit,counter,unit,used,error
default/llm,each-user,auth.identity.userid=alice,tokens,48210,0
default/llm,each-user,\"auth.identity.userid=b_\"\"ob\",tokens,9120,12
";
    assert_eq!(text(&output.stdout), expected);
    assert_eq!(
        text(&output.stderr),
        "--admin: left out 1 counters, raise --top\n"
    );
    let output = admin(TOP, &["--format", "json"]);
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(
        report["rows"][2],
        json!({
            "policy": "default/llm", "limit": "teams", "counter": { "llm.model": "m", "team": "a" },
            "used": 0.000_001, "error": 0, "unit": "usd",
        })
    );
}

#[test]
fn truncated_lists_have_a_warning() {
    let output = admin(r#"{"top":[],"truncated":true}"#, &[]);
    assert!(text(&output.stderr).starts_with("--admin: the list is truncated"));
    assert!(output.status.success());
}

#[test]
fn other_answers_exit_with_code_2() {
    for (answer, found) in [
        (r#"{"error":"no access"}"#, "the error \"no access\""),
        (r#"{"limits":[]}"#, "no `top`"),
        ("<html>", "expected value"),
        (r#"{"top":[{"policy":1}]}"#, "invalid type"),
    ] {
        let output = admin(answer, &[]);
        assert_eq!(output.status.code(), Some(2), "{answer}");
        let expected = format!("--admin: found {found}");
        assert!(text(&output.stderr).starts_with(&expected), "{answer}");
    }
    let output = admin(TOP, &["--by", "user"]);
    assert_eq!(output.status.code(), Some(2));
}
