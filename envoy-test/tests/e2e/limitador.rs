//! Counters in limitador: enforced as local ones are, and every token is recorded in the service once.

use std::error::Error;

use envoy_test::{
    client::{self, Chat, client},
    metered::{CALLER, Metered, configuration, each_caller},
    redis::Redis,
    remote::{self, Protocol, counted, gateway, wait_for_counted},
    tutorial::{self, Gateway, Step},
    wait,
};
use futures_util::future::join_all;
use integration::{Limitador, calls::Method};
use serde_json::{Value, json};

use crate::{
    fixtures::{AMPLE, hourly_with},
    support::{
        TestResult, count_admitted, generated_tokens, send, send_as, silent_chat, spawn_chat,
    },
};

/// A configuration with its counters in a service.
fn with_storage(mut configuration: Value, protocol: Protocol) -> Value {
    configuration["storage"] = protocol.storage();
    configuration
}

/// [`each_caller`] with a reservation of `amount` that expires after `ttl`.
fn each_caller_reserving(tokens: u64, amount: u64, ttl: &str) -> Value {
    let reservation = json!({ "amount": amount.to_string(), "ttl": ttl });
    configuration(json!({
        "tokens": hourly_with(tokens, json!({ "reservation": reservation })),
    }))
}

/// A service, and a gateway that has its counters there.
async fn start(configuration: &Value) -> Result<(Limitador, Metered), Box<dyn Error>> {
    let limitador = remote::limitador(configuration)?.start().await?;
    let metered = gateway(configuration.clone(), limitador.address(), 2).await?;
    Ok((limitador, metered))
}

/// A service with its counters in a Redis.
async fn start_on(redis: &Redis, configuration: &Value) -> Result<Limitador, Box<dyn Error>> {
    let builder = remote::limitador(configuration)?.redis(&redis.url());
    Ok(builder.start().await?)
}

/// Two gateways with two workers each that have their counters in the service.
async fn two_gateways(
    configuration: &Value,
    limitador: &Limitador,
) -> Result<[Metered; 2], Box<dyn Error>> {
    let address = limitador.address();
    Ok([
        gateway(configuration.clone(), address, 2).await?,
        gateway(configuration.clone(), address, 2).await?,
    ])
}

#[tokio::test]
async fn tutorial_holds_with_each_protocol() -> TestResult {
    for protocol in Protocol::ALL {
        for (stream, http) in [
            (false, client::Protocol::Http1),
            (true, client::Protocol::Http2),
        ] {
            let mut configuration = json!({ "policies": [tutorial::policy()] });
            configuration["storage"] = protocol.storage();
            let domain = "gateway-system/llm";
            configuration["storage"]["domain"] = domain.into();
            let limitador = remote::limitador(&configuration)?.start().await?;
            let address = limitador.address();
            let gateway = Gateway::build(configuration, http, |builder| {
                remote::cluster(builder.concurrency(2), address)
            });
            let gateway = gateway.await?;
            for step in tutorial::steps(stream) {
                let outcome = gateway.run(&step).await?;
                let Step { caller, call, .. } = step;
                assert!(
                    outcome.mismatches.is_empty(),
                    "{protocol:?}, {caller}, {call}: {outcome:?}"
                );
            }
            // The service reports no more than each limit.
            let used = async || {
                let counters = limitador.counters(domain).await?;
                let mut used: Vec<_> = counters.iter().map(|counter| counter.used).collect();
                used.sort_unstable();
                Ok::<_, integration::Error>(used)
            };
            let exhausted = wait::until(
                format!("{protocol:?}: both limits to be exhausted"),
                async || match used().await {
                    Ok(used) => (used == [50, 200]).then_some(Ok(())),
                    Err(error) => Some(Err(error)),
                },
            );
            exhausted.await??;
        }
    }
    Ok(())
}

#[tokio::test]
async fn exchange_makes_two_calls_to_service() -> TestResult {
    for (protocol, methods) in [
        (Protocol::Reserve, [Method::Reserve, Method::Commit]),
        (
            Protocol::CheckReport,
            [Method::CheckRateLimit, Method::Report],
        ),
        (Protocol::EnvoyRls, [Method::ShouldRateLimit; 2]),
    ] {
        let limits = json!({
            "hour": { "rates": [{ "limit": AMPLE, "window": "1h" }, { "limit": AMPLE, "window": "1d" }] },
            "each": {
                "rates": [{ "limit": AMPLE, "window": "1h" }],
                "counters": [{ "expression": "auth.identity.userid" }],
            },
        });
        let (limitador, metered) = start(&with_storage(configuration(limits), protocol)).await?;
        let trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        let chat = Chat::default()
            .header("x-request-id", "6e9d1a52-87d6-4d5f-8a39-1e3fb1f8a001")
            .header("traceparent", trace);
        assert_eq!(send(&metered, &chat).await?, 200);
        // Three counters of 100 tokens; where the check counts as one of them, 99 are reported afterwards.
        wait_for_counted(&limitador, 300).await?;
        let calls = Method::ALL.map(|method| limitador.calls().count(method));
        assert_eq!(calls.iter().sum::<u64>(), 2, "{protocol:?}");
        for method in methods {
            let headers = limitador.calls().last_headers(method).ok_or("no call")?;
            assert_eq!(headers["traceparent"], trace);
            assert!(headers.contains_key("x-request-id"));
        }
        metered.check().await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_envoys_on_one_redis_share_limit() -> TestResult {
    let configuration = with_storage(each_caller_reserving(2_000, 100, "1h"), Protocol::Reserve);
    let redis = Redis::start().await?;
    let start = async || {
        let limitador = start_on(&redis, &configuration).await?;
        let metered = gateway(configuration.clone(), limitador.address(), 2).await?;
        Ok::<_, Box<dyn Error>>((limitador, metered))
    };
    let sides = [start().await?, start().await?];
    // None ends before all have been checked: for a moment, the service counts one that ends twice.
    let chat = Chat::default().header("x-mock-delay-ms", 3_000);
    let responses = (0..64).map(|number| send(&sides[number % 2].1, &chat));
    let admitted = count_admitted(responses).await?;
    let used: u64 = sides
        .iter()
        .map(|(_, metered)| generated_tokens(metered))
        .sum();
    // Exactly as many as fit, across both; either service reports the same usage.
    assert_eq!((admitted, used), (20, 2_000));
    for (limitador, metered) in &sides {
        wait_for_counted(limitador, used).await?;
        metered.check().await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn usage_of_two_envoys_is_recorded_exactly() -> TestResult {
    for protocol in Protocol::ALL {
        let mut configuration = with_storage(each_caller(AMPLE), protocol);
        let flush = if protocol == Protocol::Reserve {
            "0s"
        } else {
            "20ms"
        };
        configuration["storage"]["flush"] = flush.into();
        let redis = Redis::start().await?;
        let limitador = start_on(&redis, &configuration).await?;
        let sides = two_gateways(&configuration, &limitador).await?;
        let chats: Vec<_> = (0..60_usize)
            .map(|number| {
                let chat = Chat::default().header("x-mock-completion-tokens", 1 + number);
                match number % 3 {
                    0 => chat,
                    1 => chat.stream(true),
                    _ => chat.stream(false).header("x-mock-chunk-delay-ms", 5),
                }
            })
            .collect();
        let responses = chats.iter().enumerate().map(|(number, chat)| {
            let caller = if number % 5 == 0 { "bob" } else { "alice" };
            send_as(&sides[number % 2], caller, chat)
        });
        for status in join_all(responses).await {
            assert_eq!(status?, 200);
        }
        wait_for_counted(&limitador, sides.iter().map(generated_tokens).sum()).await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tokens_requests_and_money_are_recorded_exactly() -> TestResult {
    for protocol in [Protocol::Reserve, Protocol::CheckReport] {
        let limit = |counter: &str, requests: u64| {
            json!({
                "rates": [{ "limit": AMPLE, "window": "1h" }, { "limit": AMPLE, "window": "1d" }],
                "requests": [{ "limit": requests, "window": "1h" }],
                "budgets": [{ "usd": 100, "window": "1d" }],
                "counters": [{ "expression": counter }],
            })
        };
        let mut configuration = configuration(json!({
            // Twice as many as are sent at first: until the other Envoy's settlement has arrived, the service
            // may count a request twice, as used and as reserved.
            "each": limit("auth.identity.userid", 41),
            "all": limit("'all'", AMPLE),
        }));
        // A chat of 50 input and 50 output tokens costs 60,000,000 billionths.
        configuration["pricing"] = json!({ "*": { "input": 400, "output": 800 } });
        let configuration = with_storage(configuration, protocol);
        let redis = Redis::start().await?;
        let limitador = start_on(&redis, &configuration).await?;
        let sides = two_gateways(&configuration, &limitador).await?;
        let responses = (0..60_usize).map(|number| {
            let chat = Chat::default().stream(number % 3 == 0);
            let caller = ["alice", "bob", "carol"][number % 3];
            let side = &sides[number % 2];
            async move { send_as(side, caller, &chat).await }
        });
        for status in join_all(responses).await {
            assert_eq!(status?, 200);
        }
        let input: u64 = sides.iter().map(|side| side.llm.input_tokens()).sum();
        let output: u64 = sides.iter().map(|side| side.llm.output_tokens()).sum();
        let tokens = input + output;
        let usd = input * 400_000 + output * 800_000;
        // Two limits; tokens have two windows in each.
        wait_for_counted(&limitador, 4 * tokens + 2 * 60 + 2 * usd).await?;
        let used_of = |counters: &[integration::Standing], max_value: u64| -> u64 {
            let of_limit = counters
                .iter()
                .filter(|counter| counter.max_value == max_value);
            of_limit.map(|counter| counter.used).sum()
        };
        let counters = limitador.counters(remote::DOMAIN).await?;
        assert_eq!(used_of(&counters, 41), 60, "requests of each caller");
        assert_eq!(used_of(&counters, 100_000_000_000), 2 * usd);
        // Each caller may send 21 more requests.
        for number in 0..21 {
            let side = &sides[number % 2];
            let admitted = wait::until("a further request to be admitted", async || {
                match send(side, &Chat::default()).await {
                    Ok(429) => None,
                    other => Some(other),
                }
            });
            assert_eq!(admitted.await??, 200, "{number}");
        }
        let requests = wait::until("all requests to be counted", async || {
            let counters = limitador.counters(remote::DOMAIN).await.ok()?;
            (used_of(&counters, 41) == 81).then_some(())
        });
        requests.await?;
        assert_eq!(send(&sides[0], &Chat::default()).await?, 429);
        for side in &sides {
            side.check().await?;
        }
    }
    Ok(())
}

#[tokio::test]
async fn upstream_errors_release_reservation_and_cost_nothing() -> TestResult {
    for protocol in [Protocol::Reserve, Protocol::CheckReport] {
        // Any reservation exhausts such a small limit.
        let (limitador, metered) = start(&with_storage(each_caller(50), protocol)).await?;
        for status in [400, 404, 429, 500, 503] {
            let chat = Chat::default().header("x-mock-status", status);
            assert_eq!(send(&metered, &chat).await?, status);
        }
        assert_eq!(counted(&limitador).await?, 0);
        assert_eq!(send(&metered, &Chat::default()).await?, 200);
        wait_for_counted(&limitador, 50).await?;
        assert_eq!(send(&metered, &Chat::default()).await?, 429);
        metered.check().await?;
    }
    Ok(())
}

#[tokio::test]
async fn client_disconnect_records_estimate() -> TestResult {
    for protocol in [Protocol::Reserve, Protocol::CheckReport] {
        let (limitador, metered) = start(&with_storage(each_caller(AMPLE), protocol)).await?;
        let mut expected = 0;
        for (http, parts) in [
            (client::Protocol::Http1, 4),
            (client::Protocol::Http2, 4),
            // Before the response.
            (client::Protocol::Http2, 0),
        ] {
            let id = format!("{http:?} {parts}");
            let client = client(http);
            if parts == 0 {
                let before = metered.llm.requests();
                let chat = spawn_chat(&metered, &client, &id, silent_chat().stream(true));
                metered.llm.wait_for_requests(before + 1).await?;
                chat.abort();
            } else {
                let chat = Chat::default()
                    .stream(true)
                    .header(CALLER, "alice")
                    .header("x-test-id", &id)
                    .header("x-mock-hold-after", parts);
                let mut response = chat.send(&client, metered.envoy.address()).await?;
                assert!(response.chunk().await?.is_some());
                drop((response, client));
            }
            let entry = metered.envoy.logged(&id).await?;
            let total = entry.tollgate_number("total_tokens").ok_or("not charged")?;
            assert!(total > 0);
            expected += total;
        }
        wait_for_counted(&limitador, expected).await?;
        metered.check().await?;
    }
    Ok(())
}

#[tokio::test]
async fn uncommitted_reservation_expires() -> TestResult {
    let configuration = with_storage(each_caller_reserving(1_000, 1_000, "1s"), Protocol::Reserve);
    let limitador = remote::limitador(&configuration)?.start().await?;
    let address = limitador.address();
    let first = Metered::build(configuration.clone(), |builder| {
        remote::cluster(builder.own_process(), address)
    });
    let first = first.await?;
    let chat = Chat::default()
        .header(CALLER, "alice")
        .stream(true)
        .header("x-mock-hold-after", 2);
    let client = client(client::Protocol::Http1);
    let open = chat.send(&client, first.envoy.address()).await?;
    assert_eq!(open.status(), 200);
    // Kills the Envoy and the state in its memory.
    drop(first);
    let second = gateway(configuration, address, 1).await?;
    let status = wait::until("the reservation to expire", async || {
        match send(&second, &Chat::default()).await {
            Ok(429) => None,
            status => Some(status),
        }
    });
    assert_eq!(status.await??, 200);
    wait_for_counted(&limitador, 100).await?;
    Ok(())
}

#[tokio::test]
async fn commit_after_reservation_expired_counts() -> TestResult {
    let configuration = with_storage(each_caller_reserving(AMPLE, 1_000, "1s"), Protocol::Reserve);
    let (limitador, metered) = start(&configuration).await?;
    let chat = Chat::default().header("x-mock-delay-ms", 1_500);
    assert_eq!(send(&metered, &chat).await?, 200);
    wait_for_counted(&limitador, 100).await?;
    assert_eq!(limitador.calls().count(Method::Commit), 1);
    metered.check().await?;
    Ok(())
}

#[tokio::test]
async fn service_without_reservations_is_checked_instead() -> TestResult {
    let configuration = with_storage(each_caller(1_000), Protocol::Reserve);
    let builder = remote::limitador(&configuration)?.without_reservations();
    let limitador = builder.start().await?;
    let metered = gateway(configuration, limitador.address(), 1).await?;
    for served in 1..=10 {
        assert_eq!(send(&metered, &Chat::default()).await?, 200);
        wait_for_counted(&limitador, served * 100).await?;
    }
    assert_eq!(send(&metered, &Chat::default()).await?, 429);
    let count = |method| limitador.calls().count(method);
    assert_eq!(count(Method::Reserve), 1);
    assert_eq!(count(Method::CheckRateLimit), 11);
    let log = metered.envoy.logs()?;
    assert_eq!(
        log.matches("storage_reserve_unsupported").count(),
        1,
        "{log}"
    );
    metered.check().await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn first_requests_keep_limit_without_reserve() -> TestResult {
    let configuration = with_storage(each_caller_reserving(1_000, 100, "1h"), Protocol::Reserve);
    let builder = remote::limitador(&configuration)?.without_reservations();
    let limitador = builder.start().await?;
    let metered = gateway(configuration, limitador.address(), 2).await?;
    let chat = Chat::default().header("x-mock-delay-ms", 500);
    let responses = (0..64).map(|_| send(&metered, &chat));
    let admitted = count_admitted(responses).await?;
    // Exactly as many as fit, as with `check-report`; one request of each worker has found out.
    assert_eq!(admitted, 10);
    assert!(limitador.calls().count(Method::Reserve) <= 2);
    wait_for_counted(&limitador, 1_000).await?;
    metered.check().await?;
    Ok(())
}

#[tokio::test]
async fn each_policy_has_its_own_domain() -> TestResult {
    let mut configuration = with_storage(each_caller(100), Protocol::Reserve);
    let mut other = configuration["policies"][0].clone();
    other["metadata"]["namespace"] = "other".into();
    let policies = configuration["policies"].as_array_mut();
    policies.ok_or("policies")?.push(other);
    let (limitador, metered) = start(&configuration).await?;
    assert_eq!(send(&metered, &Chat::default()).await?, 200);
    for domain in [remote::DOMAIN, "other/llm"] {
        let counter = wait::until("the commit", async || {
            match limitador.counters(domain).await {
                Ok(counters) => counters
                    .into_iter()
                    .find(|counter| counter.used > 0)
                    .map(Ok),
                Err(error) => Some(Err(error)),
            }
        });
        assert_eq!(counter.await??.used, 100, "{domain}");
    }
    assert_eq!(send(&metered, &Chat::default()).await?, 429);
    Ok(())
}
