//! Exchanges whose counters are in a rate limit service: whatever it answers, and however late, each
//! is resumed or answered once, and what it used is counted there.

mod exceeded;
mod storm;
mod units;

use super::{Envoy, MINUTE, Next, Stream, completion, configuration, request};
use crate::host::double::{Call, SentCall};
use crate::host::{Buffer, Direction, HeaderMap, HostError};
use filter_config::descriptor::{Counted, limit_key};
use limits::service::CallId;
use limits::service::message::{CommitRequest, RateLimitRequest, ReserveRequest};
use limits::service::mock::{Limitador, MockReply, entries};
use prost::Message;
use std::collections::HashMap;

const RESERVE: &str = r#"{ "type": "limitador", "cluster": "limitador" }"#;
const CHECK: &str =
    r#"{ "type": "limitador", "cluster": "limitador", "protocol": "check-report" }"#;
const RLS: &str = r#"{ "type": "envoy-rls", "cluster": "ratelimit", "domain": "llm" }"#;

/// An Envoy, a limitador, and how many of the calls between them were answered.
struct Gateway {
    envoy: Envoy,
    limitador: Limitador,
    answered: usize,
}

impl Gateway {
    fn with(spec: &str, storage: &str, rest: &str) -> Self {
        let rest = format!(r#", "storage": {storage} {rest}"#);
        Self {
            envoy: Envoy::with(&configuration(spec, &rest)),
            limitador: Limitador::new(50),
            answered: 0,
        }
    }

    fn new(storage: &str) -> Self {
        Self::with("", storage, "")
    }

    fn with_mode(storage: &str, mode: &str) -> Self {
        let storage = storage.replace('}', &format!(r#", "failureMode": "{mode}" }}"#));
        Self::new(&storage)
    }

    fn call(&self, index: usize) -> SentCall {
        self.envoy.host.grpc.borrow()[index].clone()
    }

    fn methods(&self) -> Vec<String> {
        let calls = self.envoy.host.grpc.borrow();
        calls.iter().map(|call| call.method.clone()).collect()
    }

    /// Answers every call that has none yet, and those that follow from that. Replies to questions go
    /// to the stream, if it is still there.
    fn answer_by(
        &mut self,
        stream: &mut Option<Stream>,
        say: &mut dyn FnMut(&SentCall) -> Option<MockReply>,
    ) {
        while self.answered < self.envoy.host.grpc.borrow().len() {
            let call = self.call(self.answered);
            self.answered += 1;
            let said =
                say(&call).unwrap_or_else(|| self.limitador.call(&call.method, &call.message));
            let token = u32::try_from(self.answered).unwrap();
            let reply = said.as_deref().map_err(|status| *status);
            let Some(answered) = self.envoy.plugin.on_reply(CallId(token), reply) else {
                continue;
            };
            match stream {
                Some(stream) => stream.on_check_reply(answered),
                None => self.envoy.plugin.release_reply(answered),
            }
        }
    }

    fn answer(&mut self, stream: &mut Option<Stream>) {
        self.answer_by(stream, &mut |_| None);
    }

    /// A whole exchange of so many tokens, with whatever is said to its calls; its decision.
    fn exchange_by(
        &mut self,
        tokens: u64,
        say: &mut dyn FnMut(&SentCall) -> Option<MockReply>,
    ) -> String {
        let resumed = self.envoy.host.resumed.borrow().len();
        let replies = self.envoy.host.replies.borrow().len();
        let mut stream = self.envoy.stream();
        let next = stream.on_request_headers(true);
        let calls = self.envoy.host.grpc.borrow().len();
        let mut stream = Some(stream);
        let asked = calls > self.answered;
        self.answer_by(&mut stream, say);
        let mut stream = stream.unwrap();
        let went_on = self.envoy.host.resumed.borrow().len() - resumed;
        let refused = self.envoy.host.replies.borrow().len() - replies;
        if asked && next == Next::Pause && refused == 0 {
            assert_eq!(went_on, 1, "resumed once");
        } else {
            assert_eq!(went_on, 0);
            assert_eq!(refused, usize::from(next == Next::Pause));
        }
        if refused == 0 {
            stream.on_response_headers(false);
            self.envoy.body(&mut stream, &completion(tokens), true);
        }
        stream.on_log();
        self.answer_by(&mut None, say);
        self.envoy.state("tollgate.decision").unwrap_or_default()
    }

    fn exchange(&mut self, tokens: u64) -> String {
        self.exchange_by(tokens, &mut |_| None)
    }

    /// Time passes, with the ticks in it.
    fn wait(&mut self, milliseconds: u64) {
        for _ in 0..milliseconds.div_ceil(50) {
            let clock = &self.envoy.host.clock;
            clock.set(clock.get() + 50_000_000);
            self.envoy.plugin.on_tick();
            self.answer(&mut None);
        }
    }

    fn logged(&self, what: &str) -> usize {
        let log = self.envoy.log.lines();
        log.iter().filter(|(_, line)| line.contains(what)).count()
    }
}

#[test]
fn an_exchange_reserves_and_commits() {
    let mut gateway = Gateway::new(RESERVE);
    assert_eq!(gateway.exchange(30), "admitted");
    assert_eq!(gateway.methods(), ["Reserve", "Commit"]);
    let call = gateway.call(0);
    assert_eq!(call.cluster, "limitador");
    assert_eq!(
        call.service,
        "kuadrant.service.ratelimit.v1.RateLimitService"
    );
    assert_eq!(call.timeout_ms, 100);
    let reserve = ReserveRequest::decode(&*call.message).unwrap();
    assert_eq!(reserve.domain, "test/g");
    assert_eq!(
        entries(&reserve.descriptors[0]),
        [
            (
                limit_key(Counted::Tokens, "test/llm", "free"),
                "1".to_owned()
            ),
            ("auth.user".to_owned(), "alice".to_owned())
        ]
    );
    assert_eq!(reserve.ttl.unwrap().seconds, 600);
    let commit = CommitRequest::decode(&*gateway.call(1).message).unwrap();
    assert_eq!(commit.reservation_id, "reservation 1");
    assert_eq!(commit.actual_amount, 30);
    assert_eq!(commit.descriptors, reserve.descriptors);
    assert_eq!(gateway.limitador.total(), 30);
    assert!(gateway.limitador.reserved.is_empty());
}

#[test]
fn each_protocol_admits_until_a_limit_is_spent_and_counts_it() {
    for storage in [RESERVE, CHECK, RLS] {
        let mut gateway = Gateway::new(storage);
        assert_eq!(gateway.exchange(30), "admitted", "{storage}");
        assert_eq!(gateway.exchange(30), "admitted", "a token is left");
        assert_eq!(gateway.exchange(30), "denied", "{storage}");
        assert_eq!(
            gateway.envoy.state("tollgate.limit").as_deref(),
            Some("free")
        );
        let expected = if storage == RLS { 50 } else { 60 };
        assert_eq!(gateway.limitador.total(), expected, "{storage}");
        let reply = gateway.envoy.host.replies.borrow()[0].clone();
        assert_eq!(reply.status, 429);
        assert_eq!(reply.header("retry-after"), Some("60"));
        assert_eq!(reply.header("x-ratelimit-remaining"), Some("0"));
    }
}

#[test]
fn what_costs_nothing_is_not_reported() {
    let mut gateway = Gateway::new(CHECK);
    gateway.exchange(0);
    assert_eq!(gateway.methods(), ["CheckRateLimit"]);
    let mut gateway = Gateway::new(RESERVE);
    gateway.exchange(0);
    assert_eq!(
        gateway.methods(),
        ["Reserve", "Commit"],
        "what is held is released"
    );
    assert_eq!(gateway.limitador.total(), 0);
}

#[test]
fn a_lone_request_goes_while_a_token_is_left_and_others_beside_it_do_not() {
    let mut gateway = Gateway::new(RESERVE);
    gateway.exchange(49);
    let mut first = gateway.envoy.stream();
    let mut headers = request("alice").to_vec();
    headers.push(("content-length", "400"));
    headers.push(("content-encoding", "gzip"));
    gateway.envoy.host.set_headers(HeaderMap::Request, &headers);
    assert_eq!(first.on_request_headers(false), Next::Pause);
    let mut first = Some(first);
    gateway.answer(&mut first);
    assert_eq!(gateway.methods()[2..], ["Reserve", "Reserve"]);
    let amount = |index| {
        ReserveRequest::decode(&*gateway.call(index).message)
            .unwrap()
            .amount
    };
    assert_eq!((amount(2), amount(3)), (50, 1));
    assert_eq!(
        *gateway.envoy.host.resumed.borrow(),
        [Direction::Request; 2]
    );

    let mut second = gateway.envoy.stream();
    gateway.envoy.host.set_headers(HeaderMap::Request, &headers);
    second.on_request_headers(false);
    gateway.answer(&mut Some(second));
    assert_eq!(gateway.envoy.host.replies.borrow().len(), 1);
}

#[test]
fn requests_at_once_are_held_back_where_a_service_cannot_hold() {
    for storage in [CHECK, RLS] {
        let mut gateway = Gateway::new(storage);
        let headers = [
            (":method", "POST"),
            (":path", "/v1/chat/completions"),
            ("x-user", "alice"),
            ("content-length", "400"),
            ("content-encoding", "gzip"),
        ];
        for expected in [0, 1, 2] {
            let mut stream = gateway.envoy.stream();
            gateway.envoy.host.set_headers(HeaderMap::Request, &headers);
            stream.on_request_headers(false);
            gateway.answer(&mut Some(stream));
            assert_eq!(gateway.envoy.host.replies.borrow().len(), expected);
        }
    }
}

#[test]
fn who_has_nothing_left_of_one_limit_is_held_back_beside_others_at_the_next() {
    let spec = r#"}, "all": { "rates": [{ "limit": 100, "window": "1s" }]"#;
    for storage in [CHECK, RLS] {
        let mut gateway = Gateway::with(spec, storage, "");
        gateway.exchange(50);
        gateway.limitador.used.clear();
        let clock = &gateway.envoy.host.clock;
        clock.set(clock.get() + 2_000_000_000);
        for (user, refused) in [("bob", 0), ("alice", 1)] {
            let mut stream = gateway.envoy.stream();
            let mut headers = request(user).to_vec();
            headers.extend([("content-length", "400"), ("content-encoding", "gzip")]);
            gateway.envoy.host.set_headers(HeaderMap::Request, &headers);
            assert_eq!(stream.on_request_headers(false), Next::Pause);
            gateway.answer(&mut Some(stream));
            let replies = gateway.envoy.host.replies.borrow().len();
            assert_eq!(replies, refused, "{storage} {user}");
        }
    }
}

#[test]
fn failures_decide_as_the_failure_mode_says_and_what_is_used_is_told_later() {
    let garbage: MockReply = Ok(vec![0x0a, 0xff]);
    let undecided: MockReply = Ok(vec![8, 0]);
    let large: MockReply = Ok(vec![0; 100_000]);
    for storage in [RESERVE, CHECK] {
        for (mode, decision) in [
            ("local", "admitted"),
            ("allow", "failed_open"),
            ("deny", "failed"),
        ] {
            for said in [
                Err(14),
                Err(4),
                Err(13),
                garbage.clone(),
                undecided.clone(),
                large.clone(),
            ] {
                let mut gateway = Gateway::with_mode(storage, mode);
                let decided = gateway.exchange_by(20, &mut |_| Some(said.clone()));
                assert_eq!(decided, decision, "{said:?}");
                if mode == "deny" {
                    assert_eq!(gateway.envoy.host.replies.borrow()[0].status, 500);
                }
                gateway.wait(10_000);
                let expected = if mode == "deny" { 0 } else { 20 };
                assert_eq!(
                    gateway.limitador.total(),
                    expected,
                    "{storage} {mode} {said:?}"
                );
                assert!(gateway.envoy.plugin.is_drained());
            }
        }
    }
}

#[test]
fn a_call_that_is_not_accepted_keeps_nobody_waiting() {
    for (mode, decision) in [
        ("local", "admitted"),
        ("allow", "failed_open"),
        ("deny", "failed"),
    ] {
        let mut gateway = Gateway::with_mode(RESERVE, mode);
        let host = &gateway.envoy.host;
        host.fail(Call::CallGrpc, 2, HostError::InternalFailure);
        assert_eq!(gateway.exchange(20), decision);
        gateway.wait(10_000);
        assert_eq!(
            gateway.limitador.total(),
            if mode == "deny" { 0 } else { 20 }
        );
    }
}

#[test]
fn a_settlement_that_fails_is_told_again_until_it_is_known() {
    for storage in [RESERVE, CHECK, RLS] {
        let mut gateway = Gateway::new(storage);
        gateway.limitador.limit = 1_000;
        let mut failures = 3;
        let settles = |call: &SentCall| match &*call.method {
            "Commit" | "Report" => true,
            "ShouldRateLimit" => {
                RateLimitRequest::decode(&*call.message)
                    .unwrap()
                    .hits_addend
                    > 0
            }
            _ => false,
        };
        for _ in 0..3 {
            let decision = gateway.exchange_by(40, &mut |call| {
                let fails = settles(call) && failures > 0;
                failures -= u32::from(fails);
                fails.then_some(Err(14))
            });
            assert_eq!(decision, "admitted");
        }
        let questions = if storage == RLS { 3 } else { 0 };
        assert_eq!(gateway.limitador.total(), questions);
        assert_eq!(
            gateway
                .envoy
                .host
                .metric("tollgate.storage_settlements_pending"),
            1
        );
        gateway.wait(5_000);
        assert_eq!(gateway.limitador.total(), 120);
        assert_eq!(
            gateway
                .envoy
                .host
                .metric("tollgate.storage_settlements_pending"),
            0
        );
        assert_eq!(
            gateway
                .envoy
                .host
                .metric("tollgate.storage_settlements_retried"),
            3
        );
    }
}

#[test]
fn who_leaves_while_a_question_is_open_holds_nothing() {
    let mut gateway = Gateway::new(RESERVE);
    let mut stream = gateway.envoy.stream();
    assert_eq!(stream.on_request_headers(true), Next::Pause);
    stream.on_log();
    drop(stream);
    assert_eq!(gateway.methods(), ["Reserve"]);
    gateway.answer(&mut None);
    assert_eq!(gateway.methods(), ["Reserve", "Commit"]);
    assert!(gateway.limitador.reserved.is_empty());
    assert_eq!(gateway.limitador.total(), 0);
    assert!(gateway.envoy.host.resumed.borrow().is_empty());
    assert!(gateway.envoy.host.replies.borrow().is_empty());
    assert_eq!(
        gateway.exchange(60),
        "admitted",
        "nor does this Envoy hold anything"
    );
}

#[test]
fn an_older_limitador_is_checked_and_reported_to() {
    let mut gateway = Gateway::new(RESERVE);
    gateway.limitador.lacks_reserve = true;
    assert_eq!(gateway.exchange(30), "admitted");
    assert_eq!(gateway.exchange(30), "admitted");
    assert_eq!(
        gateway.methods(),
        [
            "Reserve",
            "CheckRateLimit",
            "Report",
            "CheckRateLimit",
            "Report"
        ]
    );
    assert_eq!(gateway.exchange(30), "denied");
    assert_eq!(gateway.limitador.total(), 60);
    assert_eq!(gateway.logged("storage_reserve_unsupported"), 1);
    let clock = &gateway.envoy.host.clock;
    clock.set(clock.get() + 61 * MINUTE);
    gateway.limitador.lacks_reserve = false;
    gateway.limitador.used.clear();
    gateway.exchange(1);
    assert_eq!(
        gateway.methods()[6..],
        ["Reserve", "Commit"],
        "it may be a newer one by now"
    );
}

#[test]
fn a_service_that_is_away_is_left_alone_until_a_probe_finds_it() {
    let mut gateway = Gateway::new(CHECK);
    for _ in 0..5 {
        assert_eq!(gateway.exchange_by(1, &mut |_| Some(Err(14))), "admitted");
    }
    assert_eq!(gateway.logged("storage_circuit_open"), 1);
    assert_eq!(
        gateway.envoy.host.metric("tollgate.storage_circuit_open"),
        1
    );
    assert_eq!(gateway.envoy.host.metric("tollgate.storage_outages"), 1);
    let calls = gateway.methods().len();
    for _ in 0..10 {
        assert_eq!(gateway.exchange(1), "admitted");
    }
    assert_eq!(gateway.methods().len(), calls, "nobody waits for it");
    assert_eq!(gateway.exchange(40), "admitted");
    assert_eq!(
        gateway.exchange(40),
        "denied",
        "55 are used, as this Envoy knows"
    );
    gateway.wait(10_000);
    assert_eq!(gateway.logged("storage_circuit_closed"), 1);
    assert_eq!(
        gateway.envoy.host.metric("tollgate.storage_circuit_open"),
        0
    );
    assert_eq!(gateway.limitador.total(), 55);
    assert_eq!(gateway.exchange(1), "denied");
    assert_eq!(gateway.methods().last().unwrap(), "CheckRateLimit");
}

#[test]
fn a_slow_service_has_counted_what_it_is_told_once() {
    for storage in [RESERVE, CHECK] {
        let mut gateway = Gateway::with_mode(storage, "allow");
        for _ in 0..5 {
            let mut stream = gateway.envoy.stream();
            assert_eq!(stream.on_request_headers(true), Next::Pause);
            let mut stream = Some(stream);
            gateway.answer(&mut stream);
            let mut stream = stream.unwrap();
            stream.on_response_headers(false);
            gateway.envoy.body(&mut stream, &completion(7), true);
            stream.on_log();
            let settlement = gateway.call(gateway.answered);
            assert!(settlement.timeout_ms >= 1_000, "nobody waits for it");
            // A request would have given up long before.
            let clock = &gateway.envoy.host.clock;
            clock.set(clock.get() + 600_000_000);
            gateway.answer(&mut None);
            gateway.wait(1_000);
        }
        assert_eq!(gateway.limitador.total(), 35, "{storage}");
        assert_eq!(
            gateway.logged("storage_circuit_open"),
            0,
            "requests are answered"
        );
    }
}

#[test]
fn a_service_that_counts_and_does_not_answer_counts_twice_at_the_most() {
    for storage in [RESERVE, CHECK] {
        let mut gateway = Gateway::new(storage);
        assert_eq!(gateway.exchange(0), "admitted");
        // What it is sent while it stalls it does when it goes on, and nobody hears of that.
        let mut stalled: Vec<SentCall> = Vec::new();
        for tokens in [10, 5] {
            gateway.exchange_by(tokens, &mut |call| {
                stalled.push(call.clone());
                Some(Err(14))
            });
        }
        for _ in 0..400 {
            let clock = &gateway.envoy.host.clock;
            clock.set(clock.get() + 50_000_000);
            gateway.envoy.plugin.on_tick();
            gateway.answer_by(&mut None, &mut |call| {
                stalled.push(call.clone());
                Some(Err(14))
            });
        }
        for call in stalled {
            let _ = gateway.limitador.call(&call.method, &call.message);
        }
        gateway.wait(20_000);
        let counted = gateway.limitador.total();
        assert!((15..=30).contains(&counted), "{storage}: {counted}");
    }
}

#[test]
fn a_service_that_is_away_is_probed_though_nothing_waits() {
    let mut gateway = Gateway::with_mode(RESERVE, "deny");
    for _ in 0..5 {
        assert_eq!(gateway.exchange_by(1, &mut |_| Some(Err(14))), "failed");
    }
    assert_eq!(gateway.exchange(1), "failed");
    gateway.wait(1_000);
    assert_eq!(gateway.exchange(1), "admitted");
    assert_eq!(gateway.limitador.total(), 1);
}

const BODY: &str = r#"{"model":"big","stream":true}"#;
const BODY_WHEN: &str = r#", "when": [{ "predicate": "requestBodyJSON('/model') == 'big'" }]"#;

#[test]
fn a_question_about_the_body_keeps_the_body() {
    let mut gateway = Gateway::with(BODY_WHEN, RESERVE, "");
    let mut stream = gateway.envoy.stream();
    assert_eq!(stream.on_request_headers(false), Next::Continue);
    assert!(gateway.methods().is_empty());
    gateway
        .envoy
        .host
        .set_buffer(Buffer::RequestBody, BODY.as_bytes());
    assert_eq!(stream.on_request_body(BODY.len(), true), Next::Pause);
    assert_eq!(stream.on_request_trailers(), Next::Pause);
    let mut stream = Some(stream);
    gateway.answer(&mut stream);
    assert_eq!(*gateway.envoy.host.resumed.borrow(), [Direction::Request]);
    let body = gateway.envoy.host.buffers.borrow()[&Buffer::RequestBody].clone();
    assert!(String::from_utf8(body).unwrap().contains("include_usage"));
}

/// A gateway whose caller has nothing left by its own count, but by the service's.
fn in_doubt() -> Gateway {
    let mut gateway = Gateway::new(RESERVE);
    gateway.exchange(60);
    gateway.limitador.used.clear();
    gateway.envoy.host.resumed.borrow_mut().clear();
    gateway
}

#[test]
fn a_caller_with_nothing_left_is_refused_before_the_upstream_hears_of_him() {
    let mut gateway = Gateway::new(RESERVE);
    gateway.exchange(60);
    let mut stream = gateway.envoy.stream();
    assert_eq!(stream.on_request_headers(false), Next::Pause);
    assert_eq!(gateway.methods().last().unwrap(), "Reserve");
    let mut stream = Some(stream);
    gateway.answer(&mut stream);
    assert_eq!(gateway.envoy.host.replies.borrow().len(), 1);
    let reserves = gateway
        .methods()
        .iter()
        .filter(|method| *method == "Reserve")
        .count();
    assert_eq!(reserves, 2, "one for each exchange");
}

#[test]
fn a_service_has_the_last_word_and_the_body_is_read_after_it() {
    let mut gateway = in_doubt();
    let mut stream = gateway.envoy.stream();
    assert_eq!(stream.on_request_headers(false), Next::Pause);
    let mut stream = Some(stream);
    gateway.answer(&mut stream);
    assert_eq!(*gateway.envoy.host.resumed.borrow(), [Direction::Request]);
    let mut stream = stream.unwrap();
    gateway
        .envoy
        .host
        .set_buffer(Buffer::RequestBody, BODY.as_bytes());
    assert_eq!(stream.on_request_body(5, false), Next::Pause);
    assert_eq!(stream.on_request_body(BODY.len(), true), Next::Continue);
    let body = gateway.envoy.host.buffers.borrow()[&Buffer::RequestBody].clone();
    assert!(String::from_utf8(body).unwrap().contains("include_usage"));
    stream.on_response_headers(false);
    gateway.envoy.body(&mut stream, &completion(7), true);
    stream.on_log();
    gateway.answer(&mut None);
    assert_eq!(gateway.limitador.total(), 7);
}

#[test]
fn who_is_charged_by_what_his_body_says_is_asked_about_with_it() {
    for (mode, field) in [
        ("deny", "llm.model"),
        ("allow", "llm.model"),
        ("deny", "requestBodyJSON('/model')"),
        ("allow", "requestBodyJSON('/model')"),
    ] {
        let spec = format!(
            r#", "cost": "{field} == 'big' ? usage.total_tokens * 3 : usage.total_tokens""#
        );
        let rest = format!(r#", "failureMode": "{mode}""#);
        let mut gateway = Gateway::with(&spec, RESERVE, &rest);
        let exchange = |gateway: &mut Gateway| {
            let mut stream = gateway.envoy.stream();
            assert_eq!(stream.on_request_headers(false), Next::Continue);
            let host = &gateway.envoy.host;
            host.set_buffer(Buffer::RequestBody, BODY.as_bytes());
            assert_eq!(stream.on_request_body(BODY.len(), true), Next::Pause);
            let mut stream = Some(stream);
            gateway.answer(&mut stream);
            let mut stream = stream.unwrap();
            stream.on_response_headers(false);
            gateway.envoy.body(&mut stream, &completion(20), true);
            stream.on_log();
            gateway.answer(&mut None);
        };
        exchange(&mut gateway);
        assert_eq!(gateway.limitador.total(), 60, "{mode} {field}");
        // Nothing is left by the count of this Envoy.
        gateway.limitador.used.clear();
        exchange(&mut gateway);
        assert_eq!(gateway.limitador.total(), 60, "{mode} {field}");
    }
}

#[test]
fn a_question_is_about_what_the_body_is_expected_to_use() {
    let mut gateway = Gateway::new(RESERVE);
    gateway.limitador.limit = 1_000;
    let mut stream = gateway.envoy.stream();
    assert_eq!(stream.on_request_headers(false), Next::Continue);
    assert!(gateway.methods().is_empty());
    let body = br#"{"max_tokens":9}"#;
    gateway.envoy.host.set_buffer(Buffer::RequestBody, body);
    assert_eq!(stream.on_request_body(body.len(), true), Next::Pause);
    let reserve = ReserveRequest::decode(&*gateway.call(0).message).unwrap();
    assert!((10..20).contains(&reserve.amount), "{}", reserve.amount);
}

#[test]
fn a_body_too_large_to_keep_waits_without_being_gathered() {
    // A limit that needs the body, and is left out where there is none.
    let spec = r#"}, "big": { "rates": [{ "limit": 50, "window": "1m" }],
        "when": [{ "predicate": "requestBodyJSON('/model') == 'big'" }]"#;
    let rest = r#", "failureMode": "allow", "requestBody": { "maxBytes": 16 }"#;
    let mut gateway = Gateway::with(spec, RESERVE, rest);
    let mut stream = gateway.envoy.stream();
    assert_eq!(stream.on_request_headers(false), Next::Continue);
    assert_eq!(stream.on_request_body(100, false), Next::Watermark);
    assert_eq!(stream.on_request_body(100, true), Next::Watermark);
    let mut stream = Some(stream);
    gateway.answer(&mut stream);
    assert_eq!(*gateway.envoy.host.resumed.borrow(), [Direction::Request]);
}

#[test]
fn a_response_that_comes_before_the_answer_does_not_wait() {
    for (status, cost) in [("401", 0), ("200", 30)] {
        let mut gateway = Gateway::with(BODY_WHEN, RESERVE, "");
        let mut stream = gateway.envoy.stream();
        stream.on_request_headers(false);
        gateway
            .envoy
            .host
            .set_buffer(Buffer::RequestBody, BODY.as_bytes());
        assert_eq!(stream.on_request_body(BODY.len(), true), Next::Pause);
        let headers = [(":status", status), ("content-type", "application/json")];
        gateway
            .envoy
            .host
            .set_headers(HeaderMap::Response, &headers);
        assert_eq!(stream.on_response_headers(false), Next::Continue);
        gateway.envoy.body(&mut stream, &completion(30), true);
        let mut stream = Some(stream);
        gateway.answer(&mut stream);
        stream.unwrap().on_log();
        gateway.answer(&mut None);
        assert_eq!(gateway.limitador.total(), cost, "{status}");
        assert!(gateway.limitador.reserved.is_empty());
        let resumed = gateway.envoy.host.resumed.borrow().len();
        assert_eq!(resumed, usize::from(status == "200"));
    }
}

#[test]
fn a_response_that_comes_between_two_answers_leaves_nothing_reserved() {
    let spec = r#", "requests": [{ "limit": 9, "window": "1m" }], "when": [{ "predicate": "requestBodyJSON('/model') == 'big'" }]"#;
    for first in [0, 1] {
        let mut gateway = Gateway::with(spec, RESERVE, "");
        let mut stream = gateway.envoy.stream();
        stream.on_request_headers(false);
        let host = &gateway.envoy.host;
        host.set_buffer(Buffer::RequestBody, BODY.as_bytes());
        assert_eq!(stream.on_request_body(BODY.len(), true), Next::Pause);
        assert_eq!(gateway.methods(), ["Reserve", "Reserve"]);
        let reply = |gateway: &mut Gateway, stream: &mut Stream, index: usize| {
            let call = gateway.call(index);
            let said = gateway.limitador.call(&call.method, &call.message);
            let token = u32::try_from(index + 1).unwrap();
            let answered = gateway
                .envoy
                .plugin
                .on_reply(CallId(token), said.as_deref().map_err(|s| *s));
            stream.on_check_reply(answered.unwrap());
        };
        reply(&mut gateway, &mut stream, first);
        let headers = [(":status", "200"), ("content-type", "application/json")];
        gateway
            .envoy
            .host
            .set_headers(HeaderMap::Response, &headers);
        stream.on_response_headers(false);
        gateway.envoy.body(&mut stream, &completion(30), true);
        reply(&mut gateway, &mut stream, 1 - first);
        stream.on_log();
        gateway.answered = 2;
        gateway.answer(&mut None);
        assert_eq!(gateway.limitador.total(), 31, "{first}");
        assert!(gateway.limitador.reserved.is_empty(), "{first}");
    }
}

#[test]
fn an_answered_stream_that_dies_before_its_body_holds_nothing() {
    let mut gateway = in_doubt();
    let mut stream = gateway.envoy.stream();
    stream.on_request_headers(false);
    let mut stream = Some(stream);
    gateway.answer(&mut stream);
    assert_eq!(gateway.limitador.reserved.len(), 1);
    stream.unwrap().on_log();
    gateway.answer(&mut None);
    assert!(gateway.limitador.reserved.is_empty());
    assert_eq!(gateway.limitador.total(), 0);
}

#[test]
fn limits_in_shadow_are_asked_apart_and_refuse_nobody() {
    let mut gateway = Gateway::with(r#", "shadow": true"#, CHECK, "");
    assert_eq!(gateway.exchange(60), "admitted");
    assert_eq!(gateway.exchange(60), "shadow_denied");
    assert_eq!(gateway.limitador.total(), 120);
}

#[test]
fn a_limit_in_shadow_is_told_once_though_but_one_of_its_rates_has_room() {
    let spec = r#"}, "seen": { "shadow": true, "counters": [{ "expression": "auth.user" }],
        "rates": [{ "limit": 10, "window": "1m" }, { "limit": 900, "window": "1h" }]"#;
    for storage in [RESERVE, CHECK] {
        let mut gateway = Gateway::with(spec, storage, "");
        gateway.exchange(20);
        gateway.exchange(20);
        let used = gateway.limitador.used.values();
        assert_eq!(used.copied().collect::<Vec<_>>(), [40, 40], "{storage}");
        assert!(gateway.limitador.reserved.is_empty());
    }
}

#[test]
fn requests_in_flight_are_this_envoys_own() {
    let mut gateway = Gateway::with(r#", "concurrency": 1"#, RESERVE, "");
    let mut first = gateway.envoy.stream();
    first.on_request_headers(true);
    let mut second = gateway.envoy.stream();
    second.on_request_headers(true);
    assert_eq!(gateway.methods(), ["Reserve"], "refused without a question");
    assert_eq!(gateway.envoy.host.replies.borrow()[0].status, 429);
    first.on_log();
    assert_eq!(gateway.exchange(1), "admitted");
}

#[test]
fn traces_go_on_with_calls_as_far_as_they_are_plain() {
    let mut gateway = Gateway::new(RESERVE);
    let mut stream = gateway.envoy.stream();
    let mut headers = request("alice").to_vec();
    let long = "x".repeat(2_000);
    headers.extend([
        ("x-request-id", "42"),
        ("traceparent", "00-1-2-01"),
        ("tracestate", &long),
        ("b3", "a\u{e9}b"),
        ("cookie", "secret"),
    ]);
    gateway.envoy.host.set_headers(HeaderMap::Request, &headers);
    stream.on_request_headers(true);
    let mut stream = Some(stream);
    gateway.answer(&mut stream);
    let mut stream = stream.unwrap();
    stream.on_response_headers(false);
    gateway.envoy.body(&mut stream, &completion(7), true);
    let names =
        |index| -> HashMap<String, Vec<u8>> { gateway.call(index).metadata.into_iter().collect() };
    for index in [0, 1] {
        let sent = names(index);
        assert_eq!(sent.len(), 2, "{sent:?}");
        assert_eq!(sent["x-request-id"], b"42");
        assert_eq!(sent["traceparent"], b"00-1-2-01");
    }
}

#[test]
fn limits_that_cost_the_same_share_their_calls() {
    let rates = r#""rates": [{ "limit": 50, "window": "1m" }]"#;
    for (cost, calls) in [("usage.total_tokens", 1), ("usage.output_tokens * 2", 2)] {
        let spec = if calls == 1 {
            format!("}}, \"all\": {{ {rates}")
        } else {
            format!("}}, \"all\": {{ {rates}, \"cost\": \"{cost}\"")
        };
        let mut gateway = Gateway::with(&spec, RESERVE, "");
        assert_eq!(gateway.exchange(20), "admitted");
        let expected = ["Reserve", "Reserve", "Commit", "Commit"];
        let expected = if calls == 1 {
            &expected[1..3]
        } else {
            &expected
        };
        assert_eq!(gateway.methods(), expected, "{cost}");
        let total = if calls == 1 { 20 } else { 20 + 40 };
        assert_eq!(gateway.limitador.total(), total, "{cost}");
    }
}

/// A reply of Envoy's protocol: a code, statuses of limit, what is left and seconds, and headers.
#[allow(clippy::unnecessary_wraps)] // It is what is said of a call.
fn rls(code: u8, statuses: &[(u8, u8, u8, u8)], headers: &[(&str, &str)]) -> MockReply {
    let mut reply = vec![8, code];
    for (code, limit, remaining, seconds) in statuses {
        reply.extend([
            0x12, 12, 8, *code, 0x12, 2, 8, *limit, 0x18, *remaining, 0x22, 2, 8, *seconds,
        ]);
    }
    for (name, value) in headers {
        let size = |text: &str| u8::try_from(text.len()).unwrap();
        reply.extend([0x1a, size(name) + size(value) + 4, 0x0a, size(name)]);
        reply.extend(name.as_bytes());
        reply.extend([0x12, size(value)]);
        reply.extend(value.as_bytes());
    }
    Ok(reply)
}

#[test]
fn what_a_service_tells_callers_are_told() {
    let mut gateway = Gateway::new(RLS);
    let headers = [
        ("X-RateLimit-Limit", "9, 9;w=60"),
        ("x-ratelimit-reset", "7\r\nset-cookie: a=b"),
        ("set-cookie", "a=b"),
        ("content-length", "0"),
    ];
    let decision = gateway.exchange_by(1, &mut |_| Some(rls(2, &[(2, 9, 0, 7)], &headers)));
    assert_eq!(decision, "denied");
    let reply = gateway.envoy.host.replies.borrow()[0].clone();
    assert_eq!(reply.header("x-ratelimit-limit"), Some("9, 9;w=60"));
    assert_eq!(reply.header("x-ratelimit-reset"), Some("7"));
    assert_eq!(reply.header("retry-after"), Some("7"));
    assert_eq!(reply.header("set-cookie"), None);
    assert_eq!(reply.header("content-length"), None);
    let names = reply
        .headers
        .iter()
        .filter(|(name, _)| name == "x-ratelimit-limit");
    assert_eq!(names.count(), 1);

    // Nothing is left, though the question itself was let through.
    let decision = gateway.exchange_by(1, &mut |_| Some(rls(1, &[(1, 9, 0, 7)], &[])));
    assert_eq!(decision, "denied");

    let settled = gateway.methods().len();
    let decision = gateway.exchange_by(5, &mut |_| Some(rls(1, &[(1, 9, 3, 7)], &headers)));
    assert_eq!(decision, "admitted");
    let call = RateLimitRequest::decode(&*gateway.call(settled + 1).message).unwrap();
    assert_eq!(
        call.hits_addend, 5,
        "a question of no hits has added nothing"
    );
    let headers = gateway.envoy.host.headers.borrow()[&HeaderMap::Response].clone();
    assert!(headers.contains(&("x-ratelimit-limit".to_owned(), b"9, 9;w=60".to_vec())));
}

#[test]
fn what_no_exchange_uses_is_told_in_bounded_parts() {
    const ABSURD: u64 = 1_000_000_000_000_000_000;
    const PART: u64 = u32::MAX as u64;
    for (storage, fails, counted) in [
        (CHECK, false, 64 * PART),
        (RESERVE, false, ABSURD),
        (RESERVE, true, 64 * PART),
    ] {
        let mut gateway = Gateway::new(storage);
        let decided = gateway.exchange_by(ABSURD, &mut |call| {
            (fails && call.method == "Commit").then_some(Err(14))
        });
        assert_eq!(decided, "admitted");
        gateway.wait(10_000);
        assert_eq!(gateway.limitador.total(), counted, "{storage} {fails}");
        assert!(gateway.envoy.plugin.is_drained());
        let lost = i64::try_from(ABSURD - counted).unwrap();
        let metric = gateway.envoy.host.metric("tollgate.storage_tokens_lost");
        assert_eq!(metric, lost, "{storage} {fails}");
        let lines = gateway.logged("settlements_lost");
        assert_eq!(lines, usize::from(lost > 0));
        // 64 parts, and a question before those that are told again.
        assert!(gateway.methods().len() < 80);
    }
}

#[test]
fn what_this_envoy_cannot_count_itself_follows_the_failure_mode() {
    for (mode, decision, counted) in [("allow", "failed_open", 20), ("deny", "failed", 0)] {
        for storage in [RESERVE, CHECK] {
            let rest = format!(r#", "failureMode": "{mode}""#);
            let mut gateway = Gateway::with("", storage, &rest);
            let host = &gateway.envoy.host;
            host.fail(Call::SharedData, 1, HostError::InternalFailure);
            assert_eq!(gateway.exchange(20), decision, "{storage}");
            assert_eq!(gateway.limitador.total(), counted, "{storage}");
            assert!(gateway.limitador.reserved.is_empty());
            let replies = gateway.envoy.host.replies.borrow().len();
            assert_eq!(replies, usize::from(mode == "deny"));
        }
    }
}

#[test]
fn nothing_is_resumed_or_answered_twice_whatever_fails() {
    let failures = [
        Call::Now,
        Call::SharedData,
        Call::SetSharedData,
        Call::Resume(Direction::Request),
        Call::Reply,
        Call::CallGrpc,
        Call::AddToMetric,
    ];
    for storage in [RESERVE, CHECK, RLS] {
        for call in failures {
            for times in [1, 2, 5] {
                let gateway = Gateway::new(storage);
                let host = &gateway.envoy.host;
                let mut stream = gateway.envoy.stream();
                host.fail(call, times, HostError::InternalFailure);
                stream.on_request_headers(false);
                for token in 1..=4 {
                    let reply: Result<&[u8], u32> = Ok(&[8, 1]);
                    if let Some(answered) = gateway.envoy.plugin.on_reply(CallId(token), reply) {
                        stream.on_check_reply(answered);
                    }
                }
                stream.on_request_body(0, true);
                stream.on_response_headers(false);
                gateway.envoy.body(&mut stream, &completion(5), true);
                stream.on_log();
                gateway.envoy.plugin.on_tick();
                let resumed = host.count(Call::Resume(Direction::Request));
                let replied = host.count(Call::Reply);
                assert!(
                    resumed + replied <= 1,
                    "{storage} {call:?}: {resumed} {replied}"
                );
            }
        }
    }
}
