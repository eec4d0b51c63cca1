//! Failures of the rate limit service: requests follow the failure mode, and no usage is lost when it recovers.

use std::{
    error::Error,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use envoy_test::{
    client::{self, Chat, client},
    envoy::{Envoy, Update},
    filters::{self, Tollgate},
    llm::Llm,
    metered::{CALLER, Metered, each_caller},
    redis::Redis,
    remote::{self, Protocol, gateway, wait_for_counted, wait_for_counted_within},
    wait,
};
use futures_util::future::{join_all, try_join_all};
use integration::{
    Limitador,
    calls::{Fault, Method},
};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::{
    fixtures::AMPLE,
    support::{TestResult, generated_tokens, send, wait_for_metric},
};

/// The number of clients that send chats of 100 tokens, one after another.
const CLIENTS: usize = 6;
/// The pause of a client between two chats.
const PAUSE: Duration = Duration::from_millis(20);

/// How long the service is down under load.
const DOWNTIME: Duration = Duration::from_secs(10);

/// The timeout of a chat: only one that hangs exceeds it.
const HANGS: Duration = Duration::from_secs(120);

/// The timeout of calls to the service where timeouts are tested: above what a busy machine needs for a call.
const SHORT_TIMEOUT: &str = "2s";
/// The timeout of calls to the service where only a connection that is closed fails a call.
const LONG_TIMEOUT: &str = "60s";

/// A failure of the service.
#[derive(Debug, Clone)]
enum Failure {
    /// Some of its methods fail.
    Calls(Fault),
    /// Its port is closed.
    Closed,
    /// It does not answer in HTTP/2.
    NotHttp2,
}

impl Failure {
    fn all() -> Vec<Self> {
        vec![
            Self::Calls(Fault::Delay(Duration::from_secs(20))),
            Self::Calls(Fault::Error(tonic::Code::Internal)),
            Self::Calls(Fault::Hang),
            Self::Calls(Fault::WrongBytes),
            Self::Closed,
            Self::NotHttp2,
        ]
    }

    async fn begin(&self, limitador: &Limitador, methods: &[Method]) -> TestResult {
        match self {
            Self::Calls(fault) => {
                for method in methods {
                    limitador.calls().fail(*method, fault.clone());
                }
            }
            Self::Closed => limitador.close().await,
            Self::NotHttp2 => limitador.answer_wrong_bytes().await?,
        }
        Ok(())
    }

    async fn end(&self, limitador: &Limitador) -> TestResult {
        match self {
            Self::Calls(_) => limitador.calls().heal(),
            Self::Closed | Self::NotHttp2 => limitador.serve().await?,
        }
        Ok(())
    }
}

fn configuration(protocol: Protocol, mode: &str, timeout: &str) -> Value {
    let mut configuration = each_caller(AMPLE);
    configuration["storage"] = protocol.storage();
    configuration["storage"]["timeout"] = timeout.into();
    configuration["storage"]["failureMode"] = mode.into();
    configuration
}

/// Waits until the circuit is closed, and sends a chat that the service admits.
async fn recover(metered: &Metered) -> TestResult {
    wait_for_metric(&metered.envoy, "storage_circuit_open", 0).await?;
    assert_eq!(send(metered, &Chat::default()).await?, 200);
    Ok(())
}

/// Fails the methods of admission, or those of settlement, in each way; after each, the service has counted what the
/// provider has generated.
async fn fail_in_each_way(
    protocol: Protocol,
    mode: &str,
    methods: &[Method],
    at_admission: bool,
) -> TestResult {
    let configuration = configuration(protocol, mode, SHORT_TIMEOUT);
    let limitador = remote::limitador(&configuration)?.start().await?;
    let metered = gateway(configuration, limitador.address(), 1).await?;
    assert_eq!(send(&metered, &Chat::default()).await?, 200);
    for failure in Failure::all() {
        failure.begin(&limitador, methods).await?;
        let admits = !at_admission && matches!(failure, Failure::Calls(_));
        // Where only settlement fails, requests are admitted until the circuit opens.
        let expected: &[u16] = match mode {
            "deny" if admits => &[200, 500],
            "deny" => &[500],
            _ => &[200],
        };
        // Enough requests to open the circuit, and some more.
        for number in 0..8 {
            let chat = Chat::default().stream(number % 2 == 0);
            let status = send(&metered, &chat).await?;
            assert!(expected.contains(&status), "{mode}, {failure:?}: {status}");
        }
        failure.end(&limitador).await?;
        recover(&metered).await?;
        let used = generated_tokens(&metered);
        // `ShouldRateLimit` counts each check as one, which is not subtracted if its answer is lost.
        let checks = if protocol == Protocol::EnvoyRls {
            limitador.calls().count(Method::ShouldRateLimit)
        } else {
            0
        };
        wait_for_counted_within(&limitador, used..=used + checks).await?;
        metered.check().await?;
    }
    Ok(())
}

/// [`fail_in_each_way`] in each failure mode, all three at once: most of their time is waiting.
async fn fail_in_each_mode(
    protocol: Protocol,
    methods: &[Method],
    at_admission: bool,
) -> TestResult {
    let modes = ["local", "allow", "deny"];
    let modes = modes.map(|mode| fail_in_each_way(protocol, mode, methods, at_admission));
    try_join_all(modes).await?;
    Ok(())
}

#[tokio::test]
async fn failing_reserve_follows_failure_mode() -> TestResult {
    fail_in_each_mode(Protocol::Reserve, &[Method::Reserve], true).await
}

#[tokio::test]
async fn failing_check_follows_failure_mode() -> TestResult {
    fail_in_each_mode(Protocol::CheckReport, &[Method::CheckRateLimit], true).await
}

#[tokio::test]
async fn failing_should_rate_limit_follows_failure_mode() -> TestResult {
    fail_in_each_mode(Protocol::EnvoyRls, &[Method::ShouldRateLimit], true).await
}

#[tokio::test]
async fn failing_commit_loses_no_usage() -> TestResult {
    // Usage whose commit fails is reported.
    let methods = [Method::Commit, Method::Report];
    fail_in_each_mode(Protocol::Reserve, &methods, false).await
}

#[tokio::test]
async fn failing_report_loses_no_usage() -> TestResult {
    fail_in_each_mode(Protocol::CheckReport, &[Method::Report], false).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn service_restart_under_load_loses_no_usage() -> TestResult {
    let configuration = configuration(Protocol::Reserve, "local", LONG_TIMEOUT);
    let redis = Redis::start().await?;
    let start = |builder: integration::Builder| builder.redis(&redis.url()).start();
    let limitador = start(remote::limitador(&configuration)?).await?;
    let address = limitador.address();
    let metered = gateway(configuration.clone(), address, 2).await?;

    // An Envoy without the filter under the same load, for comparison.
    let (llm, bare) = bare().await?;
    let addresses = [metered.envoy.address(), bare.address()];
    let stop = Arc::new(AtomicBool::new(false));
    let mut clients = JoinSet::new();
    for (number, gateway) in (0..CLIENTS).flat_map(|number| addresses.map(|at| (number, at))) {
        let stop = Arc::clone(&stop);
        clients.spawn(async move {
            let client = client(client::Protocol::ALL[number % 2]);
            while !stop.load(Ordering::SeqCst) {
                let chat = Chat::default().stream(number % 3 == 0);
                let chat = chat.header(CALLER, format!("caller {number}"));
                let chat = tokio::time::timeout(HANGS, async {
                    let response = chat.send(&client, gateway).await?;
                    assert_eq!(response.status(), 200);
                    response.bytes().await
                });
                chat.await??;
                // Without a pause, chats would wait for a core rather than for the filter.
                tokio::time::sleep(PAUSE).await;
            }
            Ok::<_, Box<dyn Error + Send + Sync>>(())
        });
    }
    let serve = async |more: u64| {
        let before = metered.llm.requests();
        metered.llm.wait_for_requests(before + more).await
    };
    serve(50).await?;
    drop(limitador);
    let open = metered
        .envoy
        .wait_for_stat("wasmcustom.tollgate.storage_circuit_open", |open| open > 0);
    open.await?;
    let [filtered, unfiltered] = medians(addresses, DOWNTIME).await?;
    println!("circuit open: median chat {filtered:?}, without the filter {unfiltered:?}");
    let limitador = start(remote::limitador(&configuration)?.address(address)).await?;
    wait_for_metric(&metered.envoy, "storage_circuit_open", 0).await?;
    serve(50).await?;
    stop.store(true, Ordering::SeqCst);
    while let Some(client) = clients.join_next().await {
        client?.map_err(|error| error.to_string())?;
    }
    // Calls in flight when the service was killed may have had their effect, and are repeated.
    let used = generated_tokens(&metered);
    let in_flight = u64::try_from(CLIENTS)? * 100;
    wait_for_counted_within(&limitador, used..=used + in_flight).await?;
    metered.check().await?;
    drop((bare, llm));
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn saturated_service_loses_no_usage_and_no_request() -> TestResult {
    for protocol in [Protocol::Reserve, Protocol::CheckReport] {
        let configuration = configuration(protocol, "deny", LONG_TIMEOUT);
        let limitador = remote::limitador(&configuration)?.start().await?;
        let address = limitador.address();
        let metered = Metered::build(configuration, |builder| {
            let mut cluster = filters::cluster(remote::CLUSTER, address, true);
            // Fewer calls than requests that come at once.
            let most = json!({ "max_requests": 40, "max_pending_requests": 40 });
            cluster["circuit_breakers"] = json!({ "thresholds": [most] });
            builder.cluster(cluster)
        });
        let metered = metered.await?;
        let slow = Fault::Delay(Duration::from_millis(100));
        limitador.calls().fail_all(slow);
        for _ in 0..3 {
            let chats = (0..150).map(|number| {
                let chat = Chat::default().stream(number % 2 == 0);
                async { send(&metered, &{ chat }).await }
            });
            for status in join_all(chats).await {
                assert_eq!(status?, 200, "{protocol:?}");
            }
        }
        limitador.calls().heal();
        wait_for_counted(&limitador, generated_tokens(&metered)).await?;
        let calls = limitador.calls();
        let settlements = [Method::Commit, Method::Report].map(|method| calls.count(method));
        assert!(settlements.iter().sum::<u64>() <= 450);
        for method in [Method::Commit, Method::Report] {
            assert!(calls.most_under_way(method) <= 64, "{method:?}");
        }
        let log = metered.envoy.logs()?;
        assert!(!log.contains("storage_circuit_open"), "{log}");
        metered.check().await?;
    }
    Ok(())
}

#[tokio::test]
async fn endless_reply_is_cut_off_as_it_arrives() -> TestResult {
    for protocol in Protocol::ALL {
        let configuration = configuration(protocol, "deny", LONG_TIMEOUT);
        let limitador = remote::limitador(&configuration)?.start().await?;
        let metered = gateway(configuration, limitador.address(), 1).await?;
        limitador.calls().fail_all(Fault::Endless);
        assert_eq!(send(&metered, &Chat::default()).await?, 500, "{protocol:?}");
        // Envoy itself would gather what it is sent until the timeout.
        let bytes = limitador.calls().endless_bytes();
        assert!(bytes < 64 << 20, "{bytes} bytes were read");
        limitador.calls().heal();
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn queued_settlements_pass_to_new_configurations() -> TestResult {
    let with_limit = |limit: u64| {
        let mut configuration = configuration(Protocol::Reserve, "local", SHORT_TIMEOUT);
        configuration["policies"][0]["spec"]["limits"]["bound"] = json!({ "concurrency": limit });
        configuration
    };
    let limitador = remote::limitador(&with_limit(1))?.start().await?;
    let address = limitador.address();
    let metered = Metered::build(with_limit(1_000), |builder| {
        remote::cluster(builder.concurrency(2).own_process(), address)
    });
    let mut metered = metered.await?;
    assert_eq!(send(&metered, &Chat::default()).await?, 200);
    // A settlement whose reply is lost may count twice.
    wait_for_counted(&limitador, generated_tokens(&metered)).await?;
    limitador.close().await;
    for reload in 0..3 {
        for _ in 0..12 {
            assert_eq!(send(&metered, &Chat::default()).await?, 200);
        }
        let tollgate = Tollgate::new(with_limit(1_001 + reload));
        let update = metered.envoy.update(tollgate).await?;
        assert!(matches!(update, Update::Accepted), "{update:?}");
    }
    limitador.serve().await?;
    let used = generated_tokens(&metered);
    wait_for_counted(&limitador, used).await?;
    for gauge in [
        "storage_circuit_open",
        "storage_settlements_pending",
        "storage_tokens_lost",
    ] {
        wait_for_metric(&metered.envoy, gauge, 0).await?;
    }
    metered.check().await?;
    Ok(())
}

/// An Envoy without the filter, and the provider behind it.
async fn bare() -> Result<(Llm, Envoy), Box<dyn Error>> {
    let llm = Llm::start().await?;
    let envoy = Envoy::builder().upstream(llm.address()).concurrency(2);
    let envoy = envoy.start().await?;
    Ok((llm, envoy))
}

/// The median time of a chat at each address, measured alternately for a while.
async fn medians(
    addresses: [SocketAddr; 2],
    during: Duration,
) -> Result<[Duration; 2], Box<dyn Error>> {
    let client = client(client::Protocol::Http1);
    let mut taken = [Vec::new(), Vec::new()];
    let until = Instant::now() + during;
    while Instant::now() < until {
        for (address, taken) in addresses.into_iter().zip(&mut taken) {
            let chat = Chat::default().header(CALLER, "alice");
            let start = Instant::now();
            let response = chat.send(&client, address).await?;
            assert_eq!(response.status(), 200);
            response.bytes().await?;
            taken.push(start.elapsed());
        }
    }
    Ok(taken.map(|mut taken| {
        taken.sort_unstable();
        taken[taken.len() / 2]
    }))
}

#[tokio::test]
async fn queued_settlements_survive_update() -> TestResult {
    let configuration = configuration(Protocol::CheckReport, "local", LONG_TIMEOUT);
    let limitador = remote::limitador(&configuration)?.start().await?;
    let address = limitador.address();
    let metered = Metered::build(configuration, |builder| {
        remote::cluster(builder.concurrency(2).own_process(), address)
    });
    let mut metered = metered.await?;
    let unavailable = Fault::Error(tonic::Code::Unavailable);
    limitador.calls().fail(Method::Report, unavailable);
    for _ in 0..4 {
        assert_eq!(send(&metered, &Chat::default()).await?, 200);
    }
    let local = Tollgate::new(each_caller(AMPLE));
    let update = metered.envoy.update(local).await?;
    assert!(matches!(update, Update::Accepted), "{update:?}");
    assert_eq!(send(&metered, &Chat::default()).await?, 200);
    limitador.calls().heal();
    // The last chat is counted locally.
    wait_for_counted(&limitador, 400).await?;
    metered.check().await?;
    Ok(())
}

/// The first request calls `Reserve` to find out whether the service implements it. If that call fails, only that
/// request fails.
#[tokio::test]
async fn failed_first_reserve_decides_for_itself_only() -> TestResult {
    const AT_ONCE: usize = 32;
    for fault in [Fault::Hang, Fault::Error(tonic::Code::InvalidArgument)] {
        let configuration = configuration(Protocol::Reserve, "deny", SHORT_TIMEOUT);
        let limitador = remote::limitador(&configuration)?.start().await?;
        let metered = Metered::build(configuration, |builder| {
            remote::cluster(builder.own_process(), limitador.address())
        });
        let metered = Arc::new(metered.await?);
        limitador.calls().fail(Method::Reserve, fault.clone());
        let mut chats = JoinSet::new();
        let chat = |metered: &Arc<Metered>| {
            let metered = Arc::clone(metered);
            async move { send(&metered, &Chat::default()).await.ok() }
        };
        chats.spawn(chat(&metered));
        wait::until("the first request to ask", async || {
            (limitador.calls().count(Method::Reserve) == 1).then_some(())
        })
        .await?;
        // A call that hangs already is never answered.
        limitador.calls().heal();
        for _ in 1..AT_ONCE {
            chats.spawn(chat(&metered));
        }
        let statuses: Vec<Option<u16>> = chats.join_all().await;
        let count = |status| statuses.iter().filter(|it| **it == Some(status)).count();
        assert_eq!((count(200), count(500)), (AT_ONCE - 1, 1), "{fault:?}");
        assert_eq!(limitador.calls().count(Method::CheckRateLimit), 0);
        wait_for_counted(&limitador, generated_tokens(&metered)).await?;
    }
    Ok(())
}
