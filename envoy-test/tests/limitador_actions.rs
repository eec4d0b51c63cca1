//! What becomes of a request that a limitador has no room for: it asks another model, or waits.

use std::error::Error;

use envoy_test::{
    client::{self, Chat, client},
    filters::Tollgate,
    metered::{CALLER, Metered, configuration},
    remote::{self, Protocol, gateway, wait_for_counted},
};
use integration::Limitador;
use serde_json::{Value, json};

type Outcome = Result<(), Box<dyn Error>>;

async fn service(configuration: &Value) -> Result<Limitador, Box<dyn Error>> {
    Ok(remote::limitador(configuration)?.start().await?)
}

#[tokio::test]
async fn another_model_is_asked_where_the_service_has_no_room_for_the_first() -> Outcome {
    for protocol in [Protocol::Reserve, Protocol::CheckReport] {
        let limit = |model: &str, tokens: u64, action: Value| {
            json!({
                "when": [{ "predicate": format!("llm.model == '{model}'") }],
                "rates": [{ "limit": tokens, "window": "1h" }],
                "counters": [{ "expression": "auth.identity.userid" }],
                "onExceeded": action,
            })
        };
        let alternatives = json!({ "alternatives": [
            { "model": "middle" },
            { "model": "small", "headers": { "x-to": "elsewhere" } },
        ] });
        let mut configuration = configuration(json!({
            "large": limit("large", 100, alternatives),
            "middle": limit("middle", 0, json!("deny")),
            "small": limit("small", 200, json!("deny")),
        }));
        configuration["storage"] = protocol.storage();
        configuration["holdHeaders"] = true.into();
        let limitador = service(&configuration).await?;
        let metered = Metered::build(json!({}), |builder| {
            let tollgate = Tollgate::new(configuration).holds_headers(true);
            remote::cluster(builder.tollgate(tollgate), limitador.address())
        });
        let metered = metered.await?;
        let mut served = 0;
        for http in client::Protocol::ALL {
            for stream in [false, true] {
                let client = client(http);
                let caller = format!("{http:?} {stream}");
                let chat = Chat::default().field("model", "large");
                let chat = if stream { chat.stream(false) } else { chat };
                let chat = chat.header(CALLER, &caller);
                for (number, (status, decision, model)) in [
                    (200, "admitted", "large"),
                    (200, "alternative", "small"),
                    (200, "alternative", "small"),
                    (429, "denied", ""),
                ]
                .into_iter()
                .enumerate()
                {
                    let id = format!("{protocol:?} {caller} {number}");
                    let exchange = metered.exchange(&client, &id, chat.clone()).await?;
                    assert_eq!(exchange.status, status, "{id}");
                    assert_eq!(exchange.entry.tollgate("decision"), Some(decision), "{id}");
                    if status != 200 {
                        continue;
                    }
                    served += 100;
                    wait_for_counted(&limitador, served).await?;
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
async fn who_waits_goes_on_when_another_envoy_gives_back_what_it_held() -> Outcome {
    let mut configuration = configuration(json!({ "tokens": {
        "rates": [{ "limit": 200, "window": "1h" }],
        "counters": [{ "expression": "auth.identity.userid" }],
        "reservation": { "amount": "200", "ttl": "1h" },
        "onExceeded": { "queue": { "depth": 4, "timeout": "1m" } },
    } }));
    configuration["storage"] = Protocol::Reserve.storage();
    let limitador = service(&configuration).await?;
    let holding = gateway(configuration.clone(), limitador.address(), 1).await?;
    let waiting = gateway(configuration, limitador.address(), 1).await?;
    let ask = |metered: &Metered, id: &str, chat: Chat| {
        let chat = chat.header(CALLER, "alice").header("x-test-id", id);
        let client = client(client::Protocol::Http2);
        let request = chat.request(&client, metered.envoy.address());
        tokio::spawn(request.send())
    };
    let endless = Chat::default().header("x-mock-silent", 1);
    let first = ask(&holding, "first", endless);
    holding.llm.wait_for_requests(1).await?;
    let second = ask(&waiting, "second", Chat::default());
    let third = ask(&waiting, "third", Chat::default());
    let queued = "wasmcustom.tollgate.queued";
    waiting
        .envoy
        .wait_for_stat(queued, |queued| queued == 2)
        .await?;
    assert_eq!(waiting.llm.requests(), 0);
    first.abort();
    let first = holding.envoy.logged("first").await?;
    let used = first.tollgate_number("total_tokens").ok_or("not charged")?;
    // One after the other: each goes alone, as more than a token is left.
    for asking in [second, third] {
        let answer = asking.await??;
        assert_eq!(answer.status(), 200);
        answer.bytes().await?;
    }
    for id in ["second", "third"] {
        let entry = waiting.envoy.logged(id).await?;
        assert_eq!(entry.tollgate("decision"), Some("queued"), "{entry:?}");
    }
    // It says no more than that a limit is spent.
    assert!(used > 0);
    wait_for_counted(&limitador, 200).await?;
    holding.check().await?;
    waiting.check().await?;
    Ok(())
}
