//! Many requests at once that each make the filter keep something, or take the room of others.

use std::time::Duration;

use envoy_test::{
    client::{Chat, Protocol, client},
    filters::Tollgate,
    llm::MODEL,
    metered::{CALLER, Metered, configuration, each_caller},
    wait,
};
use futures_util::stream;
use reqwest::Body;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::gateway::{AMPLE, Outcome, attack, start};

/// The connections of an attacker.
const CONNECTIONS: u32 = 8;

/// Requests of an attacker in flight. They end when this is dropped.
type InFlight = JoinSet<reqwest::Result<u16>>;

fn report_memory(name: &str, bytes: u64) {
    println!("| {name} | | {} MiB | |", bytes >> 20);
}

/// A list of so many bytes of small objects in objects, which take much memory as values.
fn nested(bytes: usize) -> Value {
    const ELEMENT: &str = r#"{"":{"":0}},"#;
    vec![json!({ "": { "": 0 } }); bytes / ELEMENT.len()].into()
}

/// Sends so many chats with a body that is expensive to keep.
fn send_nested(metered: &Metered, count: u32) -> InFlight {
    let chat = Chat::default()
        .field("metadata", nested(250_000))
        .header("x-mock-silent", 1);
    let mut pending = InFlight::new();
    for _ in 0..CONNECTIONS {
        let client = client(Protocol::Http2);
        for number in 0..count / CONNECTIONS {
            let caller = format!("attacker {}", number % 4);
            let chat = chat.clone().header(CALLER, caller);
            let request = chat.request(&client, metered.envoy.address());
            pending.spawn(async move { Ok(request.send().await?.status().as_u16()) });
        }
    }
    pending
}

#[tokio::test]
async fn bodies_that_cost_reads_are_kept_within_budget() -> Outcome {
    const COUNT: u32 = 320;
    let mut configuration = each_caller(AMPLE);
    let limit = &mut configuration["policies"][0]["spec"]["limits"]["tokens"];
    limit["cost"] =
        r#"usage.total_tokens + int(requestBodyJSON("").metadata.size() > 1000000)"#.into();
    limit["when"] = json!([{ "predicate": "request.method == 'POST'" }]);
    let metered = start(configuration, |builder| builder).await?;
    let pending = attack(
        &metered,
        "nested bodies whose cost is pending",
        COUNT,
        async {
            let mut pending = send_nested(&metered, COUNT);
            arrived_or_rejected(&metered, &mut pending, COUNT).await?;
            Ok(pending)
        },
    )
    .await?;
    report_memory(
        "nested bodies: resident memory",
        metered.envoy.memory().await?.resident,
    );
    drop(pending);
    metered.check().await?;
    Ok(())
}

#[tokio::test]
async fn bodies_in_queue_are_kept_within_budget() -> Outcome {
    const COUNT: u32 = 320;
    let metered = start(
        configuration(json!({ "one": {
            "concurrency": 1,
            "counters": [{ "expression": "auth.identity.userid" }],
            "when": [{ "predicate": r#"requestBodyJSON("").metadata.size() > 0"# }],
            "onExceeded": { "queue": { "depth": 1024, "timeout": "10m" } },
        } })),
        |builder| builder,
    )
    .await?;
    let pending = attack(&metered, "nested bodies in a queue", COUNT, async {
        let mut pending = send_nested(&metered, COUNT);
        let mut rejected = 0;
        let queued = wait::until("bodies to be queued, forwarded or rejected", async || {
            while pending.try_join_next().is_some() {
                rejected += 1;
            }
            let queued = metered.envoy.stat("wasmcustom.tollgate.queued");
            let decided = queued.await.ok()? + metered.llm.requests() + rejected;
            (decided >= COUNT.into()).then_some(())
        });
        queued.await?;
        Ok(pending)
    })
    .await?;
    report_memory(
        "nested bodies in a queue: resident memory",
        metered.envoy.memory().await?.resident,
    );
    drop(pending);
    metered.check().await?;
    Ok(())
}

/// Waits until each of these chats is at the provider or rejected.
async fn arrived_or_rejected(metered: &Metered, pending: &mut InFlight, count: u32) -> Outcome {
    let mut rejected = 0;
    wait::until("chats to arrive or to be rejected", async || {
        while pending.try_join_next().is_some() {
            rejected += 1;
        }
        (metered.llm.requests() + rejected >= count.into()).then_some(())
    })
    .await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slow_uploads_with_long_paths_are_kept_once() -> Outcome {
    const COUNT: u32 = 3_704;
    const PATH_BYTES: u32 = 58_000;
    const BUDGET: u64 = 512 << 20;
    let mut configuration = each_caller(AMPLE);
    let limit = &mut configuration["policies"][0]["spec"]["limits"]["tokens"];
    limit["when"] = json!([{ "predicate": format!("llm.?model.orValue('') == '{MODEL}'") }]);
    configuration["memory"] = json!({ "perWorker": BUDGET });
    // The upstream sees nothing of a request whose body is missing.
    configuration["holdHeaders"] = true.into();
    let tollgate = Tollgate::new(configuration).holds_headers(true);
    let metered = start(Value::Null, |builder| builder.tollgate(tollgate)).await?;
    let before = metered.envoy.memory().await?.resident;
    let path = format!(
        "/v1/chat/completions?{}",
        "p".repeat(usize::try_from(PATH_BYTES)?)
    );
    let pending = attack(&metered, "slow uploads with long paths", COUNT, async {
        let mut pending = InFlight::new();
        for connection in 1..=CONNECTIONS {
            let client = client(Protocol::Http2);
            for _ in 0..COUNT / CONNECTIONS {
                let never = stream::pending::<Result<Vec<u8>, std::io::Error>>();
                let request = client
                    .post(metered.envoy.url(&path))
                    .header(CALLER, format!("attacker {connection}"))
                    .header("content-type", "application/json")
                    .timeout(Duration::from_secs(600))
                    .body(Body::wrap_stream(never));
                pending.spawn(async move { Ok(request.send().await?.status().as_u16()) });
            }
            let open = u64::from(COUNT / CONNECTIONS * connection);
            metered
                .envoy
                .wait_for_stat("http.ingress.downstream_rq_active", |active| active >= open)
                .await?;
        }
        Ok(pending)
    })
    .await?;
    let paths = u64::from(COUNT) * u64::from(PATH_BYTES);
    let kept = metered
        .envoy
        .wait_for_stat("wasmcustom.tollgate.memory_bytes", |bytes| bytes > paths)
        .await?;
    let resident = metered.envoy.memory().await?.resident - before;
    report_memory("slow uploads: kept by the module", kept);
    report_memory("slow uploads: resident, more than before", resident);
    let name = "wasmcustom.tollgate.requests.decision=overloaded";
    assert_eq!(metered.envoy.stat(name).await?, 0);
    // One copy of each path, and what else an exchange keeps.
    assert!(kept < paths * 5 / 4 && kept < BUDGET, "{kept}");
    assert!(resident < BUDGET + paths, "{resident}");
    drop(pending);
    metered.check().await?;
    Ok(())
}

#[tokio::test]
async fn absurd_reservation_leaves_room_for_others() -> Outcome {
    let limits = json!({ "all": { "rates": [{ "limit": AMPLE, "window": "1h" }] } });
    let metered = start(configuration(limits), |builder| builder).await?;
    for bound in [1_u64 << 53, u64::MAX, 1 << 41] {
        let before = metered.llm.requests();
        let client = client(Protocol::Http1);
        let chat = Chat::default()
            .field("max_tokens", bound)
            .header("x-mock-silent", 1)
            .header(CALLER, "attacker");
        let request = chat.request(&client, metered.envoy.address());
        let absurd = tokio::spawn(request.send());
        metered.llm.wait_for_requests(before + 1).await?;
        let chat = Chat::default().header(CALLER, "victim");
        let response = chat.send(&client, metered.envoy.address()).await?;
        assert_eq!(response.status(), 200, "max_tokens {bound}");
        absurd.abort();
    }
    metered.check().await?;
    Ok(())
}
