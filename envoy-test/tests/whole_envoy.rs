//! The whole Envoy of `examples/envoy`, as its README says how to try it.

use std::{collections::BTreeMap, error::Error, fs};

use envoy_test::{
    example::{Example, Expect, Step},
    workspace,
};
use serde_json::{Value, json};

/// A request with these headers beside its body, and what has to come of it.
fn step(why: &str, headers: &[(&str, &str)], status: u16, told: &[(&str, &str)]) -> Step {
    let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    let told = told
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
            cluster: None,
            costs: BTreeMap::new(),
            headers: told.collect(),
            json: None,
        },
    }
}

#[tokio::test]
async fn it_can_be_tried_with_the_token_of_its_readme() -> Result<(), Box<dyn Error>> {
    let folder = workspace::root().join("examples/envoy");
    let text = fs::read_to_string(folder.join("envoy.yaml"))?;
    // The keys stay where they are.
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
        plays: Vec::new(),
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
            "she has used some",
            &authorized,
            200,
            &[("x-ratelimit-limit", whole)],
        ),
    ] {
        let outcome = running.play(&step).await?;
        assert_eq!(outcome.faults, [""; 0], "{}", step.why);
    }
    Ok(())
}
