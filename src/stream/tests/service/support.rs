//! What a service knows: the request that comes first finds out whether it implements `Reserve`.

use crate::host::HeaderMap;
use crate::stream::Stream;
use crate::stream::tests::harness::{MINUTE, completion, request};
use crate::stream::tests::service::harness::{CHECK, Gateway, RESERVE};
use limits::service::CallId;

/// A tenth of the limit for each request.
const TENTH: &str = r#", "reservation": { "amount": "5" }"#;

/// Returns so many requests at once.
fn requests(gateway: &Gateway, number: usize) -> Vec<Stream> {
    let streams = (0..number).map(|_| {
        let mut stream = gateway.envoy.stream();
        stream.on_request_headers(true);
        stream
    });
    streams.collect()
}

impl Gateway {
    /// Replies to all calls, for all of these streams.
    fn answer_all(&mut self, streams: &mut [Stream]) {
        self.ticks(1, &mut streams.iter_mut().collect::<Vec<_>>());
    }

    /// Ends the exchanges of all streams, of which those that were admitted cost so many tokens.
    fn end_all(&mut self, mut streams: Vec<Stream>, tokens: u64) {
        let headers = [(":status", "200"), ("content-type", "application/json")];
        self.envoy.host.set_headers(HeaderMap::Response, &headers);
        for stream in &mut streams {
            if !stream.standings().is_empty() {
                stream.on_response_headers(false);
                self.envoy.body(stream, &completion(tokens), true);
            }
            stream.on_log();
        }
        self.answer(&mut None);
    }

    fn count(&self, method: &str) -> usize {
        self.methods().iter().filter(|it| *it == method).count()
    }
}

#[test]
fn first_requests_keep_limit_without_reserve() {
    for (storage, lacks_reserve) in [(RESERVE, true), (RESERVE, false), (CHECK, true)] {
        let mut gateway = Gateway::with(TENTH, storage, "");
        gateway.limitador.lacks_reserve = lacks_reserve;
        let mut streams = requests(&gateway, 64);
        let asked = gateway.methods();
        if storage == RESERVE {
            assert_eq!(asked, ["Reserve"], "the others wait for its answer");
        }
        gateway.answer_all(&mut streams);
        assert_eq!(gateway.resumed(), 10, "{storage} {lacks_reserve}");
        assert_eq!(gateway.replies(), 54, "each is answered");
        gateway.end_all(streams, 5);
        assert_eq!(gateway.limitador.total(), 50);
        assert!(gateway.limitador.reserved.is_empty());
    }
}

#[test]
fn older_service_after_newer_keeps_limit() {
    let mut gateway = Gateway::with(TENTH, RESERVE, "");
    assert_eq!(gateway.exchange(0), "admitted");
    let (resumed, replies) = (gateway.resumed(), gateway.replies());
    // It was replaced by an older version while so many wait for its reply.
    let mut streams = requests(&gateway, 64);
    gateway.limitador.lacks_reserve = true;
    gateway.answer_all(&mut streams);
    assert_eq!(gateway.resumed() - resumed, 10);
    assert_eq!(gateway.replies() - replies, 54);
    gateway.end_all(streams, 5);
    assert_eq!(gateway.limitador.total(), 50);
}

#[test]
fn requests_that_wait_share_the_failure() {
    for (mode, resumed, replies) in [("local", 10, 54), ("allow", 64, 0), ("deny", 0, 64)] {
        let storage = RESERVE.replace('}', &format!(r#", "failureMode": "{mode}" }}"#));
        let mut gateway = Gateway::with(TENTH, &storage, "");
        let mut streams = requests(&gateway, 64);
        gateway.answered = 1;
        let mut reply = gateway.envoy.plugin.on_reply(CallId(1), Err(14));
        while let Some(next) = reply.or_else(|| gateway.envoy.plugin.next_ready()) {
            let mut streams = streams.iter_mut();
            let stream = streams.find(|stream| stream.id == next.stream);
            stream.unwrap().on_check_reply(next);
            reply = None;
        }
        assert_eq!(gateway.methods(), ["Reserve"]);
        assert_eq!(
            (gateway.resumed(), gateway.replies()),
            (resumed, replies),
            "{mode}"
        );
        gateway.end_all(streams, 5);
        gateway.wait(10_000);
        assert_eq!(
            gateway.limitador.total(),
            5 * u64::try_from(resumed).unwrap()
        );
    }
}

#[test]
fn request_that_leaves_while_waiting_reserves_nothing() {
    let mut gateway = Gateway::with(TENTH, RESERVE, "");
    let mut streams = requests(&gateway, 12);
    for stream in &mut streams {
        stream.on_log();
    }
    drop(streams);
    gateway.answer(&mut None);
    assert!(gateway.limitador.reserved.is_empty());
    let mut streams = requests(&gateway, 64);
    gateway.answer_all(&mut streams);
    assert_eq!(gateway.resumed(), 10);
}

#[test]
fn answer_is_shared_by_workers() {
    let mut gateway = Gateway::new(RESERVE);
    gateway.limitador.lacks_reserve = true;
    gateway.exchange(1);
    gateway.reconfigure(RESERVE);
    gateway.exchange(1);
    assert_eq!(gateway.count("Reserve"), 1, "known to another worker");

    // Each hour one of them asks again, and no request does.
    let clock = &gateway.envoy.host.clock;
    clock.set(clock.get() + 61 * MINUTE);
    gateway.exchange(1);
    let other = gateway.reconfigure(RESERVE);
    gateway.exchange(1);
    for _ in 0..10 {
        let clock = &gateway.envoy.host.clock;
        clock.set(clock.get() + 50_000_000);
        other.on_tick();
        gateway.envoy.plugin.on_tick();
    }
    assert_eq!(gateway.count("Reserve"), 2);
}

#[test]
fn first_request_checks_all_units_at_once() {
    let gateway = Gateway::with(
        r#", "requests": [{ "limit": 9, "window": "1m" }]"#,
        RESERVE,
        "",
    );
    let mut stream = gateway.envoy.stream();
    gateway
        .envoy
        .host
        .set_headers(HeaderMap::Request, &request("alice"));
    stream.on_request_headers(true);
    assert_eq!(gateway.methods(), ["Reserve", "Reserve"]);
}
