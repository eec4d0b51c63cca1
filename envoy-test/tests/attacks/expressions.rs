//! Expressions that are harmless for most requests, and requests that make them take long or yield much.

use envoy_test::{
    client::{Chat, Protocol, client},
    metered::{CALLER, Metered, configuration},
};
use serde_json::{Value, json};

use crate::gateway::{AMPLE, Outcome, attack, charged, start};

/// Header values of this length fit into one request, three at a time.
const HEADER_BYTES: usize = 28_000;

/// Values in a body of this length are read.
const VALUE_BYTES: usize = 60_000;

/// Where an expression is evaluated.
#[derive(Debug, Clone, Copy)]
enum Place {
    Counter,
    Predicate,
}

/// A limit beside one of [`AMPLE`] tokens for each caller.
fn limits(place: Place, expression: &str) -> Value {
    let mut attacked = json!({ "rates": [{ "limit": AMPLE, "window": "1h" }] });
    match place {
        Place::Counter => {
            attacked["counters"] = json!([{ "expression": expression }]);
            // Requests of others have no value.
            attacked["when"] = json!([{ "predicate": "request.method == 'POST'" }]);
        }
        Place::Predicate => attacked["when"] = json!([{ "predicate": expression }]),
    }
    json!({
        "attacked": attacked,
        "tokens": {
            "rates": [{ "limit": AMPLE, "window": "1h" }],
            "counters": [{ "expression": "auth.identity.userid" }],
        },
    })
}

/// Sends this chat to a gateway with this expression, in both failure modes: it is rejected, or it is charged.
async fn evaluate(name: &str, place: Place, expression: &str, chat: Chat) -> Outcome {
    for mode in ["deny", "allow"] {
        let mut configuration = configuration(limits(place, expression));
        configuration["failureMode"] = mode.into();
        let metered = start(configuration, |builder| builder).await?;
        let chat = chat.clone().header(CALLER, "attacker");
        let status = attack(
            &metered,
            &format!("{name}, {mode}"),
            1,
            send(&metered, &chat),
        )
        .await?;
        let charged = charged(&metered, "attacker").await?;
        match status {
            200 => assert_eq!(charged, 100, "{name}, {mode}"),
            500 => assert_eq!((mode, charged), ("deny", 0), "{name}"),
            other => panic!("{name}, {mode}: status {other}"),
        }
    }
    Ok(())
}

async fn send(metered: &Metered, chat: &Chat) -> Outcome<u16> {
    let client = client(Protocol::Http1);
    let response = chat.send(&client, metered.envoy.address()).await?;
    let status = response.status().as_u16();
    response.bytes().await?;
    Ok(status)
}

/// A chat with these header values.
fn with_headers<const N: usize>(headers: [(&str, String); N]) -> Chat {
    let chat = Chat::default();
    headers
        .into_iter()
        .fold(chat, |chat, (name, value)| chat.header(name, value))
}

/// A chat with a value and a list of so many values in its body.
fn with_body(value: usize, list: usize) -> Chat {
    Chat::default()
        .field("user", "u".repeat(value))
        .field("stop", vec!["m"; list])
}

#[tokio::test]
async fn replacement_of_each_letter_is_bounded() -> Outcome {
    let chat = with_headers([
        ("x-g", "a".repeat(HEADER_BYTES)),
        ("x-org", "b".repeat(HEADER_BYTES)),
    ]);
    let expression = r#"request.headers["x-g"].replace("a", request.headers["x-org"])"#;
    evaluate("replace", Place::Counter, expression, chat).await
}

#[tokio::test]
async fn concatenation_for_each_element_is_bounded() -> Outcome {
    let expression = r#"requestBodyJSON("/stop").map(m, requestBodyJSON("/user") + m).size() > 1"#;
    evaluate(
        "+ in map",
        Place::Predicate,
        expression,
        with_body(VALUE_BYTES, VALUE_BYTES / 4),
    )
    .await
}

#[tokio::test]
async fn join_with_long_separator_is_bounded() -> Outcome {
    let expression = r#"requestBodyJSON("/stop").join(requestBodyJSON("/user"))"#;
    evaluate(
        "join",
        Place::Counter,
        expression,
        with_body(VALUE_BYTES, VALUE_BYTES / 4),
    )
    .await
}

#[tokio::test]
async fn membership_in_split_header_is_bounded() -> Outcome {
    let chat = with_headers([
        ("x-g", "a,".repeat(HEADER_BYTES / 2)),
        ("x-h", "b,".repeat(HEADER_BYTES / 2)),
    ]);
    let expression =
        r#"request.headers["x-g"].split(",").exists(g, g in request.headers["x-h"].split(","))"#;
    evaluate("in, of split", Place::Predicate, expression, chat).await
}

#[tokio::test]
async fn whole_values_in_macro_are_bounded() -> Outcome {
    let header = |letter: &str| letter.repeat(HEADER_BYTES);
    for (name, body) in [
        ("charAt", r#"request.headers["x-h"].charAt(27000) == "z""#),
        ("contains", r#"request.headers["x-h"].contains("z" + g)"#),
        ("==", r#"request.headers["x-h"] == request.headers["x-i"]"#),
        ("matches", r#"request.headers["x-h"].matches("h*z" )"#),
    ] {
        let chat = with_headers([
            ("x-g", "a,".repeat(HEADER_BYTES / 2)),
            ("x-h", header("h")),
            ("x-i", format!("{}i", &header("h")[1..])),
        ]);
        let expression = format!(r#"request.headers["x-g"].split(",").exists(g, {body})"#);
        evaluate(name, Place::Predicate, &expression, chat).await?;
    }
    Ok(())
}

#[tokio::test]
async fn regular_expressions_on_long_text_are_bounded() -> Outcome {
    for (name, pattern) in [
        ("letters of either case", "(?i).*a.*b.*c.*d.*e"),
        ("counted repetitions", "(u{1,30}){1,30}v"),
    ] {
        let expression = format!(r#"requestBodyJSON("/user").matches("{pattern}")"#);
        let chat = with_body(VALUE_BYTES, 1);
        evaluate(name, Place::Predicate, &expression, chat).await?;
    }
    Ok(())
}

#[tokio::test]
async fn regular_expression_routes_on_long_paths_are_bounded() -> Outcome {
    let matches: Vec<_> = (0..32)
        .map(|number| {
            let value = format!("(?i)/.*a.*b.*c.*d.*{number}");
            json!({ "path": { "type": "RegularExpression", "value": value } })
        })
        .collect();
    let mut configuration = configuration(limits(Place::Predicate, "true"));
    configuration["routes"] = json!([{
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "HTTPRoute",
        "metadata": { "name": "llm" },
        "spec": { "rules": [{ "matches": matches }] },
    }]);
    let metered = start(configuration, |builder| builder).await?;
    let path = format!("/v1/{}", "abcd".repeat(14_000));
    let client = client(Protocol::Http1);
    let request = client
        .get(metered.envoy.url(&path))
        .header(CALLER, "attacker");
    attack(&metered, "regular expressions of routes", 1, async {
        request.send().await?.bytes().await?;
        Ok(())
    })
    .await
}
