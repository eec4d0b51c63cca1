//! The worst case of fuel: what takes most CPU time for each step, until an exchange has none left.

use envoy_test::{
    client::{Chat, Protocol, client},
    metered::{CALLER, Metered, configuration, policy},
};
use serde_json::{Value, json};

use crate::gateway::{AMPLE, Outcome, attack, start};

/// The request header that selects the expression to evaluate.
const SELECTED: &str = "x-selected";

/// The requests of an attack, whose mean is printed.
const REQUESTS: u32 = 4;

/// What is done for each element of a list until the fuel is exhausted. In the order of what a step took before it was
/// priced as it is, the worst first.
const WORK: [&str; 18] = [
    "auth == g",
    "request.url_path == g",
    "size(request.headers) == 1",
    "[request.headers, request.headers, request.headers] == [1]",
    "!request.headers.exists(name, true)",
    "auth.identity.none == g",
    r#"double("2.4703282292062327208e-324") == g"#,
    r#"requestBodyJSON("/nested//0//0//0//0//0//0//0//0//0//0//0//0//0//0//0//0//0//0//0//0//0//0//0//0") == g"#,
    "request.referer == g",
    "request.headers == request.headers",
    "string(request.time) == g",
    r#"requestBodyJSON("/user") == g"#,
    "has(request.headers.none)",
    r#"request.headers["x-last"] == g"#,
    r#"has({"a": {"b": {"c": 1}}}.a.b.d)"#,
    "string(1e300) == g",
    r#""".matches("(a?b?){200}x")"#,
    r#"request.headers["x-h"].split("").size() == 1"#,
];

/// Returns a policy that has a limit with each expression. Two of them make an exchange use up all that its evaluations
/// have together.
fn with_work(name: &str, work: &[&str]) -> Value {
    let limits = work.iter().enumerate().map(|(index, work)| {
        let selected = format!("request.headers[\"{SELECTED}\"] == \"{index}\"");
        let expression = format!("requestBodyJSON(\"/list\").exists(g, {work})");
        let limit = json!({
            "rates": [{ "limit": AMPLE, "window": "1h" }],
            "when": [{ "predicate": selected }, { "predicate": expression }],
        });
        (format!("work-{index}"), limit)
    });
    let mut policy = policy(limits.collect::<serde_json::Map<_, _>>().into());
    policy["metadata"]["name"] = name.into();
    policy
}

/// Sends requests that have long and many headers, and values of all kinds in their bodies.
async fn send(metered: &Metered, selected: usize) -> Outcome {
    let nested = (0..60).fold(json!(1), |inner, _| json!({ "": [inner] }));
    let chat = Chat::default()
        .field("list", vec!["m"; 15_000])
        .field("nested", nested)
        .field("user", "é".repeat(30_000));
    let path = format!("/v1/chat/completions?{}", "q".repeat(15_000));
    let client = client(Protocol::Http1);
    for _ in 0..REQUESTS {
        let mut request = client.post(metered.envoy.url(&path)).json(chat.body());
        for number in 0..70 {
            request = request.header(format!("x-{number:04}"), "1");
        }
        let response = request
            .header(SELECTED, selected.to_string())
            .header(CALLER, "c".repeat(12_000))
            .header("x-h", "h".repeat(12_000))
            .header("x-last", "1")
            .send()
            .await?;
        response.error_for_status()?.bytes().await?;
    }
    Ok(())
}

#[tokio::test]
async fn worst_case_of_fuel_is_bounded() -> Outcome {
    let mut configuration = configuration(json!({}));
    let policies = ["one", "other"].map(|name| with_work(name, &WORK));
    configuration["policies"] = json!(policies);
    configuration["failureMode"] = "allow".into();
    let metered = start(configuration, |builder| builder).await?;
    attack(
        &metered,
        "no expression",
        REQUESTS,
        send(&metered, WORK.len()),
    )
    .await?;
    for (index, work) in WORK.iter().enumerate() {
        attack(
            &metered,
            &format!("`{work}`"),
            REQUESTS,
            send(&metered, index),
        )
        .await?;
    }
    Ok(())
}
