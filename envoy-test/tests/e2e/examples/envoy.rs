//! The Envoy of `examples/envoy`, with the token of its README.

use std::fs;

use envoy_test::{
    example::{Example, Expect, Step},
    workspace,
};
use serde_json::{Value, json};

use crate::support::TestResult;

/// A chat with these headers, and the expected status and response headers.
fn step(why: &str, headers: &[(&str, &str)], status: u16, expected: &[(&str, &str)]) -> Step {
    let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    let expected = expected
        .iter()
        .map(owned)
        .map(|(name, value)| (name, Some(value)));
    let served = status == 200;
    Step {
        why: why.to_owned(),
        path: "/v1/chat/completions".to_owned(),
        headers: headers.iter().map(owned).collect(),
        body: Some(
            json!({ "model": "gpt-4o", "messages": [{ "role": "user", "content": "Hello" }] }),
        ),
        model: Some([40, 60]),
        times: 1,
        expect: Expect {
            status,
            tokens: if served { 100 } else { 0 },
            headers: expected.collect(),
            ..Expect::default()
        },
        ..Step::default()
    }
}

#[tokio::test]
async fn readme_token_authenticates() -> TestResult {
    let folder = workspace::root().join("examples/envoy");
    let text = fs::read_to_string(folder.join("envoy.yaml"))?;
    // The keys are read from the example's folder.
    let keys = folder.join("jwks.json");
    let text = text.replace("/etc/envoy/jwks.json", &keys.display().to_string());
    let readme = fs::read_to_string(folder.join("README.md"))?;
    let (_, rest) = readme.split_once("$ TOKEN=").ok_or("no token")?;
    let (token, _) = rest.split_once('\n').ok_or("no token")?;
    let token = format!("Bearer {token}");

    let example = Example {
        configuration: Value::Null,
        envoy: serde_norway::from_str(&text)?,
        limits: None,
        scenarios: Vec::new(),
    };
    let mut running = example.start().await?;
    let whole = "20000, 20000;w=60;name=\"each-user\"";
    let authorized = [("authorization", token.as_str())];
    for step in [
        step("without a token", &[], 401, &[]),
        step(
            "alice",
            &authorized,
            200,
            &[
                ("x-ratelimit-limit", whole),
                ("x-ratelimit-remaining", "20000"),
            ],
        ),
        step(
            "alice again",
            &authorized,
            200,
            &[("x-ratelimit-limit", whole)],
        ),
    ] {
        let outcome = running.run(&step).await?;
        assert_eq!(outcome.mismatches, [""; 0], "{}", step.why);
    }
    Ok(())
}
