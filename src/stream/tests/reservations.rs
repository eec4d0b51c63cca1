//! Reservations of concurrent requests.

use crate::stream::tests::harness::{Envoy, MINUTE, completion, configuration, send};
use crate::stream::{Next, Stream};

#[test]
fn concurrency_raises_no_alert_on_tokens() {
    let spec = r#", "concurrency": 20, "alertAt": 0.5"#;
    let json = configuration(spec, "").replace(r#""limit": 50"#, r#""limit": 5000"#);
    let envoy = Envoy::with(&json);
    for _ in 0..3 {
        assert!(envoy.exchange(100));
    }
    assert_eq!(
        envoy
            .host
            .metric("tollgate.alerts.policy=test/llm.limit=free"),
        0
    );
}

#[test]
fn concurrent_requests_are_admitted_if_they_fit() {
    let envoy = Envoy::new();
    let chat = |max: u64| format!("{{\"max_tokens\":{max}}}");
    let gauge = || {
        let metric = "tollgate.reserved.policy=test/llm.limit=free";
        envoy.host.metric(metric)
    };
    let mut first = envoy.stream();
    assert_eq!(send(&envoy, &mut first, &chat(30)), Next::Continue);
    let of_first = gauge();
    assert!((30..50).contains(&of_first), "{of_first}");
    let mut second = envoy.stream();
    assert_eq!(
        send(&envoy, &mut second, &chat(30)),
        Next::Pause,
        "60 of 50"
    );
    assert_eq!(gauge(), of_first, "a rejected request reserves nothing");
    let reply = envoy.host.replies.borrow().last().unwrap().clone();
    assert_eq!(
        reply.header("retry-after"),
        Some("1"),
        "as soon as the other is done"
    );
    let body: serde_json::Value = serde_json::from_str(&reply.body).unwrap();
    let held = body["error"]["message"].as_str().unwrap();
    let held = held
        .strip_prefix("Token rate limit \"free\" of policy \"test/llm\" is fully reserved: ")
        .and_then(|held| held.strip_suffix(" s."));
    let expected = " of 50 tokens per 1m are reserved by requests in flight. Try again in 1";
    assert!(held.is_some_and(|held| held.ends_with(expected)), "{body}");
    let log = envoy.log.lines().last().unwrap().1.clone();
    assert!(
        log.contains(" counter=\"auth.user = alice\" used=0 reserved=")
            && log
                .ends_with(" msg=\"reserved by requests in flight, a retry may succeed shortly\""),
        "{log}"
    );
    second.on_log();
    let mut third = envoy.stream();
    assert_eq!(
        send(&envoy, &mut third, &chat(5)),
        Next::Continue,
        "some 40 of 50"
    );
    assert!(gauge() > of_first);
    third.on_log();
    assert_eq!(gauge(), of_first);

    first.on_response_headers(false);
    envoy.body(&mut first, &completion(10), true);
    first.on_log();
    let mut fourth = envoy.stream();
    assert_eq!(
        send(&envoy, &mut fourth, &chat(1_000)),
        Next::Continue,
        "alone, with 40 left"
    );
    fourth.on_log();
    assert!(envoy.exchange(1), "nothing is reserved any more");
    assert_eq!(gauge(), 0);
}

#[test]
fn neither_foreign_bounds_nor_choices_make_a_reservation_smaller() {
    let reserved = |body: &str| {
        let envoy = Envoy::with(&configuration("", "").replace("50,", "50000,"));
        let mut stream = envoy.stream();
        assert_eq!(send(&envoy, &mut stream, body), Next::Continue);
        let metric = "tollgate.reserved.policy=test/llm.limit=free";
        let reserved = envoy.host.metric(metric);
        stream.on_log();
        reserved / 100
    };
    assert_eq!(reserved("{}"), 4);
    assert_eq!(reserved(r#"{"max_tokens":0}"#), 4);
    assert_eq!(reserved(r#"{"options":{"num_predict":1}}"#), 4);
    assert_eq!(reserved(r#"{"n":8}"#), 32);
}

#[test]
fn concurrency_limits_requests_in_flight() {
    let envoy = Envoy::with(&configuration(
        r#", "concurrency": 2, "reservation": { "amount": "0" }"#,
        "",
    ));
    let mut streams: Vec<Stream> = (0..2).map(|_| envoy.stream()).collect();
    for stream in &mut streams {
        assert_eq!(send(&envoy, stream, "{}"), Next::Continue);
    }
    let mut third = envoy.stream();
    assert_eq!(send(&envoy, &mut third, "{}"), Next::Pause);
    third.on_log();
    let body = envoy.host.replies.borrow().last().unwrap().body.clone();
    assert!(body.contains("2 concurrent requests"), "{body}");
    streams.pop().unwrap().on_log();
    let mut fourth = envoy.stream();
    assert_eq!(send(&envoy, &mut fourth, "{}"), Next::Continue);
    fourth.on_log();
}

#[test]
fn reservation_amount_replaces_estimate() {
    let spec = r#", "reservation": { "amount": "llm.max_output_tokens / 2", "ttl": "30s" }"#;
    let envoy = Envoy::with(&configuration(spec, ""));
    let chat = |max: u64| format!("{{\"max_tokens\":{max}}}");
    let mut streams: Vec<Stream> = (0..2).map(|_| envoy.stream()).collect();
    for stream in &mut streams {
        assert_eq!(
            send(&envoy, stream, &chat(50)),
            Next::Continue,
            "25 of 50 each"
        );
    }
    let mut third = envoy.stream();
    assert_eq!(send(&envoy, &mut third, &chat(1)), Next::Pause);
    // Both streams are lost, as when their VM traps: their reservations expire.
    envoy.host.clock.set(1_001 * MINUTE + 1);
    let mut fourth = envoy.stream();
    assert_eq!(send(&envoy, &mut fourth, &chat(50)), Next::Continue);
}
