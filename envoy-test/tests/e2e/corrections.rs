//! Usage reports that later ones replace: an early charge is corrected at the end of the response.

use envoy_test::{
    client::{Chat, Protocol, client},
    metered::{CALLER, Metered, each_caller},
    remote::{self, gateway, wait_for_counted},
};
use serde_json::json;

use crate::{
    fixtures::{AMPLE, hourly_with},
    support::{TestResult, logged_tokens, script, send},
};

const TEXT: &str = r#"data: {"id":"c","object":"chat.completion.chunk","model":"m","choices":[{"index":0,"delta":{"content":"Rivers run."}}]}"#;

const ERROR: &str = r#"data: {"id":"c","object":"chat.completion.chunk","model":"m","error":{"code":502,"message":"hiccup"},"choices":[{"index":0,"delta":{"content":""},"finish_reason":"error"}]}"#;

const DONE: &str = "data: [DONE]";

/// Returns an event that reports 10 input tokens and so many output tokens.
fn usage(output: u64) -> String {
    let total = output + 10;
    format!(
        r#"data: {{"id":"c","object":"chat.completion.chunk","model":"m","choices":[],"usage":{{"prompt_tokens":10,"completion_tokens":{output},"total_tokens":{total}}}}}"#
    )
}

fn stream(events: &[&str]) -> String {
    events.iter().flat_map(|event| [*event, "\n\n"]).collect()
}

/// Returns a chat that is answered by a script.
fn scripted(name: &str) -> Chat {
    Chat::default().stream(true).header("x-mock-script", name)
}

#[tokio::test]
async fn late_reports_are_charged_exactly_in_every_delivery() -> TestResult {
    let metered = Metered::build(each_caller(AMPLE), |builder| builder.concurrency(2)).await?;
    let (preview, report) = (usage(4), usage(90));
    let streams = [
        ("preview first", stream(&[&preview, TEXT, &report, DONE])),
        ("error first", stream(&[TEXT, ERROR, &report, DONE])),
        ("after the end", stream(&[TEXT, DONE, &report])),
        ("twice", stream(&[TEXT, &preview, DONE, &report, DONE])),
    ];
    for (name, body) in &streams {
        script(&metered.llm, name, "text/event-stream", body.clone());
        for protocol in Protocol::ALL {
            let client = client(protocol);
            for (delivery, value) in [
                ("x-mock-none", 1),
                ("x-mock-split", 3),
                ("x-mock-split", 40),
                ("x-mock-split-seed", 1),
                ("x-mock-split-seed", 2),
                ("x-mock-split-seed", 3),
            ] {
                let id = format!("{name}, {protocol:?}, {delivery} {value}");
                let chat = scripted(name).header(CALLER, &id).header(delivery, value);
                let exchange = metered.exchange(&client, &id, chat).await?;
                assert_eq!(exchange.body, *body, "{id}");
                let expected = [Some(10), Some(90), Some(100), Some(0)];
                assert_eq!(logged_tokens(&exchange.entry), expected, "{id}");
                assert_eq!(exchange.entry.tollgate("estimated"), Some("false"), "{id}");
                assert_eq!(metered.remaining(&id).await?, AMPLE - 100, "{id}");
            }
        }
    }
    metered.check().await?;
    Ok(())
}

#[tokio::test]
async fn concurrency_lasts_until_response_ends() -> TestResult {
    let limit = hourly_with(AMPLE, json!({ "concurrency": 1 }));
    let configuration = envoy_test::metered::configuration(json!({ "tokens": limit }));
    let metered = Metered::build(configuration, |builder| builder.concurrency(2)).await?;
    let report = stream(&[TEXT, &usage(90), DONE]);
    script(&metered.llm, "held", "text/event-stream", report.clone());
    // All but the last byte is sent, the whole usage report included.
    let chat = scripted("held")
        .header(CALLER, "alice")
        .header("x-mock-split", report.len() - 1)
        .header("x-mock-hold-after", 1);
    let held = client(Protocol::Http1);
    let mut held = chat.send(&held, metered.envoy.address()).await?;
    let mut received = 0;
    while received < report.len() - 1 {
        received += held.chunk().await?.ok_or("ended")?.len();
    }
    assert_eq!(send(&metered, &Chat::default()).await?, 429, "in flight");
    drop(held);
    metered.envoy.access_log(2).await?;
    assert_eq!(send(&metered, &Chat::default()).await?, 200);
    Ok(())
}

#[tokio::test]
async fn limitador_counts_corrected_charges() -> TestResult {
    for protocol in [remote::Protocol::Reserve, remote::Protocol::CheckReport] {
        let mut configuration = each_caller(AMPLE);
        configuration["storage"] = protocol.storage();
        let limitador = remote::limitador(&configuration)?.start().await?;
        let metered = gateway(configuration, limitador.address(), 1).await?;
        let more = stream(&[TEXT, &usage(40), DONE, &usage(90)]);
        script(&metered.llm, "more", "text/event-stream", more);
        let less = stream(&[TEXT, &usage(90), DONE, &usage(40)]);
        script(&metered.llm, "less", "text/event-stream", less);
        // The first report arrives alone.
        let first = stream(&[TEXT, &usage(40)]).len();
        let slowly = |name: &str| {
            let chat = scripted(name).header("x-mock-split", first);
            chat.header("x-mock-chunk-delay-ms", 100)
        };
        assert_eq!(send(&metered, &slowly("more")).await?, 200);
        wait_for_counted(&limitador, 100).await?;
        assert_eq!(send(&metered, &slowly("less")).await?, 200);
        wait_for_counted(&limitador, 200).await?;
        // 50 too many were counted, by which the next settlement is reduced.
        assert_eq!(send(&metered, &Chat::default()).await?, 200);
        wait_for_counted(&limitador, 250).await?;
    }
    Ok(())
}
