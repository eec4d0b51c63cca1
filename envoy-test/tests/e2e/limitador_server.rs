//! limitador's own server, where `LIMITADOR_SERVER` names the program: it answers as the service of `integration`
//! does, and keeps the limits of tollgate. Released versions have no `Reserve`.

use std::error::Error;

use envoy_test::{
    client::Chat,
    limitador_server::LimitadorServer,
    metered::configuration,
    remote::{self, Protocol, gateway},
};
use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::{
    fixtures::hourly_with,
    limitador_contract::{
        Client, HOUR, LIMITS, checks_and_adds, checks_and_reports, describes_limits_and_counters,
        first_hit_starts_window, lacks_reservations, request_without_limits_is_answered,
        reserves_and_commits, uncommitted_reservation_expires,
    },
    support::{TestResult, send},
};

/// Returns the server with these limits; `None`, and a line that says so, where there is no program.
async fn server(test: &str, limits: &str) -> Result<Option<LimitadorServer>, Box<dyn Error>> {
    let server = LimitadorServer::start(limits).await?;
    if server.is_none() {
        println!("{test}: skipped, LIMITADOR_SERVER names no program");
    }
    Ok(server)
}

/// Returns whether a service has `Reserve`: released versions of limitador answer UNIMPLEMENTED.
async fn has_reserve(client: &Client) -> Result<bool, Box<dyn Error>> {
    match client.reserve("grace", 1, HOUR).await {
        Ok(_) => Ok(true),
        Err(status) if status.code() == tonic::Code::Unimplemented => Ok(false),
        Err(status) => Err(status.into()),
    }
}

#[tokio::test]
async fn limitador_server_answers_the_same_calls() -> TestResult {
    let server = server("limitador_server_answers_the_same_calls", LIMITS).await?;
    let Some(server) = server else {
        return Ok(());
    };
    let client = Client::new(server.grpc(), server.http())?;
    checks_and_adds(&client).await?;
    checks_and_reports(&client).await?;
    first_hit_starts_window(&client).await?;
    if has_reserve(&client).await? {
        reserves_and_commits(&client).await?;
        uncommitted_reservation_expires(&client).await?;
        request_without_limits_is_answered(&client).await?;
    } else {
        lacks_reservations(&client).await?;
    }
    Ok(())
}

#[tokio::test]
async fn limitador_server_describes_itself_alike() -> TestResult {
    let server = server("limitador_server_describes_itself_alike", LIMITS).await?;
    let Some(server) = server else {
        return Ok(());
    };
    let client = Client::new(server.grpc(), server.http())?;
    client.report("alice", 3).await?;
    describes_limits_and_counters(&client).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn limitador_server_keeps_limit_of_first_requests() -> TestResult {
    for protocol in [Protocol::Reserve, Protocol::CheckReport] {
        let limit = json!({ "reservation": { "amount": "100" } });
        let mut configuration = configuration(json!({ "tokens": hourly_with(1_000, limit) }));
        configuration["storage"] = protocol.storage();
        let limits = Value::from(remote::limits(&configuration)?).to_string();
        let test = "limitador_server_keeps_limit_of_first_requests";
        let Some(server) = server(test, &limits).await? else {
            return Ok(());
        };
        let metered = gateway(configuration, server.grpc(), 2).await?;
        let chat = Chat::default().header("x-mock-delay-ms", 500);
        let responses = (0..64).map(|_| send(&metered, &chat));
        let mut admitted = 0;
        for status in join_all(responses).await {
            admitted += u64::from(status? == 200);
        }
        assert_eq!(admitted, 10, "{protocol:?}");
        metered.check().await?;
    }
    Ok(())
}
