//! The usage endpoint: callers are sent what they have used, and administrators change it.

use envoy_test::{
    authorino::Authorino,
    client::{Chat, Protocol, client},
    envoy::Envoy,
    metered::{CALLER, Metered, each_caller},
    remote,
};
use reqwest::Method;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

use crate::support::{TestResult, balance_connections};

const PATH: &str = "/.tollgate/usage";
const COUNTER: &str = "?policy=default/llm&limit=tokens&counter=alice";

/// Returns a configuration of so many tokens for each caller, with the endpoint.
fn configuration(tokens: u64) -> Value {
    let mut configuration = each_caller(tokens);
    configuration["usageEndpoint"] = json!({ "path": PATH });
    configuration["admin"] = json!({ "when": "request.headers['x-role'] == 'admin'" });
    configuration
}

/// Returns the answer to a request by `alice`, and its status.
async fn ask(
    envoy: &Envoy,
    protocol: Protocol,
    method: Method,
    query: &str,
    body: Option<Value>,
) -> Result<(u16, Value), reqwest::Error> {
    let mut request = client(protocol)
        .request(method, envoy.url(&format!("{PATH}{query}")))
        .header(CALLER, "alice");
    if !query.is_empty() {
        request = request
            .header("x-role", "admin")
            .header("x-tollgate-admin", "1");
    }
    if let Some(body) = body {
        request = request.json(&body);
    }
    let response = request.send().await?;
    let status = response.status().as_u16();
    Ok((status, response.json().await.unwrap_or_default()))
}

#[tokio::test]
async fn every_worker_reports_what_was_used() -> TestResult {
    let metered = Metered::build(configuration(150), |builder| builder.concurrency(2)).await?;
    let alice = || Chat::default().header(CALLER, "alice");
    let first = client(Protocol::Http1);
    metered.exchange(&first, "first", alice()).await?;
    metered.exchange(&first, "second", alice()).await?;
    let rejected = metered.exchange(&first, "third", alice()).await?;
    assert_eq!(rejected.status, 429);
    let served = metered.llm.requests();
    // Each client has a connection of its own, which any of the workers may have.
    for protocol in [Protocol::Http1, Protocol::Http2]
        .into_iter()
        .cycle()
        .take(12)
    {
        let (status, usage) = ask(&metered.envoy, protocol, Method::GET, "", None).await?;
        assert_eq!(status, 200);
        let limit = &usage["limits"][0];
        assert_eq!(limit["limit"], "tokens", "{usage}");
        assert_eq!(
            (&limit["limitValue"], &limit["used"]),
            (&json!(150), &json!(200))
        );
        assert_eq!(
            (&limit["remaining"], &limit["scope"]),
            (&json!(0), &json!("envoy"))
        );
    }
    let head = client(Protocol::Http1)
        .head(metered.envoy.url(PATH))
        .header(CALLER, "alice");
    assert_eq!(head.send().await?.status(), 200);
    assert_eq!(metered.llm.requests(), served, "the filter answers itself");
    Ok(metered.check().await?)
}

#[tokio::test]
async fn administrator_grants_and_resets() -> TestResult {
    let metered = Metered::start(configuration(150)).await?;
    let alice = || Chat::default().header(CALLER, "alice");
    for protocol in Protocol::ALL {
        let client = client(protocol);
        let name = |step: &str| format!("{protocol:?} {step}");
        metered.exchange(&client, &name("1"), alice()).await?;
        metered.exchange(&client, &name("2"), alice()).await?;
        assert_eq!(
            metered.exchange(&client, &name("3"), alice()).await?.status,
            429
        );
        let served = metered.llm.requests();
        let grant = Some(json!({ "grant": 80 }));
        let (status, granted) = ask(&metered.envoy, protocol, Method::POST, COUNTER, grant).await?;
        assert_eq!(
            (status, &granted["granted"]),
            (200, &json!(80)),
            "{granted}"
        );
        assert_eq!(granted["limits"][0]["used"], 120);
        assert_eq!(metered.llm.requests(), served);
        assert_eq!(
            metered.exchange(&client, &name("4"), alice()).await?.status,
            200
        );
        let (status, reset) = ask(&metered.envoy, protocol, Method::DELETE, COUNTER, None).await?;
        assert_eq!(
            (status, &reset["limits"][0]["used"]),
            (200, &json!(0)),
            "{reset}"
        );
    }
    assert!(
        metered
            .envoy
            .logs()?
            .contains("counter_administered action=reset")
    );
    Ok(metered.check().await?)
}

#[tokio::test]
async fn endpoint_is_behind_authorization() -> TestResult {
    let authorino = Authorino::tutorial().await?;
    let address = authorino.address();
    let mut configuration = configuration(150);
    configuration["auth"] = json!([{ "metadata": "envoy.filters.http.ext_authz" }]);
    let metered = Metered::build(configuration, |builder| builder.authorization(address)).await?;
    let ask = async |key: &str| {
        let request = client(Protocol::Http1).get(metered.envoy.url(PATH));
        request
            .header("authorization", format!("APIKEY {key}"))
            .send()
            .await
    };
    let response = ask("iamafreeuser").await?;
    assert_eq!(response.status(), 200);
    let usage: Value = response.json().await?;
    assert_eq!(usage["limits"][0]["used"], 0, "{usage}");
    let unknown = ask("unknown").await?;
    assert_eq!(unknown.status(), 401);
    assert!(!unknown.text().await?.contains("limits"));
    Ok(())
}

#[tokio::test]
async fn counters_of_a_service_are_as_known_here() -> TestResult {
    let mut configuration = configuration(150);
    configuration["storage"] = remote::Protocol::Reserve.storage();
    let limitador = remote::limitador(&configuration)?.start().await?;
    let metered = remote::gateway(configuration, limitador.address(), 2).await?;
    let chat = Chat::default().header(CALLER, "alice");
    metered
        .exchange(&client(Protocol::Http1), "first", chat)
        .await?;
    let (status, usage) = ask(&metered.envoy, Protocol::Http1, Method::GET, "", None).await?;
    assert_eq!(status, 200);
    let limit = &usage["limits"][0];
    assert_eq!(
        (&limit["scope"], &limit["used"]),
        (&json!("service"), &json!(100)),
        "{usage}"
    );
    let (status, _) = ask(
        &metered.envoy,
        Protocol::Http1,
        Method::DELETE,
        COUNTER,
        None,
    )
    .await?;
    assert_eq!(status, 501);
    Ok(())
}

/// Has three callers use 300, 200 and 100 tokens, and asserts that every worker lists them so.
async fn assert_top_list(metered: &Metered) -> TestResult {
    for (index, caller) in ["carol", "alice", "bob", "alice", "bob", "alice"]
        .into_iter()
        .enumerate()
    {
        // Each client has a connection of its own, which any of the workers may have.
        let chat = Chat::default().header(CALLER, caller);
        let (client, id) = (client(Protocol::Http1), index.to_string());
        let exchange = metered.exchange(&client, &id, chat).await?;
        assert_eq!(exchange.status, 200);
    }
    let entry = |user: &str, used: u64| {
        json!({
            "policy": "default/llm", "limit": "tokens",
            "counter": { "auth.identity.userid": user },
            "used": used, "error": 0, "unit": "tokens",
        })
    };
    let expected = json!({ "top": [entry("alice", 300), entry("bob", 200), entry("carol", 100)] });
    let mut agreed = 0;
    let deadline = Instant::now() + Duration::from_secs(10);
    // Other workers share their parts once a second.
    while agreed < 12 {
        let (status, list) = ask(
            &metered.envoy,
            Protocol::Http1,
            Method::GET,
            "?top=50",
            None,
        )
        .await?;
        assert_eq!(status, 200, "{list}");
        agreed = if list == expected { agreed + 1 } else { 0 };
        assert!(Instant::now() < deadline, "{list}");
    }
    let rejected = client(Protocol::Http1)
        .get(metered.envoy.url(&format!("{PATH}?top=50")))
        .header(CALLER, "alice");
    let rejected = rejected.send().await?;
    assert_eq!(rejected.status(), 403);
    assert!(!rejected.text().await?.contains("bob"));
    Ok(metered.check().await?)
}

/// Returns a configuration of so many tokens for each caller, with tracking.
fn tracking() -> Value {
    let mut configuration = configuration(10_000);
    configuration["track"] = json!({ "top": 100 });
    configuration
}

#[tokio::test]
async fn largest_counters_of_all_workers_are_listed() -> TestResult {
    let metered = Metered::build(tracking(), |builder| {
        balance_connections(builder.concurrency(2))
    });
    let metered = metered.await?;
    assert_top_list(&metered).await
}

#[tokio::test]
async fn largest_counters_of_a_service_are_listed() -> TestResult {
    let mut configuration = tracking();
    configuration["storage"] = remote::Protocol::Reserve.storage();
    let limitador = remote::limitador(&configuration)?.start().await?;
    let metered = remote::gateway(configuration, limitador.address(), 2).await?;
    assert_top_list(&metered).await
}
