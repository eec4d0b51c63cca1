//! The calls of each protocol.

use crate::host::{Direction, HeaderMap};
use crate::stream::Next;
use crate::stream::tests::harness::{Envoy, MINUTE, completion, configuration, request};
use crate::stream::tests::service::harness::{CHECK, Gateway, RESERVE, RLS, rls};
use filter_config::descriptor::{Counted, limit_key};
use limits::service::message::{CommitRequest, RateLimitRequest, ReserveRequest};
use limits::service::mock::entries;
use prost::Message;
use std::collections::HashMap;

#[test]
fn exchange_reserves_and_commits() {
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
fn lifetime_of_reservations_is_computed() {
    for (ttl, seconds) in [
        ("duration('30s')", 30),
        (
            "auth.user == 'alice' ? duration('90s') : duration('1h')",
            90,
        ),
        ("auth.user == 'alice' ? '2m' : '1h'", 120),
        ("size(auth.user) * 60", 300),
        // Within its bounds.
        ("duration('500ms') - duration('1h')", 1),
        ("size(auth.user) * 100000", 86_400),
        // A client can lengthen it, not shorten it.
        ("duration(request.headers[?'x-ttl'].orValue('5s'))", 600),
        ("duration(request.headers[?'x-ttl'].orValue('20m'))", 1200),
    ] {
        let spec = format!(r#", "reservation": {{ "ttl": "{ttl}" }}"#);
        let mut gateway = Gateway::with(&spec, RESERVE, "");
        assert_eq!(gateway.exchange(30), "admitted", "{ttl}");
        let reserve = ReserveRequest::decode(&*gateway.call(0).message).unwrap();
        assert_eq!(reserve.ttl.unwrap().seconds, seconds, "{ttl}");
    }
    let spec = r#", "reservation": { "ttl": "duration(auth.timeout)" }"#;
    let mut gateway = Gateway::with(spec, RESERVE, "");
    assert_eq!(gateway.exchange(30), "failed");
}

#[test]
fn each_protocol_counts_until_exhausted() {
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
fn free_exchange_is_not_reported() {
    let mut gateway = Gateway::new(CHECK);
    gateway.exchange(0);
    assert_eq!(gateway.methods(), ["CheckRateLimit"]);
    let mut gateway = Gateway::new(RESERVE);
    gateway.exchange(0);
    assert_eq!(
        gateway.methods(),
        ["Reserve", "Commit"],
        "the reservation is released"
    );
    assert_eq!(gateway.limitador.total(), 0);
}

#[test]
fn lone_request_is_admitted_while_any_is_left() {
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
fn local_count_limits_concurrency_without_reserve() {
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
fn concurrency_limits_every_counter() {
    let spec = r#"}, "all": { "rates": [{ "limit": 100, "window": "1s" }]"#;
    for storage in [CHECK, RLS] {
        let mut gateway = Gateway::with(spec, storage, "");
        gateway.exchange(50);
        gateway.limitador.used.clear();
        let clock = &gateway.envoy.host.clock;
        clock.set(clock.get() + 2_000_000_000);
        for (user, rejected) in [("bob", 0), ("alice", 1)] {
            let mut stream = gateway.envoy.stream();
            let mut headers = request(user).to_vec();
            headers.extend([("content-length", "400"), ("content-encoding", "gzip")]);
            gateway.envoy.host.set_headers(HeaderMap::Request, &headers);
            assert_eq!(stream.on_request_headers(false), Next::Pause);
            gateway.answer(&mut Some(stream));
            let replies = gateway.envoy.host.replies.borrow().len();
            assert_eq!(replies, rejected, "{storage} {user}");
        }
    }
}

#[test]
fn limitador_without_reserve_uses_check_report() {
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
    gateway.wait(50);
    gateway.exchange(1);
    assert_eq!(
        gateway.methods()[6..],
        ["CheckRateLimit", "Report", "Reserve", "Reserve", "Commit"],
        "no request waits for what the newer one knows"
    );
    assert_eq!(gateway.logged("storage_reserve_supported"), 1);
}

#[test]
fn concurrency_is_counted_locally() {
    let mut gateway = Gateway::with(r#", "concurrency": 1"#, RESERVE, "");
    let mut first = gateway.envoy.stream();
    first.on_request_headers(true);
    let mut second = gateway.envoy.stream();
    second.on_request_headers(true);
    assert_eq!(gateway.methods(), ["Reserve"], "rejected without a call");
    assert_eq!(gateway.envoy.host.replies.borrow()[0].status, 429);
    first.on_log();
    assert_eq!(gateway.exchange(1), "admitted");
}

#[test]
fn plain_trace_headers_accompany_calls() {
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
fn limits_of_equal_cost_share_calls() {
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
        let total = if calls == 1 { 20 } else { 20 + 2 * 19 };
        assert_eq!(gateway.limitador.total(), total, "{cost}");
    }
}

#[test]
fn service_headers_reach_the_client() {
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
fn reservations_of_this_envoy_explain_rejection() {
    let mut gateway = Gateway::new(RESERVE);
    gateway.exchange(10);
    let mut headers = request("alice").to_vec();
    headers.extend([("content-length", "400"), ("content-encoding", "gzip")]);
    for _ in 0..2 {
        let mut stream = gateway.envoy.stream();
        gateway.envoy.host.set_headers(HeaderMap::Request, &headers);
        stream.on_request_headers(false);
        gateway.answer(&mut Some(stream));
    }
    let replies = gateway.envoy.host.replies.borrow().clone();
    let [reply] = &replies[..] else {
        panic!("one reply, not {replies:?}");
    };
    assert!(reply.body.contains("fully reserved"), "{}", reply.body);
    assert_eq!(reply.header("retry-after"), Some("1"));
    assert_eq!(reply.header("x-ratelimit-reset"), Some("1"));
}

#[test]
fn unknown_window_requests_a_minute_at_most() {
    for (window, used, retry_after) in [
        ("1h", 0, Some("60")),
        ("10s", 0, Some("10")),
        ("1h", 9, None),
    ] {
        let storage = format!(r#", "storage": {RESERVE}"#);
        let configuration = configuration("", &storage).replace("1m", window);
        let mut gateway = Gateway {
            envoy: Envoy::with(&configuration),
            ..Gateway::new(RESERVE)
        };
        if used > 0 {
            gateway.exchange(used);
        }
        let over_limit = || Some(Ok(vec![8, 2]));
        let decision = gateway.exchange_by(1, &mut |call| {
            over_limit().filter(|_| call.method == "Reserve")
        });
        assert_eq!(decision, "denied");
        let reply = gateway.envoy.host.replies.borrow()[0].clone();
        assert_eq!(reply.header("retry-after"), retry_after, "{window} {used}");
        let reset = retry_after.unwrap_or("3600");
        assert_eq!(reply.header("x-ratelimit-reset"), Some(reset));
    }
}
