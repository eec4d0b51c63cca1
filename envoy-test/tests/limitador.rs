//! tollgate with its counters in a limitador: what it enforces, and that what is used is what is counted.

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

type Outcome = Result<(), Box<dyn Error>>;

const MUCH: u64 = 1_000_000_000;

/// A configuration with its counters in a service.
fn with_storage(mut configuration: Value, protocol: Protocol) -> Value {
    configuration["storage"] = protocol.storage();
    configuration
}

/// As [`each_caller`], where a request holds so much for so long.
fn each_holds(tokens: u64, amount: u64, ttl: &str) -> Value {
    let mut configuration = each_caller(tokens);
    let limits = &mut configuration["policies"][0]["spec"]["limits"];
    limits["tokens"]["reservation"] = json!({ "amount": amount.to_string(), "ttl": ttl });
    configuration
}

/// A service, and a gateway that has its counters there.
async fn start(configuration: &Value) -> Result<(Limitador, Metered), Box<dyn Error>> {
    let limitador = remote::limitador(configuration)?.start().await?;
    let metered = gateway(configuration.clone(), limitador.address(), 2).await?;
    Ok((limitador, metered))
}

/// A chat of which the service says what it costs, and its status.
async fn ask(metered: &Metered, caller: &str, chat: &Chat) -> Result<u16, Box<dyn Error>> {
    let client = client(client::Protocol::Http1);
    let chat = chat.clone().header(CALLER, caller);
    let response = chat.send(&client, metered.envoy.address()).await?;
    let status = response.status().as_u16();
    response.bytes().await?;
    Ok(status)
}

#[tokio::test]
async fn the_tutorial_is_the_same_with_each_protocol() -> Outcome {
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
                let outcome = gateway.play(&step).await?;
                let Step { caller, ask, .. } = step;
                assert!(
                    outcome.faults.is_empty(),
                    "{protocol:?}, {caller}, {ask}: {outcome:?}"
                );
            }
            // All of it comes to be in the service, as far as it counts past a limit.
            let used = async || {
                let counters = limitador.counters(domain).await?;
                let mut used: Vec<_> = counters.iter().map(|counter| counter.used).collect();
                used.sort_unstable();
                Ok::<_, integration::Error>(used)
            };
            let spent = wait::until(
                format!("{protocol:?}: the limits to be spent"),
                async || match used().await {
                    Ok(used) => (used == [50, 200]).then_some(Ok(())),
                    Err(error) => Some(Err(error)),
                },
            );
            spent.await??;
        }
    }
    Ok(())
}

#[tokio::test]
async fn an_exchange_is_two_calls() -> Outcome {
    for (protocol, methods) in [
        (Protocol::Reserve, [Method::Reserve, Method::Commit]),
        (
            Protocol::CheckReport,
            [Method::CheckRateLimit, Method::Report],
        ),
        (Protocol::EnvoyRls, [Method::ShouldRateLimit; 2]),
    ] {
        let limits = json!({
            "hour": { "rates": [{ "limit": MUCH, "window": "1h" }, { "limit": MUCH, "window": "1d" }] },
            "each": {
                "rates": [{ "limit": MUCH, "window": "1h" }],
                "counters": [{ "expression": "auth.identity.userid" }],
            },
        });
        let (limitador, metered) = start(&with_storage(configuration(limits), protocol)).await?;
        let trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        let chat = Chat::default()
            .header("x-request-id", "6e9d1a52-87d6-4d5f-8a39-1e3fb1f8a001")
            .header("traceparent", trace);
        assert_eq!(ask(&metered, "alice", &chat).await?, 200);
        // Three counters of 100 tokens; where the check counts as one of them, 99 are told afterwards.
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
async fn two_envoys_share_a_limit_on_one_redis() -> Outcome {
    let configuration = with_storage(each_holds(2_000, 100, "1m"), Protocol::Reserve);
    let redis = Redis::start().await?;
    let start = async || {
        let builder = remote::limitador(&configuration)?.redis(&redis.url());
        let limitador = builder.start().await?;
        let metered = gateway(configuration.clone(), limitador.address(), 2).await?;
        Ok::<_, Box<dyn Error>>((limitador, metered))
    };
    let sides = [start().await?, start().await?];
    let chat = Chat::default().header("x-mock-delay-ms", 150);
    let asking = (0..64).map(|number| ask(&sides[number % 2].1, "alice", &chat));
    let mut admitted = 0;
    for status in join_all(asking).await {
        match status? {
            200 => admitted += 1,
            429 => {}
            status => return Err(format!("status {status}").into()),
        }
    }
    let tokens = |metered: &Metered| metered.llm.input_tokens() + metered.llm.output_tokens();
    let spent: u64 = sides.iter().map(|(_, metered)| tokens(metered)).sum();
    // As many as fit, at both together; either service tells the same.
    assert_eq!((admitted, spent), (20, 2_000));
    for (limitador, metered) in &sides {
        wait_for_counted(limitador, spent).await?;
        metered.check().await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_two_envoys_serve_is_what_is_counted() -> Outcome {
    for protocol in Protocol::ALL {
        let mut configuration = with_storage(each_caller(MUCH), protocol);
        let flush = if protocol == Protocol::Reserve {
            "0s"
        } else {
            "20ms"
        };
        configuration["storage"]["flush"] = flush.into();
        let redis = Redis::start().await?;
        let builder = remote::limitador(&configuration)?.redis(&redis.url());
        let limitador = builder.start().await?;
        let address = limitador.address();
        let sides = [
            gateway(configuration.clone(), address, 2).await?,
            gateway(configuration.clone(), address, 2).await?,
        ];
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
        let asking = chats.iter().enumerate().map(|(number, chat)| {
            let caller = if number % 5 == 0 { "bob" } else { "alice" };
            ask(&sides[number % 2], caller, chat)
        });
        for status in join_all(asking).await {
            assert_eq!(status?, 200);
        }
        let tokens = |metered: &Metered| metered.llm.input_tokens() + metered.llm.output_tokens();
        wait_for_counted(&limitador, sides.iter().map(tokens).sum()).await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tokens_requests_and_money_are_counted_apart_and_exactly() -> Outcome {
    for protocol in [Protocol::Reserve, Protocol::CheckReport] {
        let limit = |counter: &str, requests: u64| {
            json!({
                "rates": [{ "limit": MUCH, "window": "1h" }, { "limit": MUCH, "window": "1d" }],
                "requests": [{ "limit": requests, "window": "1h" }],
                "budgets": [{ "usd": 100, "window": "1d" }],
                "counters": [{ "expression": counter }],
            })
        };
        let mut configuration = configuration(json!({
            "each": limit("auth.identity.userid", 25),
            "all": limit("'all'", MUCH),
        }));
        // A chat of 50 tokens in and 50 out: 60,000,000 billionths.
        configuration["pricing"] = json!({ "*": { "input": 400, "output": 800 } });
        configuration["storage"] = protocol.storage();
        let redis = Redis::start().await?;
        let builder = remote::limitador(&configuration)?.redis(&redis.url());
        let limitador = builder.start().await?;
        let address = limitador.address();
        let sides = [
            gateway(configuration.clone(), address, 2).await?,
            gateway(configuration.clone(), address, 2).await?,
        ];
        let asking = (0..60_usize).map(|number| {
            let chat = Chat::default().stream(number % 3 == 0);
            let caller = ["alice", "bob", "carol"][number % 3];
            let side = &sides[number % 2];
            async move { ask(side, caller, &chat).await }
        });
        for status in join_all(asking).await {
            assert_eq!(status?, 200);
        }
        let llms = || sides.iter().map(|side| &side.llm);
        let input: u64 = llms().map(envoy_test::llm::Llm::input_tokens).sum();
        let output: u64 = llms().map(envoy_test::llm::Llm::output_tokens).sum();
        let tokens = input + output;
        let usd = input * 400_000 + output * 800_000;
        // Two limits, of which the tokens have two windows.
        wait_for_counted(&limitador, 4 * tokens + 2 * 60 + 2 * usd).await?;
        let of_limit = |counters: &[integration::Standing], most: u64| -> u64 {
            let of = counters.iter().filter(|counter| counter.max_value == most);
            of.map(|counter| counter.used).sum()
        };
        let counters = limitador.counters(remote::DOMAIN).await?;
        assert_eq!(of_limit(&counters, 25), 60, "requests of each caller");
        assert_eq!(of_limit(&counters, 100_000_000_000), 2 * usd);
        // Five more fit for each caller.
        for number in 0..6 {
            let status = ask(&sides[number % 2], "alice", &Chat::default()).await?;
            assert_eq!(status, if number < 5 { 200 } else { 429 }, "{number}");
        }
        for side in &sides {
            side.check().await?;
        }
    }
    Ok(())
}

#[tokio::test]
async fn what_fails_upstream_costs_nothing_and_holds_nothing() -> Outcome {
    for protocol in [Protocol::Reserve, Protocol::CheckReport] {
        // Whatever is held of so little leaves nothing to others.
        let (limitador, metered) = start(&with_storage(each_caller(50), protocol)).await?;
        for status in [400, 404, 429, 500, 503] {
            let chat = Chat::default().header("x-mock-status", status);
            assert_eq!(ask(&metered, "alice", &chat).await?, status);
        }
        assert_eq!(counted(&limitador).await?, 0);
        assert_eq!(ask(&metered, "alice", &Chat::default()).await?, 200);
        wait_for_counted(&limitador, 50).await?;
        assert_eq!(ask(&metered, "alice", &Chat::default()).await?, 429);
        metered.check().await?;
    }
    Ok(())
}

#[tokio::test]
async fn who_leaves_is_charged_and_holds_nothing() -> Outcome {
    for protocol in [Protocol::Reserve, Protocol::CheckReport] {
        let (limitador, metered) = start(&with_storage(each_caller(MUCH), protocol)).await?;
        let mut expected = 0;
        for (http, held_after) in [
            (client::Protocol::Http1, 4),
            (client::Protocol::Http2, 4),
            // Before the response.
            (client::Protocol::Http2, 0),
        ] {
            let id = format!("{http:?} {held_after}");
            let chat = Chat::default()
                .stream(true)
                .header(CALLER, "alice")
                .header("x-test-id", &id);
            let client = client(http);
            let address = metered.envoy.address();
            if held_after == 0 {
                let chat = chat.header("x-mock-silent", 1);
                let asked = metered.llm.requests();
                let sending = tokio::spawn(async move { chat.send(&client, address).await });
                wait::until("the model to be asked", async || {
                    (metered.llm.requests() > asked).then_some(())
                })
                .await?;
                sending.abort();
            } else {
                let chat = chat.header("x-mock-hold-after", held_after);
                let mut response = chat.send(&client, address).await?;
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
async fn a_hold_that_nobody_commits_expires() -> Outcome {
    let configuration = with_storage(each_holds(1_000, 1_000, "1s"), Protocol::Reserve);
    let limitador = remote::limitador(&configuration)?.start().await?;
    let address = limitador.address();
    let first = gateway(configuration.clone(), address, 1).await?;
    let chat = Chat::default()
        .header(CALLER, "alice")
        .stream(true)
        .header("x-mock-hold-after", 2);
    let client = client(client::Protocol::Http1);
    let held = chat.send(&client, first.envoy.address()).await?;
    assert_eq!(held.status(), 200);
    // The Envoy is killed, and with it all that it knew.
    drop(first);
    let second = gateway(configuration, address, 1).await?;
    let served = wait::until("the hold to expire", async || {
        match ask(&second, "alice", &Chat::default()).await {
            Ok(429) => None,
            status => Some(status),
        }
    });
    assert_eq!(served.await??, 200);
    wait_for_counted(&limitador, 100).await?;
    Ok(())
}

#[tokio::test]
async fn a_commit_that_comes_after_its_hold_has_expired_counts() -> Outcome {
    let configuration = with_storage(each_holds(MUCH, 1_000, "1s"), Protocol::Reserve);
    let (limitador, metered) = start(&configuration).await?;
    let chat = Chat::default().header("x-mock-delay-ms", 1_500);
    assert_eq!(ask(&metered, "alice", &chat).await?, 200);
    wait_for_counted(&limitador, 100).await?;
    assert_eq!(limitador.calls().count(Method::Commit), 1);
    metered.check().await?;
    Ok(())
}

#[tokio::test]
async fn an_older_limitador_is_asked_without_reservations() -> Outcome {
    let configuration = with_storage(each_caller(1_000), Protocol::Reserve);
    let builder = remote::limitador(&configuration)?.without_reservations();
    let limitador = builder.start().await?;
    let metered = gateway(configuration, limitador.address(), 1).await?;
    for served in 1..=10 {
        assert_eq!(ask(&metered, "alice", &Chat::default()).await?, 200);
        wait_for_counted(&limitador, served * 100).await?;
    }
    assert_eq!(ask(&metered, "alice", &Chat::default()).await?, 429);
    let count = |method| limitador.calls().count(method);
    assert_eq!(count(Method::Reserve), 1);
    assert_eq!(count(Method::CheckRateLimit), 11);
    let log = metered.envoy.logs()?;
    assert_eq!(log.matches("does not know Reserve").count(), 1, "{log}");
    metered.check().await?;
    Ok(())
}

#[tokio::test]
async fn limits_of_other_domains_are_not_asked_for() -> Outcome {
    // Two policies, each in the domain of what it is attached to.
    let mut configuration = with_storage(each_caller(100), Protocol::Reserve);
    let mut other = configuration["policies"][0].clone();
    other["metadata"]["namespace"] = "other".into();
    configuration["policies"]
        .as_array_mut()
        .ok_or("policies")?
        .push(other);
    let (limitador, metered) = start(&configuration).await?;
    assert_eq!(ask(&metered, "alice", &Chat::default()).await?, 200);
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
    assert_eq!(ask(&metered, "alice", &Chat::default()).await?, 429);
    Ok(())
}
