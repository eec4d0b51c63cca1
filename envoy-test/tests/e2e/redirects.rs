//! Internal redirects: a request that Envoy redirects itself counts once.

use std::error::Error;

use envoy_test::{
    client::{Chat, Protocol, client},
    envoy::Builder,
    llm::MODEL,
    metered::{CALLER, Metered, configuration},
};
use reqwest::{Client, Response, StatusCode};
use serde_json::{Value, json};

use crate::support::{TestResult, balance_connections, wait_for_metric};

/// Makes Envoy follow up to three redirects of the provider itself.
fn follow_redirects(builder: Builder) -> Builder {
    builder.edit_listener(|listener| {
        let manager = &mut listener["filter_chains"][0]["filters"][0]["typed_config"];
        let routes = &mut manager["route_config"]["virtual_hosts"][0]["routes"];
        routes[0]["route"]["internal_redirect_policy"] =
            json!({ "max_internal_redirects": 3, "redirect_response_codes": [307] });
        routes[0]["route"]["request_body_buffer_limit"] = json!(1 << 20);
    })
}

/// Limits of each caller: so many requests and tokens an hour, and one request in flight.
fn limits(requests: u64, tokens: u64) -> Value {
    let counters = json!([{ "expression": "auth.identity.userid" }]);
    configuration(json!({
        "requests": { "requests": [{ "limit": requests, "window": "1h" }], "counters": counters },
        "tokens": { "rates": [{ "limit": tokens, "window": "1h" }], "counters": counters },
        "flight": { "concurrency": 1, "counters": counters },
    }))
}

/// Sends a chat of `alice` to the provider, which redirects it so many times.
async fn send(
    metered: &Metered,
    client: &Client,
    hops: u64,
    chat: &Chat,
    headers: &[(&str, &str)],
) -> Result<Response, Box<dyn Error>> {
    let path = match hops {
        0 => "/v1/chat/completions".to_owned(),
        hops => format!("/redirect/{hops}"),
    };
    let request = client.post(metered.envoy.url(&path)).json(chat.body());
    let request = headers.iter().fold(request, |request, (name, value)| {
        request.header(*name, *value)
    });
    Ok(request.header(CALLER, "alice").send().await?)
}

#[tokio::test]
async fn redirected_request_counts_once() -> TestResult {
    for protocol in Protocol::ALL {
        let metered = Metered::build(limits(3, 100_000), follow_redirects).await?;
        let client = client(protocol);
        let chat = Chat::default();
        for hops in [3, 0, 1] {
            let response = send(&metered, &client, hops, &chat, &[]).await?;
            assert_eq!(response.status(), StatusCode::OK, "{hops} hops");
            let body: Value = response.json().await?;
            assert_eq!(body["model"], MODEL);
        }
        let rejected = send(&metered, &client, 3, &chat, &[]).await?;
        assert_eq!(rejected.status(), StatusCode::TOO_MANY_REQUESTS);
        // What was admitted and generated, each once.
        let generated = metered.llm.input_tokens() + metered.llm.output_tokens();
        assert_eq!(generated, 300);
        assert_eq!(metered.llm.requests(), 3 + 3 + 1);
        // The exchange that was rejected is the last.
        let denied = "requests.decision=denied.policy=default/llm.limit=requests";
        wait_for_metric(&metered.envoy, denied, 1).await?;
        wait_for_metric(&metered.envoy, "requests.decision=admitted", 3).await?;
        let charged = metered.envoy.stats("wasmcustom.tollgate.tokens").await?;
        assert_eq!(charged.values().sum::<u64>(), generated, "{charged:?}");
        let reserved = "reserved.policy=default/llm.limit=tokens";
        wait_for_metric(&metered.envoy, reserved, 0).await?;
        metered.check().await?;
    }
    Ok(())
}

#[tokio::test]
async fn forged_headers_free_no_request() -> TestResult {
    // As a trusted peer, whose header Envoy does not remove.
    let metered = Metered::build(limits(4, 100_000), |builder| {
        follow_redirects(balance_connections(builder)).concurrency(1)
    })
    .await?;
    let client = client(Protocol::Http1);
    let forged = [
        ("x-envoy-original-url", "http://llm/v1/chat/completions"),
        ("x-envoy-internal", "true"),
        ("x-envoy-original-path", "/v1/chat/completions"),
        ("tollgate.redirected", "1"),
    ];
    let mut admitted = 0;
    for hops in [0, 1, 2, 0, 0, 1] {
        let response = send(&metered, &client, hops, &Chat::default(), &forged).await?;
        admitted += u64::from(response.status() == StatusCode::OK);
        response.bytes().await?;
    }
    assert_eq!(admitted, 4);
    Ok(())
}

#[tokio::test]
async fn requested_report_is_withheld_after_redirect() -> TestResult {
    let metered = Metered::build(limits(9, 100_000), follow_redirects).await?;
    for protocol in Protocol::ALL {
        let client = client(protocol);
        for hops in [0, 1, 3] {
            let chat = Chat::default().stream(false);
            let response = send(&metered, &client, hops, &chat, &[]).await?;
            let body = response.text().await?;
            assert!(body.contains("[DONE]"), "{body}");
            assert!(!body.contains("\"usage\""), "{hops} hops: {body}");
            // The provider was asked for it.
            let received = metered.llm.last_request().expect("a request").body;
            let received: Value = serde_json::from_slice(&received)?;
            assert_eq!(received["stream_options"]["include_usage"], true);
        }
    }
    Ok(())
}

#[tokio::test]
async fn custom_response_counts_no_second_request() -> TestResult {
    // Envoy's filter for custom responses starts the request anew, as one for the page of the error.
    let policy = json!({
        "@type": "type.googleapis.com/envoy.extensions.http.custom_response.redirect_policy.v3.RedirectPolicy",
        "uri": "http://llm/v1/models",
        "status_code": 503,
    });
    let action = json!({ "name": "action", "typed_config": policy });
    let matcher = json!({ "matcher_list": { "matchers": [{
        "predicate": { "single_predicate": {
            "input": { "name": "status", "typed_config": {
                "@type": "type.googleapis.com/envoy.type.matcher.v3.HttpResponseStatusCodeMatchInput",
            } },
            "value_match": { "exact": "503" },
        } },
        "on_match": { "action": action },
    }] } });
    for is_before in [true, false] {
        let filter = json!({ "name": "envoy.filters.http.custom_response", "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.custom_response.v3.CustomResponse",
            "custom_response_matcher": matcher,
        } });
        let metered = Metered::build(limits(3, 100_000), |builder| {
            if is_before {
                builder.filter(filter)
            } else {
                builder.edit_listener(move |listener| {
                    let manager = &mut listener["filter_chains"][0]["filters"][0]["typed_config"];
                    let filters = manager["http_filters"].as_array_mut().expect("filters");
                    filters.insert(filters.len() - 1, filter.clone());
                })
            }
        })
        .await?;
        let client = client(Protocol::Http1);
        let failing = [("x-mock-status", "503")];
        for admitted in [true, true, true, false] {
            let chat = Chat::default();
            let response = send(&metered, &client, 0, &chat, &failing).await?;
            let status = if admitted { 503 } else { 429 };
            assert_eq!(response.status(), status, "before: {is_before}");
        }
        // Each was followed by one for the page.
        assert_eq!(metered.llm.requests(), 6, "before: {is_before}");
    }
    Ok(())
}
