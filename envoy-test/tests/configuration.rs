//! A configuration is taken as a whole or refused as a whole, under a running Envoy too, and what callers have
//! spent outlives the change.

use std::error::Error;

use envoy_test::{
    client::{Chat, Protocol, client},
    envoy::{Envoy, Update},
    filters::{Encoding, Tollgate},
    metered::{CALLER, Metered, each_caller, policy},
};
use serde_json::{Value, json};

type Outcome = Result<(), Box<dyn Error>>;

/// Bad configurations, each with what is said about it.
fn refused() -> Vec<(Value, &'static str)> {
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
async fn a_bad_update_is_refused_with_its_path_and_the_old_stays_in_force() -> Outcome {
    let mut metered = Metered::start(each_caller(1_000)).await?;
    let client = client(Protocol::Http1);
    let chat = Chat::default().header(CALLER, "alice");
    assert_eq!(
        chat.send(&client, metered.envoy.address()).await?.status(),
        200
    );
    assert_eq!(metered.left("alice").await?, 900);

    let mut count = 0;
    for encoding in [Encoding::StringValue, Encoding::Struct] {
        for (configuration, fault) in refused() {
            if encoding == Encoding::Struct && !configuration.is_object() {
                continue;
            }
            let tollgate = Tollgate::new(configuration).encoding(encoding);
            let update = metered.envoy.update(tollgate).await?;
            let Update::Rejected(rejection) = update else {
                panic!("{fault}: {update:?}")
            };
            assert!(rejection.log.contains(fault), "{fault}: {rejection}");
            count += 1;
            let rejected = metered
                .envoy
                .stat("listener_manager.lds.update_rejected")
                .await?;
            assert_eq!(rejected, count);
            assert_eq!(metered.left("alice").await?, 900);
        }
    }
    metered.check().await?;
    Ok(())
}

#[tokio::test]
async fn all_faults_are_reported_together() -> Outcome {
    let mut metered = Metered::start(each_caller(1_000)).await?;
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
async fn a_bad_configuration_from_the_start_is_refused() -> Outcome {
    let configuration = json!({ "policies": 5 });
    let started = Envoy::builder()
        .tollgate(Tollgate::new(configuration))
        .start()
        .await;
    let error = started.expect_err("a bad configuration").to_string();
    assert!(error.contains("policies: "), "{error}");
    Ok(())
}

#[tokio::test]
async fn what_is_spent_outlives_an_update() -> Outcome {
    for workers in [1, 2] {
        let mut metered =
            Metered::build(each_caller(1_000), |builder| builder.concurrency(workers)).await?;
        let client = client(Protocol::Http1);
        let chat = Chat::default().header(CALLER, "alice");
        assert_eq!(
            chat.send(&client, metered.envoy.address()).await?.status(),
            200
        );
        assert_eq!(metered.left("alice").await?, 900);

        let with = |limit: u64, window: &str| {
            let mut configuration = each_caller(limit);
            let limits = &mut configuration["policies"][0]["spec"]["limits"];
            limits["tokens"]["rates"][0]["window"] = json!(window);
            Tollgate::new(configuration)
        };
        let mut silent = each_caller(1_000);
        silent["failureMode"] = json!("allow");
        for (what, update, left) in [
            ("something else", Tollgate::new(silent), 900),
            ("a lower limit", with(300, "1h"), 200),
            ("a limit that is spent", with(100, "1h"), 0),
            ("another window begins anew", with(1_000, "2h"), 1_000),
            ("the old window goes on", with(1_000, "1h"), 900),
            (
                "the other encoding",
                with(1_000, "1h").encoding(Encoding::Struct),
                900,
            ),
        ] {
            assert_eq!(
                metered.envoy.update(update).await?,
                Update::Accepted,
                "{what}"
            );
            assert_eq!(
                metered.left("alice").await?,
                left,
                "{what}, {workers} workers"
            );
        }
        metered.check().await?;
    }
    Ok(())
}

#[tokio::test]
async fn an_exchange_ends_under_the_configuration_it_began_under() -> Outcome {
    let mut metered = Metered::start(each_caller(1_000)).await?;
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
    assert_eq!(metered.left("alice").await?, 1_900);
    Ok(())
}

#[tokio::test]
async fn a_policy_alone_is_a_configuration_in_either_encoding() -> Outcome {
    let limits = json!({ "tokens": { "rates": [{ "limit": 100, "window": "1h" }] } });
    for encoding in [Encoding::StringValue, Encoding::Struct] {
        let tollgate = Tollgate::new(policy(limits.clone())).encoding(encoding);
        let metered = Metered::build(json!({}), |builder| builder.tollgate(tollgate)).await?;
        let client = client(Protocol::Http1);
        assert_eq!(
            metered
                .exchange(&client, "1", Chat::default())
                .await?
                .status,
            200
        );
        let exchange = metered.exchange(&client, "2", Chat::default()).await?;
        assert_eq!(exchange.status, 429, "{encoding:?}");
    }
    Ok(())
}
