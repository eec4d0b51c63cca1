//! Usage reports at configured pointers, and those of servers whose shape is known only by its place.

use envoy_test::{
    client::{Chat, Protocol, client},
    metered::{CALLER, Metered, each_caller},
};
use serde_json::json;

use crate::{
    fixtures::AMPLE,
    support::{TestResult, logged_tokens, script},
};

/// A report of two meters, in a body.
const JSON: &str =
    r#"{"answer":"hi","meters":[{"in":30,"out":"7"},{"in":12,"out":1}],"cache":{"hits":8}}"#;

/// The same report, divided over events.
const EVENTS: &str = concat!(
    "data: {\"answer\":\"h\",\"meters\":[{\"in\":30},{\"in\":12}]}\n\n",
    "data: {\"answer\":\"i\",\"meters\":[{\"out\":\"7\"},{\"out\":1}],\"cache\":{\"hits\":8}}\n\n",
    "data: [DONE]\n\n",
);

#[tokio::test]
async fn pointers_by_number_are_charged() -> TestResult {
    let mut configuration = each_caller(AMPLE);
    configuration["usage"] = json!({ "paths": {
        "input": ["/none/0", "/meters/0/in + /meters/1/in"],
        "output": "/meters/0/out + /meters/1/out + /none",
        "cached": ["/cache/hits"],
    } });
    let metered = Metered::start(configuration).await?;
    script(&metered.llm, "json", "application/json", JSON);
    script(&metered.llm, "events", "text/event-stream", EVENTS);
    for protocol in Protocol::ALL {
        for name in ["json", "events"] {
            for split in [None, Some(1), Some(9)] {
                let id = format!("{protocol:?} {name} {split:?}");
                let mut chat = Chat::default()
                    .header("x-mock-script", name)
                    .header(CALLER, &id);
                if let Some(split) = split {
                    chat = chat.header("x-mock-split", split);
                }
                let exchange = metered.exchange(&client(protocol), &id, chat).await?;
                let entry = &exchange.entry;
                let expected = [Some(42), Some(8), Some(50), Some(8)];
                assert_eq!(logged_tokens(entry), expected, "{id}: {entry:?}");
                assert_eq!(entry.tollgate("estimated"), Some("false"), "{id}");
                assert_eq!(metered.remaining(&id).await?, AMPLE - 50, "{id}");
            }
        }
    }
    metered.check().await?;
    Ok(())
}

#[tokio::test]
async fn text_on_path_of_completion_is_estimated() -> TestResult {
    let metered = Metered::start(each_caller(AMPLE)).await?;
    let text = "The river carries silt from the hills down to the plain. ".repeat(20);
    let unknown = json!({ "id": "x", "own_text": text }).to_string();
    script(&metered.llm, "text", "text/plain", text);
    script(&metered.llm, "unknown", "application/json", unknown);
    for name in ["text", "unknown"] {
        let chat = Chat::default()
            .header("x-mock-script", name)
            .header(CALLER, name);
        let exchange = metered
            .exchange(&client(Protocol::Http1), name, chat)
            .await?;
        let entry = &exchange.entry;
        assert_eq!(entry.tollgate("estimated"), Some("true"), "{entry:?}");
        let total = entry.tollgate_number("total_tokens").unwrap_or(0);
        // The text has about 240 tokens.
        assert!((100..800).contains(&total), "{name}: {entry:?}");
        assert_eq!(metered.remaining(name).await?, AMPLE - total);
    }
    metered.check().await?;
    Ok(())
}
