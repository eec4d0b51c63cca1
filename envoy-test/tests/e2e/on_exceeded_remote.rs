//! `onExceeded` with counters in a rate limit service.

use envoy_test::{
    client::{self, Chat, client},
    metered::{CALLER, configuration},
    remote::{self, Protocol, gateway, wait_for_counted},
};
use serde_json::{Value, json};

use crate::{
    fixtures::{FALLBACK_OUTCOMES, fallbacks, hourly_with},
    support::{TestResult, silent_chat, spawn_chat, start_holding_headers, wait_for_metric},
};

#[tokio::test]
async fn service_rejection_falls_back_to_another_model() -> TestResult {
    for protocol in [Protocol::Reserve, Protocol::CheckReport] {
        let mut configuration = fallbacks();
        configuration["storage"] = protocol.storage();
        let limitador = remote::limitador(&configuration)?.start().await?;
        let address = limitador.address();
        let metered = start_holding_headers(configuration, true, |builder| {
            remote::cluster(builder, address)
        })
        .await?;
        let mut counted = 0;
        for http in client::Protocol::ALL {
            for stream in [false, true] {
                let client = client(http);
                let caller = format!("{http:?} {stream}");
                let chat = Chat::default().field("model", "large");
                let chat = if stream { chat.stream(false) } else { chat };
                let chat = chat.header(CALLER, &caller);
                for (number, (status, decision, model)) in FALLBACK_OUTCOMES.into_iter().enumerate()
                {
                    let id = format!("{protocol:?} {caller} {number}");
                    let exchange = metered.exchange(&client, &id, chat.clone()).await?;
                    assert_eq!(exchange.status, status, "{id}");
                    assert_eq!(exchange.entry.tollgate("decision"), Some(decision), "{id}");
                    if status != 200 {
                        continue;
                    }
                    counted += 100;
                    wait_for_counted(&limitador, counted).await?;
                    let received = metered.llm.last_request().ok_or("no request")?;
                    let body: Value = serde_json::from_slice(&received.body)?;
                    assert_eq!(body["model"], model, "{id}");
                    let is_elsewhere = received.headers.contains_key("x-to");
                    assert_eq!(is_elsewhere, decision == "alternative", "{id}");
                }
            }
        }
        metered.check().await?;
    }
    Ok(())
}

#[tokio::test]
async fn queued_request_proceeds_when_other_envoy_releases() -> TestResult {
    let tokens = hourly_with(
        200,
        json!({
            "reservation": { "amount": "200", "ttl": "1h" },
            "onExceeded": { "queue": { "depth": 4, "timeout": "10m" } },
        }),
    );
    let mut configuration = configuration(json!({ "tokens": tokens }));
    configuration["storage"] = Protocol::Reserve.storage();
    let limitador = remote::limitador(&configuration)?.start().await?;
    let reserving = gateway(configuration.clone(), limitador.address(), 1).await?;
    let queuing = gateway(configuration, limitador.address(), 1).await?;
    let http2 = || client(client::Protocol::Http2);
    let first = spawn_chat(&reserving, &http2(), "first", silent_chat());
    reserving.llm.wait_for_requests(1).await?;
    let second = spawn_chat(&queuing, &http2(), "second", Chat::default());
    let third = spawn_chat(&queuing, &http2(), "third", Chat::default());
    wait_for_metric(&queuing.envoy, "queued", 2).await?;
    assert_eq!(queuing.llm.requests(), 0);
    first.abort();
    let first = reserving.envoy.logged("first").await?;
    let used = first.tollgate_number("total_tokens").ok_or("not charged")?;
    // One after the other: each is admitted alone, as at least one token remains.
    for response in [second, third] {
        let response = response.await??;
        assert_eq!(response.status(), 200);
        response.bytes().await?;
    }
    for id in ["second", "third"] {
        let entry = queuing.envoy.logged(id).await?;
        assert_eq!(entry.tollgate("decision"), Some("queued"), "{entry:?}");
    }
    // The service reports no more than the limit.
    assert!(used > 0);
    wait_for_counted(&limitador, 200).await?;
    reserving.check().await?;
    queuing.check().await?;
    Ok(())
}
