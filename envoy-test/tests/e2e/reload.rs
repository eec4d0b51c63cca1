//! Counters and reservations survive changes of the configuration, the listener and the module under load.

use std::{
    error::Error,
    fs,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use envoy_test::{
    client::{Chat, Protocol, client},
    envoy::Update,
    filters::Tollgate,
    metered::{self, CALLER, Metered, each_caller},
    workspace,
};
use serde_json::json;
use tempfile::NamedTempFile;
use tokio::task::JoinSet;

use crate::{
    fixtures::AMPLE,
    support::{TestResult, generated_tokens, send, spawn_chat},
};

/// A gateway with two workers that can be updated, with a limit of `tokens` for each caller.
async fn start(tokens: u64) -> Result<Metered, metered::Error> {
    Metered::build(each_caller(tokens), |builder| {
        builder.concurrency(2).own_process()
    })
    .await
}

/// The module as another build: the same code with an additional custom section.
fn other_build() -> Result<NamedTempFile, Box<dyn Error>> {
    let file = NamedTempFile::new()?;
    let mut module = fs::read(workspace::module())?;
    // A custom section of two bytes: a name of one byte.
    module.extend([0, 2, 1, b'x']);
    fs::write(file.path(), module)?;
    Ok(file)
}

/// Clients that send one chat after another until they are stopped.
struct Load {
    stop: Arc<AtomicBool>,
    clients: JoinSet<reqwest::Result<u64>>,
}

impl Load {
    fn start(metered: &Metered) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let mut clients = JoinSet::new();
        for number in 0..6 {
            let (stop, address) = (Arc::clone(&stop), metered.envoy.address());
            clients.spawn(async move {
                let mut served = 0;
                while !stop.load(Ordering::SeqCst) {
                    // A connection keeps the configuration that it was opened with, so each chat has its own.
                    let client = client(Protocol::ALL[number % 2]);
                    let chat = Chat::default()
                        .header(CALLER, "alice")
                        .header("x-mock-events", 5)
                        .header("x-mock-prompt-tokens", 1 + number)
                        .header("x-mock-completion-tokens", 1 + served % 89);
                    let chat = match number % 3 {
                        0 => chat,
                        1 => chat.stream(true).header("x-mock-chunk-delay-ms", 5),
                        _ => chat.stream(false).header("x-mock-chunk-delay-ms", 20),
                    };
                    let response = chat.send(&client, address).await?;
                    assert_eq!(response.status(), 200);
                    response.bytes().await?;
                    served += 1;
                }
                Ok(served)
            });
        }
        Self { stop, clients }
    }

    async fn end(mut self) -> Result<u64, Box<dyn Error>> {
        self.stop.store(true, Ordering::SeqCst);
        let mut served = 0;
        while let Some(client) = self.clients.join_next().await {
            served += client??;
        }
        Ok(served)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn updates_under_load_keep_exact_counts() -> TestResult {
    let other_build = other_build()?;
    let mut metered = start(AMPLE).await?;
    let mut failing_open = each_caller(AMPLE);
    failing_open["failureMode"] = json!("allow");
    let mut two_limits = each_caller(AMPLE);
    two_limits["policies"][0]["spec"]["limits"]["bound"] = json!({ "concurrency": 1000 });
    let same = || Tollgate::new(each_caller(AMPLE));
    for (change, tollgate, limit) in [
        ("another setting", Tollgate::new(failing_open), AMPLE),
        ("an additional limit", Tollgate::new(two_limits), AMPLE),
        (
            "another value",
            Tollgate::new(each_caller(2 * AMPLE)),
            2 * AMPLE,
        ),
        ("another listener", same().holds_headers(true), AMPLE),
        (
            "another build of the module",
            same().module(other_build.path()),
            AMPLE,
        ),
        ("the previous build", same(), AMPLE),
    ] {
        let load = Load::start(&metered);
        let before = metered.llm.requests();
        metered.llm.wait_for_requests(before + 10).await?;
        let update = metered.envoy.update(tollgate).await?;
        assert_eq!(update, Update::Accepted, "{change}");
        let after = metered.llm.requests();
        metered.llm.wait_for_requests(after + 10).await?;
        assert!(load.end().await? >= 20);
        let expected = limit - generated_tokens(&metered);
        assert_eq!(metered.remaining("alice").await?, expected, "{change}");
    }
    let mut other_window = each_caller(AMPLE);
    let limits = &mut other_window["policies"][0]["spec"]["limits"];
    limits["tokens"]["rates"][0]["window"] = json!("2h");
    let update = metered.envoy.update(Tollgate::new(other_window)).await?;
    assert_eq!(update, Update::Accepted);
    let left = metered.remaining("alice").await?;
    assert_eq!(left, AMPLE, "another window starts empty");
    metered.check().await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reservation_survives_updates() -> TestResult {
    let other_build = other_build()?;
    let mut metered = start(1_000).await?;
    // It reserves most of the limit until its response ends.
    let large = Chat::new("What is Kubernetes?", 700).header("x-mock-silent", 1);
    let other = Chat::new("What is Kubernetes?", 300);
    let large = spawn_chat(&metered, &client(Protocol::Http1), "large", large);
    metered.llm.wait_for_requests(1).await?;
    assert_eq!(send(&metered, &other).await?, 429);

    for (change, tollgate) in [
        ("another value", Tollgate::new(each_caller(900))),
        (
            "another listener",
            Tollgate::new(each_caller(1_000)).holds_headers(true),
        ),
        (
            "another build of the module",
            Tollgate::new(each_caller(1_000)).module(other_build.path()),
        ),
    ] {
        let update = metered.envoy.update(tollgate).await?;
        assert_eq!(update, Update::Accepted, "{change}");
        assert_eq!(send(&metered, &other).await?, 429, "{change}");
    }
    // A disconnect charges an estimate and releases the reservation, whichever module made it.
    large.abort();
    let entry = metered.envoy.logged("large").await?;
    let charged = entry.tollgate_number("total_tokens").ok_or("not charged")?;
    // It depends on the time that the updates have taken, and is at most the request's own bound and its input.
    assert!((1..=710).contains(&charged), "{charged}");
    assert_eq!(metered.remaining("alice").await?, 1_000 - charged);
    let small = Chat::new("What is Kubernetes?", 200);
    assert_eq!(send(&metered, &small).await?, 200);
    assert_eq!(metered.remaining("alice").await?, 1_000 - charged - 200);
    metered.check().await?;
    Ok(())
}
