//! Early charges that are corrected at the end of the response.

use crate::host::HeaderMap;
use crate::stream::tests::harness::{Envoy, configuration, request};
use crate::stream::{Next, Stream};

pub(in crate::stream::tests) const TEXT: &str = r#"data: {"object":"chat.completion.chunk","model":"m","choices":[{"delta":{"content":"Hello"}}]}

"#;

const DONE: &str = "data: [DONE]\n\n";

/// Returns a usage event of a stream, after which none is expected. One of the tokens is input.
pub(in crate::stream::tests) fn usage(tokens: u64) -> String {
    let usage = format!(
        r#""usage":{{"prompt_tokens":1,"completion_tokens":{},"total_tokens":{tokens}}}"#,
        tokens - 1
    );
    format!(r#"data: {{"object":"chat.completion.chunk","model":"m","choices":[],{usage}}}"#)
        + "\n\n"
}

impl Envoy {
    /// Returns an admitted exchange whose response, a stream of events, has begun.
    pub(in crate::stream::tests) fn begin_events(&self) -> Stream {
        let mut stream = self.stream();
        assert_eq!(stream.on_request_headers(true), Next::Continue);
        self.host.set_headers(
            HeaderMap::Response,
            &[(":status", "200"), ("content-type", "text/event-stream")],
        );
        stream.on_response_headers(false);
        stream
    }

    /// Returns what alice has used.
    fn used_by_alice(&self) -> u64 {
        let mut stream = self.stream();
        self.host.set_headers(HeaderMap::Request, &request("alice"));
        stream.on_request_headers(true);
        let used = stream.standings()[0].used;
        stream.on_log();
        used
    }

    fn output_tokens(&self) -> i64 {
        self.host.metric("tollgate.tokens.kind=output.model=m")
    }
}

#[test]
fn last_report_decides_whatever_came_before() {
    let error = "data: {\"error\":{\"message\":\"overloaded\"}}\n\n";
    for events in [
        vec![TEXT, &usage(10), DONE, &usage(30)],
        vec![TEXT, &usage(40), DONE, &usage(30)],
        vec![TEXT, DONE, &usage(30)],
        vec![TEXT, error, &usage(30), DONE],
        vec![TEXT, &usage(30), error, DONE],
        vec![TEXT, &usage(10), &usage(20), &usage(30), DONE],
    ] {
        let whole = events.concat();
        let bytes: Vec<&str> = whole.split_inclusive(|_| true).collect();
        for pieces in [events.clone(), vec![&*whole], bytes] {
            let envoy = Envoy::with(&configuration("", "").replace("50,", "1000,"));
            let mut stream = envoy.begin_events();
            for piece in pieces {
                envoy.body(&mut stream, piece, false);
            }
            envoy.body(&mut stream, "", true);
            stream.on_log();
            assert_eq!(
                envoy.state("tollgate.total_tokens").as_deref(),
                Some("30"),
                "{events:?}"
            );
            assert_eq!(envoy.output_tokens(), 29, "{events:?}");
            assert_eq!(envoy.used_by_alice(), 30, "{events:?}");
            assert_eq!(envoy.host.metric("tollgate.estimated"), 0, "{events:?}");
        }
    }
}

#[test]
fn early_charge_counts_before_it_is_corrected() {
    let envoy = Envoy::with(&configuration("", "").replace("50,", "1000,"));
    let mut stream = envoy.begin_events();
    envoy.body(&mut stream, &(TEXT.to_owned() + &usage(10)), false);
    assert_eq!(
        envoy.used_by_alice(),
        10,
        "the next request is checked against it"
    );
    assert_eq!(envoy.output_tokens(), 0, "a metric cannot be corrected");
    envoy.body(&mut stream, &usage(25), false);
    stream.on_log();
    assert_eq!(envoy.used_by_alice(), 25);
    assert_eq!(envoy.output_tokens(), 24);
}

#[test]
fn reservation_is_released_once_by_early_charge() {
    let envoy = Envoy::with(&configuration(r#", "reservation": { "amount": "20" }"#, ""));
    let mut stream = envoy.begin_events();
    let reserved = "tollgate.reserved.policy=test/llm.limit=free";
    assert_eq!(envoy.host.metric(reserved), 20);
    for _ in 0..2 {
        envoy.body(&mut stream, &(TEXT.to_owned() + &usage(10)), false);
        assert_eq!(envoy.host.metric(reserved), 0);
    }
    envoy.body(&mut stream, DONE, true);
    stream.on_log();
    assert_eq!(envoy.host.metric(reserved), 0);
    let mut next = envoy.stream();
    next.on_request_headers(true);
    let standing = next.standings()[0];
    assert_eq!((standing.used, standing.reserved), (10, 0));
}

#[test]
fn concurrency_is_released_when_response_ends() {
    let spec = r#", "concurrency": 1, "reservation": { "amount": "0" }"#;
    for end in ["body", "trailers", "disconnect"] {
        let envoy = Envoy::with(&configuration(spec, ""));
        let mut stream = envoy.begin_events();
        envoy.body(&mut stream, &(TEXT.to_owned() + &usage(10) + DONE), false);
        assert!(!envoy.exchange(1), "the response has not ended: {end}");
        match end {
            "body" => assert_eq!(envoy.body(&mut stream, "", true), Next::Continue),
            "trailers" => assert_eq!(stream.on_response_trailers(), Next::Continue),
            _ => {}
        }
        if end == "disconnect" {
            stream.on_log();
        }
        assert!(envoy.exchange(1), "{end}");
        if end != "disconnect" {
            stream.on_log();
        }
        assert!(envoy.exchange(1), "released once: {end}");
    }
}

#[test]
fn costs_and_exports_follow_the_last_report() {
    let envoy = Envoy::with(&configuration(
        r#", "cost": "usage.total_tokens * 2", "budgets": [{ "usd": 1, "window": "1h" }]"#,
        r#", "pricing": { "default": { "input": 1, "output": 1 } },
             "export": { "double": "usage.total_tokens * 2" }"#,
    ));
    let mut stream = envoy.begin_events();
    envoy.body(&mut stream, &(TEXT.to_owned() + &usage(20)), false);
    envoy.body(&mut stream, &(DONE.to_owned() + &usage(5)), true);
    stream.on_log();
    assert_eq!(envoy.state("tollgate.cost.double").as_deref(), Some("10"));
    let mut next = envoy.stream();
    next.on_request_headers(true);
    let used: Vec<u64> = next.standings().iter().map(|it| it.used).collect();
    assert_eq!(used, [10, 5_000]);
    let money = envoy.host.metric("tollgate.usd_billionths.model=m");
    assert_eq!(money, 5_000);
}
