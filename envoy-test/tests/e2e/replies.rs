//! Responses to clients: rejections, quota headers and evaluation errors.

use envoy_test::{
    client::{Chat, Protocol, client},
    envoy::Builder,
    filters::Tollgate,
    llm::Script,
    metered::{CALLER, Metered, each_caller, only_when},
};
use serde_json::{Value, json};

use crate::support::{TestResult, wait_for_exchanges};

#[tokio::test]
async fn rejection_names_limit_and_reset() -> TestResult {
    let metered = Metered::start(each_caller(150)).await?;
    for protocol in Protocol::ALL {
        let caller = format!("{protocol:?}");
        let client = client(protocol);
        let send = async |id: &str| {
            let chat = Chat::default().header(CALLER, &caller);
            let id = format!("{caller} {id}");
            metered.exchange(&client, &id, chat).await
        };
        for (id, remaining) in [("1", "150"), ("2", "50")] {
            let admitted = send(id).await?;
            assert_eq!(
                admitted.headers["x-ratelimit-limit"],
                "150, 150;w=3600;name=\"tokens\""
            );
            assert_eq!(admitted.headers["x-ratelimit-remaining"], remaining);
            assert!(!admitted.headers.contains_key("retry-after"));
        }
        let rejected = send("3").await?;
        assert_eq!(rejected.status, 429);
        let header = |name: &str| rejected.headers[name].to_str().unwrap_or_default();
        assert_eq!(header("content-type"), "application/json");
        assert_eq!(
            header("x-ratelimit-limit"),
            "150, 150;w=3600;name=\"tokens\""
        );
        assert_eq!(header("x-ratelimit-remaining"), "0");
        let reset: u64 = header("x-ratelimit-reset").parse()?;
        assert!((3_000..=3_600).contains(&reset), "{reset}");
        // SDKs would wait for all of it.
        assert!(!rejected.headers.contains_key("retry-after"));
        assert_eq!(header("x-should-retry"), "false");
        let body: Value = serde_json::from_slice(&rejected.body)?;
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
async fn configured_reply_replaces_default() -> TestResult {
    let mut configuration = each_caller(100);
    configuration["replies"] = json!({
        "status": 503, "body": "<p>Come back later</p>", "contentType": "text/html; charset=utf-8",
    });
    let metered = Metered::build(configuration.clone(), Builder::own_process);
    let mut metered = metered.await?;
    let client = client(Protocol::Http2);
    let send = async |metered: &Metered, id: &str| {
        let chat = Chat::default().header(CALLER, "alice");
        metered.exchange(&client, id, chat).await
    };
    let has_quota = |headers: &reqwest::header::HeaderMap| {
        headers
            .keys()
            .any(|name| name.as_str().starts_with("x-ratelimit-"))
    };
    assert!(!has_quota(&send(&metered, "1").await?.headers));
    let rejected = send(&metered, "2").await?;
    assert_eq!(rejected.status, 503);
    assert_eq!(rejected.headers["content-type"], "text/html; charset=utf-8");
    assert_eq!(rejected.body, "<p>Come back later</p>");
    assert_eq!(rejected.headers["x-should-retry"], "false");
    // A rejection has quota headers by default.
    assert!(has_quota(&rejected.headers));

    configuration["replies"]["headers"] = json!("none");
    metered.envoy.update(Tollgate::new(configuration)).await?;
    let new_client = envoy_test::client::client(Protocol::Http1);
    let chat = Chat::default().header(CALLER, "alice");
    let rejected = metered.exchange(&new_client, "3", chat).await?;
    assert_eq!(rejected.status, 503);
    assert!(!has_quota(&rejected.headers));
    Ok(())
}

#[tokio::test]
async fn evaluation_error_follows_failure_mode() -> TestResult {
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
            // The response does not disclose the policy.
            assert!(!String::from_utf8_lossy(&failed.body).contains("x-level"));

            let id = format!("{id}, without the header");
            let missing = metered.exchange(&client, &id, Chat::default()).await?;
            assert_eq!(missing.entry.tollgate("decision"), Some("unmatched"));
        }
        wait_for_exchanges(&metered.envoy, 4).await?;
        let stats = metered.envoy.stats("wasmcustom.tollgate").await?;
        assert_eq!(
            stats["wasmcustom.tollgate.evaluation_errors"], 2,
            "{stats:?}"
        );
        assert_eq!(stats["wasmcustom.tollgate.missing_values"], 2, "{stats:?}");
    }
    Ok(())
}

#[tokio::test]
async fn limit_applies_where_its_predicate_finds_nothing() -> TestResult {
    let predicate = r#"request.headers["x-level"] != "high" && auth.tier != "gold"
        && !("admin" in auth.roles) && !auth.groups.split(",").exists(g, g == "admin")
        && metadata.filter_metadata["a.b"].c != 1 && requestBodyJSON("/n") != 2"#;
    let metered = Metered::start(only_when(predicate, 1000)).await?;
    for protocol in Protocol::ALL {
        let client = client(protocol);
        for (level, decision) in [
            ("low", "admitted"),
            ("high", "unmatched"),
            ("absent", "admitted"),
        ] {
            let id = format!("{protocol:?} {level}");
            let chat = match level {
                "absent" => Chat::default(),
                level => Chat::default().header("x-level", level),
            };
            let exchange = metered.exchange(&client, &id, chat).await?;
            assert_eq!(exchange.entry.tollgate("decision"), Some(decision), "{id}");
        }
    }
    wait_for_exchanges(&metered.envoy, 6).await?;
    let stats = metered.envoy.stats("wasmcustom.tollgate").await?;
    let missing = stats.get("wasmcustom.tollgate.missing_values");
    assert!(missing.is_none_or(|missing| *missing == 0), "{stats:?}");
    Ok(())
}

#[tokio::test]
async fn missing_identity_is_unauthenticated() -> TestResult {
    let metered = Metered::start(each_caller(100)).await?;
    for protocol in Protocol::ALL {
        let client = client(protocol);
        let id = format!("{protocol:?}");
        let rejected = metered.exchange(&client, &id, Chat::default()).await?;
        assert_eq!(rejected.status, 401, "{id}");
        assert_eq!(rejected.headers["www-authenticate"], "Bearer");
        let decision = rejected.entry.tollgate("decision");
        assert_eq!(decision, Some("unauthenticated"), "{id}");
        let body: Value = serde_json::from_slice(&rejected.body)?;
        assert_eq!(body["error"]["code"], "invalid_api_key", "{body}");

        let id = format!("{id} preflight");
        let path = metered.envoy.url("/v1/chat/completions");
        let preflight = client
            .request(reqwest::Method::OPTIONS, path)
            .header("x-test-id", &id)
            .header("origin", "https://chat.example.com")
            .header("access-control-request-method", "POST");
        let status = preflight.send().await?.status();
        assert_ne!(status, 401, "{id}");
        let entry = metered.envoy.logged(&id).await?;
        assert_eq!(entry.tollgate("decision"), Some("unmatched"), "{id}");
    }
    metered.check().await?;
    Ok(())
}

#[tokio::test]
async fn quota_headers_of_upstream_are_replaced() -> TestResult {
    let metered = Metered::start(each_caller(1_000)).await?;
    for (name, status) in [("ok", 200), ("limited", 429)] {
        let headers = [
            ("content-type", "application/json"),
            ("x-ratelimit-limit-tokens", "30000"),
            ("x-ratelimit-limit", "30000"),
            ("retry-after", "7"),
        ];
        let script = Script {
            status,
            headers: headers
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .to_vec(),
            body: "{}".into(),
        };
        metered.llm.script(name, script);
        for protocol in Protocol::ALL {
            let chat = Chat::default()
                .header("x-mock-script", name)
                .header(CALLER, "alice");
            let id = format!("{name} {protocol:?}");
            let exchange = metered.exchange(&client(protocol), &id, chat).await?;
            assert_eq!(exchange.status, status, "{id}");
            let headers = &exchange.headers;
            assert!(!headers.contains_key("x-ratelimit-limit-tokens"), "{id}");
            let limits: Vec<_> = headers.get_all("x-ratelimit-limit").iter().collect();
            assert_eq!(limits, ["1000, 1000;w=3600;name=\"tokens\""], "{id}");
            // An error of the upstream says when to retry it.
            assert_eq!(headers.contains_key("retry-after"), status == 429, "{id}");
        }
    }
    metered.check().await?;
    Ok(())
}

#[tokio::test]
async fn reply_of_a_limit_replaces_that_of_all() -> TestResult {
    let each = |header: &str, reply: Value| {
        let mut limit = json!({
            "rates": [{ "limit": 50, "window": "1h" }],
            "counters": [{ "expression": "auth.identity.userid" }],
            "when": [{ "predicate": format!("'{header}' in request.headers") }],
        });
        if !reply.is_null() {
            limit["reply"] = reply;
        }
        limit
    };
    let quota = json!({
        "status": 403,
        "code": "quota_exceeded",
        "headers": { "x-quota": "monthly", "x-team": "none" },
    });
    let text = json!({ "status": 420, "body": "{limit}: {max} of {policy}" });
    let mut configuration = envoy_test::metered::configuration(json!({
        "quota": each("x-quota-only", quota),
        "text": each("x-text-only", text),
        "plain": each("x-plain-only", Value::Null),
    }));
    let replies = json!({
        "status": 503,
        "contentType": "text/plain",
        "headers": "draft-03",
        "extra": { "x-team": "platform", "x-gateway": "llm" },
    });
    configuration["replies"] = replies;
    let metered = Metered::start(configuration).await?;
    for protocol in Protocol::ALL {
        let client = client(protocol);
        let send = async |only: &str, number: u64| {
            let caller = format!("{protocol:?}");
            let chat = Chat::default().header(CALLER, &caller).header(only, 1);
            let id = format!("{protocol:?} {only} {number}");
            metered.exchange(&client, &id, chat).await
        };
        for only in ["x-quota-only", "x-text-only", "x-plain-only"] {
            let admitted = send(only, 1).await?;
            assert_eq!(admitted.status, 200, "{only}");
            assert!(!admitted.headers.contains_key("x-gateway"), "{only}");
        }
        let quota = send("x-quota-only", 2).await?;
        assert_eq!(quota.status, 403);
        assert_eq!(quota.headers["x-quota"], "monthly");
        assert_eq!(quota.headers["x-team"], "none");
        assert_eq!(quota.headers["x-gateway"], "llm");
        assert_eq!(quota.headers["x-ratelimit-remaining"], "0");
        assert_eq!(quota.entry.tollgate("decision"), Some("denied"));
        assert_eq!(quota.entry.tollgate("limit"), Some("quota"));
        let body: Value = serde_json::from_slice(&quota.body)?;
        assert_eq!(body["error"]["code"], "quota_exceeded", "{body}");

        let text = send("x-text-only", 2).await?;
        assert_eq!(text.status, 420);
        assert_eq!(text.headers["content-type"], "text/plain");
        assert_eq!(text.body, "text: 50 of default/llm");
        assert_eq!(text.headers["x-team"], "platform");

        let plain = send("x-plain-only", 2).await?;
        assert_eq!(plain.status, 503);
        assert!(!plain.headers.contains_key("x-quota"));
        assert_eq!(plain.headers["x-team"], "platform");
    }
    metered.check().await?;
    Ok(())
}
