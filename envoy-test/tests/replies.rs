//! What callers are told: refusals, quota headers, and what comes of a policy that cannot be evaluated.

use std::error::Error;

use envoy_test::{
    client::{Chat, Protocol, client},
    filters::Tollgate,
    metered::{CALLER, Metered, each_caller, only_when},
};
use serde_json::{Value, json};

type Outcome = Result<(), Box<dyn Error>>;

#[tokio::test]
async fn a_refusal_says_what_when_and_how_much() -> Outcome {
    let metered = Metered::start(each_caller(150)).await?;
    for protocol in Protocol::ALL {
        let caller = format!("{protocol:?}");
        let client = client(protocol);
        let ask = async |id: &str| {
            let chat = Chat::default().header(CALLER, &caller);
            metered
                .exchange(&client, &format!("{caller} {id}"), chat)
                .await
        };
        for (id, remaining) in [("1", "150"), ("2", "50")] {
            let admitted = ask(id).await?;
            assert_eq!(
                admitted.headers["x-ratelimit-limit"],
                "150, 150;w=3600;name=\"tokens\""
            );
            assert_eq!(admitted.headers["x-ratelimit-remaining"], remaining);
            assert!(!admitted.headers.contains_key("retry-after"));
        }
        let refused = ask("3").await?;
        assert_eq!(refused.status, 429);
        let header = |name: &str| refused.headers[name].to_str().unwrap_or_default();
        assert_eq!(header("content-type"), "application/json");
        assert_eq!(
            header("x-ratelimit-limit"),
            "150, 150;w=3600;name=\"tokens\""
        );
        assert_eq!(header("x-ratelimit-remaining"), "0");
        let retry_after: u64 = header("retry-after").parse()?;
        assert!((3_000..=3_600).contains(&retry_after), "{retry_after}");
        assert_eq!(header("x-ratelimit-reset"), header("retry-after"));
        let body: Value = serde_json::from_slice(&refused.body)?;
        let error = &body["error"];
        assert_eq!(error["code"], "rate_limit_exceeded");
        assert!(error["type"].is_string() && error["param"].is_null());
        let message = error["message"].as_str().unwrap_or_default();
        assert!(
            message.contains("\"tokens\"") && message.contains("150"),
            "{message}"
        );
    }
    metered.check().await?;
    Ok(())
}

#[tokio::test]
async fn replies_are_as_configured() -> Outcome {
    let mut configuration = each_caller(100);
    configuration["replies"] = json!({
        "status": 503, "body": "<p>Come back later</p>", "contentType": "text/html; charset=utf-8",
    });
    let mut metered = Metered::start(configuration.clone()).await?;
    let client = client(Protocol::Http2);
    let ask = async |metered: &Metered, id: &str| {
        let chat = Chat::default().header(CALLER, "alice");
        metered.exchange(&client, id, chat).await
    };
    let quota = |headers: &reqwest::header::HeaderMap| {
        headers
            .keys()
            .any(|name| name.as_str().starts_with("x-ratelimit-"))
    };
    assert!(!quota(&ask(&metered, "1").await?.headers));
    let refused = ask(&metered, "2").await?;
    assert_eq!(refused.status, 503);
    assert_eq!(refused.headers["content-type"], "text/html; charset=utf-8");
    assert_eq!(refused.body, "<p>Come back later</p>");
    assert!(refused.headers.contains_key("retry-after"));
    // A refusal says what it refuses for, unless told not to.
    assert!(quota(&refused.headers));

    configuration["replies"]["headers"] = json!("none");
    metered.envoy.update(Tollgate::new(configuration)).await?;
    let fresh = envoy_test::client::client(Protocol::Http1);
    let chat = Chat::default().header(CALLER, "alice");
    let refused = metered.exchange(&fresh, "3", chat).await?;
    assert_eq!(refused.status, 503);
    assert!(!quota(&refused.headers));
    Ok(())
}

#[tokio::test]
async fn a_policy_that_cannot_be_evaluated_follows_the_failure_mode() -> Outcome {
    for (mode, status, decision) in [("deny", 500, "failed"), ("allow", 200, "failed_open")] {
        let mut configuration = only_when(r#"int(request.headers["x-level"]) > 1"#, 100);
        configuration["failureMode"] = json!(mode);
        let metered = Metered::start(configuration).await?;
        for protocol in Protocol::ALL {
            let id = format!("{mode} {protocol:?}");
            let client = client(protocol);
            let chat = Chat::default().header("x-level", "high");
            let failed = metered.exchange(&client, &id, chat).await?;
            assert_eq!(failed.status, status, "{id}");
            assert_eq!(failed.entry.tollgate("decision"), Some(decision), "{id}");
            // The caller learns nothing of the policy.
            assert!(!String::from_utf8_lossy(&failed.body).contains("x-level"));

            let without = format!("{id}, without");
            let missing = metered.exchange(&client, &without, Chat::default()).await?;
            assert_eq!(missing.entry.tollgate("decision"), Some("unmatched"));
        }
        let stats = metered.envoy.stats("wasmcustom.tollgate").await?;
        assert_eq!(
            stats["wasmcustom.tollgate.evaluation_errors"], 2,
            "{stats:?}"
        );
        assert_eq!(stats["wasmcustom.tollgate.missing_values"], 2, "{stats:?}");
    }
    Ok(())
}
