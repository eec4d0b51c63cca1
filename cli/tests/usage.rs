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

fn usage(log: &str, arguments: &[&str]) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_tollgate"))
        .args(["usage", "--log", "-"])
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(log.as_bytes())
        .unwrap();
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
