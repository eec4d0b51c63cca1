//! Rules of access: which models requests may name.

use envoy_test::{
    client::{Chat, Protocol, client},
    metered::{CALLER, each_caller},
};
use serde_json::{Value, json};

use crate::{
    fixtures::AMPLE,
    support::{TestResult, start_holding_headers},
};

#[tokio::test]
async fn upstream_receives_only_allowed_models() -> TestResult {
    for hold_headers in [false, true] {
        let mut configuration = each_caller(AMPLE);
        configuration["access"] = json!([
            { "models": ["small*", "large"] },
            { "when": "auth.identity.userid != 'alice'", "models": ["small*"],
              "else": { "code": "not_for_you" } },
        ]);
        let metered = start_holding_headers(configuration, hold_headers, |builder| builder).await?;
        for protocol in Protocol::ALL {
            let client = client(protocol);
            for (caller, model, code) in [
                ("alice", "large", None),
                ("bob", "small-1", None),
                ("bob", "large", Some("not_for_you")),
                ("alice", "other", Some("model_not_allowed")),
            ] {
                let id = format!("{hold_headers} {protocol:?} {caller} {model}");
                let chat = Chat::default().field("model", model).header(CALLER, caller);
                let before = metered.llm.output_tokens();
                let exchange = metered.exchange(&client, &id, chat).await?;
                let is_generated = metered.llm.output_tokens() > before;
                assert_eq!(is_generated, code.is_none(), "{id}");
                let decision = exchange.entry.tollgate("decision");
                let Some(code) = code else {
                    assert_eq!(
                        (exchange.status.as_u16(), decision),
                        (200, Some("admitted"))
                    );
                    continue;
                };
                assert_eq!(
                    (exchange.status.as_u16(), decision),
                    (403, Some("forbidden"))
                );
                assert_eq!(exchange.entry.details(), "tollgate_forbidden");
                assert!(!exchange.headers.contains_key("retry-after"), "{id}");
                let body: Value = serde_json::from_slice(&exchange.body)?;
                assert_eq!(body["error"]["code"], code, "{id}");
            }
        }
        metered.check().await?;
    }
    Ok(())
}
