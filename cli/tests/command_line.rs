//! The program `tollgate`, as a user calls it.

use std::{
    io::Write,
    process::{Command, Output, Stdio},
};

const POLICY: &str = r"
apiVersion: kuadrant.io/v1alpha1
kind: TokenRateLimitPolicy
metadata: { name: llm }
spec:
  targetRef: { group: gateway.networking.k8s.io, kind: Gateway, name: llm }
  limits:
    each-user:
      rates: [ { limit: 1000, window: 1h } ]
      counters: [ { expression: auth.identity.userid } ]
";

/// Runs `tollgate` with these arguments and this standard input.
fn tollgate(arguments: &[&str], input: &str) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_tollgate"))
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
        .write_all(input.as_bytes())
        .unwrap();
    child.wait_with_output().unwrap()
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

#[test]
fn limits_prints_limitador_limits_yaml() {
    let output = tollgate(&["limits", "-"], POLICY);
    assert_eq!(text(&output.stderr), "");
    assert!(output.status.success());
    let expected = r#"- name: each-user
  namespace: default/llm
  max_value: 1000
  seconds: 3600
  conditions:
  - descriptors[0]["tokenlimit.each_user__KEY"] == "1"
  variables:
  - descriptors[0]["auth.identity.userid"]
"#;
    let key = filter_config::descriptor::limit_key(
        filter_config::descriptor::Counted::Tokens,
        "default/llm",
        "each-user",
    );
    let expected = expected.replace("tokenlimit.each_user__KEY", &key);
    assert_eq!(text(&output.stdout), expected);

    let output = tollgate(&["limits", "--domain", "prod", "-"], POLICY);
    assert_eq!(
        text(&output.stdout),
        expected.replace("namespace: default/llm", "namespace: prod")
    );
}

#[test]
fn documented_limits_match_the_example() {
    let example = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../examples/kuadrant/policy.yaml"
    );
    let output = tollgate(&["limits", example], "");
    let documentation = include_str!("../../docs/limitador.md");
    let (_, rest) = documentation.split_once("```yaml\n- name: free\n").unwrap();
    let (limit, _) = rest.split_once("- name: gold\n").unwrap();
    let limit = format!("- name: free\n{limit}- name: gold\n");
    assert!(text(&output.stdout).starts_with(&limit), "{output:?}");
}

#[test]
fn every_validation_error_has_its_path() {
    let wrong = POLICY
        .replace("window: 1h", "window: 60")
        .replace("auth.identity", "atuh.identity");
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(wrong.as_bytes()).unwrap();
    let file = file.path().display().to_string();
    for command in ["check", "limits"] {
        let output = tollgate(&[command, &file], "");
        assert_eq!(output.status.code(), Some(1), "{command}");
        assert_eq!(text(&output.stdout), "");
        let lines: Vec<&str> = text(&output.stderr).lines().collect();
        let place = |path: &str| format!("{file}: spec.limits.each-user.{path}: ");
        assert_eq!(lines.len(), 2, "{lines:#?}");
        assert!(
            lines[0].starts_with(&place("rates[0].window")),
            "{lines:#?}"
        );
        assert!(
            lines[1].starts_with(&place("counters[0].expression")),
            "{lines:#?}"
        );
    }
}

#[test]
fn warnings_are_printed_beside_a_valid_configuration() {
    let without_rates = POLICY.replace("      rates: [ { limit: 1000, window: 1h } ]\n", "");
    let output = tollgate(&["check", "-"], &without_rates);
    assert!(output.status.success());
    assert_eq!(text(&output.stdout), "-: valid, policies: 1, limits: 1\n");
    let warning = "-: warning[counts-nothing]: spec.limits.each-user: found nothing to count, so the limit enforces nothing; ";
    assert!(text(&output.stderr).starts_with(warning), "{output:?}");
}

#[test]
fn strict_checks_fail_on_warnings() {
    for (policy, code) in [
        (POLICY.to_owned(), 0),
        (POLICY.replace("1000", "'1000'"), 1),
    ] {
        let output = tollgate(&["check", "--strict", "-"], &policy);
        assert_eq!(output.status.code(), Some(code), "{output:?}");
        assert_eq!(text(&output.stdout), "-: valid, policies: 1, limits: 1\n");
        let lenient = tollgate(&["check", "-"], &policy);
        assert_eq!(lenient.status.code(), Some(0));
        assert_eq!(lenient.stderr, output.stderr);
    }
}

#[test]
fn every_configuration_of_a_file_is_checked() {
    let lines = POLICY.lines().map(|line| format!("    {line}\n"));
    let carried: String = lines.collect();
    let one = format!("kind: WasmPlugin\nspec:\n  pluginConfig:\n{carried}");
    let two = format!("{one}---\n{}", one.replace("1000", "2000"));
    let output = tollgate(&["check", "-"], &two);
    let line = |position| {
        format!("-: documents[{position}].spec.pluginConfig: valid, policies: 1, limits: 1\n")
    };
    let expected = format!("{}{}", line(0), line(1));
    assert_eq!(text(&output.stdout), expected, "{output:?}");
    let output = tollgate(&["limits", "-"], &two);
    let limits: Vec<serde_json::Value> = serde_norway::from_slice(&output.stdout).unwrap();
    let max = limits.iter().map(|limit| limit["max_value"].as_u64());
    assert_eq!(max.collect::<Vec<_>>(), [Some(1000), Some(2000)]);
}

#[test]
fn errors_beyond_the_bound_are_counted() {
    let unknown: Vec<String> = (0..70).map(|n| format!("      f{n}: 1")).collect();
    let wrong = format!("{POLICY}{}\n", unknown.join("\n"));
    let output = tollgate(&["check", "-"], &wrong);
    let lines: Vec<&str> = text(&output.stderr).lines().collect();
    assert_eq!(lines.len(), 65, "{lines:#?}");
    assert_eq!(lines.last(), Some(&"-: and 6 more"));
}

#[test]
fn unknown_commands_suggest_the_closest_first() {
    let output = tollgate(&["chek"], "");
    assert_eq!(output.status.code(), Some(2));
    let stderr = text(&output.stderr);
    assert!(stderr.contains("'check', 'schema'"), "{stderr}");
}

#[test]
fn carried_configurations_are_checked() {
    let file = |path: &str| format!("{}/../{path}", env!("CARGO_MANIFEST_DIR"));
    for (path, limits) in [
        ("integration/manifests/wasm-plugin.yaml", 1),
        ("examples/envoy/envoy.yaml", 1),
        ("examples/envoy-ai-gateway/envoy.yaml", 6),
    ] {
        let output = tollgate(&["check", &file(path)], "");
        let stdout = text(&output.stdout);
        let expected = format!("limits: {limits}\n");
        assert!(stdout.ends_with(&expected), "{path}: {output:?}");
        assert_eq!(text(&output.stderr), "", "{path}");
    }
    let lines = POLICY.lines().map(|line| format!("    {line}\n"));
    let carried: String = lines.collect();
    let wrong = carried.replace("window: 1h", "window: 60");
    let plugin = format!("kind: WasmPlugin\nspec:\n  pluginConfig:\n{wrong}");
    let output = tollgate(&["check", "-"], &plugin);
    assert_eq!(output.status.code(), Some(1));
    let place = "-: spec.pluginConfig.spec.limits.each-user.rates[0].window: ";
    assert!(text(&output.stderr).starts_with(place), "{output:?}");
}

#[test]
fn yaml_and_json_give_the_same_limits() {
    let policy: serde_json::Value = serde_norway::from_str(POLICY).unwrap();
    let json = tollgate(&["limits", "-"], &policy.to_string());
    assert_eq!(json, tollgate(&["limits", "-"], POLICY));
}

#[test]
fn malformed_documents_are_rejected() {
    let twice = POLICY.replace("kind: Token", "kind: Other\nkind: Token");
    for (input, message) in [
        ("a: [", "invalid YAML: "),
        (twice.as_str(), "kind: duplicate field, expected it once"),
        ("", "configuration: found an empty document"),
        (
            &format!("# Mine\n---\n{POLICY}\n---\n{POLICY}"),
            "documents[1]: duplicate policy \"default/llm\", already given at documents[0]",
        ),
        (
            &format!("{POLICY}\nstorage: {{ type: local }}"),
            "storage: a TokenRateLimitPolicy has no such field; to set it, put the policy into \"policies\" beside it",
        ),
    ] {
        let output = tollgate(&["check", "-"], input);
        assert_eq!(output.status.code(), Some(1));
        assert!(text(&output.stderr).contains(message), "{output:?}");
    }
}

#[test]
fn sliding_windows_are_valid_but_not_for_limitador() {
    let sliding = POLICY.replace("window: 1h", "window: 1h, algorithm: sliding");
    let output = tollgate(&["check", "-"], &sliding);
    assert!(output.status.success(), "{output:?}");
    assert_eq!(text(&output.stdout), "-: valid, policies: 1, limits: 1\n");
    let output = tollgate(&["limits", "-"], &sliding);
    assert_eq!(output.status.code(), Some(1));
    let message = "-: default/llm: limits.each-user.rates[0]: not supported by limitador, expected the algorithm \"fixed\"\n";
    assert_eq!(text(&output.stderr), message);
}

#[test]
fn schema_prints_the_json_schema() {
    let output = tollgate(&["schema"], "");
    let schema: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(schema.get("$schema").is_some());
}
