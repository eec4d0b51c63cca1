//! Concurrent requests: at most one exceeds a token limit, and a concurrency limit is exact.

use std::error::Error;

use envoy_test::{
    client::{Chat, Protocol, client},
    envoy::Builder,
    metered::{CALLER, Metered, configuration, each_caller},
    remote,
};
use futures_util::future::join_all;
use reqwest::Client;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::{
    fixtures::hourly_with,
    support::{TestResult, balance_connections, generated_tokens, start_holding_headers},
};

/// The number of concurrent requests.
const REQUESTS: usize = 64;

/// A chat that uses 100 tokens. The provider answers after a delay, so that most of the concurrent requests overlap.
fn chat() -> Chat {
    // A prompt of about 40 tokens.
    Chat::new(&"What is Kubernetes? ".repeat(9), 60)
        .header("x-mock-prompt-tokens", 40)
        .header("x-mock-completion-tokens", 60)
        .header("x-mock-events", 4)
        .header("x-mock-delay-ms", 150)
}

/// A gateway, and clients with a connection each.
struct Setup {
    metered: Metered,
    clients: Vec<Client>,
}

impl Setup {
    async fn start(configuration: Value, workers: u32) -> Result<Self, Box<dyn Error>> {
        Self::build(configuration, workers, |builder| builder).await
    }

    async fn build(
        configuration: Value,
        workers: u32,
        build: impl FnOnce(Builder) -> Builder,
    ) -> Result<Self, Box<dyn Error>> {
        let metered = Metered::build(configuration, |builder| {
            balance_connections(build(builder.concurrency(workers)))
        });
        Ok(Self {
            metered: metered.await?,
            clients: (0..REQUESTS).map(|_| client(Protocol::Http1)).collect(),
        })
    }

    /// Starts a gateway that holds headers, as hard limits need it.
    async fn start_capped(limits: Value, workers: u32) -> Result<Self, Box<dyn Error>> {
        let metered = start_holding_headers(configuration(limits), true, |builder| {
            balance_connections(builder.concurrency(workers))
        });
        Ok(Self {
            metered: metered.await?,
            clients: (0..REQUESTS).map(|_| client(Protocol::Http1)).collect(),
        })
    }

    /// Sends `requests` requests of one caller at once, and returns how many were admitted.
    async fn send(
        &self,
        caller: &str,
        chat: &Chat,
        requests: usize,
    ) -> Result<u64, Box<dyn Error>> {
        let mut responses = JoinSet::new();
        for client in self.clients.iter().take(requests) {
            let request = chat
                .clone()
                .header(CALLER, caller)
                .request(client, self.metered.envoy.address());
            responses.spawn(async move {
                let response = request.send().await?;
                let status = response.status().as_u16();
                response.bytes().await?;
                Ok::<_, reqwest::Error>(status)
            });
        }
        let mut admitted = 0;
        while let Some(status) = responses.join_next().await {
            match status?? {
                200 => admitted += 1,
                429 => {}
                status => return Err(format!("status {status}").into()),
            }
        }
        Ok(admitted)
    }
}

async fn at_most_one_exceeds_limit(workers: u32) -> TestResult {
    let setup = Setup::start(each_caller(1_000), workers).await?;
    let metered = &setup.metered;
    let mut failures = Vec::new();
    for round in 0..10 {
        for (framing, chat) in [("json", chat()), ("stream", chat().stream(round % 2 == 0))] {
            let caller = format!("{framing} {round}");
            let before = generated_tokens(metered);
            let admitted = setup.send(&caller, &chat, REQUESTS).await?;
            let used = generated_tokens(metered) - before;
            if used != admitted * 100 || used > 1_100 || admitted < 9 {
                failures.push(format!("{caller}: {admitted} admitted, {used} used"));
            }
            assert_eq!(
                metered.remaining(&caller).await?,
                1_000_u64.saturating_sub(used)
            );
            // No reservation remains: a lone request is admitted if the limit is not exhausted.
            let alone = setup.send(&caller, &chat, 1).await?;
            assert_eq!(alone, u64::from(used < 1_000), "{caller}");
        }
    }
    assert!(failures.is_empty(), "{failures:#?}");
    metered.check().await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_workers_at_most_one_exceeds_limit() -> TestResult {
    at_most_one_exceeds_limit(2).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn four_workers_at_most_one_exceeds_limit() -> TestResult {
    at_most_one_exceeds_limit(4).await
}

/// Every response uses all that its request may: as much output as its bound allows.
async fn none_exceeds_hard_limit(workers: u32) -> TestResult {
    let tokens = hourly_with(2_000, json!({ "cap": true }));
    let setup = Setup::start_capped(json!({ "tokens": tokens }), workers).await?;
    let metered = &setup.metered;
    let mut failures = Vec::new();
    for round in 0..10 {
        // Most bounds do not fit beside others; with 30, some requests end before others are admitted.
        for bound in [30, 200, 5_000] {
            let chat = Chat::new(&"What is Kubernetes? ".repeat(2), bound)
                .header("x-mock-prompt-tokens", 90)
                .header("x-mock-use-bound", true)
                .header("x-mock-events", 4)
                .header("x-mock-delay-ms", 50);
            let chat = if round % 2 == 0 {
                chat.stream(false)
            } else {
                chat
            };
            let caller = format!("{bound} {round}");
            let before = generated_tokens(metered);
            let mut admitted = 0;
            for _ in 0..3 {
                admitted += setup.send(&caller, &chat, REQUESTS).await?;
            }
            let used = generated_tokens(metered) - before;
            if used > 2_000 || admitted == 0 {
                failures.push(format!("{caller}: {admitted} admitted, {used} used"));
            }
            assert_eq!(metered.remaining(&caller).await.unwrap_or(0), 2_000 - used);
        }
    }
    assert!(failures.is_empty(), "{failures:#?}");
    metered.check().await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_workers_none_exceeds_hard_limit() -> TestResult {
    none_exceeds_hard_limit(2).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn four_workers_none_exceeds_hard_limit() -> TestResult {
    none_exceeds_hard_limit(4).await
}

/// Whatever multiplies the output or bounds it under another name.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn choices_and_other_bounds_exceed_no_hard_limit() -> TestResult {
    let tokens = hourly_with(2_000, json!({ "cap": true }));
    let setup = Setup::start_capped(json!({ "tokens": tokens }), 2).await?;
    let metered = &setup.metered;
    let bounded = [
        ("n", json!(8)),
        ("n", json!("8")),
        ("best_of", json!(4)),
        ("extra_body", json!({ "max_tokens": 4_000 })),
        ("options", json!({ "num_predict": -1 })),
        ("max_completion_tokens", json!(null)),
    ];
    let uncertain = [
        ("n", json!(2.5)),
        ("previous_response_id", json!("resp_1")),
        ("tools", json!([{ "type": "web_search" }])),
    ];
    let chat = Chat::new("What is Kubernetes?", 300)
        .header("x-mock-prompt-tokens", 90)
        .header("x-mock-use-bound", true);
    for (number, (field, value)) in bounded.into_iter().enumerate() {
        let chat = chat.clone().field(field, value);
        let caller = format!("{field} {number}");
        let before = generated_tokens(metered);
        let mut admitted = 0;
        for _ in 0..2 {
            admitted += setup.send(&caller, &chat, REQUESTS).await?;
        }
        let used = generated_tokens(metered) - before;
        assert!(
            used <= 2_000 && admitted > 0,
            "{caller}: {admitted}, {used}"
        );
    }
    for (field, value) in uncertain {
        let chat = chat.clone().field(field, value).header(CALLER, field);
        let address = metered.envoy.address();
        let response = chat.send(&setup.clients[0], address).await?;
        assert_eq!(response.status(), 400, "{field}");
    }
    metered.check().await?;
    Ok(())
}

#[tokio::test]
async fn response_names_lowered_bound() -> TestResult {
    let tokens = hourly_with(1_000, json!({ "cap": true }));
    let setup = Setup::start_capped(json!({ "tokens": tokens }), 1).await?;
    let chat = Chat::new("What is Kubernetes?", 5_000).header("x-mock-use-bound", true);
    let chat = chat.header(CALLER, "alice");
    let response = chat
        .send(&setup.clients[0], setup.metered.envoy.address())
        .await?;
    let bound = response.headers()["x-tollgate-capped"].to_str()?.to_owned();
    let body: Value = response.json().await?;
    assert_eq!(body["usage"]["completion_tokens"].to_string(), bound);
    assert!((500..1_000).contains(&bound.parse::<u64>()?), "{bound}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn service_admits_exactly_the_limit() -> TestResult {
    for protocol in remote::Protocol::ALL {
        // The reservation says how many requests fit.
        let tokens = hourly_with(1_000, json!({ "reservation": { "amount": "100" } }));
        let mut configuration = configuration(json!({ "tokens": tokens }));
        configuration["storage"] = protocol.storage();
        let limitador = remote::limitador(&configuration)?.start().await?;
        let address = limitador.address();
        let setup = Setup::build(configuration, 2, |builder| {
            remote::cluster(builder, address)
        });
        let setup = setup.await?;
        let metered = &setup.metered;
        for round in 0..3 {
            let caller = format!("{protocol:?} {round}");
            let before = generated_tokens(metered);
            let chat = chat().stream(round % 2 == 0);
            let admitted = setup.send(&caller, &chat, REQUESTS).await?;
            let used = generated_tokens(metered) - before;
            assert_eq!((admitted, used), (10, 1_000), "{caller}");
            remote::wait_for_counted(&limitador, 1_000 * (round + 1)).await?;
            assert_eq!(setup.send(&caller, &chat, 1).await?, 0, "{caller}");
        }
        metered.check().await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn short_prompts_do_not_exceed_limit() -> TestResult {
    // As in Kuadrant's tutorial: the JSON around the prompt is longer than the prompt itself.
    let setup = Setup::start(each_caller(1_000), 2).await?;
    let chat = Chat::default().header("x-mock-delay-ms", 150);
    let mut admitted = Vec::new();
    for round in 0..3 {
        let caller = round.to_string();
        admitted.push(setup.send(&caller, &chat, REQUESTS).await?);
    }
    let in_bounds = |admitted: &u64| (9..=11).contains(admitted);
    assert!(admitted.iter().all(in_bounds), "{admitted:?}");
    Ok(())
}

#[tokio::test]
async fn lone_request_may_exceed_small_limit() -> TestResult {
    let setup = Setup::start(each_caller(50), 1).await?;
    for (caller, chat) in [
        ("json", Chat::default()),
        ("stream", Chat::default().stream(false)),
    ] {
        assert_eq!(setup.send(caller, &chat, 1).await?, 1);
        assert_eq!(setup.send(caller, &chat, 1).await?, 0);
    }
    Ok(())
}

fn twenty_in_flight() -> Value {
    configuration(json!({ "flight": {
        "concurrency": 20,
        "counters": [{ "expression": "auth.identity.userid" }],
    } }))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrency_limit_is_exact() -> TestResult {
    for workers in [2, 4] {
        let setup = Setup::start(twenty_in_flight(), workers).await?;
        let metered = &setup.metered;
        for round in 0..5 {
            let chat = chat().stream(round % 2 == 0);
            let admitted = setup.send("alice", &chat, REQUESTS).await?;
            assert!(admitted >= 20, "{admitted}");
            // All slots are free again: twenty requests in flight are admitted.
            let chat = chat.header("x-mock-barrier", 20);
            assert_eq!(setup.send("alice", &chat, 20).await?, 20);
        }
        assert_eq!(metered.llm.max_in_flight(), 20);
        metered.check().await?;
    }
    Ok(())
}

#[tokio::test]
async fn client_disconnect_frees_concurrency_slot() -> TestResult {
    let setup = Setup::start(twenty_in_flight(), 1).await?;
    let metered = &setup.metered;
    for protocol in Protocol::ALL {
        let caller = format!("{protocol:?}");
        let address = metered.envoy.address();
        let open = Chat::default()
            .stream(true)
            .header(CALLER, &caller)
            .header("x-mock-hold-after", 2);
        let clients: Vec<_> = (0..20).map(|_| client(protocol)).collect();
        let responses = join_all(clients.iter().map(|client| open.send(client, address))).await;
        for response in &responses {
            assert!(matches!(response, Ok(response) if response.status() == 200));
        }
        assert_eq!(setup.send(&caller, &chat(), 1).await?, 0);
        drop((responses, clients));
        metered
            .envoy
            .wait_for_stat("http.ingress.downstream_rq_active", |active| active == 0)
            .await?;
        assert_eq!(setup.send(&caller, &chat(), 20).await?, 20);
        metered.check().await?;
    }
    Ok(())
}
