//! Whether a service implements `Reserve`: which check calls it, and which wait for the reply.

use super::super::support::{MAX_FAILED_TURNS, MAX_WAITING};
use super::super::{CheckError, CheckReply, CheckResult, Protocol, ServiceClient};
use super::wire::{
    ADMITTED, NOW, REJECTED, Wire, after, check_of, client, client_of, reply, settings,
};
use super::{Shared, logs};
use crate::time::{Nanos, Timestamp};
use std::rc::Rc;

/// Returns the streams whose checks wait no longer, in order, with their results.
fn ready(client: &ServiceClient) -> Vec<(u32, CheckResult)> {
    let replies = std::iter::from_fn(|| client.next_ready());
    replies.map(|reply| (reply.stream, reply.result)).collect()
}

fn methods(wire: &Wire) -> Vec<String> {
    let calls = wire.calls.borrow();
    calls.iter().map(|call| call.method.clone()).collect()
}

#[test]
fn checks_wait_for_the_first_reply() {
    let (client, wire) = client(Protocol::Reserve);
    let calls: Vec<_> = (1..=4)
        .map(|stream| check_of(&client, NOW, stream).unwrap())
        .collect();
    assert_eq!(wire.len(), 1, "one of them calls");
    assert!(
        calls
            .iter()
            .all(|call| calls.iter().filter(|it| *it == call).count() == 1)
    );
    assert!(client.next_ready().is_none());
    let first = reply(&client, NOW, 1, ADMITTED).unwrap();
    assert!(matches!(first.result, CheckResult::Reply(_)));
    let waited: Vec<CheckReply> = std::iter::from_fn(|| client.next_ready()).collect();
    let found: Vec<_> = waited.iter().map(|it| (it.stream, it.call)).collect();
    assert_eq!(found, [(2, calls[1]), (3, calls[2]), (4, calls[3])]);
    assert!(waited.iter().all(|it| it.result == CheckResult::Retry));
    // From now on each calls.
    for stream in 2..=4 {
        check_of(&client, NOW, stream).unwrap();
    }
    assert_eq!(methods(&wire), ["Reserve"; 4]);
}

#[test]
fn service_without_reserve_is_tried_each_hour() {
    let (client, wire) = client(Protocol::Reserve);
    assert!(client.reserves());
    check_of(&client, NOW, 1).unwrap();
    check_of(&client, NOW, 2).unwrap();
    let first = reply(&client, NOW, 1, Err(12)).unwrap();
    assert_eq!(first.result, CheckResult::Retry);
    assert_eq!(ready(&client), [(2, CheckResult::Retry)]);
    assert!(!client.reserves() && !client.is_circuit_open());
    client.on_tick(NOW);
    check_of(&client, NOW, 1).unwrap();
    check_of(&client, NOW, 2).unwrap();
    assert_eq!(
        methods(&wire),
        ["Reserve", "CheckRateLimit", "CheckRateLimit"]
    );
    let hour = NOW.saturating_add(Nanos::HOUR);
    client.on_tick(hour.saturating_sub(Nanos::new(1)));
    assert_eq!(wire.len(), 3);
    client.on_tick(hour);
    let probe = wire.last().reserve();
    assert_eq!((&*probe.domain, probe.amount), ("tollgate", 1));
    assert_eq!(probe.ttl.unwrap().seconds, 1);
    client.on_tick(after(hour, 50));
    assert_eq!(wire.len(), 4, "one call is enough");
    // Requests do not wait for it.
    check_of(&client, hour, 3).unwrap();
    assert_eq!(wire.last().method, "CheckRateLimit");
    assert!(reply(&client, after(hour, 60), 4, Err(12)).is_none());
    assert!(!client.reserves() && !client.is_circuit_open());
    client.on_tick(after(hour, 100));
    assert_eq!(wire.len(), 5);
    let hours = after(hour, 60).saturating_add(Nanos::HOUR);
    client.on_tick(hours);
    assert_eq!(wire.last().method, "Reserve");
    reply(&client, hours, 6, ADMITTED);
    assert!(client.reserves());
    check_of(&client, hours, 4).unwrap();
    assert_eq!(wire.last().method, "Reserve");
}

#[test]
fn hourly_reply_shows_whether_reserve_is_implemented() {
    for (answer, reserves) in [
        (ADMITTED, true),
        (REJECTED, true),
        // It has read the message, and says that it is wrong.
        (Err(3), true),
        (Err(9), true),
        (Err(12), false),
        (Err(14), false),
        (Err(4), false),
    ] {
        let (client, wire) = client(Protocol::Reserve);
        check_of(&client, NOW, 1).unwrap();
        reply(&client, NOW, 1, Err(12));
        let hour = NOW.saturating_add(Nanos::HOUR);
        client.on_tick(hour);
        assert_eq!(wire.len(), 2);
        reply(&client, hour, 2, answer);
        assert_eq!(client.reserves(), reserves, "{answer:?}");
    }
}

#[test]
fn hourly_call_that_fails_is_made_again_soon() {
    let (client, wire) = client(Protocol::Reserve);
    check_of(&client, NOW, 1).unwrap();
    reply(&client, NOW, 1, Err(12));
    let hour = NOW.saturating_add(Nanos::HOUR);
    client.on_tick(hour);
    reply(&client, hour, 2, Err(14));
    client.on_tick(after(hour, 9_999));
    assert_eq!(wire.len(), 2);
    client.on_tick(after(hour, 10_000));
    assert_eq!(wire.len(), 3);
}

#[test]
fn workers_share_what_they_learn() {
    let shared: Rc<Shared> = Rc::default();
    let worker = || client_of(settings(Protocol::Reserve), &shared);
    let [(first, _), (second, other), (third, another)] = [worker(), worker(), worker()];
    check_of(&first, NOW, 1).unwrap();
    reply(&first, NOW, 1, Err(12));
    check_of(&second, NOW, 1).unwrap();
    assert_eq!(methods(&other), ["CheckRateLimit"]);
    assert!(!second.reserves());
    check_of(&third, NOW, 1).unwrap();
    // One of them tries again, and the others learn from it.
    let hour = NOW.saturating_add(Nanos::HOUR);
    for client in [&second, &third] {
        client.on_tick(hour);
    }
    assert_eq!(methods(&other), ["CheckRateLimit", "Reserve"]);
    assert_eq!(methods(&another), ["CheckRateLimit"]);
    reply(&second, hour, 2, ADMITTED);
    assert!(second.reserves() && !third.reserves());
    third.on_tick(after(hour, 10_000));
    assert!(third.reserves());
    assert_eq!(methods(&another), ["CheckRateLimit"]);
}

/// Lets several streams check, of which the first calls.
fn waiting(count: u32) -> (ServiceClient, Rc<Wire>) {
    let (client, wire) = client(Protocol::Reserve);
    for stream in 1..=count {
        check_of(&client, NOW, stream).unwrap();
    }
    (client, wire)
}

#[test]
fn next_check_calls_if_the_first_call_failed() {
    let (client, wire) = waiting(3);
    let first = reply(&client, NOW, 1, Err(14)).unwrap();
    assert_eq!(first.result, CheckResult::Failed);
    let turn = client.next_ready().unwrap();
    assert_eq!((turn.stream, turn.result), (2, CheckResult::Retry));
    check_of(&client, NOW, 2).unwrap();
    assert_eq!(wire.len(), 2);
    assert!(client.next_ready().is_none(), "the third waits for it");
    reply(&client, NOW, 2, REJECTED);
    assert_eq!(ready(&client), [(3, CheckResult::Retry)]);
}

#[test]
fn repeated_failures_end_wait_of_all() {
    let (client, wire) = waiting(6);
    for turn in 1..=MAX_FAILED_TURNS {
        assert_eq!(wire.len(), turn as usize);
        reply(&client, NOW, turn as usize, Err(14));
        if turn < MAX_FAILED_TURNS {
            let next = client.next_ready().unwrap();
            assert_eq!(next.result, CheckResult::Retry);
            check_of(&client, NOW, next.stream).unwrap();
        }
    }
    let failed = [4, 5, 6].map(|stream| (stream, CheckResult::Failed));
    assert_eq!(ready(&client), failed);
    // The turns begin anew.
    for stream in 7..=9 {
        check_of(&client, NOW, stream).unwrap();
    }
    assert_eq!(wire.len(), 4);
    reply(&client, NOW, 4, Err(14));
    assert_eq!(client.next_ready().unwrap().result, CheckResult::Retry);
}

#[test]
fn failure_of_lone_check_is_no_turn() {
    let (client, wire) = waiting(1);
    reply(&client, NOW, 1, Err(14));
    check_of(&client, NOW, 2).unwrap();
    reply(&client, NOW, 2, Err(14));
    for stream in 3..=5 {
        check_of(&client, NOW, stream).unwrap();
    }
    reply(&client, NOW, wire.len(), Err(14));
    assert_eq!(client.next_ready().unwrap().result, CheckResult::Retry);
}

#[test]
fn open_circuit_ends_the_wait() {
    let (client, wire) = client(Protocol::Reserve);
    for number in 1..=4 {
        check_of(&client, NOW, 1).unwrap();
        reply(&client, NOW, number, Err(14));
    }
    for stream in 2..=4 {
        check_of(&client, NOW, stream).unwrap();
    }
    reply(&client, NOW, wire.len(), Err(14));
    assert!(client.is_circuit_open());
    let failed = [3, 4].map(|stream| (stream, CheckResult::Failed));
    assert_eq!(ready(&client), failed);
}

#[test]
fn checks_that_wait_are_bounded() {
    let most = u32::try_from(MAX_WAITING).unwrap();
    let (client, _) = waiting(1 + most);
    let more = check_of(&client, NOW, most + 2);
    assert_eq!(more, Err(CheckError::Saturated));
    reply(&client, NOW, 1, ADMITTED);
    assert_eq!(ready(&client).len(), MAX_WAITING);
}

#[test]
fn turn_of_ended_stream_passes_on() {
    let (client, wire) = waiting(4);
    reply(&client, NOW, 1, Err(14));
    // The second stream has ended, and makes no call.
    assert_eq!(client.next_ready().unwrap().stream, 2);
    assert_eq!(client.next_ready().unwrap().stream, 3);
    check_of(&client, NOW, 3).unwrap();
    assert_eq!(wire.len(), 2);
    assert!(client.next_ready().is_none());
}

#[test]
fn stream_that_calls_may_call_again() {
    let (client, wire) = client(Protocol::Reserve);
    check_of(&client, NOW, 1).unwrap();
    check_of(&client, NOW, 1).unwrap();
    check_of(&client, NOW, 2).unwrap();
    assert_eq!(methods(&wire), ["Reserve", "Reserve"]);
    // Others wait for the reply to its first call.
    reply(&client, NOW, 2, Err(14));
    assert!(client.next_ready().is_none());
    reply(&client, NOW, 1, Err(14));
    assert_eq!(client.next_ready().unwrap().stream, 2);
}

#[test]
fn later_replies_do_not_delay_hourly_call() {
    let (client, wire) = client(Protocol::Reserve);
    check_of(&client, NOW, 1).unwrap();
    reply(&client, NOW, 1, ADMITTED);
    for stream in 2..=3 {
        check_of(&client, NOW, stream).unwrap();
    }
    reply(&client, NOW, 2, Err(12));
    let later = reply(&client, after(NOW, 5_000), 3, Err(12)).unwrap();
    assert_eq!(later.result, CheckResult::Retry);
    client.on_tick(NOW.saturating_add(Nanos::HOUR));
    assert_eq!(methods(&wire), ["Reserve"; 4]);
}

#[test]
fn changes_of_support_are_logged() {
    let (client, _) = client(Protocol::Reserve);
    let is_of_support = |line: &String| line.starts_with("storage_reserve_");
    let events = |lines: Vec<String>| -> Vec<String> {
        let lines = lines.iter().filter(|line| is_of_support(line));
        let events = lines.filter_map(|line| line.split_whitespace().next());
        events.map(str::to_owned).collect()
    };
    let lines = logs::of(|| {
        check_of(&client, NOW, 1).unwrap();
        reply(&client, NOW, 1, Err(12));
    });
    assert_eq!(events(lines), ["storage_reserve_unsupported"]);
    let hour = NOW.saturating_add(Nanos::HOUR);
    let lines = logs::of(|| {
        client.on_tick(hour);
        reply(&client, hour, 2, Err(12));
    });
    assert_eq!(events(lines), [""; 0], "nothing has changed");
    let later = hour.saturating_add(Nanos::HOUR);
    let lines = logs::of(|| {
        client.on_tick(later);
        reply(&client, later, 3, ADMITTED);
    });
    assert_eq!(events(lines), ["storage_reserve_supported"]);
}

#[test]
fn unreadable_reply_shows_that_reserve_is_implemented() {
    let (client, _) = waiting(2);
    let first = reply(&client, NOW, 1, Ok(&[0x0a, 0xff])).unwrap();
    assert_eq!(first.result, CheckResult::Failed);
    assert_eq!(ready(&client), [(2, CheckResult::Retry)]);
    let far: Timestamp = NOW.saturating_add(Nanos::DAY);
    client.on_tick(far);
    assert!(client.reserves());
}
