//! Tests of the rule that a request belongs to.

use std::borrow::Cow;

use proptest::prelude::*;
use serde_json::{Value, json};

use crate::error::ValidationErrors;
use crate::fixtures;
use crate::json as tree;
use crate::path::Path;
use crate::resources::Resources;
use crate::route::host;
use crate::routing::Routing;

fn route(name: &str, hostnames: &[&str], matches: &[Value]) -> Value {
    let rules: Vec<Value> = matches
        .iter()
        .map(|of| json!({ "matches": [of] }))
        .collect();
    fixtures::route(name, &json!({ "hostnames": hostnames, "rules": rules }))
}

fn routing(routes: &[Value]) -> Routing {
    let mut errors = ValidationErrors::default();
    let document = tree::parse(json!(routes).to_string().as_bytes(), &mut errors).unwrap();
    let routes = Resources::read_routes(&document, &Path::Root, &mut errors);
    assert!(errors.is_empty(), "{errors}");
    Routing::new(routes.unwrap())
}

/// The number of the rule of a request with these headers; `-` for none.
fn rule(routing: &Routing, headers: &[(&str, &str)]) -> String {
    let header = |name: &str| {
        let (_, value) = headers.iter().find(|(key, _)| *key == name)?;
        Some(Cow::Owned((*value).to_owned()))
    };
    routing
        .rule(header)
        .unwrap()
        .map_or_else(|| "-".to_owned(), |rule| rule.to_string())
}

#[test]
fn hosts_match_as_in_envoy() {
    let all = [json!({})];
    let routing = routing(&[
        route("host", &["LLM.example.com"], &all),
        route("below", &["*.example.com", "*.a.example.com"], &all),
        route("deeper", &["*.b.example.com"], &all),
    ]);
    for (authority, expected) in [
        ("llm.example.com", "0"),
        ("LLM.Example.COM", "0"),
        ("llm.example.com:8443", "0"),
        ("llm.example.com:", "0"),
        ("x.example.com", "1"),
        ("x.y.example.com", "1"),
        ("x.b.example.com:443", "2"),
        ("b.example.com", "1"),
        ("example.com", "-"),
        (".example.com", "-"),
        ("xexample.com", "-"),
        // Another host to Envoy, unless it is configured to strip the dot before any filter.
        ("llm.example.com.", "-"),
        ("llm.example.com.:443", "-"),
        ("llm.example.com:443:443", "-"),
        ("user@llm.example.com", "1"),
        ("llm.example.com\0", "-"),
        ("[::1]:443", "-"),
        ("[::1]", "-"),
        (":443", "-"),
        ("", "-"),
    ] {
        let found = rule(&routing, &[(":path", "/"), (":authority", authority)]);
        assert_eq!(found, expected, "{authority:?}");
    }
    assert_eq!(rule(&routing, &[(":path", "/")]), "-", "no host at all");
}

#[test]
fn more_specific_matches_win() {
    let routing = routing(&[route(
        "llm",
        &[],
        &[
            json!({ "path": { "type": "PathPrefix", "value": "/" } }),
            json!({ "path": { "type": "RegularExpression", "value": "/v[23]/.*" } }),
            json!({ "path": { "type": "PathPrefix", "value": "/v1/" } }),
            json!({ "path": { "type": "PathPrefix", "value": "/v1/chat" } }),
            json!({ "path": { "type": "Exact", "value": "/v1/chat/completions" } }),
            json!({ "path": { "value": "/v1/chat" }, "method": "POST" }),
            json!({ "path": { "value": "/v1/chat" }, "method": "POST",
                "headers": [{ "name": "X-Tier", "value": "gold" }] }),
            json!({ "path": { "value": "/v1/chat" }, "method": "POST",
                "queryParams": [{ "name": "v", "type": "RegularExpression", "value": "2|3" }] }),
        ],
    )]);
    for (path, headers, expected) in [
        ("/", &[][..], "0"),
        ("/v10", &[], "0"),
        ("/V1", &[], "0"),
        ("/v1", &[], "2"),
        ("/v1?a=/chat", &[], "2"),
        ("/v1/models", &[], "2"),
        ("/v1//chat", &[], "2"),
        ("/v1/chat", &[], "3"),
        ("/v1/chats", &[], "2"),
        ("/v1/chat/completions?x", &[], "4"),
        (
            "/v1/chat/completions",
            &[(":method", "POST"), ("x-tier", "gold")],
            "4",
        ),
        ("/v1/chat/completions/", &[], "3"),
        ("/v1/chat/x", &[(":method", "POST")], "5"),
        ("/v1/chat/x", &[(":method", "post")], "3"),
        (
            "/v1/chat/x",
            &[(":method", "POST"), ("x-tier", "gold")],
            "6",
        ),
        (
            "/v1/chat/x",
            &[(":method", "POST"), ("x-tier", "gold,free")],
            "5",
        ),
        ("/v1/chat/x?v=3", &[(":method", "POST")], "7"),
        ("/v1/chat/x?v=3&v=1", &[(":method", "POST")], "7"),
        ("/v1/chat/x?v=1&v=3", &[(":method", "POST")], "5"),
        ("/v1/chat/x?v=23", &[(":method", "POST")], "5"),
        ("/v2/x", &[], "1"),
        ("/v2", &[], "0"),
        ("/a/v2/x", &[], "0"),
    ] {
        let mut request = vec![(":path", path), (":authority", "h")];
        request.extend(headers);
        assert_eq!(rule(&routing, &request), expected, "{path} {headers:?}");
    }
}

#[test]
fn hosts_decide_before_paths() {
    let routing = routing(&[
        route(
            "any",
            &[],
            &[json!({ "path": { "type": "Exact", "value": "/v1/chat" } })],
        ),
        route(
            "below",
            &["*.example.com"],
            &[json!({ "path": { "value": "/v1/chat" } })],
        ),
        route(
            "host",
            &["llm.example.com"],
            &[json!({ "path": { "value": "/v1" } })],
        ),
    ]);
    for (authority, path, expected) in [
        ("llm.example.com", "/v1/chat", "2"),
        ("x.example.com", "/v1/chat", "1"),
        ("example.org", "/v1/chat", "0"),
        ("example.org", "/v1", "-"),
    ] {
        let found = rule(&routing, &[(":path", path), (":authority", authority)]);
        assert_eq!(found, expected, "{authority} {path}");
    }
}

proptest! {
    /// A host is found whatever its case and port, and nothing else is that host.
    #[test]
    fn hosts_ignore_case_and_port(name in "[a-z]{1,8}(\\.[a-z]{1,8}){0,2}", port in 0_u16.., other in ".{0,20}") {
        prop_assert_eq!(host(&format!("{}:{port}", name.to_uppercase())), &*name);
        prop_assert_eq!(host(&name), &*name);
        let found = host(&other);
        prop_assert!(found.len() <= other.to_ascii_lowercase().len());
    }

    /// The order in which routes are given does not matter.
    #[test]
    fn order_of_routes_has_no_effect(path in "(/(v1|chat|x)){0,3}", swap in any::<bool>()) {
        let mut routes = [
            route("b", &["h"], &[json!({ "path": { "value": "/v1" } })]),
            route("a", &["h"], &[json!({ "path": { "value": "/v1" } })]),
        ];
        let request = [(":path", path.as_str()), (":authority", "h")];
        let in_order = rule(&routing(&routes), &request);
        prop_assert_eq!(&in_order, if path.starts_with("/v1") { "1" } else { "-" });
        if swap {
            routes.reverse();
            let found = rule(&routing(&routes), &request);
            prop_assert_eq!(found, in_order.replace('1', "0"));
        }
    }
}
