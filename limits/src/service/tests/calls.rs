//! What a service is called with, and what its replies become.

use super::super::message::{self, DescriptorStatus, MAX_REPLY_BYTES, NO_HITS};
use super::super::{
    CheckError, CheckRequest, CheckResult, Layout, Metadata, Protocol, Reply, ReservationId,
    ServiceEvent, ServiceSettings,
};
use super::descriptors;
use super::wire::{
    ADMITTED, NOW, REJECTED, TIMEOUT, after, check, client, client_of, open_circuit, reply,
    request, settings,
};
use crate::time::{Nanos, Timestamp};
use prost::Message;
use std::rc::Rc;

const ENVOY: &str = "envoy.service.ratelimit.v3.RateLimitService";
const KUADRANT: &str = "kuadrant.service.ratelimit.v1.RateLimitService";

fn metadata() -> Metadata {
    vec![("traceparent", b"00-1".to_vec()), ("x-request-id", vec![])]
}

#[test]
fn checks_are_called_as_the_protocol_has_them() {
    for (protocol, service, method) in [
        (Protocol::Reserve, KUADRANT, "Reserve"),
        (Protocol::CheckReport, KUADRANT, "CheckRateLimit"),
        (Protocol::EnvoyRls, ENVOY, "ShouldRateLimit"),
    ] {
        let (client, wire) = client(protocol);
        client.check(NOW, 1, &request(7), &metadata()).unwrap();
        let sent = wire.last();
        assert_eq!((&*sent.cluster, sent.timeout), ("limitador", TIMEOUT));
        assert_eq!((&*sent.service, &*sent.method), (service, method));
        let metadata = [("traceparent", &b"00-1"[..]), ("x-request-id", b"")];
        let found = sent.metadata.iter();
        let found = found.map(|(name, value)| (name.as_str(), value.as_slice()));
        assert_eq!(found.collect::<Vec<_>>(), metadata);
        assert_eq!(wire.count(ServiceEvent::Call), 1);
        assert_eq!(wire.count(ServiceEvent::CallFailed), 0);
    }
}

#[test]
fn checks_name_their_counters_and_add_nothing() {
    let counters = descriptors(1, 1);
    for protocol in [Protocol::CheckReport, Protocol::EnvoyRls] {
        let (client, wire) = client(protocol);
        check(&client, NOW).unwrap();
        let sent = wire.last().request();
        assert_eq!((&*sent.domain, sent.hits_addend), ("test", 0));
        let mut descriptor = counters.descriptors[0].clone();
        if protocol == Protocol::EnvoyRls {
            descriptor.extend(NO_HITS);
        }
        assert_eq!(sent.descriptors, [descriptor]);
    }
}

#[test]
fn reservations_have_an_amount_and_a_lifetime() {
    for (amount, ttl, expected) in [
        (7, Nanos::from_millis(90_500), (7, 90, 500_000_000)),
        // A reservation of nothing would be granted if nothing is left.
        (0, Nanos::new(1), (1, 0, 1)),
        (1, Nanos::MINUTE, (1, 60, 0)),
    ] {
        let (client, wire) = client(Protocol::Reserve);
        let request = CheckRequest {
            ttl,
            ..request(amount)
        };
        client.check(NOW, 1, &request, &Metadata::new()).unwrap();
        let sent = wire.last().reserve();
        let ttl = sent.ttl.unwrap();
        assert_eq!((sent.amount, ttl.seconds, ttl.nanos), expected);
        assert_eq!(sent.domain, "test");
        assert_eq!(sent.descriptors, descriptors(1, 1).descriptors);
    }
}

#[test]
fn settlements_are_called_as_the_protocol_has_them() {
    let id = || Some(ReservationId("r1".to_owned()));
    for (protocol, reservation, service, method) in [
        (Protocol::Reserve, id(), KUADRANT, "Commit"),
        (Protocol::Reserve, None, KUADRANT, "Report"),
        (Protocol::CheckReport, None, KUADRANT, "Report"),
        (Protocol::EnvoyRls, None, ENVOY, "ShouldRateLimit"),
    ] {
        // No exchange waits for it, so it has a second at least.
        for (timeout, expected) in [
            (TIMEOUT, Nanos::SECOND),
            (Nanos::from_secs(3), Nanos::from_secs(3)),
        ] {
            let settings = ServiceSettings {
                timeout,
                ..settings(protocol)
            };
            let (client, wire) = client_of(settings, &Rc::default());
            client.settle(NOW, &descriptors(1, 1), reservation.clone(), 9, &metadata());
            let sent = wire.last();
            assert_eq!((&*sent.service, &*sent.method), (service, method));
            assert_eq!(sent.timeout, expected);
            assert_eq!((sent.amount(), sent.metadata.len()), (9, 2));
            if reservation.is_some() {
                let commit = sent.commit();
                assert_eq!(commit.reservation_id, "r1");
                assert_eq!(commit.domain, "test");
                assert_eq!(commit.descriptors, descriptors(1, 1).descriptors);
            } else {
                let report = sent.request();
                assert_eq!(report.domain, "test");
                assert_eq!(report.descriptors, descriptors(1, 1).descriptors);
            }
        }
    }
}

#[test]
fn layout_and_protocol_are_those_of_the_settings() {
    for (protocol, layout, reserves) in [
        (Protocol::Reserve, Layout::Single, true),
        (Protocol::CheckReport, Layout::Single, false),
        (Protocol::EnvoyRls, Layout::PerLimit, false),
    ] {
        let (client, _) = client(protocol);
        assert_eq!((client.protocol(), client.layout()), (protocol, layout));
        assert_eq!(client.reserves(), reserves);
    }
}

#[test]
fn ticks_follow_reports_at_least_twenty_a_second() {
    for (flush, tick) in [(0, 50), (20, 20), (50, 50), (1_000, 50)] {
        let settings = ServiceSettings {
            flush_interval: Nanos::from_millis(flush),
            ..settings(Protocol::CheckReport)
        };
        let (client, _) = client_of(settings, &Rc::default());
        assert_eq!(client.tick_period(), Nanos::from_millis(tick), "{flush}");
    }
}

#[test]
fn clients_of_service_share_cluster_and_layout() {
    let with = |protocol, cluster: &str| {
        let cluster = cluster.to_owned();
        let settings = ServiceSettings {
            cluster,
            ..settings(protocol)
        };
        client_of(settings, &Rc::default()).0
    };
    let one = with(Protocol::Reserve, "a");
    assert!(one.is_of_same_service(&with(Protocol::CheckReport, "a")));
    assert!(!one.is_of_same_service(&with(Protocol::Reserve, "b")));
    assert!(!one.is_of_same_service(&with(Protocol::EnvoyRls, "a")));
    assert!(!one.is_of_same_service(&with(Protocol::EnvoyRls, "b")));
}

#[test]
fn replies_to_checks_reach_their_streams() {
    let failed = CheckResult::Failed;
    let decided = |is_over_limit| {
        CheckResult::Reply(Reply {
            is_over_limit,
            ..Reply::default()
        })
    };
    for (answer, expected) in [
        (ADMITTED, decided(false)),
        (REJECTED, decided(true)),
        (Err(14), failed.clone()),
        (Ok(&[8, 3][..]), failed.clone()),
        (Ok(&[0x0a, 0xff]), failed.clone()),
        (Err(12), failed),
    ] {
        for protocol in [Protocol::CheckReport, Protocol::EnvoyRls] {
            let (client, wire) = client(protocol);
            let call = client.check(NOW, 5, &request(1), &Metadata::new()).unwrap();
            let found = client.on_reply(NOW, call, answer).unwrap();
            assert_eq!((found.stream, found.call), (5, call));
            assert_eq!(found.descriptors, descriptors(1, 1));
            assert_eq!(found.result, expected, "{answer:?}");
            let failures = usize::from(expected == CheckResult::Failed);
            assert_eq!(wire.count(ServiceEvent::CallFailed), failures);
            assert!(client.on_reply(NOW, call, answer).is_none(), "only once");
        }
    }
}

#[test]
fn reservation_id_is_kept_up_to_length() {
    let answer = |code: u8, length: usize| {
        let mut bytes = vec![8, code, 0x12];
        prost::encode_length_delimiter(length, &mut bytes).unwrap();
        bytes.extend(vec![b'x'; length]);
        bytes
    };
    for (length, is_kept) in [(0, false), (1, true), (256, true), (257, false)] {
        let (client, _) = client(Protocol::Reserve);
        check(&client, NOW).unwrap();
        let answer = answer(1, length);
        let found = reply(&client, NOW, 1, Ok(&answer)).unwrap();
        let expected = CheckResult::Reply(Reply {
            reservation: is_kept.then(|| ReservationId("x".repeat(length))),
            ..Reply::default()
        });
        assert_eq!(found.result, expected, "{length}");
    }
    let (client, _) = client(Protocol::Reserve);
    check(&client, NOW).unwrap();
    let found = reply(&client, NOW, 1, REJECTED).unwrap();
    assert!(matches!(found.result, CheckResult::Reply(reply) if reply.is_over_limit));
}

/// Encodes a field of bytes.
fn field(tag: u8, content: &[u8]) -> Vec<u8> {
    let mut bytes = vec![tag << 3 | 2];
    prost::encode_length_delimiter(content.len(), &mut bytes).unwrap();
    bytes.extend(content);
    bytes
}

#[test]
fn statuses_and_headers_of_a_reply_are_read() {
    let duration = |seconds, nanos| prost_types::Duration { seconds, nanos }.encode_to_vec();
    let status = |code: u8, limit: u8, remaining: u8, resets: &[u8]| {
        let mut bytes = vec![8, code, 0x18, remaining];
        bytes.extend(field(2, &[8, limit]));
        bytes.extend(field(4, resets));
        field(2, &bytes)
    };
    let header = |fields: &[(u8, &[u8])]| {
        let fields = fields.iter().map(|(tag, value)| field(*tag, value));
        field(3, &fields.collect::<Vec<_>>().concat())
    };
    let answer = [
        vec![8, 2],
        status(2, 9, 0, &duration(5, 250)),
        status(1, 8, 7, &duration(-1, 0)),
        field(2, &[8, 1]),
        header(&[(1, b"x-a"), (2, b"1")]),
        header(&[(1, b"x-b"), (3, b"\xff")]),
        header(&[(1, b"x-c"), (2, b"1"), (3, b"2")]),
    ]
    .concat();
    let (client, _) = client(Protocol::EnvoyRls);
    check(&client, NOW).unwrap();
    let found = reply(&client, NOW, 1, Ok(&answer)).unwrap();
    let pair = |name: &str, value: &[u8]| (name.as_bytes().to_vec(), value.to_vec());
    let expected = Reply {
        is_over_limit: true,
        reservation: None,
        statuses: vec![
            DescriptorStatus {
                is_over_limit: true,
                limit: Some(9),
                remaining: 0,
                resets_in: Some(Nanos::new(5_000_000_250)),
            },
            DescriptorStatus {
                is_over_limit: false,
                limit: Some(8),
                remaining: 7,
                resets_in: None,
            },
            DescriptorStatus::default(),
        ],
        headers: vec![pair("x-a", b"1"), pair("x-b", b"\xff"), pair("x-c", b"1")],
    };
    assert_eq!(found.result, CheckResult::Reply(expected));
}

#[test]
fn replies_are_read_up_to_their_bound() {
    // A header with a long value.
    let answer = |length: usize| {
        let with = |padding: usize| {
            let header = [field(1, b"x"), field(2, &vec![b'v'; padding])].concat();
            [vec![8, 1], field(3, &header)].concat()
        };
        let overhead = with(length - 100).len() - (length - 100);
        with(length - overhead)
    };
    assert_eq!(answer(MAX_REPLY_BYTES).len(), MAX_REPLY_BYTES);
    assert!(message::read_check(&answer(MAX_REPLY_BYTES)).is_ok());
    let large = message::read_check(&answer(MAX_REPLY_BYTES + 1));
    assert_eq!(large, Err(message::MessageError::TooLarge));
}

#[test]
fn invalid_request_replies_open_no_circuit() {
    for status in [3, 9, 11] {
        let (client, wire) = client(Protocol::CheckReport);
        for _ in 0..20 {
            let call = check(&client, NOW).unwrap();
            let found = client.on_reply(NOW, call, Err(status)).unwrap();
            assert_eq!(found.result, CheckResult::Failed);
        }
        assert!(!wire.is_open());
        assert_eq!(wire.count(ServiceEvent::CallFailed), 20);
    }
    for status in [2, 4, 8, 10, 13, 14] {
        let (client, wire) = client(Protocol::CheckReport);
        for failures in 0..5 {
            assert!(!client.is_circuit_open(), "{failures}");
            let call = check(&client, NOW).unwrap();
            client.on_reply(NOW, call, Err(status));
        }
        assert!(client.is_circuit_open());
        assert_eq!(wire.count(ServiceEvent::CircuitOpened), 1);
    }
}

#[test]
fn failures_before_reply_open_no_circuit() {
    let (client, wire) = client(Protocol::CheckReport);
    let calls: Vec<_> = (0..10).map(|_| check(&client, NOW).unwrap()).collect();
    let other = check(&client, NOW).unwrap();
    client.on_reply(after(NOW, 50), other, ADMITTED);
    for call in calls {
        client.on_reply(after(NOW, 100), call, Err(14));
    }
    assert!(!client.is_circuit_open());
    // Those that were sent since do.
    open_circuit(&client, &wire, after(NOW, 101));
}

#[test]
fn calls_that_cannot_be_made_open_the_circuit() {
    let (client, wire) = client(Protocol::CheckReport);
    wire.fails.set(true);
    for _ in 0..5 {
        assert!(!client.is_circuit_open());
        assert_eq!(check(&client, NOW), Err(CheckError::Failed));
    }
    assert!(client.is_circuit_open());
    assert_eq!(wire.count(ServiceEvent::CallSaturated), 0);
}

/// Ticks until a call is made. Returns the time.
fn tick_until_call(
    client: &super::super::ServiceClient,
    wire: &super::wire::Wire,
    from: Timestamp,
) -> Timestamp {
    let before = wire.len();
    for tick in 0..200 {
        let now = after(from, 50 * tick);
        client.on_tick(now);
        if wire.len() > before {
            return now;
        }
    }
    panic!("no call was made");
}

#[test]
fn open_circuit_is_probed_until_a_reply() {
    for protocol in [Protocol::CheckReport, Protocol::EnvoyRls] {
        let (client, wire) = client(protocol);
        let mut now = open_circuit(&client, &wire, NOW);
        for (failing, delay) in [(true, 125), (true, 250), (false, 500)] {
            let calls = wire.len();
            let before = now;
            now = tick_until_call(&client, &wire, now);
            // Half of the delay at least.
            assert!(now >= after(before, delay), "{delay}");
            assert_eq!(wire.len(), calls + 1);
            let probe = wire.last();
            assert_eq!(probe.keys(), ["tollgate.probe"]);
            assert_eq!(probe.timeout, TIMEOUT);
            let request = probe.request();
            assert_eq!((&*request.domain, request.hits_addend), ("tollgate", 0));
            let is_rls = protocol == Protocol::EnvoyRls;
            let method = ["CheckRateLimit", "ShouldRateLimit"][usize::from(is_rls)];
            assert_eq!(probe.method, method);
            assert_eq!(request.descriptors[0].ends_with(&NO_HITS), is_rls);
            let answer = if failing { Err(14) } else { ADMITTED };
            assert!(reply(&client, now, wire.len(), answer).is_none());
            assert_eq!(client.is_circuit_open(), failing);
        }
        assert_eq!(wire.count(ServiceEvent::CircuitClosed), 1);
    }
}

#[test]
fn service_that_lacks_the_probed_method_replies() {
    let (client, wire) = client(Protocol::CheckReport);
    let now = open_circuit(&client, &wire, NOW);
    let now = tick_until_call(&client, &wire, now);
    reply(&client, now, wire.len(), Err(12));
    assert!(!client.is_circuit_open());
}

#[test]
fn settlement_that_waits_is_the_probe() {
    let (client, wire) = client(Protocol::CheckReport);
    let now = open_circuit(&client, &wire, NOW);
    super::wire::settle(&client, now, 2, 30);
    let known = wire.len();
    let now = tick_until_call(&client, &wire, now);
    // Its counters are read first: it may have been added.
    assert_eq!(wire.amounts(known), [("CheckRateLimit".to_owned(), 0)]);
    assert_eq!(
        wire.last().request().descriptors,
        descriptors(1, 2).descriptors
    );
    assert!(reply(&client, now, wire.len(), ADMITTED).is_none());
    assert!(!client.is_circuit_open());
    assert_eq!(wire.amounts(known + 1), [("Report".to_owned(), 30)]);
}
