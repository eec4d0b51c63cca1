//! Observability: filter state in the access log, metrics and log lines, without secrets.

use envoy_test::{
    client::{Chat, Protocol, client},
    llm::MODEL,
    metered::{CALLER, Metered, each_caller, only_when},
};

use serde_json::{Value, json};

use crate::support::{TestResult, wait_for_exchanges};

#[tokio::test]
async fn access_log_has_usage_and_decision() -> TestResult {
    let metered = Metered::start(each_caller(100)).await?;
    for protocol in Protocol::ALL {
        let caller = format!("{protocol:?}");
        let client = client(protocol);
        let chat = Chat::default().stream(true).header(CALLER, &caller);
        let id = format!("{caller} 1");
        let admitted = metered.exchange(&client, &id, chat.clone()).await?.entry;
        for (key, value) in [
            ("decision", Some("admitted")),
            ("input_tokens", Some("5")),
            ("output_tokens", Some("95")),
            ("total_tokens", Some("100")),
            ("cached_tokens", Some("0")),
            ("estimated", Some("false")),
            ("model", Some(MODEL)),
            ("limit", None),
        ] {
            assert_eq!(admitted.tollgate(key), value, "{key}");
        }
        let id = format!("{caller} 2");
        let rejected = metered.exchange(&client, &id, chat).await?.entry;
        for (key, value) in [
            ("decision", Some("denied")),
            ("limit", Some("tokens")),
            ("total_tokens", None),
            ("model", None),
        ] {
            assert_eq!(rejected.tollgate(key), value, "{key}");
        }
        assert_eq!(rejected.details(), "tollgate_denied");
    }
    Ok(())
}

#[tokio::test]
async fn access_log_has_exchange_as_record() -> TestResult {
    for form in ["keys", "record", "both"] {
        let mut configuration = each_caller(100);
        configuration["accessLog"] = form.into();
        let metered = Metered::start(configuration).await?;
        let client = client(Protocol::Http1);
        let chat = || Chat::default().header(CALLER, "alice");
        let admitted = metered.exchange(&client, "1", chat()).await?.entry;
        let rejected = metered.exchange(&client, "2", chat()).await?.entry;
        let limits = json!([{
            "name": "default/llm/tokens", "used": 100, "reserved": 0, "limit": 100, "unit": "tokens",
            "window_seconds": 3_600,
        }]);
        let expected = [
            json!({
                "decision": "admitted", "input_tokens": 5, "output_tokens": 95, "total_tokens": 100,
                "cached_tokens": 0, "estimated": false, "model": MODEL, "provider": "openai",
                "limits": limits,
            }),
            json!({
                "decision": "denied", "limit": "tokens", "provider": "openai", "limits": limits,
                "reason": "default/llm/tokens: 100 used and 0 reserved of 100 tokens per 1h",
            }),
        ];
        // What an exchange has that is admitted as usual takes no more calls to Envoy.
        let only_in_record = [1, 0];
        for ((entry, expected), others) in [admitted, rejected]
            .into_iter()
            .zip(expected)
            .zip(only_in_record)
        {
            let has_record = form != "keys";
            assert_eq!(
                *entry.record(),
                if has_record {
                    expected.clone()
                } else {
                    Value::Null
                }
            );
            let keys = if form == "record" {
                0
            } else {
                expected.as_object().map_or(0, serde_json::Map::len) - others
            };
            assert_eq!(entry.tollgate_keys().count(), keys, "{form}");
        }
        metered.check().await?;
    }
    Ok(())
}

#[tokio::test]
async fn metrics_count_without_naming_callers() -> TestResult {
    let metered = Metered::build(each_caller(250), |builder| builder.concurrency(2)).await?;
    for protocol in Protocol::ALL {
        let client = client(protocol);
        for request in 0..5 {
            let chat = Chat::default().header(CALLER, format!("alice-{protocol:?}"));
            let id = format!("{protocol:?} {request}");
            metered.exchange(&client, &id, chat).await?;
        }
    }
    let disconnected = Chat::default()
        .stream(true)
        .header(CALLER, "bob")
        .header("x-test-id", "disconnected")
        .header("x-mock-hold-after", 3);
    let client = client(Protocol::Http1);
    let mut response = disconnected.send(&client, metered.envoy.address()).await?;
    response.chunk().await?;
    drop((response, client));
    let disconnected = metered.envoy.logged("disconnected").await?;
    let estimate = |kind: &str| disconnected.tollgate_number(kind).unwrap_or(0);

    wait_for_exchanges(&metered.envoy, 11).await?;
    let stats = metered.envoy.stats("wasmcustom.").await?;
    let stat = |name: &str| {
        stats
            .get(&format!("wasmcustom.tollgate.{name}"))
            .copied()
            .unwrap_or(0)
    };
    // The name of the model is a tag, in which Envoy may have replaced characters.
    let tokens = |kind: &str| -> u64 {
        let prefix = format!("wasmcustom.tollgate.tokens.kind={kind}.");
        let of_kind = stats.iter().filter(|(name, _)| name.starts_with(&prefix));
        of_kind.map(|(_, value)| value).sum()
    };
    assert_eq!(stat("requests.decision=admitted"), 7, "{stats:?}");
    assert_eq!(
        stat("requests.decision=denied.policy=default/llm.limit=tokens"),
        4,
        "{stats:?}"
    );
    assert_eq!(stat("estimated"), 1, "{stats:?}");
    assert_eq!(
        (stat("evaluation_errors"), stat("storage_errors")),
        (0, 0),
        "{stats:?}"
    );
    assert_eq!(
        tokens("input"),
        6 * 5 + estimate("input_tokens"),
        "{stats:?}"
    );
    assert_eq!(
        tokens("output"),
        6 * 95 + estimate("output_tokens"),
        "{stats:?}"
    );
    let callers = stats
        .keys()
        .any(|name| name.contains("alice") || name.contains("bob"));
    assert!(!callers, "{stats:?}");
    Ok(())
}

#[tokio::test]
async fn rejection_is_logged_once_per_caller_and_window() -> TestResult {
    let metered = Metered::start(each_caller(0)).await?;
    let client = client(Protocol::Http1);
    for request in 0..6 {
        let caller = if request % 2 == 0 { "alice" } else { "bob" };
        let chat = Chat::default().header(CALLER, caller);
        let exchange = metered
            .exchange(&client, &request.to_string(), chat)
            .await?;
        assert_eq!(exchange.status, 429);
    }
    let log = metered.envoy.logs()?;
    let lines = log.lines().filter(|line| line.contains("limit_rejected "));
    let lines: Vec<_> = lines.collect();
    assert_eq!(lines.len(), 2, "{log}");
    assert!(lines.iter().all(|line| line.contains("[info]")), "{log}");
    Ok(())
}

#[tokio::test]
async fn log_has_neither_credentials_nor_prompts() -> TestResult {
    let predicate = r#"int(request.headers["x-level"]) > 1 && requestBodyJSON("/model") != "a""#;
    let mut configuration = only_when(predicate, 0);
    let tokens = &mut configuration["policies"][0]["spec"]["limits"]["tokens"];
    tokens["counters"] = serde_json::json!([{ "expression": "auth.identity.userid" }]);
    let metered = Metered::build(configuration, |builder| builder.wasm_log_level("trace")).await?;
    let client = client(Protocol::Http1);
    // Rejected, failed and unmatched.
    for (level, status) in [("2", 429), ("secret-level", 500), ("0", 200)] {
        let chat = Chat::new("secret-prompt", 100)
            .api_key("secret-key")
            .header("cookie", "secret-cookie")
            .header(CALLER, "secret-caller")
            .header("x-level", level);
        let exchange = metered.exchange(&client, level, chat).await?;
        assert_eq!(exchange.status, status);
    }
    let log = metered.envoy.logs()?;
    assert!(log.contains("limits.tokens.when[0]"), "{log}");
    let secrets = [
        "secret-prompt",
        "secret-key",
        "secret-cookie",
        "secret-level",
    ];
    let secret = log
        .lines()
        .find(|line| secrets.iter().any(|secret| line.contains(secret)));
    assert_eq!(secret, None);
    // The rejection names its counter, once.
    let callers = log.lines().filter(|line| line.contains("secret-caller"));
    assert_eq!(callers.count(), 1, "{log}");
    Ok(())
}
