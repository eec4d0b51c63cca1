//! However many requests come at once, at most one goes past a limit.

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

type Outcome = Result<(), Box<dyn Error>>;

/// How many come at once.
const CALLS: usize = 64;

/// A chat that uses 100 tokens, and answers when all who come at once have come.
fn chat() -> Chat {
    // As long as a prompt of 40 tokens is.
    Chat::new(&"What is Kubernetes? ".repeat(9), 60)
        .header("x-mock-prompt-tokens", 40)
        .header("x-mock-completion-tokens", 60)
        .header("x-mock-events", 4)
        .header("x-mock-delay-ms", 150)
}

/// A gateway, and callers who have a connection each.
struct Crowd {
    metered: Metered,
    clients: Vec<Client>,
}

impl Crowd {
    async fn start(configuration: Value, workers: u32) -> Result<Self, Box<dyn Error>> {
        Self::build(configuration, workers, |builder| builder).await
    }

    async fn build(
        configuration: Value,
        workers: u32,
        build: impl FnOnce(Builder) -> Builder,
    ) -> Result<Self, Box<dyn Error>> {
        let metered = Metered::build(configuration, |builder| {
            // Every worker gets as many connections as the next.
            build(builder.concurrency(workers)).edit_listener(|listener| {
                listener["connection_balance_config"] = json!({ "exact_balance": {} });
            })
        });
        Ok(Self {
            metered: metered.await?,
            clients: (0..CALLS).map(|_| client(Protocol::Http1)).collect(),
        })
    }

    /// So many of them ask at once. Returns how many were admitted.
    async fn ask(&self, caller: &str, chat: &Chat, calls: usize) -> Result<u64, Box<dyn Error>> {
        let mut asking = JoinSet::new();
        for client in self.clients.iter().take(calls) {
            let request = chat
                .clone()
                .header(CALLER, caller)
                .request(client, self.metered.envoy.address());
            asking.spawn(async move {
                let response = request.send().await?;
                let status = response.status().as_u16();
                response.bytes().await?;
                Ok::<_, reqwest::Error>(status)
            });
        }
        let mut admitted = 0;
        while let Some(status) = asking.join_next().await {
            match status?? {
                200 => admitted += 1,
                429 => {}
                status => return Err(format!("status {status}").into()),
            }
        }
        Ok(admitted)
    }
}

async fn at_most_one_goes_past(workers: u32) -> Outcome {
    let crowd = Crowd::start(each_caller(1_000), workers).await?;
    let metered = &crowd.metered;
    let mut faults = Vec::new();
    for round in 0..10 {
        for (framing, chat) in [("json", chat()), ("stream", chat().stream(round % 2 == 0))] {
            let caller = format!("{framing} {round}");
            let tokens = || metered.llm.input_tokens() + metered.llm.output_tokens();
            let before = tokens();
            let admitted = crowd.ask(&caller, &chat, CALLS).await?;
            let spent = tokens() - before;
            if spent != admitted * 100 || spent > 1_100 || admitted < 9 {
                faults.push(format!("{caller}: {admitted} admitted, {spent} spent"));
            }
            assert_eq!(
                metered.left(&caller).await?,
                1_000_u64.saturating_sub(spent)
            );
            // Nothing is held any longer: one that fits what is left is served, and one with nothing left is not.
            let alone = crowd.ask(&caller, &chat, 1).await?;
            assert_eq!(alone, u64::from(spent < 1_000), "{caller}");
        }
    }
    assert!(faults.is_empty(), "{faults:#?}");
    metered.check().await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sixty_four_at_two_workers() -> Outcome {
    at_most_one_goes_past(2).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sixty_four_at_four_workers() -> Outcome {
    at_most_one_goes_past(4).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sixty_four_with_counters_in_a_service() -> Outcome {
    for protocol in remote::Protocol::ALL {
        let mut configuration = each_caller(1_000);
        // So that it is told how many fit.
        let limit = &mut configuration["policies"][0]["spec"]["limits"]["tokens"];
        limit["reservation"] = json!({ "amount": "100" });
        configuration["storage"] = protocol.storage();
        let limitador = remote::limitador(&configuration)?.start().await?;
        let address = limitador.address();
        let crowd = Crowd::build(configuration, 2, |builder| {
            remote::cluster(builder, address)
        });
        let crowd = crowd.await?;
        let metered = &crowd.metered;
        for round in 0..3 {
            let caller = format!("{protocol:?} {round}");
            let tokens = || metered.llm.input_tokens() + metered.llm.output_tokens();
            let before = tokens();
            let chat = chat().stream(round % 2 == 0);
            let admitted = crowd.ask(&caller, &chat, CALLS).await?;
            let spent = tokens() - before;
            assert_eq!((admitted, spent), (10, 1_000), "{caller}");
            remote::wait_for_counted(&limitador, 1_000 * (round + 1)).await?;
            assert_eq!(crowd.ask(&caller, &chat, 1).await?, 0, "{caller}");
        }
        metered.check().await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sixty_four_with_short_prompts() -> Outcome {
    // As in Kuadrant's tutorial: what is around the prompt is longer than the prompt itself.
    let crowd = Crowd::start(each_caller(1_000), 2).await?;
    let chat = Chat::default().header("x-mock-delay-ms", 150);
    let mut admitted = Vec::new();
    for round in 0..3 {
        let caller = round.to_string();
        admitted.push(crowd.ask(&caller, &chat, CALLS).await?);
    }
    let in_bounds = |admitted: &u64| (9..=11).contains(admitted);
    assert!(admitted.iter().all(in_bounds), "{admitted:?}");
    Ok(())
}

#[tokio::test]
async fn a_lone_large_request_passes_on_a_small_limit() -> Outcome {
    let crowd = Crowd::start(each_caller(50), 1).await?;
    for (caller, chat) in [
        ("json", Chat::default()),
        ("stream", Chat::default().stream(false)),
    ] {
        assert_eq!(crowd.ask(caller, &chat, 1).await?, 1);
        assert_eq!(crowd.ask(caller, &chat, 1).await?, 0);
    }
    Ok(())
}

fn twenty_at_once() -> Value {
    configuration(json!({ "flight": {
        "concurrency": 20,
        "counters": [{ "expression": "auth.identity.userid" }],
    } }))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_more_are_in_flight_than_a_limit_has_it() -> Outcome {
    for workers in [2, 4] {
        let crowd = Crowd::start(twenty_at_once(), workers).await?;
        let metered = &crowd.metered;
        for round in 0..5 {
            let chat = chat().stream(round % 2 == 0);
            let admitted = crowd.ask("alice", &chat, CALLS).await?;
            assert!(admitted >= 20, "{admitted}");
            // All slots are free again, and that many at once fit.
            assert_eq!(crowd.ask("alice", &chat, 20).await?, 20);
        }
        assert_eq!(metered.llm.most_in_flight(), 20);
        metered.check().await?;
    }
    Ok(())
}

#[tokio::test]
async fn who_leaves_frees_his_place() -> Outcome {
    let crowd = Crowd::start(twenty_at_once(), 1).await?;
    let metered = &crowd.metered;
    for protocol in Protocol::ALL {
        let caller = format!("{protocol:?}");
        let address = metered.envoy.address();
        let held = Chat::default()
            .stream(true)
            .header(CALLER, &caller)
            .header("x-mock-hold-after", 2);
        let clients: Vec<_> = (0..20).map(|_| client(protocol)).collect();
        let responses = join_all(clients.iter().map(|client| held.send(client, address))).await;
        for response in &responses {
            assert!(matches!(response, Ok(response) if response.status() == 200));
        }
        assert_eq!(crowd.ask(&caller, &chat(), 1).await?, 0);
        drop((responses, clients));
        metered
            .envoy
            .wait_for_stat("http.ingress.downstream_rq_active", |active| active == 0)
            .await?;
        assert_eq!(crowd.ask(&caller, &chat(), 20).await?, 20);
        metered.check().await?;
    }
    Ok(())
}
