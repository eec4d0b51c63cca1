//! What waits for room for a call, and what workers share about a service.

use super::super::credits::Credits;
use super::super::message::ReservationId;
use super::super::queue::{Placement, Settlement, SettlementQueue};
use super::super::releases::{MAX_AGE, MAX_BYTES, MAX_RELEASES, Releases};
use super::super::shared::{RETRY, ReserveSupport, Shared as SharedKnowledge};
use super::super::{DescriptorSet, Layout, LimitEntries, QueueBounds};
use super::{EPOCH, Shared, at, descriptors, settlement};
use crate::time::{Nanos, Timestamp};
use std::rc::Rc;

fn id(number: u32) -> ReservationId {
    ReservationId(number.to_string())
}

/// Returns descriptors of 50,000 bytes.
fn long_descriptors(caller: u32) -> Rc<DescriptorSet> {
    let long: Rc<str> = format!("{caller}{}", "x".repeat(50_000)).into();
    let counters = [(Rc::from("auth.user"), long)];
    let limit = LimitEntries {
        key: "tokenlimit.a",
        counters: &counters,
    };
    let set = DescriptorSet::new("test".into(), &[limit], 1, Layout::Single);
    Rc::new(set)
}

#[test]
fn credits_are_bounded_in_bytes() {
    let mut credits = Credits::default();
    for caller in 0..100 {
        credits.add(at(0), &long_descriptors(caller), 5, at(10));
    }
    let kept = credits.take_all().count();
    assert!((15..=MAX_BYTES / 50_000).contains(&kept), "{kept}");
}

#[test]
fn what_waits_longest_is_sent_first() {
    let mut queue = SettlementQueue::default();
    let sets: Vec<_> = (0..8).map(|caller| descriptors(1, caller)).collect();
    for (index, set) in sets.iter().enumerate() {
        let due = at(100 - u64::try_from(index).unwrap());
        queue.add(settlement(set, 1, 0), due);
    }
    // One that is added again keeps its place.
    queue.add(settlement(&sets[7], 1, 0), at(500));
    let mut order = Vec::new();
    while let Some(next) = queue.take_due(at(100), 1).pop() {
        order.push(
            sets.iter()
                .position(|set| *set == next.descriptors)
                .unwrap(),
        );
    }
    assert_eq!(order, [7, 6, 5, 4, 3, 2, 1, 0]);
    assert!(queue.is_empty());
}

#[test]
fn clock_that_steps_back_delays_no_settlement() {
    let mut queue = SettlementQueue::default();
    let hour = EPOCH.saturating_add(Nanos::HOUR);
    queue.add(settlement(&descriptors(1, 1), 1, 0), hour);
    assert_eq!(queue.take_due(EPOCH, 9).len(), 1);
}

#[test]
fn all_settlements_leave_with_their_times() {
    let mut queue = SettlementQueue::default();
    queue.add(settlement(&descriptors(1, 1), 5, 0), at(7));
    queue.add(settlement(&descriptors(1, 2), 6, 0), at(3));
    let all = queue.take_all();
    let all: Vec<_> = all.iter().map(|(it, due)| (it.amount, *due)).collect();
    assert_eq!(all, [(6, at(3)), (5, at(7))]);
    assert!(queue.is_empty() && queue.take_due(Timestamp::MAX, 9).is_empty());
}

#[test]
fn reservations_to_release_are_bounded_and_expire() {
    let mut releases = Releases::default();
    let set = descriptors(1, 1);
    let max = u32::try_from(MAX_RELEASES).unwrap();
    for number in 0..max + 5 {
        releases.add(at(1), &set, id(number));
    }
    assert_eq!(
        releases.take_of(at(2), &set),
        Some(id(max - 1)),
        "the newest that had room"
    );
    assert_eq!(releases.take_of(at(2), &descriptors(1, 2)), None);
    let expired = at(1).saturating_add(MAX_AGE);
    assert_eq!(
        releases.take_of(expired, &set),
        None,
        "limitador has released it"
    );
    // What has expired makes room.
    let other = descriptors(1, 2);
    releases.add(expired, &other, id(1));
    releases.add(expired, &other, id(2));
    releases.add(expired, &other, id(3));
    let mut all = Vec::new();
    while let Some((set, id)) = releases.take(expired) {
        assert_eq!(set, other);
        all.push(id);
    }
    assert_eq!(all, [id(3), id(2), id(1)]);
    assert_eq!(releases.take_all().count(), 0);
}

#[test]
fn credits_that_expired_make_room() {
    let mut credits = Credits::default();
    for caller in 0..2_000 {
        credits.add(
            at(0),
            &descriptors(1, caller),
            5,
            at(10 + u64::from(caller)),
        );
    }
    // The first has expired, and no other.
    credits.add(at(10), &descriptors(2, 1), 5, at(90));
    credits.add(at(10), &descriptors(2, 2), 5, at(90));
    assert_eq!(credits.reduce(at(10), &descriptors(2, 1), 5), 0);
    assert_eq!(credits.reduce(at(10), &descriptors(2, 2), 5), 5, "no room");
    // What is used makes room at once.
    assert_eq!(credits.reduce(at(10), &descriptors(1, 1), 5), 0);
    credits.add(at(10), &descriptors(2, 2), 5, at(90));
    assert_eq!(credits.reduce(at(10), &descriptors(2, 2), 5), 0);
}

#[test]
fn full_queue_merges_without_a_search() {
    // Each of as many limits has one entry, and each entry finds it.
    let mut queue = SettlementQueue::new(QueueBounds {
        entries: 100_000,
        ..QueueBounds::default()
    });
    for limits in 0..10_000_u128 {
        queue.add(settlement(&descriptors(limits, 1), 1, 3), EPOCH);
    }
    let mut full = SettlementQueue::new(QueueBounds {
        entries: 10_000,
        bytes: usize::MAX,
    });
    for (settlement, due) in queue.take_all() {
        assert_eq!(full.add(settlement, due), Placement::Queued);
    }
    for limits in 0..10_000_u128 {
        let more = settlement(&descriptors(limits, 2), 1, 2);
        assert_eq!(full.add(more, EPOCH), Placement::Merged);
    }
    let all = full.take_all();
    assert_eq!(all.len(), 10_000);
    assert!(
        all.iter()
            .all(|(it, _)| it.amount == 2 && it.since == at(2))
    );
    assert!(full.is_empty() && full.take_oldest().is_none());
}

#[test]
fn oldest_settlement_is_found_after_changes() {
    let mut queue = SettlementQueue::default();
    let [alice, bob] = [descriptors(1, 1), descriptors(2, 1)];
    queue.add(settlement(&alice, 1, 7), EPOCH);
    queue.add(settlement(&bob, 1, 5), EPOCH);
    queue.add(settlement(&alice, 1, 3), EPOCH);
    assert_eq!(queue.take_oldest().unwrap().descriptors, alice);
    assert_eq!(queue.take_oldest().unwrap().descriptors, bob);
    assert!(queue.take_oldest().is_none());
}

#[test]
fn reservations_to_release_are_bounded_in_bytes() {
    let set = long_descriptors(1);
    let mut releases = Releases::default();
    for number in 0..100 {
        releases.add(at(1), &set, id(number));
    }
    let kept = releases.take_all().count();
    assert!((15..=MAX_BYTES / 50_000).contains(&kept), "{kept}");
    releases.add(at(1), &set, id(1));
    assert_eq!(releases.take(at(1)).map(|(_, id)| id), Some(id(1)));
}

#[test]
fn one_worker_tries_reserve_again() {
    let data = Rc::new(Shared::default());
    let workers = [(); 3].map(|()| SharedKnowledge::new(data.clone(), "limitador"));
    let other = SharedKnowledge::new(data, "other");
    assert_eq!(workers[0].support(), ReserveSupport::Unknown);
    let until = at(5);
    workers[0].set_support(ReserveSupport::Unsupported(until));
    assert_eq!(workers[1].support(), ReserveSupport::Unsupported(until));
    assert_eq!(other.support(), ReserveSupport::Unknown, "another service");

    let early = ReserveSupport::Unsupported(until);
    assert_eq!(workers[1].claim(at(4), at(9)), (early, false));
    let claimed = ReserveSupport::Unsupported(at(9));
    assert_eq!(workers[1].claim(at(5), at(9)), (claimed, true));
    assert_eq!(workers[2].claim(at(5), at(8)), (claimed, false));
    // The worker that tried has not written what it has learnt.
    assert!(workers[2].claim(at(9), at(20)).1);
    workers[2].set_support(ReserveSupport::Supported);
    assert_eq!(
        workers[0].claim(at(30), at(40)),
        (ReserveSupport::Supported, false)
    );

    // A time beyond any attempt is that of a clock that has stepped back.
    let far = at(30).saturating_add(RETRY).saturating_add(Nanos::new(1));
    workers[0].set_support(ReserveSupport::Unsupported(far));
    assert!(workers[1].claim(at(30), at(40)).1);
}

#[test]
fn replies_are_shared_at_intervals() {
    let data = Rc::new(Shared::default());
    let workers = [(); 2].map(|()| SharedKnowledge::new(data.clone(), "limitador"));
    assert_eq!(workers[1].replied(), EPOCH);
    let second = EPOCH.saturating_add(Nanos::SECOND);
    workers[0].set_replied(second);
    assert_eq!(workers[1].replied(), second);
    let soon = second.saturating_add(Nanos::from_millis(249));
    workers[0].set_replied(soon);
    assert_eq!(workers[1].replied(), second, "not for every reply");
    let later = second.saturating_add(Nanos::from_millis(250));
    workers[0].set_replied(later);
    assert_eq!(workers[1].replied(), later);
    // The clock steps back.
    workers[0].set_replied(second);
    assert_eq!(workers[1].replied(), second);
}

#[test]
fn unreadable_shared_data_is_unknown() {
    use crate::shared_data::{CREATE, SharedData};
    let data = Rc::new(Shared::default());
    let key = b"tollgate.service.reserve.limitador";
    let mut version = CREATE;
    for value in [
        &b""[..],
        b"\x01",
        b"\x02\x01",
        b"\x01\x03",
        b"\x01\x02\x00",
        &[0xff; 40],
    ] {
        data.set_shared_data(key, value, version).unwrap();
        version = data.shared_data(key).unwrap().unwrap().1;
        let shared = SharedKnowledge::new(data.clone(), "limitador");
        assert_eq!(shared.support(), ReserveSupport::Unknown, "{value:?}");
    }
}

#[test]
fn each_credit_that_expires_makes_room() {
    let mut credits = Credits::default();
    for caller in 0..1_024 {
        credits.add(
            at(0),
            &descriptors(1, caller),
            5,
            at(10 + u64::from(caller)),
        );
    }
    // Of these times, some are those at which one expires, others are later.
    for (caller, now) in [(1, 10), (2, 11), (3, 15), (4, 16), (5, 17)] {
        let set = descriptors(2, caller);
        credits.add(at(now), &set, 5, at(5_000));
        assert_eq!(credits.reduce(at(now), &set, 4), 0, "at {now}");
    }
}

#[test]
fn reservations_that_expired_make_room() {
    for waited in [0, 5] {
        let mut releases = Releases::default();
        let mut now = at(1);
        for caller in 1..4 {
            for number in 0..=u32::try_from(MAX_RELEASES).unwrap() {
                releases.add(now, &descriptors(1, caller), id(number));
            }
            now = now
                .saturating_add(MAX_AGE)
                .saturating_add(Nanos::new(waited));
            let other = descriptors(2, caller);
            releases.add(now, &other, id(7));
            assert_eq!(releases.take_of(now, &other), Some(id(7)), "{waited}");
        }
    }
}

#[test]
fn longest_delay_is_no_step_of_the_clock() {
    let mut queue = SettlementQueue::default();
    let due = EPOCH.saturating_add(super::backoff::MAX_DELAY);
    queue.add(settlement(&descriptors(1, 1), 1, 0), due);
    assert!(queue.take_due(EPOCH, 9).is_empty());
    assert_eq!(queue.take_due(due, 9).len(), 1);
}

#[test]
fn merged_usage_waits_with_failed_settlement() {
    let failed = |failures| Settlement {
        failures,
        ..settlement(&descriptors(1, 1), 3, 0)
    };
    for order in [[(0, 5), (2, 100)], [(2, 100), (0, 5)], [(2, 100), (1, 50)]] {
        let mut queue = SettlementQueue::default();
        for (failures, due) in order {
            queue.add(failed(failures), at(due));
        }
        assert!(queue.take_due(at(99), 9).is_empty(), "{order:?}");
        let taken = queue.take_due(at(100), 9);
        let found: Vec<_> = taken.iter().map(|it| (it.amount, it.failures)).collect();
        assert_eq!(found, [(6, 2)]);
    }
}
