//! Settlements: when they are sent, in which parts, and what happens after replies and failures.

use super::super::{
    CheckReply, CheckResult, Metadata, Protocol, Reply, ReservationId, ServiceClient, ServiceEvent,
    ServiceSettings,
};
use super::descriptors;
use super::wire::{
    ADMITTED, NOW, REJECTED, after, check, client, client_of, id, open_circuit, reply, settings,
    settle,
};
use crate::time::{Nanos, Timestamp};
use std::rc::Rc;

const PART: u64 = u32::MAX as u64;

fn reservation(number: u32) -> ReservationId {
    ReservationId(format!("r{number}"))
}

/// Settles usage of a caller with a reservation.
pub(super) fn commit(client: &ServiceClient, now: Timestamp, caller: u32, amount: u64) {
    let id = Some(reservation(caller));
    client.settle(now, &descriptors(1, caller), id, amount, &Metadata::new());
}

/// Returns calls as `Wire::amounts` does.
pub(super) fn calls(calls: &[(&str, u64)]) -> Vec<(String, u64)> {
    let calls = calls.iter();
    calls
        .map(|(method, it)| ((*method).to_owned(), *it))
        .collect()
}

/// Ticks so often. Returns the time after that.
pub(super) fn ticks(client: &ServiceClient, from: Timestamp, count: u64) -> Timestamp {
    for tick in 0..count {
        client.on_tick(after(from, 50 * tick));
    }
    after(from, 50 * count)
}

#[test]
fn nothing_is_reported_and_reservations_are_released() {
    let (client, wire) = client(Protocol::Reserve);
    settle(&client, NOW, 1, 0);
    assert_eq!(wire.len(), 0);
    commit(&client, NOW, 1, 0);
    assert_eq!(wire.amounts(0), calls(&[("Commit", 0)]));
    assert_eq!(wire.last().commit().reservation_id, "r1");
    let released = |result| {
        let before = wire.len();
        let reply = CheckReply {
            stream: 1,
            call: id(1),
            descriptors: descriptors(1, 2),
            result,
        };
        client.release(NOW, reply);
        wire.len() - before
    };
    let reply = Reply {
        reservation: Some(reservation(2)),
        ..Reply::default()
    };
    assert_eq!(released(CheckResult::Reply(reply)), 1);
    assert_eq!(wire.last().commit().reservation_id, "r2");
    assert_eq!(released(CheckResult::Reply(Reply::default())), 0);
    assert_eq!(released(CheckResult::Failed), 0);
}

#[test]
fn usage_is_gathered_for_an_interval() {
    let settings = ServiceSettings {
        flush_interval: Nanos::from_millis(120),
        ..settings(Protocol::Reserve)
    };
    let (client, wire) = client_of(settings, &Rc::default());
    settle(&client, NOW, 1, 10);
    settle(&client, after(NOW, 50), 1, 20);
    settle(&client, after(NOW, 60), 2, 5);
    // A reservation is released at once, with its usage.
    commit(&client, after(NOW, 60), 1, 7);
    assert_eq!(wire.amounts(0), calls(&[("Commit", 7)]));
    assert_eq!(wire.pending(), 2);
    client.on_tick(after(NOW, 119));
    assert_eq!(wire.len(), 1);
    client.on_tick(after(NOW, 120));
    assert_eq!(wire.amounts(1), calls(&[("Report", 30)]));
    client.on_tick(after(NOW, 180));
    assert_eq!(wire.amounts(2), calls(&[("Report", 5)]));
    assert_eq!(wire.pending(), 0);
}

#[test]
fn large_settlements_are_added_in_parts() {
    let (client, wire) = client(Protocol::CheckReport);
    settle(&client, NOW, 1, 2 * PART + 5);
    let parts = [("Report", PART), ("Report", PART), ("Report", 5)];
    assert_eq!(wire.amounts(0), calls(&parts));
    settle(&client, NOW, 1, PART);
    assert_eq!(wire.amounts(3), calls(&[("Report", PART)]));
    // No more than 16 parts at once: the others wait.
    settle(&client, NOW, 2, 17 * PART + 1);
    assert_eq!(wire.len(), 4 + 16);
    assert_eq!((wire.pending(), client.is_drained()), (1, false));
    client.on_tick(NOW);
    assert_eq!(wire.amounts(20), calls(&[("Report", PART), ("Report", 1)]));
}

#[test]
fn calls_under_way_are_bounded_and_refilled() {
    let (client, wire) = client(Protocol::CheckReport);
    for _ in 0..64 {
        settle(&client, NOW, 1, 1);
    }
    for caller in [2, 3, 2] {
        settle(&client, NOW, caller, 10);
    }
    assert_eq!((wire.len(), wire.pending()), (64, 2));
    client.on_tick(NOW);
    assert_eq!(wire.len(), 64, "there is no room");
    assert!(!client.drain(NOW));
    assert_eq!(wire.len(), 64, "there is no room");
    reply(&client, after(NOW, 1), 1, ADMITTED);
    assert_eq!((wire.len(), wire.pending()), (65, 1));
    assert_eq!(wire.amounts(64), calls(&[("Report", 20)]));
    reply(&client, after(NOW, 1), 2, ADMITTED);
    assert_eq!(wire.amounts(65), calls(&[("Report", 10)]));
    // Nothing waits, so that replies start no more calls.
    for number in 3..=66 {
        assert!(!client.is_drained());
        reply(&client, after(NOW, 1), number, ADMITTED);
    }
    assert_eq!(wire.len(), 66);
    assert!(client.is_drained() && client.drain(NOW));
}

#[test]
fn drain_sends_what_is_not_due() {
    let settings = ServiceSettings {
        flush_interval: Nanos::SECOND,
        ..settings(Protocol::CheckReport)
    };
    let (client, wire) = client_of(settings, &Rc::default());
    for caller in 0..70 {
        settle(&client, NOW, caller, 1);
    }
    assert_eq!((wire.len(), wire.pending()), (0, 70));
    assert!(!client.drain(NOW));
    assert_eq!((wire.len(), wire.pending()), (64, 6));
    for number in 1..=64 {
        reply(&client, NOW, number, ADMITTED);
    }
    assert!(!client.drain(NOW));
    assert_eq!((wire.len(), wire.pending()), (70, 0));
    assert!(!client.is_drained(), "some are under way");
    for number in 65..=70 {
        reply(&client, NOW, number, ADMITTED);
    }
    assert!(client.drain(NOW));
}

#[test]
fn failed_settlement_is_sent_again_after_delay() {
    let (client, wire) = client(Protocol::CheckReport);
    settle(&client, NOW, 1, 30);
    reply(&client, NOW, 1, Err(14));
    assert_eq!(wire.count(ServiceEvent::SettlementRetried), 1);
    assert_eq!(wire.pending(), 1);
    client.on_tick(after(NOW, 124));
    assert_eq!(wire.len(), 1, "half of 250 ms at least");
    client.on_tick(after(NOW, 250));
    // It may have been added, so the service is asked first.
    assert_eq!(wire.amounts(1), calls(&[("CheckRateLimit", 0)]));
    assert_eq!(
        wire.last().request().descriptors,
        descriptors(1, 1).descriptors
    );
    reply(&client, after(NOW, 251), 2, Err(14));
    assert_eq!(wire.count(ServiceEvent::SettlementRetried), 2);
    client.on_tick(after(NOW, 251 + 500));
    reply(&client, after(NOW, 752), 3, REJECTED);
    assert_eq!(wire.amounts(3), calls(&[("Report", 30)]));
    reply(&client, after(NOW, 753), 4, REJECTED);
    assert!(client.is_drained());
}

#[test]
fn envoy_protocol_retry_asks_nothing_first() {
    let (client, wire) = client(Protocol::EnvoyRls);
    settle(&client, NOW, 1, 30);
    reply(&client, NOW, 1, Err(14));
    client.on_tick(after(NOW, 250));
    assert_eq!(wire.amounts(1), calls(&[("ShouldRateLimit", 30)]));
}

#[test]
fn unreadable_replies_are_failures() {
    let malformed: Result<&[u8], u32> = Ok(&[0x0a, 0xff]);
    let (client, wire) = client(Protocol::Reserve);
    commit(&client, NOW, 1, 30);
    reply(&client, NOW, 1, malformed);
    assert_eq!(wire.pending(), 1);
    settle(&client, NOW, 2, 30);
    reply(&client, NOW, 2, malformed);
    assert_eq!(wire.pending(), 2);
    assert_eq!(wire.count(ServiceEvent::CallFailed), 2);
    // The reply to a commit is empty.
    commit(&client, NOW, 3, 30);
    reply(&client, NOW, 3, Ok(&[]));
    assert_eq!(wire.pending(), 2);
}

#[test]
fn commit_that_is_not_implemented_is_reported() {
    let (client, wire) = client(Protocol::Reserve);
    for _ in 0..10 {
        let number = wire.len() + 1;
        commit(&client, NOW, 1, 30);
        reply(&client, NOW, number, Err(12));
        assert_eq!(wire.amounts(number), calls(&[("Report", 30)]));
    }
    assert!(!client.is_circuit_open());
    let number = wire.len() + 1;
    commit(&client, NOW, 1, 0);
    reply(&client, NOW, number, Err(12));
    assert_eq!(wire.len(), number, "there is nothing to report");
    // Another method that is not implemented is a failure.
    reply(&client, NOW, 2, Err(12));
    assert_eq!(wire.count(ServiceEvent::SettlementRetried), 1);
}

#[test]
fn release_that_fails_is_not_repeated() {
    let (client, wire) = client(Protocol::Reserve);
    commit(&client, NOW, 1, 0);
    reply(&client, NOW, 1, Err(14));
    ticks(&client, NOW, 200);
    assert_eq!(wire.len(), 1);
    assert_eq!(wire.count(ServiceEvent::SettlementRetried), 0);
}

#[test]
fn waiting_reservations_are_released_with_usage() {
    let (client, wire) = client(Protocol::Reserve);
    for _ in 0..64 {
        settle(&client, NOW, 9, 1);
    }
    commit(&client, NOW, 1, 30);
    commit(&client, NOW, 2, 0);
    assert_eq!(wire.len(), 64);
    reply(&client, NOW, 1, ADMITTED);
    assert_eq!(wire.amounts(64), calls(&[("Commit", 30)]));
    assert_eq!(wire.last().commit().reservation_id, "r1");
    reply(&client, NOW, 2, ADMITTED);
    assert_eq!(wire.amounts(65), calls(&[("Commit", 0)]));
    assert_eq!(wire.last().commit().reservation_id, "r2");
    reply(&client, NOW, 3, ADMITTED);
    assert_eq!(wire.len(), 66);
}

#[test]
fn call_not_made_is_sent_at_tick() {
    let (client, wire) = client(Protocol::Reserve);
    check(&client, NOW).unwrap();
    wire.fails.set(true);
    commit(&client, NOW, 1, 30);
    settle(&client, NOW, 2, 5);
    assert_eq!(
        wire.count(ServiceEvent::CallSaturated),
        1,
        "no further call is tried"
    );
    assert_eq!(
        (wire.pending(), wire.count(ServiceEvent::CallFailed)),
        (2, 0)
    );
    wire.fails.set(false);
    client.on_tick(NOW);
    assert_eq!(wire.amounts(1), calls(&[("Commit", 30), ("Report", 5)]));
}

#[test]
fn settlements_do_not_wait_for_failing_service() {
    let (client, wire) = client(Protocol::CheckReport);
    let now = open_circuit(&client, &wire, NOW);
    let known = wire.len();
    for caller in 0..10 {
        settle(&client, now, caller, 5);
    }
    assert_eq!((wire.len(), wire.pending()), (known, 10));
    // One of them is the probe; its reply makes all due.
    let mut now = now;
    while wire.len() == known {
        now = ticks(&client, now, 1);
    }
    assert_eq!(wire.len(), known + 1);
    reply(&client, now, known + 1, ADMITTED);
    client.on_tick(now);
    assert_eq!(wire.len(), known + 1 + 10);
}

#[test]
fn settlement_is_given_up_after_a_day() {
    for (age, is_lost) in [
        (Nanos::DAY, false),
        (Nanos::DAY.saturating_add(Nanos::new(1)), true),
    ] {
        let (client, wire) = client(Protocol::EnvoyRls);
        settle(&client, NOW, 1, 30);
        reply(&client, NOW, 1, Err(14));
        client.on_tick(NOW.saturating_add(age));
        assert_eq!(wire.lost(), if is_lost { 30 } else { 0 });
        assert_eq!(wire.len(), if is_lost { 1 } else { 2 });
    }
}

#[test]
fn service_that_adds_only_what_fits_is_filled() {
    let (client, wire) = client(Protocol::EnvoyRls);
    settle(&client, NOW, 1, 10);
    // It has room for three.
    let mut replied = 0;
    let mut room = 3;
    let mut added = Vec::new();
    while let Some(call) = wire.call(replied) {
        replied += 1;
        let fits = call.amount() <= room;
        if fits {
            room -= call.amount();
            added.push(call.amount());
        }
        reply(
            &client,
            NOW,
            replied,
            if fits { ADMITTED } else { REJECTED },
        );
    }
    assert_eq!((room, added), (0, vec![2, 1]));
    let expected = [10, 5, 2, 1, 1].map(|amount| ("ShouldRateLimit", amount));
    assert_eq!(wire.amounts(0), calls(&expected));
    assert!(client.is_drained());
}

#[test]
fn service_that_adds_everything_is_not_filled() {
    let (client, wire) = client(Protocol::EnvoyRls);
    settle(&client, NOW, 1, 10);
    // It reports how a descriptor stands.
    reply(&client, NOW, 1, Ok(&[8, 2, 0x12, 2, 8, 2]));
    settle(&client, NOW, 1, 10);
    reply(&client, NOW, 2, ADMITTED);
    assert_eq!(wire.len(), 2);
    let (client, wire) = super::wire::client(Protocol::CheckReport);
    settle(&client, NOW, 1, 10);
    reply(&client, NOW, 1, REJECTED);
    assert_eq!(wire.len(), 1, "limitador adds whatever is reported");
}

#[test]
fn failed_fill_is_sent_again_whole() {
    for is_made in [true, false] {
        let (client, wire) = client(Protocol::EnvoyRls);
        settle(&client, NOW, 1, 10);
        if is_made {
            reply(&client, NOW, 1, REJECTED);
            reply(&client, NOW, 2, Err(14));
        } else {
            check(&client, NOW).unwrap();
            wire.fails.set(true);
            reply(&client, NOW, 1, REJECTED);
            wire.fails.set(false);
        }
        ticks(&client, after(NOW, 250), 1);
        assert_eq!(wire.amounts(2), calls(&[("ShouldRateLimit", 10)]));
    }
    // And if no reply is awaited any longer.
    let (client, wire) = super::wire::client(Protocol::EnvoyRls);
    settle(&client, NOW, 1, 10);
    reply(&client, NOW, 1, REJECTED);
    client.fail_calls(NOW);
    assert!(!client.is_drained());
    ticks(&client, after(NOW, 250), 1);
    assert_eq!(wire.amounts(2), calls(&[("ShouldRateLimit", 10)]));
}

#[test]
fn late_reply_neither_closes_nor_opens_the_circuit() {
    let (client, wire) = client(Protocol::CheckReport);
    settle(&client, NOW, 1, 10);
    settle(&client, NOW, 1, 10);
    let opened = open_circuit(&client, &wire, after(NOW, 50));
    reply(&client, after(opened, 51), 1, ADMITTED);
    assert!(client.is_circuit_open(), "after 101 ms");
    reply(&client, after(opened, 50), 2, ADMITTED);
    assert!(!client.is_circuit_open(), "after 100 ms");
    assert_eq!(wire.count(ServiceEvent::CallFailed), 5 + 1);
}

#[test]
fn usage_that_is_given_up_is_reported() {
    let (client, wire) = client(Protocol::CheckReport);
    wire.fails.set(true);
    for (caller, amount) in [(1, 30), (2, 12), (1, 1)] {
        settle(&client, NOW, caller, amount);
    }
    client.lose_all("the test ends");
    assert_eq!((wire.lost(), wire.pending()), (43, 0));
    assert!(client.is_drained());
    assert_eq!(wire.count(ServiceEvent::SettlementLost { amount: 31 }), 1);
}

#[test]
fn everything_is_due_once_the_service_replies_again() {
    let settings = ServiceSettings {
        flush_interval: Nanos::SECOND,
        ..settings(Protocol::CheckReport)
    };
    let (client, wire) = client_of(settings, &Rc::default());
    let mut now = open_circuit(&client, &wire, NOW);
    for caller in 0..3 {
        settle(&client, now, caller, 5);
    }
    let known = wire.len();
    while wire.len() == known {
        now = ticks(&client, now, 1);
    }
    reply(&client, now, known + 1, ADMITTED);
    client.on_tick(now);
    assert!(now < after(NOW, 1_000));
    let sent = [
        ("CheckRateLimit", 0),
        ("Report", 5),
        ("Report", 5),
        ("Report", 5),
    ];
    assert_eq!(wire.amounts(known), calls(&sent));
}

#[test]
fn release_that_is_not_called_adds_nothing_later() {
    let (client, wire) = client(Protocol::Reserve);
    check(&client, NOW).unwrap();
    wire.fails.set(true);
    commit(&client, NOW, 1, 0);
    assert_eq!(wire.pending(), 0);
    wire.fails.set(false);
    ticks(&client, NOW, 10);
    assert_eq!(wire.amounts(1), calls(&[("Commit", 0)]));
}

#[test]
fn largest_plausible_usage_is_reported_as_a_whole() {
    let (client, wire) = client(Protocol::Reserve);
    commit(&client, NOW, 1, 64 * PART);
    assert_eq!(wire.amounts(0), calls(&[("Commit", 64 * PART)]));
    let is_loss = |event: &ServiceEvent| matches!(event, ServiceEvent::SettlementLost { .. });
    assert!(!wire.events.borrow().iter().any(is_loss));
}
