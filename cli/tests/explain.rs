//! `tollgate explain`, as a user calls it.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use serde_json::{Value, json};

const POLICY: &str = r#"
policies:
- apiVersion: kuadrant.io/v1alpha1
  kind: TokenRateLimitPolicy
  metadata: { name: llm }
  spec:
    targetRef: { group: gateway.networking.k8s.io, kind: Gateway, name: llm }
    limits:
      free:
        when: [ { predicate: 'auth.tier == "free"' }, { predicate: 'requestBodyJSON("/model") != "tiny"' } ]
        rates: [ { limit: 50, window: 1m } ]
        counters: [ { expression: auth.user } ]
      gold:
        when: [ { predicate: 'request.headers["x-tier"] == "gold"' } ]
        requests: [ { limit: 1, window: 1h } ]
AUTH
"#;

const AUTH: &str = r#"{ "user": "alice", "tier": "free" }"#;
const REQUEST: &str = r#"{ "path": "/v1/chat/completions", "body": { "model": "m" } }"#;
const RESPONSE: &str = r#"{ "model": "m", "usage": { "prompt_tokens": 5, "completion_tokens": 35, "total_tokens": 40 } }"#;

struct Files(tempfile::TempDir);

impl Files {
    fn new(source: &str) -> Self {
        let files = Self(tempfile::tempdir().unwrap());
        files.write("config", &POLICY.replace("AUTH", source));
        files.write("request", REQUEST);
        files.write("auth", AUTH);
        files.write("response", RESPONSE);
        files
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
    }

    fn explain(&self, with: &[&str], more: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tollgate"));
        command.arg("explain");
        for name in ["config", "request"].iter().chain(with) {
            command.arg(format!("--{name}")).arg(self.path(name));
        }
        command.args(more).output().unwrap()
    }

    fn json(&self, with: &[&str], more: &[&str]) -> Value {
        let more: Vec<&str> = more.iter().copied().chain(["--json"]).collect();
        let output = self.explain(with, &more);
        assert!(output.status.success(), "{output:?}");
        serde_json::from_slice(&output.stdout).unwrap()
    }
}

#[test]
fn auth_is_put_where_it_is_read() {
    for source in [
        "",
        "auth: [ { metadata: envoy.filters.http.jwt_authn } ]",
        "auth: [ { filterState: my.auth } ]",
        "auth: [ { header: { user: x-user, tier: x-user-tier } } ]",
    ] {
        let found = Files::new(source).json(&["auth", "response"], &[]);
        assert_eq!(found["decision"], "admitted", "{source}: {found:#}");
        let limit = &found["limits"][0];
        assert_eq!(limit["applies"], true, "{source}");
        assert_eq!(limit["counters"][0]["value"], "alice", "{source}");
        let rate = &limit["rates"][0];
        assert_eq!(rate["before"]["used"], 0);
        assert_eq!(rate["after"]["used"], 40);
        assert_eq!(found["accessLog"]["total_tokens"], "40");
    }
}

#[test]
fn rejections_name_limit_and_headers() {
    let files = Files::new("");
    let found = files.json(
        &["auth", "response"],
        &["--times", "3", "--at", "1700000000"],
    );
    assert_eq!(found["decision"], "denied");
    assert_eq!(found["limit"], "free");
    assert_eq!(found["status"], 429);
    assert_eq!(found["headers"]["retry-after"], "60");
    assert_eq!(found["limits"][0]["rates"][0]["before"]["used"], 80);
    let text = files.explain(&["auth", "response"], &["--times", "3"]);
    let text = String::from_utf8(text.stdout).unwrap();
    assert!(
        text.starts_with("decision: denied, limit free\nstatus: 429\n"),
        "{text}"
    );
}

#[test]
fn predicates_show_what_they_read() {
    let files = Files::new("");
    files.write("request", r#"{ "path": "/v1/chat/completions", "headers": { "x-tier": "silver" }, "body": { "model": "tiny" } }"#);
    let found = files.json(&["auth"], &[]);
    assert_eq!(found["decision"], "unmatched", "{found:#}");
    let [free, gold] = [&found["limits"][0], &found["limits"][1]];
    assert_eq!(free["when"][0]["reads"], json!({ "auth.tier": "free" }));
    assert_eq!(
        free["when"][1]["reads"],
        json!({ "requestBodyJSON(\"/model\")": "tiny" })
    );
    assert_eq!(free["when"][1]["value"], false);
    assert_eq!(
        gold["when"][0]["reads"],
        json!({ "request.headers[\"x-tier\"]": "silver" })
    );
    assert_eq!(gold["applies"], false);
}

#[test]
fn streams_of_events_are_metered() {
    let files = Files::new("");
    files.write("response", &format!("data: {RESPONSE}\n\ndata: [DONE]\n\n"));
    let found = files.json(&["auth", "response"], &[]);
    assert_eq!(found["accessLog"]["total_tokens"], "40", "{found:#}");
    assert_eq!(found["accessLog"]["estimated"], "false");
}

#[test]
fn carried_configurations_are_explained() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let files = Files::new("");
    for carrier in [
        "integration/manifests/wasm-plugin.yaml",
        "examples/envoy-ai-gateway/envoy.yaml",
    ] {
        let text = fs::read_to_string(root.join(carrier)).unwrap();
        files.write("config", &text);
        assert!(files.json(&[], &[])["limits"].is_array(), "{carrier}");
    }
}

#[test]
fn misuse_exits_with_code_2() {
    let files = Files::new("auth: [ { header: { user: x-user } } ]");
    files.write("auth", r#"{ "name": "alice" }"#);
    let output = files.explain(&["auth"], &[]);
    assert_eq!(output.status.code(), Some(2));
    let expected = "--auth: auth: found {\"name\":\"alice\"}, expected one of \"user\", which the configuration reads as `auth`\n";
    assert_eq!(String::from_utf8(output.stderr).unwrap(), expected);
    files.write("request", "not a request");
    assert_eq!(files.explain(&[], &[]).status.code(), Some(2));
}
