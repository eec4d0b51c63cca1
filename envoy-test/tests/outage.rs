//! A rate limit service that fails: nothing hangs, callers get what the failure mode says, and once it is back it
//! has counted what was used.

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
    filters::Tollgate,
    llm::Llm,
    metered::{CALLER, Metered, each_caller},
    redis::Redis,
    remote::{self, Protocol, gateway, wait_for_counted, wait_for_counted_within},
    wait,
};
use integration::{
    Limitador,
    calls::{Fault, Method},
};
use serde_json::Value;
use tokio::task::JoinSet;

type Outcome = Result<(), Box<dyn Error>>;

const MUCH: u64 = 1_000_000_000;

/// How many ask one chat of 100 tokens after the other.
const CALLERS: usize = 6;
/// How long each of them waits between two chats.
const PACE: Duration = Duration::from_millis(20);

/// For how long the service stays away.
const AWAY: Duration = Duration::from_secs(30);

/// How long no chat takes but one that hangs.
const LONGEST: Duration = Duration::from_secs(60);

/// What goes wrong.
#[derive(Debug, Clone)]
enum Failing {
    Calls(Fault),
    Refused,
    NoHttp2,
}

impl Failing {
    fn all() -> Vec<Self> {
        vec![
            Self::Calls(Fault::Delay(Duration::from_secs(20))),
            Self::Calls(Fault::Error(tonic::Code::Internal)),
            Self::Calls(Fault::Hang),
            Self::Calls(Fault::WrongBytes),
            Self::Refused,
            Self::NoHttp2,
        ]
    }

    async fn begin(&self, limitador: &Limitador, methods: &[Method]) -> Outcome {
        match self {
            Self::Calls(fault) => {
                for method in methods {
                    limitador.calls().fail(*method, fault.clone());
                }
            }
            Self::Refused => limitador.refuse().await,
            Self::NoHttp2 => limitador.answer_wrong_bytes().await?,
        }
        Ok(())
    }

    async fn end(&self, limitador: &Limitador) -> Outcome {
        match self {
            Self::Calls(_) => limitador.calls().heal(),
            Self::Refused | Self::NoHttp2 => limitador.serve().await?,
        }
        Ok(())
    }
}

fn configuration(protocol: Protocol, mode: &str, timeout: &str) -> Value {
    let mut configuration = each_caller(MUCH);
    configuration["storage"] = protocol.storage();
    configuration["storage"]["timeout"] = timeout.into();
    configuration["storage"]["failureMode"] = mode.into();
    configuration
}

fn tokens(metered: &Metered) -> u64 {
    metered.llm.input_tokens() + metered.llm.output_tokens()
}

async fn ask(metered: &Metered, chat: Chat) -> Result<u16, Box<dyn Error>> {
    let client = client(client::Protocol::Http1);
    let chat = chat.header(CALLER, "alice");
    let response = chat.send(&client, metered.envoy.address()).await?;
    let status = response.status().as_u16();
    response.bytes().await?;
    Ok(status)
}

/// Chats until the service is asked again, and is there.
async fn recover(metered: &Metered) -> Outcome {
    metered
        .envoy
        .wait_for_stat("wasmcustom.tollgate.storage_away", |away| away == 0)
        .await?;
    assert_eq!(ask(metered, Chat::default()).await?, 200);
    Ok(())
}

/// Every fault at the methods that admit, or at those that settle; after each, what was served is what is counted.
async fn each_fault(
    protocol: Protocol,
    mode: &str,
    methods: &[Method],
    at_admission: bool,
) -> Outcome {
    let configuration = configuration(protocol, mode, "300ms");
    let limitador = remote::limitador(&configuration)?.start().await?;
    let metered = gateway(configuration, limitador.address(), 1).await?;
    assert_eq!(ask(&metered, Chat::default()).await?, 200);
    for failing in Failing::all() {
        failing.begin(&limitador, methods).await?;
        let admits = !at_admission && matches!(failing, Failing::Calls(_));
        // Where nobody can be admitted, nobody is; where only settling fails, that is noticed sooner or later.
        let expected: &[u16] = match mode {
            "deny" if admits => &[200, 500],
            "deny" => &[500],
            _ => &[200],
        };
        // As many as make the service be taken to be away, and some more.
        for number in 0..8 {
            let status = ask(&metered, Chat::default().stream(number % 2 == 0)).await?;
            assert!(expected.contains(&status), "{mode}, {failing:?}: {status}");
        }
        failing.end(&limitador).await?;
        recover(&metered).await?;
        let used = tokens(&metered);
        // A check that counts as one, and whose answer is lost, is not taken off again.
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

async fn in_each_mode(protocol: Protocol, methods: &[Method], at_admission: bool) -> Outcome {
    for mode in ["local", "allow", "deny"] {
        each_fault(protocol, mode, methods, at_admission).await?;
    }
    Ok(())
}

#[tokio::test]
async fn at_admission_with_reservations() -> Outcome {
    in_each_mode(Protocol::Reserve, &[Method::Reserve], true).await
}

#[tokio::test]
async fn at_admission_with_checks() -> Outcome {
    in_each_mode(Protocol::CheckReport, &[Method::CheckRateLimit], true).await
}

#[tokio::test]
async fn with_envoys_protocol() -> Outcome {
    in_each_mode(Protocol::EnvoyRls, &[Method::ShouldRateLimit], true).await
}

#[tokio::test]
async fn at_settlement_with_reservations() -> Outcome {
    // What a commit cannot tell, a report does.
    let methods = [Method::Commit, Method::Report];
    in_each_mode(Protocol::Reserve, &methods, false).await
}

#[tokio::test]
async fn at_settlement_with_reports() -> Outcome {
    in_each_mode(Protocol::CheckReport, &[Method::Report], false).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_under_load_and_restarted_nothing_is_lost() -> Outcome {
    let configuration = configuration(Protocol::Reserve, "local", "5s");
    let redis = Redis::start().await?;
    let start = |builder: integration::Builder| builder.redis(&redis.url()).start();
    let limitador = start(remote::limitador(&configuration)?).await?;
    let address = limitador.address();
    let metered = gateway(configuration.clone(), address, 2).await?;

    // An Envoy under the same load tells what of a chat's time is the filter's.
    let (llm, bare) = bare().await?;
    let addresses = [metered.envoy.address(), bare.address()];
    let stop = Arc::new(AtomicBool::new(false));
    let mut callers = JoinSet::new();
    for (number, gateway) in (0..CALLERS).flat_map(|number| addresses.map(|at| (number, at))) {
        let stop = Arc::clone(&stop);
        callers.spawn(async move {
            let client = client(client::Protocol::ALL[number % 2]);
            while !stop.load(Ordering::SeqCst) {
                let chat = Chat::default().stream(number % 3 == 0);
                let chat = chat.header(CALLER, format!("caller {number}"));
                let chat = tokio::time::timeout(LONGEST, async {
                    let response = chat.send(&client, gateway).await?;
                    assert_eq!(response.status(), 200);
                    response.bytes().await
                });
                chat.await??;
                // Where all wait for a core, a chat takes as long as there are others.
                tokio::time::sleep(PACE).await;
            }
            Ok::<_, Box<dyn Error + Send + Sync>>(())
        });
    }
    let served = async |more: u64| {
        let before = metered.llm.requests();
        wait::until("chats to be served", async || {
            (metered.llm.requests() >= before + more).then_some(())
        })
        .await
    };
    served(50).await?;
    drop(limitador);
    let away = metered
        .envoy
        .wait_for_stat("wasmcustom.tollgate.storage_away", |away| away > 0);
    away.await?;
    let [filtered, unfiltered] = medians(addresses, AWAY).await?;
    println!("away: {filtered:?} a chat at the median, without the filter {unfiltered:?}");
    let limitador = start(remote::limitador(&configuration)?.address(address)).await?;
    let back = metered
        .envoy
        .wait_for_stat("wasmcustom.tollgate.storage_away", |away| away == 0);
    back.await?;
    served(50).await?;
    stop.store(true, Ordering::SeqCst);
    while let Some(caller) = callers.join_next().await {
        caller?.map_err(|error| error.to_string())?;
    }
    // Nothing is lost. What was under way when it was killed may have had its effect, and is told again.
    let used = tokens(&metered);
    let under_way = u64::try_from(CALLERS)? * 100;
    wait_for_counted_within(&limitador, used..=used + under_way).await?;
    metered.check().await?;
    drop((bare, llm));
    Ok(())
}

/// An Envoy without the filter, and the provider behind it.
async fn bare() -> Result<(Llm, Envoy), Box<dyn Error>> {
    let llm = Llm::start().await?;
    let envoy = Envoy::builder().upstream(llm.address()).concurrency(2);
    let envoy = envoy.start().await?;
    Ok((llm, envoy))
}

/// For how long chats take at either address, at the median, asked in turn for so long.
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
            let begun = Instant::now();
            let response = chat.send(&client, address).await?;
            assert_eq!(response.status(), 200);
            response.bytes().await?;
            taken.push(begun.elapsed());
        }
    }
    Ok(taken.map(|mut taken| {
        taken.sort_unstable();
        taken[taken.len() / 2]
    }))
}

#[tokio::test]
async fn what_waits_is_told_though_the_configuration_is_replaced() -> Outcome {
    let configuration = configuration(Protocol::CheckReport, "local", "300ms");
    let limitador = remote::limitador(&configuration)?.start().await?;
    let mut metered = gateway(configuration, limitador.address(), 2).await?;
    let failing = Fault::Error(tonic::Code::Unavailable);
    limitador.calls().fail(Method::Report, failing);
    for _ in 0..4 {
        assert_eq!(ask(&metered, Chat::default()).await?, 200);
    }
    let update = metered
        .envoy
        .update(Tollgate::new(each_caller(MUCH)))
        .await?;
    assert!(matches!(update, Update::Accepted), "{update:?}");
    assert_eq!(ask(&metered, Chat::default()).await?, 200);
    limitador.calls().heal();
    // The last one is not for the service any more.
    wait_for_counted(&limitador, 400).await?;
    metered.check().await?;
    Ok(())
}
