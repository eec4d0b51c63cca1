//! Encoded responses of an upstream that take long to decode, or much memory.

use std::io::Write;

use envoy_test::{
    client::{Chat, Protocol, client},
    llm::Script,
    metered::{CALLER, Metered, each_caller},
};
use flate2::{Compression, write::GzEncoder};
use reqwest::Response;
use tokio::task::JoinSet;

use crate::{
    brotli,
    gateway::{AMPLE, Outcome, attack, charged, start},
};

/// The tokens that a victim requests at most, and receives.
const VICTIM_TOKENS: u64 = 10_000;

/// The response of a provider, of more tokens than its text suggests.
const COMPLETION: &str = r#"{"object":"chat.completion","choices":[{"message":{"content":"Hi"}}],"usage":{"prompt_tokens":5,"completion_tokens":9995,"total_tokens":10000}}"#;

/// Sets a scripted response with these codings.
fn script(metered: &Metered, name: &str, codings: &str, body: Vec<u8>) {
    let script = Script {
        status: 200,
        headers: vec![
            ("content-type".to_owned(), "application/json".to_owned()),
            ("content-encoding".to_owned(), codings.to_owned()),
        ],
        body: body.into(),
    };
    metered.llm.script(name, script);
}

/// Holds so many of these responses open at once.
async fn hold_many(
    metered: &Metered,
    caller: &str,
    script: &str,
    count: u32,
) -> Outcome<Vec<Response>> {
    let client = client(Protocol::Http2);
    let mut pending = JoinSet::new();
    let mut held = Vec::new();
    for _ in 0..count {
        let chat = Chat::default()
            .header(CALLER, caller)
            .header("x-mock-script", script)
            .header("x-mock-hold-after", 1);
        let (client, address) = (client.clone(), metered.envoy.address());
        pending.spawn(async move {
            let mut response = chat.send(&client, address).await?;
            response.chunk().await?;
            Ok::<_, reqwest::Error>(response)
        });
    }
    while let Some(response) = pending.join_next().await {
        held.push(response??);
    }
    Ok(held)
}

/// The charge of a response in brotli, which is received as it is.
async fn charge_of_victim(metered: &Metered, caller: &str) -> Outcome<u64> {
    script(
        metered,
        "victim",
        "br",
        brotli::stored(COMPLETION.as_bytes()),
    );
    let chat = Chat::new("What is Kubernetes?", VICTIM_TOKENS)
        .header(CALLER, caller)
        .header("x-mock-script", "victim");
    let client = client(Protocol::Http1);
    let response = chat.send(&client, metered.envoy.address()).await?;
    assert_eq!(
        response.bytes().await?,
        brotli::stored(COMPLETION.as_bytes())
    );
    charged(metered, caller).await
}

#[tokio::test]
async fn responses_with_many_trees_exhaust_no_memory() -> Outcome {
    let metered = start(each_caller(AMPLE), |builder| builder).await?;
    assert_eq!(charge_of_victim(&metered, "before").await?, VICTIM_TOKENS);
    for (layers, count) in [(1, 400), (2, 200), (4, 100)] {
        let codings = vec!["br"; layers as usize].join(", ");
        let name = format!("{layers} times 256 trees");
        script(&metered, &name, &codings, brotli::trees(layers));
        let attacker = format!("attacker {layers}");
        let held = attack(
            &metered,
            &name,
            count,
            hold_many(&metered, &attacker, &name, count),
        );
        let held = held.await?;
        let victim = format!("victim {layers}");
        let charge = charge_of_victim(&metered, &victim).await?;
        // What cannot be decoded costs what was reserved for it.
        assert!(
            (VICTIM_TOKENS..2 * VICTIM_TOKENS).contains(&charge),
            "{name}: {charge}"
        );
        drop(held);
    }
    Ok(())
}

#[tokio::test]
async fn slow_large_windows_leave_memory_for_others() -> Outcome {
    let metered = start(each_caller(AMPLE), |builder| builder).await?;
    for count in [70, 300] {
        let name = format!("{count} large windows");
        script(&metered, &name, "br", brotli::large_window());
        let held = attack(
            &metered,
            &name,
            count,
            hold_many(&metered, "attacker", &name, count),
        );
        let held = held.await?;
        let victim = format!("victim {count}");
        let charge = charge_of_victim(&metered, &victim).await?;
        // What cannot be decoded costs what was reserved for it.
        assert!(
            (VICTIM_TOKENS..2 * VICTIM_TOKENS).contains(&charge),
            "{name}: {charge}"
        );
        drop(held);
    }
    Ok(())
}

/// A frame of zstd (RFC 8878) of so many times 128 KiB.
fn zstd_bomb(blocks: u32) -> Vec<u8> {
    // A window of 1 MiB, and no size of the content.
    let mut frame = vec![0x28, 0xb5, 0x2f, 0xfd, 0, 10 << 3];
    for block in 1..=blocks {
        // A repeated byte.
        let header = (128 << 10) << 3 | 1 << 1 | u32::from(block == blocks);
        frame.extend(&header.to_le_bytes()[..3]);
        frame.push(b'a');
    }
    frame
}

#[tokio::test]
async fn bombs_are_abandoned_early_and_charged() -> Outcome {
    let metered = start(each_caller(AMPLE), |builder| builder).await?;
    let mut gzip = GzEncoder::new(Vec::new(), Compression::best());
    gzip.write_all(&vec![b'a'; 64 << 20])?;
    let gzip = gzip.finish()?;
    let mut twice = GzEncoder::new(Vec::new(), Compression::best());
    twice.write_all(&gzip)?;
    for (name, codings, body) in [
        ("a bomb of 33 bytes in br", "br", brotli::bomb(1)),
        ("a bomb of 300 bytes in br", "br", brotli::bomb(16)),
        ("a bomb in zstd", "zstd", zstd_bomb(512)),
        ("a bomb in gzip", "gzip", gzip),
        ("a bomb in gzip in gzip", "gzip, gzip", twice.finish()?),
    ] {
        let length = body.len();
        script(&metered, name, codings, body);
        let chat = Chat::default()
            .header(CALLER, name)
            .header("x-mock-script", name);
        let client = client(Protocol::Http1);
        let action = async { Ok(metered.exchange(&client, name, chat).await?) };
        let exchange = attack(&metered, name, 1, action).await?;
        assert_eq!(exchange.body.len(), length, "{name}");
        // What cannot be decoded costs what was reserved for it.
        assert!(charged(&metered, name).await? >= 100, "{name}");
    }
    Ok(())
}
