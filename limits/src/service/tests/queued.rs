//! Settlements that wait in the queue: they are merged, reduced by credits, and handed over.

use super::super::{Protocol, QueueBounds, ServiceEvent, ServiceSettings};
use super::settlements::{calls, commit, ticks};
use super::wire::{ADMITTED, NOW, after, check, client, client_of, reply, settings, settle};
use super::{descriptors, logs};
use std::rc::Rc;

#[test]
fn credit_reduces_what_is_queued_and_settled_next() {
    let (client, wire) = client(Protocol::CheckReport);
    let credit = |caller, excess| {
        let until = after(NOW, 60_000);
        client.credit(NOW, &descriptors(1, caller), excess, until);
    };
    settle(&client, NOW, 1, 50);
    credit(1, 0);
    credit(1, 20);
    settle(&client, NOW, 2, 50);
    settle(&client, NOW, 1, 5);
    settle(&client, NOW, 1, 50);
    let sent = [("Report", 50), ("Report", 50), ("Report", 35)];
    assert_eq!(wire.amounts(0), calls(&sent));
    // Of what waits, a part is taken off and then the rest of what follows.
    wire.fails.set(true);
    settle(&client, NOW, 3, 30);
    assert_eq!(wire.pending(), 1);
    credit(3, 40);
    assert_eq!(wire.pending(), 0);
    wire.fails.set(false);
    client.on_tick(NOW);
    settle(&client, NOW, 3, 30);
    assert_eq!(wire.amounts(3), calls(&[("Report", 20)]));
}

#[test]
fn what_waits_is_handed_over() {
    let shared = Rc::default();
    let (before, old) = client_of(settings(Protocol::Reserve), &shared);
    let (successor, new) = client_of(settings(Protocol::Reserve), &shared);
    for _ in 0..64 {
        settle(&before, NOW, 9, 1);
    }
    commit(&before, NOW, 1, 30);
    commit(&before, NOW, 2, 0);
    let until = after(NOW, 60_000);
    before.credit(NOW, &descriptors(1, 3), 8, until);
    before.hand_over(NOW, &successor);
    assert_eq!((old.pending(), new.pending()), (0, 1));
    successor.on_tick(NOW);
    settle(&successor, NOW, 3, 10);
    let sent = [("Commit", 30), ("Commit", 0), ("Report", 2)];
    assert_eq!(new.amounts(0), calls(&sent));
    reply(&before, NOW, 1, ADMITTED);
    assert_eq!(old.len(), 64, "nothing is left");
}

#[test]
fn settlements_beyond_queue_are_merged_or_lost() {
    let settings = ServiceSettings {
        queue: QueueBounds {
            entries: 2,
            bytes: 1 << 20,
        },
        ..settings(Protocol::CheckReport)
    };
    let (client, wire) = client_of(settings, &Rc::default());
    wire.fails.set(true);
    let settle = |limits, caller, amount| {
        client.settle(NOW, &descriptors(limits, caller), None, amount, &vec![]);
    };
    for (limits, caller, amount) in [(1, 1, 10), (1, 2, 20), (1, 1, 1)] {
        settle(limits, caller, amount);
    }
    assert_eq!(wire.count(ServiceEvent::SettlementMerged), 0);
    settle(1, 3, 5);
    assert_eq!(wire.count(ServiceEvent::SettlementMerged), 1);
    for limits in 2..5 {
        settle(limits, 1, 7);
    }
    assert_eq!((wire.pending(), wire.lost()), (4, 7));
}

#[test]
fn settlements_that_failed_together_are_one() {
    let (client, wire) = client(Protocol::CheckReport);
    settle(&client, NOW, 1, 10);
    settle(&client, NOW, 1, 20);
    for number in [1, 2] {
        reply(&client, NOW, number, Err(4));
    }
    assert_eq!(wire.pending(), 1);
    let later = ticks(&client, after(NOW, 250), 1);
    reply(&client, later, 3, ADMITTED);
    assert_eq!(wire.amounts(3), calls(&[("Report", 30)]));
}

#[test]
fn queued_settlements_have_no_metadata() {
    let (client, wire) = client(Protocol::CheckReport);
    check(&client, NOW).unwrap();
    wire.fails.set(true);
    let metadata = vec![("traceparent", b"1".to_vec())];
    client.settle(NOW, &descriptors(1, 1), None, 5, &metadata);
    wire.fails.set(false);
    client.on_tick(NOW);
    assert_eq!((wire.last().amount(), wire.last().metadata.len()), (5, 0));
}

#[test]
fn merged_settlements_are_logged_once() {
    let settings = ServiceSettings {
        queue: QueueBounds {
            entries: 1,
            bytes: 1 << 20,
        },
        ..settings(Protocol::CheckReport)
    };
    let (client, wire) = client_of(settings, &Rc::default());
    wire.fails.set(true);
    let lines = logs::of(|| {
        for caller in 0..5 {
            settle(&client, NOW, caller, 1);
        }
    });
    assert_eq!(wire.count(ServiceEvent::SettlementMerged), 4);
    let merged = lines.iter();
    let merged = merged.filter(|line| line.starts_with("settlements_merged cluster=limitador"));
    assert_eq!(merged.count(), 1, "{lines:?}");
}
