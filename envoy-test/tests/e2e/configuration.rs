//! Configuration updates of a running Envoy: valid ones keep recorded usage, invalid ones are rejected as a whole.

use envoy_test::{
    client::{Chat, Protocol, client},
    envoy::{Envoy, Update},
    filters::{Encoding, Tollgate},
    metered::{self, CALLER, Metered, each_caller, policy},
};
use serde_json::{Value, json};

use crate::support::{TestResult, send};

/// A gateway that can be updated, with a limit of 1,000 tokens for each caller.
async fn start(workers: u32) -> Result<Metered, metered::Error> {
    Metered::build(each_caller(1_000), |builder| {
        builder.concurrency(workers).own_process()
    })
    .await
}

/// Invalid configurations, each with a validation error.
fn invalid() -> Vec<(Value, &'static str)> {
    let changed = |change: &dyn Fn(&mut Value)| {
        let mut configuration = each_caller(1_000);
        change(&mut configuration);
        configuration
    };
    let limit = |field: &'static str, value: Value| {
        changed(&move |configuration| {
            let limits = &mut configuration["policies"][0]["spec"]["limits"];
            limits["tokens"][field] = value.clone();
        })
    };
    vec![
        (
            changed(&|configuration| configuration["stroage"] = json!({})),
            "stroage: unknown field, did you mean \"storage\"?",
        ),
        (
            limit(
                "when",
                json!([{ "predicate": "atuh.identity.userid == 'a'" }]),
            ),
            "policies[0].spec.limits.tokens.when[0].predicate: unknown variable \"atuh\", did you mean \"auth\"?",
        ),
        (
            limit("when", json!([{ "predicate": "usage.total_tokens > 5" }])),
            "policies[0].spec.limits.tokens.when[0].predicate: ",
        ),
        (
            limit("rates", json!([{ "limit": 50, "window": "0s" }])),
            "policies[0].spec.limits.tokens.rates[0].window: ",
        ),
        (
            limit("counters", json!([{ "expression": "1 +" }])),
            "policies[0].spec.limits.tokens.counters[0].expression: ",
        ),
        (
            changed(&|configuration| configuration["failureMode"] = json!("perhaps")),
            "failureMode: ",
        ),
        (json!([]), "configuration: "),
        (json!({ "policies": [] }), "policies: "),
    ]
}

#[tokio::test]
async fn invalid_update_is_rejected_and_old_configuration_stays() -> TestResult {
    let mut metered = start(1).await?;
    assert_eq!(send(&metered, &Chat::default()).await?, 200);
    assert_eq!(metered.remaining("alice").await?, 900);

    let mut count = 0;
    for encoding in [Encoding::StringValue, Encoding::Struct] {
        for (configuration, expected) in invalid() {
            if encoding == Encoding::Struct && !configuration.is_object() {
                continue;
            }
            let tollgate = Tollgate::new(configuration).encoding(encoding);
            let update = metered.envoy.update(tollgate).await?;
            let Update::Rejected(rejection) = update else {
                panic!("{expected}: {update:?}")
            };
            assert!(rejection.log.contains(expected), "{expected}: {rejection}");
            count += 1;
            let rejected = metered
                .envoy
                .stat("listener_manager.lds.update_rejected")
                .await?;
            assert_eq!(rejected, count);
            assert_eq!(metered.remaining("alice").await?, 900);
        }
    }
    metered.check().await?;
    Ok(())
}

#[tokio::test]
async fn validation_errors_are_reported_together() -> TestResult {
    let mut metered = start(1).await?;
    let mut configuration = each_caller(1_000);
    configuration["failureMode"] = json!("perhaps");
    configuration["replies"]["status"] = json!(200);
    configuration["policies"][0]["kind"] = json!("RateLimitPolicy");
    let update = metered.envoy.update(Tollgate::new(configuration)).await?;
    let Update::Rejected(rejection) = update else {
        panic!("{update:?}")
    };
    for path in ["failureMode: ", "replies.status: ", "policies[0].kind: "] {
        assert!(rejection.log.contains(path), "{path}: {rejection}");
    }
    Ok(())
}

#[tokio::test]
async fn invalid_initial_configuration_is_rejected() -> TestResult {
    let configuration = json!({ "policies": 5 });
    let started = Envoy::builder()
        .tollgate(Tollgate::new(configuration))
        .start()
        .await;
    let error = started.expect_err("an invalid configuration").to_string();
    assert!(error.contains("policies: "), "{error}");
    Ok(())
}

#[tokio::test]
async fn recorded_usage_survives_update() -> TestResult {
    for workers in [1, 2] {
        let mut metered = start(workers).await?;
        assert_eq!(send(&metered, &Chat::default()).await?, 200);
        assert_eq!(metered.remaining("alice").await?, 900);

        let with = |limit: u64, window: &str| {
            let mut configuration = each_caller(limit);
            let limits = &mut configuration["policies"][0]["spec"]["limits"];
            limits["tokens"]["rates"][0]["window"] = json!(window);
            Tollgate::new(configuration)
        };
        let mut failing_open = each_caller(1_000);
        failing_open["failureMode"] = json!("allow");
        for (change, tollgate, left) in [
            ("another setting", Tollgate::new(failing_open), 900),
            ("a lower limit", with(300, "1h"), 200),
            ("an exhausted limit", with(100, "1h"), 0),
            ("another window starts empty", with(1_000, "2h"), 1_000),
            ("the old window continues", with(1_000, "1h"), 900),
            (
                "the other encoding",
                with(1_000, "1h").encoding(Encoding::Struct),
                900,
            ),
        ] {
            let update = metered.envoy.update(tollgate).await?;
            assert_eq!(update, Update::Accepted, "{change}");
            let actual = metered.remaining("alice").await?;
            assert_eq!(actual, left, "{change}, {workers} workers");
        }
        metered.check().await?;
    }
    Ok(())
}

#[tokio::test]
async fn exchange_in_flight_survives_update() -> TestResult {
    let mut metered = start(1).await?;
    let chat = Chat::default()
        .stream(true)
        .header(CALLER, "alice")
        .header("x-test-id", "1")
        .header("x-mock-chunk-delay-ms", 5);
    let client = client(Protocol::Http1);
    let mut response = chat.send(&client, metered.envoy.address()).await?;
    assert!(response.chunk().await?.is_some());
    let update = metered
        .envoy
        .update(Tollgate::new(each_caller(2_000)))
        .await?;
    assert_eq!(update, Update::Accepted);
    response.bytes().await?;
    assert_eq!(
        metered.envoy.logged("1").await?.tollgate("total_tokens"),
        Some("100")
    );
    assert_eq!(metered.remaining("alice").await?, 1_900);
    Ok(())
}

#[tokio::test]
async fn bare_policy_is_valid_in_either_encoding() -> TestResult {
    let limits = json!({ "tokens": { "rates": [{ "limit": 100, "window": "1h" }] } });
    for encoding in [Encoding::StringValue, Encoding::Struct] {
        let tollgate = Tollgate::new(policy(limits.clone())).encoding(encoding);
        let metered = Metered::build(json!({}), |builder| builder.tollgate(tollgate)).await?;
        let client = client(Protocol::Http1);
        for (id, status) in [("1", 200), ("2", 429)] {
            let exchange = metered.exchange(&client, id, Chat::default()).await?;
            assert_eq!(exchange.status, status, "{encoding:?}");
        }
    }
    Ok(())
}
