//! The usage endpoint, and administration of counters there.

use crate::host::{Buffer, HeaderMap};
use crate::stream::Next;
use crate::stream::tests::harness::{Envoy, MINUTE, configuration};
use proptest::prelude::*;
use serde_json::{Value, json};

const PATH: &str = "/.tollgate/usage";
const ENDPOINT: &str = r#", "usageEndpoint": { "path": "/.tollgate/usage" }"#;
const ADMIN: &str = r#", "usageEndpoint": { "path": "/.tollgate/usage" },
    "admin": { "when": "request.headers[\"x-role\"] == \"admin\"" }"#;
const TRACK: &str = r#", "track": { "top": 10 }"#;
const COUNTER: &str = "?policy=test/llm&limit=free&auth.user=alice";

/// Sends a request to the endpoint, and returns the status and the body of the answer.
fn ask(
    envoy: &Envoy,
    method: &str,
    path: &str,
    others: &[(&str, &str)],
    body: &str,
) -> (u16, String) {
    let mut headers = vec![(":method", method), (":path", path), (":authority", "llm")];
    headers.extend(others);
    let mut stream = envoy.stream();
    envoy.host.set_headers(HeaderMap::Request, &headers);
    let before = envoy.host.replies.borrow().len();
    let next = stream.on_request_headers(body.is_empty());
    if envoy.host.replies.borrow().len() == before && !body.is_empty() {
        envoy.host.set_buffer(Buffer::RequestBody, body.as_bytes());
        stream.on_request_body(body.len(), true);
    } else {
        assert_eq!(next, Next::Pause, "nothing goes to the upstream");
    }
    stream.on_response_headers(false);
    stream.on_log();
    let replies = envoy.host.replies.borrow();
    assert_eq!(replies.len(), before + 1, "one answer");
    let reply = replies.last().unwrap();
    (reply.status, reply.body.clone())
}

fn usage_of(envoy: &Envoy, user: &str) -> Value {
    let (status, body) = ask(envoy, "GET", PATH, &[("x-user", user)], "");
    assert_eq!(status, 200, "{body}");
    serde_json::from_str(&body).unwrap()
}

/// Sends an administrative request.
fn administer(envoy: &Envoy, method: &str, query: &str, body: &str) -> (u16, Value) {
    let headers = [
        ("x-role", "admin"),
        ("x-tollgate-admin", "1"),
        ("content-type", "application/json"),
    ];
    let (status, body) = ask(envoy, method, &format!("{PATH}{query}"), &headers, body);
    (status, serde_json::from_str(&body).unwrap())
}

#[test]
fn caller_learns_what_it_has_used() {
    let envoy = Envoy::with(&configuration("", ENDPOINT));
    envoy.exchange(30);
    let expected = json!({ "limits": [{
        "policy": "test/llm", "limit": "free", "unit": "tokens", "algorithm": "fixed", "window": "1m",
        "limitValue": 50, "used": 30, "reserved": 0, "remaining": 20, "resetSeconds": 60, "scope": "envoy"
    }] });
    assert_eq!(usage_of(&envoy, "alice"), expected);
    assert_eq!(usage_of(&envoy, "bob")["limits"][0]["used"], 0);
    // It was charged nothing, and answers once all is used.
    envoy.exchange(40);
    envoy.host.clock.set(envoy.host.clock.get() + MINUTE / 2);
    assert!(!envoy.exchange(1));
    let usage = usage_of(&envoy, "alice");
    assert_eq!(usage["limits"][0]["used"], 70);
    assert_eq!(usage["limits"][0]["remaining"], 0);
    assert_eq!(usage["limits"][0]["resetSeconds"], 30);
}

#[test]
fn other_paths_are_not_answered() {
    let envoy = Envoy::with(&configuration("", ENDPOINT));
    for path in [
        "/.tollgate/usage/",
        "/.tollgate/usages",
        "//.tollgate/usage",
        "/.tollgate/%75sage",
        "/",
    ] {
        let mut stream = envoy.stream();
        let headers = [(":method", "GET"), (":path", path), ("x-user", "alice")];
        envoy.host.set_headers(HeaderMap::Request, &headers);
        assert_eq!(stream.on_request_headers(true), Next::Continue, "{path}");
        stream.on_log();
    }
    assert!(envoy.host.replies.borrow().is_empty());
}

#[test]
fn caller_without_identity_learns_nothing() {
    let envoy = Envoy::with(&configuration("", ENDPOINT));
    let (status, _) = ask(&envoy, "GET", PATH, &[], "");
    assert_eq!(status, 401);
}

#[test]
fn limits_that_depend_on_the_request_are_conditional() {
    let spec = r#", "when": [{ "predicate": "request.path == \"/v1/chat/completions\"" },
        { "predicate": "auth.user != \"root\"" }]"#;
    let envoy = Envoy::with(&configuration(spec, ENDPOINT));
    envoy.exchange(30);
    let usage = usage_of(&envoy, "alice");
    assert_eq!(usage["limits"][0]["used"], 30);
    assert_eq!(usage["limits"][0]["conditional"], true);
    assert_eq!(usage["limits"][0]["dependsOn"], json!(["request.path"]));
    assert_eq!(usage_of(&envoy, "root"), json!({ "limits": [] }));
}

#[test]
fn counter_of_the_model_has_no_value() {
    let spec = r#", "requests": [{ "limit": 5, "window": "1h" }]"#;
    let json = configuration(spec, ENDPOINT);
    let json = json.replace(
        r#""auth.user" }"#,
        r#""auth.user" }, { "expression": "llm.model" }"#,
    );
    let envoy = Envoy::with(&json);
    let usage = usage_of(&envoy, "alice");
    assert_eq!(usage["limits"][0].get("used"), None);
    assert_eq!(usage["limits"][1]["unit"], "requests");
    assert_eq!(usage["limits"][1]["dependsOn"], json!(["llm"]));
}

#[test]
fn table_is_for_clients_that_prefer_text() {
    let envoy = Envoy::with(&configuration("", ENDPOINT));
    envoy.exchange(30);
    for (accept, is_table) in [
        ("text/plain", true),
        ("text/plain;q=0.9, application/json;q=0.5", true),
        ("text/plain;q=0.5, application/json", false),
        ("*/*", false),
        ("text/plain;q=x", false),
    ] {
        let headers = [("x-user", "alice"), ("accept", accept)];
        let (status, body) = ask(&envoy, "GET", PATH, &headers, "");
        assert_eq!(status, 200);
        assert_eq!(body.starts_with("POLICY"), is_table, "{accept}: {body}");
        assert!(
            !is_table
                || body.contains(
                    "test/llm  free   tokens  1m      50     30    0         20         60s"
                ),
            "{body}"
        );
    }
}

#[test]
fn other_methods_are_not_allowed() {
    let envoy = Envoy::with(&configuration("", ENDPOINT));
    for (method, expected) in [
        ("PUT", 405),
        ("OPTIONS", 405),
        ("POST", 403),
        ("DELETE", 403),
    ] {
        let (status, _) = ask(&envoy, method, PATH, &[("x-user", "alice")], "");
        assert_eq!(status, expected, "{method}");
    }
}

#[test]
fn only_administrators_reach_other_counters() {
    for endpoint in [ENDPOINT, ADMIN] {
        let envoy = Envoy::with(&configuration("", endpoint));
        envoy.exchange(30);
        let path = format!("{PATH}{COUNTER}");
        for method in ["GET", "DELETE", "POST"] {
            let headers = [
                ("x-user", "bob"),
                ("x-tollgate-admin", "1"),
                ("content-type", "application/json"),
            ];
            let (status, body) = ask(&envoy, method, &path, &headers, r#"{"grant":1}"#);
            assert_eq!(
                (status, body.contains("30")),
                (403, false),
                "{method} {body}"
            );
        }
        assert_eq!(usage_of(&envoy, "alice")["limits"][0]["used"], 30);
    }
}

#[test]
fn administrator_reads_resets_and_grants() {
    let envoy = Envoy::with(&configuration("", ADMIN));
    envoy.exchange(60);
    let (status, read) = administer(&envoy, "GET", COUNTER, "");
    assert_eq!(
        (status, &read["limits"][0]["used"]),
        (200, &json!(60)),
        "{read}"
    );
    let (status, granted) = administer(&envoy, "POST", COUNTER, r#"{"grant": 25}"#);
    assert_eq!(
        (status, &granted["granted"]),
        (200, &json!(25)),
        "{granted}"
    );
    assert_eq!(granted["limits"][0]["used"], 35);
    assert!(envoy.exchange(1), "there is room again");
    let positional = "?policy=test/llm&limit=free&counter=alice";
    let (status, reset) = administer(&envoy, "DELETE", positional, "");
    assert_eq!(
        (status, &reset["limits"][0]["used"]),
        (200, &json!(0)),
        "{reset}"
    );
    assert_eq!(usage_of(&envoy, "alice")["limits"][0]["used"], 0);
    let log = envoy.log.lines();
    let audited = log
        .iter()
        .filter(|line| line.1.contains("counter_administered"));
    assert_eq!(audited.count(), 3, "{log:?}");
}

#[test]
fn malformed_administration_changes_nothing() {
    let envoy = Envoy::with(&configuration("", ADMIN));
    envoy.exchange(30);
    for (method, query, body, expected) in [
        ("GET", "?policy=test/llm", "", 400),
        ("GET", "?policy=test/llm&limit=free", "", 400),
        (
            "DELETE",
            "?policy=test/llm&limit=free&counter=alice&counter=bob",
            "",
            400,
        ),
        (
            "DELETE",
            "?policy=test/llm&limit=free&counter=alice&auth.role=x",
            "",
            400,
        ),
        (
            "DELETE",
            "?policy=test/llm&limit=free&auth.user=alice&auth.user=bob&counter=alice",
            "",
            400,
        ),
        ("GET", "?policy=test/llm&limit=other&counter=alice", "", 404),
        ("GET", "?policy=x&limit=free&counter=alice", "", 404),
        ("GET", "?policy=%zz&limit=free", "", 400),
        ("DELETE", "", "", 400),
        ("POST", COUNTER, "{}", 400),
        ("POST", COUNTER, r#"{"grant":-5}"#, 400),
        ("POST", COUNTER, r#"{"grant":0}"#, 400),
        ("POST", COUNTER, r#"{"grant":1.5}"#, 400),
        ("POST", COUNTER, r#"{"grant":99999999999999999999}"#, 400),
        ("POST", COUNTER, r#"{"grant":"5"}"#, 400),
        ("POST", COUNTER, r#"{"grant":5,"unit":"usd"}"#, 400),
        ("POST", COUNTER, r#"{"grant":5,"other":1}"#, 400),
        ("POST", COUNTER, "nonsense", 400),
    ] {
        let (status, answer) = administer(&envoy, method, query, body);
        assert_eq!(status, expected, "{method} {query} {body}: {answer}");
    }
    let nested = "[".repeat(4_000);
    assert_eq!(administer(&envoy, "POST", COUNTER, &nested).0, 400);
    let long = format!("{{\"grant\":{}5}}", " ".repeat(5_000));
    assert_eq!(administer(&envoy, "POST", COUNTER, &long).0, 413);
    assert_eq!(usage_of(&envoy, "alice")["limits"][0]["used"], 30);
}

#[test]
fn changes_from_other_sites_are_rejected() {
    let envoy = Envoy::with(&configuration("", ADMIN));
    envoy.exchange(30);
    let path = format!("{PATH}{COUNTER}");
    let own = ("x-tollgate-admin", "1");
    for (header, expected) in [
        (("x-other", "1"), 403),
        (("sec-fetch-site", "cross-site"), 403),
        (("sec-fetch-site", "same-site"), 403),
        (("origin", "https://evil.example"), 403),
        (("origin", "null"), 403),
        (("origin", "https://llm"), 200),
        (("sec-fetch-site", "same-origin"), 200),
    ] {
        let marked = if header.0 == "x-other" { header } else { own };
        let headers = [("x-role", "admin"), marked, header];
        let (status, body) = ask(&envoy, "DELETE", &path, &headers, "");
        assert_eq!(status, expected, "{header:?}: {body}");
    }
    let headers = [("x-role", "admin"), own, ("content-type", "text/plain")];
    assert_eq!(
        ask(&envoy, "POST", &path, &headers, r#"{"grant":1}"#).0,
        415
    );
}

#[test]
fn service_keeps_its_counters() {
    let storage = r#", "storage": { "type": "limitador", "cluster": "limitador" }"#;
    let envoy = Envoy::with(&configuration("", &format!("{ADMIN}{storage}")));
    assert_eq!(usage_of(&envoy, "alice")["limits"][0]["scope"], "service");
    assert_eq!(administer(&envoy, "DELETE", COUNTER, "").0, 501);
    assert_eq!(administer(&envoy, "POST", COUNTER, r#"{"grant":1}"#).0, 501);
}

#[test]
fn grant_of_a_budget_is_in_dollars() {
    let spec = r#", "budgets": [{ "usd": "1.5", "window": "30d" }]"#;
    let pricing = r#", "pricing": { "m": { "input": "10", "output": "10" } }"#;
    let envoy = Envoy::with(&configuration(spec, &format!("{ADMIN}{pricing}")));
    envoy.exchange(40);
    let used = usage_of(&envoy, "alice")["limits"][1].clone();
    assert_eq!(
        (&used["unit"], &used["limitValue"]),
        (&json!("usd"), &json!(1.5)),
        "{used}"
    );
    assert_eq!(used["used"], json!(0.0004));
    let (status, _) = administer(&envoy, "POST", COUNTER, r#"{"grant":1}"#);
    assert_eq!(status, 400, "the limit has several units");
    let grant = r#"{"grant":0.0001,"unit":"usd"}"#;
    let (status, granted) = administer(&envoy, "POST", COUNTER, grant);
    assert_eq!(
        (status, &granted["granted"]),
        (200, &json!(0.0001)),
        "{granted}"
    );
    assert_eq!(
        usage_of(&envoy, "alice")["limits"][1]["used"],
        json!(0.0003)
    );
    assert_eq!(usage_of(&envoy, "alice")["limits"][0]["used"], 40);
}

/// Checks an object against the properties of a schema.
fn check(value: &Value, schema: &Value) {
    let fields = value.as_object().unwrap();
    for name in schema["required"].as_array().into_iter().flatten() {
        assert!(
            fields.contains_key(name.as_str().unwrap()),
            "{name} {value}"
        );
    }
    for (name, field) in fields {
        let property = &schema["properties"][name];
        assert!(property.is_object(), "{name} is not in the schema");
        if let Some(choices) = property["enum"].as_array() {
            assert!(choices.contains(field), "{name}: {field}");
        }
        match property["type"].as_str() {
            Some("number") => assert!(field.is_number(), "{name}: {field}"),
            Some("integer") => assert!(field.is_u64(), "{name}: {field}"),
            Some("string") => assert!(field.is_string(), "{name}: {field}"),
            Some("array") => assert!(field.is_array(), "{name}: {field}"),
            _ => {}
        }
        if let Some(expected) = property.get("const") {
            assert_eq!(field, expected, "{name}");
        }
    }
}

#[test]
fn answers_have_the_form_of_the_schema() {
    let schema = include_str!("../../../docs/usage-endpoint.schema.json");
    let schema: Value = serde_json::from_str(schema).unwrap();
    let spec = r#", "requests": [{ "limit": 5, "window": "1h", "algorithm": "sliding" }],
        "concurrency": 3, "onExceeded": "allow",
        "budgets": [{ "usd": "1.5", "window": "30d" }],
        "when": [{ "predicate": "request.path == \"/v1/chat/completions\"" }]"#;
    let pricing = r#", "pricing": { "m": { "input": "10", "output": "10" } }"#;
    let envoy = Envoy::with(&configuration(spec, &format!("{ADMIN}{TRACK}{pricing}")));
    envoy.exchange(40);
    let top = administer(&envoy, "GET", "?top=5", "").1;
    check(&top, &schema);
    check(&top["top"][0], &schema["$defs"]["counter"]);
    let grant = r#"{"grant":1,"unit":"tokens"}"#;
    let answers = [
        usage_of(&envoy, "alice"),
        administer(&envoy, "GET", COUNTER, "").1,
        administer(&envoy, "POST", COUNTER, grant).1,
        administer(&envoy, "DELETE", COUNTER, "").1,
    ];
    for answer in answers {
        check(&answer, &schema);
        let rates = answer["limits"].as_array().unwrap();
        assert!(!rates.is_empty(), "{answer}");
        for rate in rates {
            check(rate, &schema["$defs"]["rate"]);
        }
    }
}

proptest! {
    #[test]
    fn any_request_has_one_answer(
        method in "GET|HEAD|POST|DELETE|PUT|[A-Z]{1,8}",
        query in "([?](policy=test/llm&limit=free&counter=alice|top=[0-9]{1,4}|[ -~]{0,40}))?",
        role in "admin|[a-z]{0,5}",
        body in "(\\{\"grant\": ?[-0-9.e]{1,12}\\})|[ -~]{0,60}",
    ) {
        let envoy = Envoy::with(&configuration("", &format!("{ADMIN}{TRACK}")));
        let headers = [
            ("x-role", role.as_str()), ("x-user", "alice"), ("x-tollgate-admin", "1"),
            ("content-type", "application/json"),
        ];
        let (status, answer) = ask(&envoy, &method, &format!("{PATH}{query}"), &headers, &body);
        prop_assert!((200..500).contains(&status), "{status} {answer}");
    }
}
