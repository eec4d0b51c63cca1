//! What was counted and what is held outlive changes of the configuration, of the listener and of the module,
//! made while requests are in flight.

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
    metered::{CALLER, Metered, each_caller},
    workspace,
};
use serde_json::{Value, json};
use tempfile::NamedTempFile;
use tokio::task::{JoinHandle, JoinSet};

type Outcome = Result<(), Box<dyn Error>>;

const LIMIT: u64 = 1_000_000_000;

fn in_window(tokens: u64, window: &str) -> Value {
    let mut configuration = each_caller(tokens);
    let limits = &mut configuration["policies"][0]["spec"]["limits"];
    limits["tokens"]["rates"][0]["window"] = json!(window);
    configuration
}

/// The module as another build of it would be: the same code, and a section that says nothing.
fn other_build() -> Result<NamedTempFile, Box<dyn Error>> {
    let file = NamedTempFile::new()?;
    let mut module = fs::read(workspace::module())?;
    // A custom section of two bytes: a name of one.
    module.extend([0, 2, 1, b'x']);
    fs::write(file.path(), module)?;
    Ok(file)
}

/// Callers who ask one chat after the other until told to stop.
struct Load {
    stop: Arc<AtomicBool>,
    callers: JoinSet<reqwest::Result<u64>>,
}

impl Load {
    fn start(metered: &Metered) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let mut callers = JoinSet::new();
        for number in 0..6 {
            let (stop, address) = (Arc::clone(&stop), metered.envoy.address());
            callers.spawn(async move {
                let mut served = 0;
                while !stop.load(Ordering::SeqCst) {
                    // A connection goes on under the configuration that it began with, so each chat has its own.
                    let client = client(Protocol::ALL[number % 2]);
                    let chat = Chat::default()
                        .header(CALLER, "alice")
                        .header("x-mock-events", 5)
                        .header("x-mock-prompt-tokens", 1 + number)
                        .header("x-mock-completion-tokens", served % 89);
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
        Self { stop, callers }
    }

    async fn end(mut self) -> Result<u64, Box<dyn Error>> {
        self.stop.store(true, Ordering::SeqCst);
        let mut served = 0;
        while let Some(caller) = self.callers.join_next().await {
            served += caller??;
        }
        Ok(served)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sums_are_exact_through_changes_under_load() -> Outcome {
    let other_build = other_build()?;
    let mut metered = Metered::build(each_caller(LIMIT), |builder| builder.concurrency(2)).await?;
    let spent = |metered: &Metered| metered.llm.input_tokens() + metered.llm.output_tokens();
    let mut open = each_caller(LIMIT);
    open["failureMode"] = json!("allow");
    let mut bounded = each_caller(LIMIT);
    bounded["policies"][0]["spec"]["limits"]["bound"] = json!({ "concurrency": 1000 });
    let update = |configuration| (Tollgate::new(configuration), LIMIT);
    for (what, (tollgate, limit)) in [
        ("another setting", update(open)),
        ("another limit beside it", update(bounded)),
        (
            "another value",
            (Tollgate::new(each_caller(2 * LIMIT)), 2 * LIMIT),
        ),
        (
            "another listener",
            (Tollgate::new(each_caller(LIMIT)).holds_headers(true), LIMIT),
        ),
        (
            "another build of the module",
            (
                Tollgate::new(each_caller(LIMIT)).module(other_build.path()),
                LIMIT,
            ),
        ),
        ("the build before", update(each_caller(LIMIT))),
    ] {
        let load = Load::start(&metered);
        let before = metered.llm.requests();
        metered.llm.wait_for_requests(before + 10).await?;
        assert_eq!(
            metered.envoy.update(tollgate).await?,
            Update::Accepted,
            "{what}"
        );
        let after = metered.llm.requests();
        metered.llm.wait_for_requests(after + 10).await?;
        assert!(load.end().await? >= 20);
        assert_eq!(
            metered.left("alice").await?,
            limit - spent(&metered),
            "{what}"
        );
    }
    let tollgate = Tollgate::new(in_window(LIMIT, "2h"));
    assert_eq!(metered.envoy.update(tollgate).await?, Update::Accepted);
    assert_eq!(
        metered.left("alice").await?,
        LIMIT,
        "another window begins anew"
    );
    metered.check().await?;
    Ok(())
}

/// Sends the chat and keeps its response open until the task ends.
fn ask(metered: &Metered, chat: &Chat) -> JoinHandle<reqwest::Result<u16>> {
    let (chat, address) = (chat.clone(), metered.envoy.address());
    tokio::spawn(async move {
        let response = chat.send(&client(Protocol::Http1), address).await?;
        let status = response.status().as_u16();
        response.bytes().await?;
        Ok(status)
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_held_stays_held() -> Outcome {
    let other_build = other_build()?;
    let mut metered = Metered::build(each_caller(1_000), |builder| builder.concurrency(2)).await?;
    // It holds most of the limit until it is answered.
    let large = Chat::new("What is Kubernetes?", 700)
        .header(CALLER, "alice")
        .header("x-test-id", "large")
        .header("x-mock-silent", 1);
    let other = Chat::new("What is Kubernetes?", 300).header(CALLER, "alice");
    let large = ask(&metered, &large);
    metered.llm.wait_for_requests(1).await?;
    assert_eq!(ask(&metered, &other).await??, 429);

    for (what, tollgate) in [
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
        assert_eq!(
            metered.envoy.update(tollgate).await?,
            Update::Accepted,
            "{what}"
        );
        assert_eq!(ask(&metered, &other).await??, 429, "{what}");
    }
    // Who leaves is charged for what he sent, and what he held is free, by whatever module it was held.
    large.abort();
    let charged = metered
        .envoy
        .logged("large")
        .await?
        .tollgate_number("total_tokens");
    let charged = charged.ok_or("not charged")?;
    assert!((1..500).contains(&charged), "{charged}");
    assert_eq!(metered.left("alice").await?, 1_000 - charged);
    assert_eq!(ask(&metered, &other).await??, 200);
    assert_eq!(metered.left("alice").await?, 1_000 - charged - 300);
    metered.check().await?;
    Ok(())
}
