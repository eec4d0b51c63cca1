//! Expressions: attributes of a real Envoy as predicates and counters see them.

use std::error::Error;

use envoy_test::{
    authorino::Authorino,
    client::{Chat, Protocol, client},
    envoy::Builder,
    filters,
    metered::{CALLER, Metered, configuration},
};
use serde_json::{Value, json};

use crate::{
    fixtures::hourly,
    support::{TestResult, wait_for_metric},
};

/// A limit of 0 tokens for each predicate, so that a request is rejected if the predicate is true. One Envoy has all
/// of them; the header `x-pick` selects the predicate of a request.
fn limit_by_predicate(predicates: &[&str]) -> Value {
    let limits = predicates.iter().enumerate().map(|(index, predicate)| {
        let pick = format!("request.headers['x-pick'] == '{index}'");
        let limit = json!({
            "rates": [{ "limit": 0, "window": "1h" }],
            "when": [{ "predicate": pick }, { "predicate": predicate }],
        });
        (format!("limit-{index}"), limit)
    });
    configuration(Value::Object(limits.collect()))
}

/// The predicates that are not true for a chat, each with the status of the response.
async fn failing<'a>(
    predicates: &[&'a str],
    chat: &Chat,
    build: impl FnOnce(Builder) -> Builder,
) -> Result<Vec<(&'a str, u16)>, Box<dyn Error>> {
    let mut configuration = limit_by_predicate(predicates);
    configuration["auth"] = json!([{ "metadata": filters::EXT_AUTHZ }]);
    let metered = Metered::build(configuration, build).await?;
    let client = client(Protocol::Http1);
    let mut failing = Vec::new();
    for (index, predicate) in predicates.iter().enumerate() {
        let chat = chat.clone().header("x-pick", index);
        let status = chat.send(&client, metered.envoy.address()).await?.status();
        if status != 429 {
            failing.push((*predicate, status.as_u16()));
        }
    }
    Ok(failing)
}

#[tokio::test]
async fn request_and_connection_attributes_resolve() -> TestResult {
    let predicates = [
        "request.method == 'POST'",
        "request.scheme == 'http'",
        "request.host.startsWith('127.0.0.1:')",
        "request.path == '/v1/chat/completions'",
        "request.url_path == '/v1/chat/completions'",
        "request.query == ''",
        "request.headers['x-user-id'] == 'alice'",
        "request.headers['X-User-Id'] == 'alice'",
        "'x-user-id' in request.headers",
        "!('x-other' in request.headers)",
        "has(request.headers.cookie) == false",
        "request.time > timestamp('2020-01-01T00:00:00Z')",
        "request.time.getFullYear() >= 2020",
        "request.id.size() == 36",
        "request.protocol == 'HTTP/1.1'",
        "request.size >= 0",
        "request.useragent == 'test/1'",
        "request.referer == 'http://a/'",
        "source.address.startsWith('127.0.0.1')",
        "source.remote_address == '127.0.0.1'",
        "source.port > 1023",
        "destination.address.startsWith('127.0.0.1')",
        "destination.port > 1023",
        "connection.id >= 0",
        "connection.mtls == false",
    ];
    let chat = Chat::default()
        .header(CALLER, "alice")
        .header("user-agent", "test/1")
        .header("referer", "http://a/");
    let failing = failing(&predicates, &chat, |builder| builder).await?;
    assert_eq!(failing, []);
    Ok(())
}

#[tokio::test]
async fn xds_attributes_resolve() -> TestResult {
    let predicates = [
        "xds.route_name == 'everything'",
        "route.name == 'everything'",
        "xds.virtual_host_name == 'all'",
        "xds.cluster_name == 'llm'",
        "xds.route_metadata.filter_metadata.test.tier == 'free'",
        "route.metadata.filter_metadata['test'].numbers.exists(n, n == 2.0)",
        "xds.listener_metadata.filter_metadata.test.name == 'a listener'",
        "xds.virtual_host_metadata.filter_metadata.test.name == 'a host'",
        "xds.listener_direction == 1",
        "xds.filter_chain_name == 'a chain'",
        "xds.node.id == 'envoy-test'",
        "xds.node.cluster == 'envoy-test'",
        "xds.node.locality.region == 'here'",
        "xds.node.user_agent_name == 'envoy'",
    ];
    let metadata = |name: &str| json!({ "filter_metadata": { "test": { "name": name } } });
    let failing = failing(&predicates, &Chat::default(), |builder| {
        let (listener_metadata, host_metadata) = (metadata("a listener"), metadata("a host"));
        builder
            .route_metadata("test", json!({ "tier": "free", "numbers": [1, 2] }))
            .edit_bootstrap(|bootstrap| bootstrap["node"]["locality"] = json!({ "region": "here" }))
            .edit_listener(move |listener| {
                listener["metadata"] = listener_metadata.clone();
                listener["traffic_direction"] = json!("INBOUND");
                let chain = &mut listener["filter_chains"][0];
                chain["name"] = json!("a chain");
                let manager = &mut chain["filters"][0]["typed_config"];
                manager["route_config"]["virtual_hosts"][0]["metadata"] = host_metadata.clone();
            })
    })
    .await?;
    assert_eq!(failing, []);
    Ok(())
}

#[tokio::test]
async fn metadata_and_filter_state_resolve() -> TestResult {
    let predicates = [
        "metadata.filter_metadata['some.namespace'].identity.level == 3.0",
        "metadata.filter_metadata['some.namespace'].identity.level > 2",
        "metadata.filter_metadata['some.namespace'].flag",
        "metadata.filter_metadata['some.namespace'].names.exists(name, name == 'b')",
        "'b' in metadata.filter_metadata['some.namespace'].names",
        "metadata.filter_metadata.other.userid == 'alice'",
        "!has(metadata.filter_metadata.other.nothing)",
        "filter_state['some.key'] == 'alice'",
    ];
    let chat = Chat::default().header(CALLER, "alice");
    let failing = failing(&predicates, &chat, |builder| {
        let value =
            json!({ "identity": { "level": 3 }, "flag": true, "names": ["a", "b"], "none": null });
        builder
            .filter(filters::set_metadata("some.namespace", &value))
            .filter(filters::header_to_metadata(CALLER, "other", "userid"))
            .filter(filters::set_filter_state("some.key", "%REQ(x-user-id)%"))
    })
    .await?;
    assert_eq!(failing, []);
    Ok(())
}

#[tokio::test]
async fn identity_claims_of_each_type_resolve() -> TestResult {
    let authorino = Authorino::start([(
        "key",
        json!({
            "userid": "alice", "groups": "gold,free", "level": 3, "ratio": 0.5, "admin": true, "nothing": null,
            "empty": "", "eightish": "12345678", "teams": ["a", "b"], "list": [],
            "deep": { "er": { "est": ["x", { "y": 1 }] } },
        }),
    )])
    .await?;
    let predicates = [
        "auth.identity.userid == 'alice'",
        r#"auth.identity.groups.split(",").exists(g, g == "free")"#,
        "auth.identity.level == 3",
        "auth.identity.level == 3.0 && auth.identity.level > 2",
        "auth.identity.ratio < 1.0",
        "auth.identity.admin",
        "auth.identity.nothing == null",
        "auth.identity.empty == ''",
        "auth.identity.eightish == '12345678'",
        "'b' in auth.identity.teams && auth.identity.teams.size() == 2",
        "auth.identity.list.size() == 0",
        "auth.identity.deep.er.est[1].y == 1",
        "!has(auth.identity.absent)",
        "auth.?identity.?absent.orValue('none') == 'none'",
    ];
    let chat = Chat::default().api_key("key");
    let address = authorino.address();
    let failing = failing(&predicates, &chat, |builder| builder.authorization(address)).await?;
    assert_eq!(failing, []);
    Ok(())
}

#[tokio::test]
async fn counter_without_value_rejects() -> TestResult {
    let authorino = Authorino::start([
        ("null", json!({ "userid": null })),
        ("absent", json!({ "groups": "free" })),
        ("list", json!({ "userid": ["a", "b"] })),
        ("map", json!({ "userid": { "a": "b" } })),
        ("number", json!({ "userid": 42 })),
        ("bool", json!({ "userid": true })),
        ("empty", json!({ "userid": "" })),
    ])
    .await?;
    let mut configuration = configuration(json!({ "tokens": hourly(100) }));
    configuration["auth"] = json!([{ "metadata": filters::EXT_AUTHZ }]);
    let address = authorino.address();
    let metered = Metered::build(configuration, |builder| builder.authorization(address)).await?;
    let client = client(Protocol::Http1);
    for (key, statuses) in [
        ("null", [401, 401]),
        ("absent", [401, 401]),
        ("list", [500, 500]),
        ("map", [500, 500]),
        ("number", [200, 429]),
        ("bool", [200, 429]),
        ("empty", [200, 429]),
    ] {
        for (round, status) in statuses.into_iter().enumerate() {
            let chat = Chat::default().api_key(key);
            let id = format!("{key} {round}");
            let exchange = metered.exchange(&client, &id, chat).await?;
            assert_eq!(exchange.status, status, "{key}");
        }
    }
    assert!(metered.envoy.is_alive());
    Ok(())
}

#[tokio::test]
async fn identity_is_absent_without_authorization_filter() -> TestResult {
    for (expression, status) in [
        ("auth.identity.userid == 'a'", 200),
        ("!has(auth.identity)", 429),
    ] {
        let mut configuration = configuration(json!({ "tokens": {
            "rates": [{ "limit": 0, "window": "1h" }],
            "when": [{ "predicate": expression }],
        } }));
        configuration["auth"] =
            json!([{ "metadata": filters::EXT_AUTHZ }, { "filterState": "kuadrant.auth" }]);
        let metered = Metered::start(configuration).await?;
        let exchange = metered
            .exchange(&client(Protocol::Http1), "1", Chat::default())
            .await?;
        assert_eq!(exchange.status, status, "{expression}");
    }
    Ok(())
}

#[tokio::test]
async fn expensive_evaluation_is_evaluation_error() -> TestResult {
    let predicates = [
        "request.headers['x-a'].replace('a', request.headers['x-b']) != ''",
        "request.headers['x-a'].split('a').exists(g, g + 'b' in request.headers['x-b'].split('a'))",
        "request.headers['x-a'].split('').exists(g, request.headers['x-b'].contains(g + 'b'))",
        "request.headers['x-a'].matches('(?i).*a.*b.*c.*d.*e.*f.*g')",
    ];
    let long = "a".repeat(28 << 10);
    let hostile = Chat::default().header("x-a", &long).header("x-b", &long);
    let failing = failing(&predicates, &hostile, |builder| builder).await?;
    let expected = predicates.map(|predicate| (predicate, 500));
    assert_eq!(failing, expected);
    Ok(())
}

#[tokio::test]
async fn exhausted_fuel_is_logged_and_counted() -> TestResult {
    let predicate = "request.headers['x-a'].matches('(?i).*a.*b.*c.*d.*e.*f.*g')";
    let mut limit = hourly(100);
    limit["when"] = json!([{ "predicate": predicate }]);
    let configuration = configuration(json!({ "tokens": limit }));
    let metered = Metered::build(configuration, Builder::own_process).await?;
    let long = "a".repeat(28 << 10);
    let chats = [
        ("long", long.as_str(), 500),
        ("short", "abcdefg", 200),
        ("another", "abcdefg", 429),
    ];
    for (id, value, status) in chats {
        let chat = Chat::default().header(CALLER, "alice").header("x-a", value);
        let exchange = metered.exchange(&client(Protocol::Http1), id, chat).await?;
        assert_eq!(exchange.status, status, "{id}");
    }
    wait_for_metric(&metered.envoy, "evaluation_errors", 1).await?;
    wait_for_metric(
        &metered.envoy,
        "requests.decision=failed.reason=evaluation",
        1,
    )
    .await?;
    let logs = metered.envoy.logs()?;
    let line = logs.lines().find(|line| line.contains("evaluation_failed"));
    let line = line.ok_or("no log line")?;
    assert!(
        line.contains("policy=default/llm at=limits.tokens.when[0] error="),
        "{line}"
    );
    assert!(line.contains("steps") || line.contains("bytes"), "{line}");
    metered.check().await?;
    Ok(())
}
