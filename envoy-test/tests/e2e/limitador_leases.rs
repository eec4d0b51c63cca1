//! Leases: workers admit requests from slices of a limit that they have reserved in limitador.

use std::{error::Error, time::Duration};

use envoy_test::{
    client::{self, Chat, client},
    envoy::Update,
    filters::Tollgate,
    metered::{CALLER, Metered, configuration},
    remote::{self, Protocol, counted, gateway, wait_for_counted},
};
use futures_util::future::join_all;
use integration::{Limitador, calls::Method};
use serde_json::{Value, json};

use crate::{
    fixtures::{AMPLE, hourly_with},
    support::{
        TestResult, count_admitted, generated_tokens, send, spawn_chat, wait_for_metric,
        wait_for_some,
    },
};

/// A limit for each caller, of which a chat reserves the 100 tokens that it costs, with slices of up to 2,000 tokens.
fn leasing(tokens: u64) -> Value {
    let reservation = json!({ "reservation": { "amount": "100" } });
    let mut configuration = configuration(json!({ "tokens": hourly_with(tokens, reservation) }));
    configuration["storage"] = Protocol::Reserve.storage();
    configuration["storage"]["lease"] = json!({ "amount": 2_000, "ttl": "1s" });
    configuration
}

/// Returns the number of calls that the service has received.
fn calls(limitador: &Limitador) -> u64 {
    let calls = Method::ALL.iter();
    calls.map(|method| limitador.calls().count(*method)).sum()
}

/// Sends chats of one caller, one after another on one connection.
async fn send_chats(metered: &Metered, number: usize) -> TestResult {
    let client = client(client::Protocol::Http1);
    for _ in 0..number {
        let chat = Chat::default().header(CALLER, "alice");
        let response = chat.send(&client, metered.envoy.address()).await?;
        assert_eq!(response.status(), 200);
        response.bytes().await?;
    }
    Ok(())
}

/// Waits until no worker has a lease.
async fn leases_to_end(metered: &Metered) -> TestResult {
    wait_for_metric(&metered.envoy, "storage_tokens_leased", 0).await
}

#[tokio::test]
async fn thousand_requests_make_few_calls() -> TestResult {
    let configuration = leasing(AMPLE);
    let limitador = remote::limitador(&configuration)?.start().await?;
    let metered = gateway(configuration, limitador.address(), 1).await?;
    let chats = (0..4).map(|_| send_chats(&metered, 250));
    for sent in join_all(chats).await {
        sent?;
    }
    leases_to_end(&metered).await?;
    wait_for_counted(&limitador, 100_000).await?;
    // Without leases there are 2,000 calls for 1,000 requests. A slice is enough for 15 of these.
    let calls = calls(&limitador);
    println!("{calls} calls for 1,000 requests");
    assert!(calls < 250, "{calls}");
    assert!(wait_for_some(&metered.envoy, "storage_lease_admissions").await? > 900);
    metered.check().await?;
    Ok(())
}

/// Sends a number of chats at once through two gateways. Returns how many were admitted.
async fn send_at_once(gateways: &[Metered; 2], number: usize) -> Result<u64, Box<dyn Error>> {
    let chat = Chat::default().header("x-mock-delay-ms", 300);
    let responses = (0..number).map(|number| send(&gateways[number % 2], &chat));
    count_admitted(responses).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_envoys_with_leases_keep_limit() -> TestResult {
    const LIMIT: u64 = 20_000;
    let configuration = leasing(LIMIT);
    let limitador = remote::limitador(&configuration)?.start().await?;
    let address = limitador.address();
    let gateways = [
        gateway(configuration.clone(), address, 2).await?,
        gateway(configuration, address, 2).await?,
    ];
    let mut admitted = 0;
    for gateway in &gateways {
        send_chats(gateway, 20).await?;
        admitted += 20;
    }
    for _ in 0..4 {
        admitted += send_at_once(&gateways, 64).await?;
    }
    for gateway in &gateways {
        assert!(wait_for_some(&gateway.envoy, "storage_lease_admissions").await? > 0);
    }
    // Nothing that was held back is lost: once the leases have ended, the rest is admitted, one request after another.
    for gateway in &gateways {
        leases_to_end(gateway).await?;
    }
    let rest = LIMIT.saturating_sub(admitted * 100) / 100;
    println!("{rest} of 200 requests were held back");
    while send(&gateways[0], &Chat::default()).await? == 200 {
        admitted += 1;
    }
    // At most one request of each Envoy goes beyond a limit, as without leases.
    let used = admitted * 100;
    assert!((LIMIT..=LIMIT + 200).contains(&used), "{used}");
    for gateway in &gateways {
        leases_to_end(gateway).await?;
    }
    wait_for_counted(&limitador, LIMIT).await?;
    for gateway in &gateways {
        gateway.check().await?;
    }
    Ok(())
}

#[tokio::test]
async fn service_that_returns_has_usage_of_leases() -> TestResult {
    let mut configuration = leasing(AMPLE);
    configuration["storage"]["timeout"] = "60s".into();
    let limitador = remote::limitador(&configuration)?.start().await?;
    let metered = gateway(configuration, limitador.address(), 1).await?;
    send_chats(&metered, 10).await?;
    limitador.close().await;
    // From the lease, then by this Envoy's own count.
    send_chats(&metered, 60).await?;
    wait_for_some(&metered.envoy, "storage_circuit_open").await?;
    limitador.serve().await?;
    wait_for_metric(&metered.envoy, "storage_circuit_open", 0).await?;
    send_chats(&metered, 10).await?;
    leases_to_end(&metered).await?;
    wait_for_counted(&limitador, generated_tokens(&metered)).await?;
    metered.check().await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replaced_configurations_end_their_leases() -> TestResult {
    let with_limit = |limit: u64| {
        let mut configuration = leasing(AMPLE);
        configuration["storage"]["lease"]["ttl"] = "5s".into();
        configuration["policies"][0]["spec"]["limits"]["bound"] = json!({ "concurrency": limit });
        configuration
    };
    let limitador = remote::limitador(&with_limit(1))?.start().await?;
    let address = limitador.address();
    let metered = Metered::build(with_limit(1_000), |builder| {
        remote::cluster(builder.concurrency(2).own_process(), address)
    });
    let mut metered = metered.await?;
    let client = client(client::Protocol::Http1);
    for reload in 0..3 {
        send_chats(&metered, 6).await?;
        // Exchanges in flight hold a part of the slices.
        let chat = Chat::default().header("x-mock-delay-ms", 1_500);
        let slow = (0..4).map(|_| spawn_chat(&metered, &client, "slow", chat.clone()));
        let slow: Vec<_> = slow.collect();
        send_chats(&metered, 6).await?;
        let tollgate = Tollgate::new(with_limit(1_001 + reload));
        let update = metered.envoy.update(tollgate).await?;
        assert!(matches!(update, Update::Accepted), "{update:?}");
        for response in slow {
            assert_eq!(response.await??.status(), 200);
        }
    }
    // The last of them has no lease, and the usage of the others does not wait for their ttl.
    leases_to_end(&metered).await?;
    wait_for_counted(&limitador, generated_tokens(&metered)).await?;
    wait_for_metric(&metered.envoy, "storage_tokens_lost", 0).await?;
    metered.check().await?;
    Ok(())
}

#[tokio::test]
async fn lease_of_killed_envoy_expires() -> TestResult {
    let configuration = leasing(4_000);
    let limitador = remote::limitador(&configuration)?.start().await?;
    let address = limitador.address();
    let first = Metered::build(configuration.clone(), |builder| {
        remote::cluster(builder.concurrency(1).own_process(), address)
    });
    let first = first.await?;
    send_chats(&first, 4).await?;
    wait_for_some(&first.envoy, "storage_lease_admissions").await?;
    let before = counted(&limitador).await?;
    // Kills the Envoy and the state in its memory.
    drop(first);
    let second = gateway(configuration, address, 1).await?;
    tokio::time::timeout(Duration::from_secs(30), async {
        let mut admitted = 0;
        while before + admitted * 100 < 4_000 {
            admitted += u64::from(send(&second, &Chat::default()).await? == 200);
        }
        Ok::<_, Box<dyn Error>>(())
    })
    .await??;
    assert_eq!(send(&second, &Chat::default()).await?, 429);
    wait_for_counted(&limitador, 4_000).await?;
    Ok(())
}
