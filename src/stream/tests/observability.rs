//! Quota headers, alerts and log lines.

use crate::host::HeaderMap;
use crate::stream::Next;
use crate::stream::tests::harness::{
    BODY_WHEN, Envoy, MINUTE, completion, configuration, header, request, with_queue,
};

#[test]
fn admitted_responses_carry_configured_quota_headers() {
    let headers = r#", "replies": { "headers": "draft-03" }"#;
    let envoy = Envoy::with(&configuration("", headers));
    envoy.exchange(20);
    let mut stream = envoy.stream();
    stream.on_request_headers(false);
    stream.on_response_headers(false);
    let maps = envoy.host.headers.borrow();
    let response = &maps[&HeaderMap::Response];
    let value = |name| {
        let (_, value) = response.iter().find(|(key, _)| key == name).unwrap();
        String::from_utf8(value.clone()).unwrap()
    };
    assert_eq!(value("x-ratelimit-remaining"), "30");
    assert_eq!(value("x-ratelimit-reset"), "60");
}

#[test]
fn remainder_of_first_response_excludes_known_use() {
    let spec = r#", "requests": [{ "limit": 9, "window": "1m" }], "concurrency": 3"#;
    let ietf = r#", "replies": { "headers": "ietf" }"#;
    for (reported, left) in [
        (&[][..], 50),
        (&[("x-prompt-tokens", "5"), ("x-generated-tokens", "7")], 38),
    ] {
        let envoy = Envoy::with(&configuration(spec, ietf));
        let mut stream = envoy.stream();
        stream.on_request_headers(true);
        let usual = [(":status", "200"), ("content-type", "application/json")];
        let headers = [&usual[..], reported].concat();
        envoy.host.set_headers(HeaderMap::Response, &headers);
        stream.on_response_headers(false);
        let limits = header(&envoy, HeaderMap::Response, "ratelimit").unwrap();
        for expected in [
            format!("\"free/1m\";r={left};"),
            "\"free/requests/1m\";r=8;".to_owned(),
            "\"free/concurrent-requests\";r=2".to_owned(),
        ] {
            assert!(limits.contains(&expected), "{expected} in {limits}");
        }
        // The body has the last word.
        envoy.body(&mut stream, &completion(20), true);
        stream.on_log();
        let total = envoy.state("tollgate.total_tokens");
        assert_eq!(total.as_deref(), Some("20"), "{reported:?}");
        let mut next = envoy.stream();
        next.on_request_headers(true);
        next.on_response_headers(false);
        let limits = header(&envoy, HeaderMap::Response, "ratelimit").unwrap();
        assert!(limits.contains("\"free/1m\";r=30;"), "{limits}");
        assert!(limits.contains("\"free/requests/1m\";r=7;"), "{limits}");
        assert!(
            limits.contains("\"free/concurrent-requests\";r=2"),
            "{limits}"
        );
    }
}

#[test]
fn rejection_is_logged_once_per_window() {
    let envoy = Envoy::new();
    envoy.exchange(60);
    for _ in 0..5 {
        envoy.exchange(1);
    }
    let log = envoy.log.lines();
    let [(_, line)] = log.as_slice() else {
        panic!("one line, not {log:?}");
    };
    let expected = "limit_rejected policy=test/llm limit=free counter=\"auth.user = alice\" used=60 \
                    reserved=0 limit_value=50 unit=tokens";
    assert_eq!(line, expected);
}

#[test]
fn credentials_are_not_logged() {
    let json = configuration("", "").replace("auth.user", "request.headers['x-api-key']");
    let envoy = Envoy::with(&json);
    let mut headers = request("alice").to_vec();
    headers.push(("x-api-key", "sk-1"));
    for _ in 0..2 {
        let mut stream = envoy.stream();
        envoy.host.set_headers(HeaderMap::Request, &headers);
        stream.on_request_headers(true);
        stream.on_response_headers(false);
        envoy.body(&mut stream, &completion(60), true);
        stream.on_log();
    }
    let log = envoy.log.lines();
    assert!(
        log[0].1.contains("[withheld]") && !log[0].1.contains("sk-1"),
        "{log:?}"
    );
}

#[test]
fn alert_reaches_callers_and_operators() {
    let envoy = Envoy::with(&configuration(r#", "alertAt": 0.8"#, ""));
    let alerts = || {
        envoy
            .host
            .metric("tollgate.alerts.policy=test/llm.limit=free")
    };
    envoy.exchange(39);
    assert_eq!(alerts(), 0);
    envoy.exchange(1);
    assert_eq!(alerts(), 1, "40 of 50");
    envoy.exchange(1);
    assert_eq!(alerts(), 1, "once");
    let alert = header(&envoy, HeaderMap::Response, "x-ratelimit-alert");
    assert_eq!(alert.as_deref(), Some("\"free\""));
}

#[test]
fn evictions_are_logged_once_an_hour() {
    let envoy = Envoy::with(&configuration(
        "",
        r#", "storage": { "type": "local", "maxCounters": 64 }"#,
    ));
    let flood = |from: u32| {
        for user in from..from + 1_000 {
            let mut stream = envoy.stream();
            envoy
                .host
                .set_headers(HeaderMap::Request, &request(&user.to_string()));
            stream.on_request_headers(true);
            stream.on_response_headers(false);
            envoy.body(&mut stream, &completion(10), true);
            stream.on_log();
        }
        let log = envoy.log.lines();
        log.iter()
            .filter(|(_, line)| line.contains("maxCounters"))
            .count()
    };
    assert_eq!(flood(0), 1);
    assert_eq!(flood(10_000), 1);
    assert!(envoy.host.metric("tollgate.counter_evictions") > 0);
    envoy.host.clock.set(1_061 * MINUTE);
    assert_eq!(flood(20_000), 2);
}

#[test]
fn request_that_ends_while_pending_is_abandoned() {
    let decisions = |envoy: &Envoy| {
        let metric = envoy.host.metric("tollgate.requests.decision=abandoned");
        (envoy.state("tollgate.decision"), metric)
    };
    let abandoned = Some("abandoned".to_owned());
    // While its body is awaited.
    let envoy = Envoy::with(&configuration(BODY_WHEN, ""));
    let mut stream = envoy.stream();
    stream.on_request_headers(false);
    stream.on_log();
    assert_eq!(decisions(&envoy), (abandoned.clone(), 1));
    // Because the upstream responds with an error before the body is there.
    let mut stream = envoy.stream();
    stream.on_request_headers(false);
    let error = [(":status", "503")];
    envoy.host.set_headers(HeaderMap::Response, &error);
    stream.on_response_headers(true);
    stream.on_log();
    assert_eq!(decisions(&envoy), (abandoned.clone(), 2));
    // While it is queued.
    let envoy = with_queue(1, "");
    let mut first = envoy.stream();
    assert_eq!(first.on_request_headers(true), Next::Continue);
    let mut queued = envoy.stream();
    assert_eq!(queued.on_request_headers(true), Next::Pause);
    queued.on_log();
    assert_eq!(decisions(&envoy), (abandoned, 1));
}

#[test]
fn all_exchanges_are_metered_on_demand() {
    let spec = r#", "when": [{ "predicate": "false" }]"#;
    for (usage, tokens) in [
        ("", None),
        (r#", "usage": { "meter": "all" }"#, Some("20".to_owned())),
    ] {
        let envoy = Envoy::with(&configuration(spec, usage));
        assert!(envoy.exchange(20));
        assert_eq!(envoy.state("tollgate.decision").unwrap(), "unmatched");
        assert_eq!(envoy.state("tollgate.total_tokens"), tokens);
        let model = envoy.state("tollgate.model");
        assert_eq!(model.is_some(), tokens.is_some());
    }
}
