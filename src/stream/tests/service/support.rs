//! Tests of the first call of `Reserve`, which shows whether the service implements it.

use crate::host::double::Call;
use crate::host::{HeaderMap, HostError};
use crate::stream::Stream;
use crate::stream::tests::harness::{MINUTE, completion, request};
use crate::stream::tests::service::harness::{CHECK, Gateway, RESERVE};
use limits::service::CallId;

/// A tenth of the limit for each request.
const TENTH: &str = r#", "reservation": { "amount": "5" }"#;

/// Returns a service without which requests are rejected.
fn deny() -> String {
    RESERVE.replace('}', r#", "failureMode": "deny" }"#)
}

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

    /// The call with a token fails.
    fn fail(&mut self, token: u32, status: u32, streams: &mut [Stream]) {
        self.answered += 1;
        let reply = self.envoy.plugin.on_reply(CallId(token), Err(status));
        self.deliver(reply, &mut streams.iter_mut().collect::<Vec<_>>());
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
fn requests_that_wait_share_repeated_failures() {
    for (mode, resumed, replies) in [("local", 10, 54), ("allow", 64, 0), ("deny", 0, 64)] {
        let storage = RESERVE.replace('}', &format!(r#", "failureMode": "{mode}" }}"#));
        let mut gateway = Gateway::with(TENTH, &storage, "");
        let mut streams = requests(&gateway, 64);
        for token in 1..=3 {
            gateway.fail(token, 14, &mut streams);
        }
        assert_eq!(gateway.methods(), ["Reserve"; 3]);
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
fn failed_request_decides_for_itself_only() {
    // Without reservations at the service, the others are decided on as they were when they came: beside the first.
    for (status, lacks_reserve, resumed) in [(4, false, 10), (14, true, 9), (14, false, 10)] {
        let mut gateway = Gateway::with(TENTH, &deny(), "");
        gateway.limitador.lacks_reserve = lacks_reserve;
        let mut streams = requests(&gateway, 64);
        gateway.fail(1, status, &mut streams);
        assert_eq!((gateway.resumed(), gateway.replies()), (0, 1));
        assert_eq!(gateway.methods(), ["Reserve"; 2], "the next one calls");
        gateway.answer_all(&mut streams);
        assert_eq!(gateway.resumed(), resumed, "{status} {lacks_reserve}");
        assert_eq!(gateway.resumed() + gateway.replies(), 64);
        gateway.end_all(streams, 5);
        let used = 5 * u64::try_from(resumed).unwrap();
        assert_eq!(gateway.limitador.total(), used);
    }
}

#[test]
fn status_of_the_method_shows_that_it_is_implemented() {
    for status in [3, 9, 11] {
        let mut gateway = Gateway::with(TENTH, &deny(), "");
        let mut streams = requests(&gateway, 64);
        gateway.fail(1, status, &mut streams);
        assert_eq!(gateway.replies(), 1, "{status}");
        assert_eq!(gateway.methods().len(), 64, "none waits any longer");
        gateway.answer_all(&mut streams);
        assert_eq!(gateway.resumed(), 10, "{status}");
    }
}

#[test]
fn request_whose_turn_it_is_may_be_gone() {
    let mut gateway = Gateway::with(TENTH, &deny(), "");
    let mut streams = requests(&gateway, 12);
    for stream in &mut streams[1..5] {
        stream.on_log();
    }
    let mut left = streams.split_off(5);
    left.insert(0, streams.remove(0));
    gateway.fail(1, 14, &mut left);
    assert_eq!(gateway.methods(), ["Reserve"; 2]);
    gateway.answer_all(&mut left);
    assert_eq!(gateway.resumed(), 7);
}

#[test]
fn call_that_cannot_be_made_passes_the_turn() {
    let mut gateway = Gateway::with(TENTH, &deny(), "");
    let mut streams = requests(&gateway, 12);
    let host = &gateway.envoy.host;
    host.fail(Call::CallGrpc, 2, HostError::InternalFailure);
    gateway.fail(1, 14, &mut streams);
    assert_eq!(gateway.replies(), 3, "these have failed");
    gateway.answer_all(&mut streams);
    assert_eq!(gateway.resumed(), 9);
}

#[test]
fn open_circuit_ends_the_wait() {
    let mut gateway = Gateway::with(TENTH, &deny(), "");
    let mut streams = requests(&gateway, 64);
    let host = &gateway.envoy.host;
    host.fail(Call::CallGrpc, 1_000, HostError::InternalFailure);
    gateway.fail(1, 14, &mut streams);
    assert_eq!(gateway.replies(), 64);
    assert_eq!(gateway.logged("storage_circuit_open"), 1);
    assert_eq!(gateway.methods(), ["Reserve"]);
}

#[test]
fn replies_of_one_callback_are_bounded() {
    let mut gateway = Gateway::with(TENTH, RESERVE, "");
    let mut streams = requests(&gateway, 1_000);
    for token in 1..=3 {
        gateway.fail(token, 14, &mut streams);
    }
    let decided = |gateway: &Gateway| gateway.resumed() + gateway.replies();
    assert_eq!(decided(&gateway), 2 + 128);
    let mut streams: Vec<&mut Stream> = streams.iter_mut().collect();
    for tick in 1..=6 {
        gateway.deliver(None, &mut streams);
        assert_eq!(decided(&gateway), 2 + 128 + tick * 128);
    }
    gateway.deliver(None, &mut streams);
    assert_eq!(decided(&gateway), 1_000, "the rest");
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

    // Each hour one worker calls it again, without a request.
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
