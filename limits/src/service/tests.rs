//! The parts of the client, and the property that what was settled is counted.

mod calls;
mod client;
mod leases;
mod logs;
mod pressure;
mod properties;
mod queued;
mod settlements;
mod support;
mod wire;

use super::backoff;
use super::circuit::{Change, Circuit, MAX_FAILURES};
use super::credits::Credits;
use super::message::{self, MessageError, NO_HITS};
use super::queue::{MAX_AGE, Placement, Settlement, SettlementQueue};
use super::{DescriptorSet, Layout, LimitEntries, QueueBounds};
use crate::shared_data::{CREATE, SharedData, SharedDataError};
use crate::time::{Nanos, Timestamp};
use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

const EPOCH: Timestamp = Timestamp::EPOCH;

/// Values with their versions.
type Values = HashMap<Vec<u8>, (Vec<u8>, u32)>;

/// Shared data.
#[derive(Default)]
struct Shared(RefCell<Values>);

impl SharedData for Shared {
    fn shared_data(&self, key: &[u8]) -> Result<Option<(Vec<u8>, u32)>, SharedDataError> {
        Ok(self.0.borrow().get(key).cloned())
    }

    fn set_shared_data(
        &self,
        key: &[u8],
        value: &[u8],
        expected: u32,
    ) -> Result<(), SharedDataError> {
        let mut values = self.0.borrow_mut();
        let version = values.get(key).map(|(_, version)| *version);
        if version.unwrap_or(CREATE) != expected {
            return Err(SharedDataError::CasMismatch);
        }
        let next = version.unwrap_or_default() + 1;
        values.insert(key.to_vec(), (value.to_vec(), next));
        Ok(())
    }
}

fn at(nanoseconds: u64) -> Timestamp {
    Timestamp::new(nanoseconds)
}

fn descriptors(limits: u128, caller: u32) -> Rc<DescriptorSet> {
    let value: Rc<str> = caller.to_string().into();
    let key = format!("tokenlimit.{limits}");
    let counters = [(Rc::from("auth.user"), value)];
    let limit = LimitEntries {
        key: &key,
        counters: &counters,
    };
    Rc::new(DescriptorSet::new(
        "test".into(),
        &[limit],
        limits,
        Layout::Single,
    ))
}

fn settlement(descriptors: &Rc<DescriptorSet>, amount: u64, since: u64) -> Settlement {
    Settlement::new(Rc::clone(descriptors), amount, at(since))
}

#[test]
fn circuit_opens_after_failures_and_closes_with_reply() {
    let mut circuit = Circuit::default();
    for _ in 1..MAX_FAILURES {
        assert_eq!(circuit.failed(EPOCH, 0), None);
    }
    assert_eq!(circuit.succeeded(), None);
    for _ in 1..MAX_FAILURES {
        assert_eq!(circuit.failed(EPOCH, 0), None);
    }
    assert_eq!(circuit.failed(EPOCH, 0), Some(Change::Opened));
    assert_eq!(circuit.failed(EPOCH, 0), None, "reported once");
    assert_eq!(circuit.succeeded(), Some(Change::Closed));
    assert!(!circuit.is_open());
}

#[test]
fn probe_delay_grows_to_a_bound() {
    let mut circuit = Circuit::default();
    for _ in 0..MAX_FAILURES {
        circuit.failed(EPOCH, 0);
    }
    let mut probes = Vec::new();
    for tick in 0..600 {
        let now = EPOCH.saturating_add(Nanos::from_millis(50 * tick));
        if circuit.probe(now, 0) {
            probes.push(now);
        }
    }
    let waits: Vec<Nanos> = probes
        .windows(2)
        .map(|pair| pair[1].since(pair[0]))
        .collect();
    assert!(waits.is_sorted(), "{waits:?}");
    assert_eq!(*waits.last().unwrap(), backoff::MAX_DELAY);
    assert!(probes[0].since(EPOCH) <= Nanos::from_millis(500));
    let last = *probes.last().unwrap();
    assert!(!circuit.probe(last, 0), "the next is due after the delay");
    // A clock that steps back an hour does not silence it.
    let mut circuit_then = circuit;
    assert!(circuit_then.probe(EPOCH, 0));
}

#[test]
fn jitter_takes_at_most_half_of_the_delay() {
    for failures in 0..100 {
        let longest = backoff::delay(failures, 0);
        for random in [1, 12_345, u64::MAX / 2, u64::MAX] {
            let wait = backoff::delay(failures, random);
            assert!(wait.saturating_mul(2) >= longest && wait <= backoff::MAX_DELAY);
        }
    }
}

#[test]
fn delay_doubles_and_jitter_varies_it() {
    let millis = |millis| Nanos::from_millis(millis);
    let delays: Vec<Nanos> = (0..8).map(|failures| backoff::delay(failures, 0)).collect();
    let expected = [250, 250, 500, 1_000, 2_000, 4_000, 5_000, 5_000].map(millis);
    assert_eq!(delays, expected);
    assert_eq!(backoff::delay(u32::MAX, 0), backoff::MAX_DELAY);
    let half = millis(125).as_u64();
    for (random, taken) in [(1, 1), (half - 1, half - 1), (half, 0), (half + 7, 7)] {
        let delay = backoff::delay(1, random);
        assert_eq!(delay, millis(250).saturating_sub(Nanos::new(taken)));
    }
}

#[test]
fn amounts_of_one_set_are_one_entry() {
    let mut queue = SettlementQueue::default();
    let alice = descriptors(1, 1);
    for amount in [10, 20, 30] {
        assert_eq!(
            queue.add(settlement(&alice, amount, amount), at(100)),
            Placement::Queued
        );
    }
    assert_eq!(queue.len(), 1);
    assert!(queue.take_due(at(99), 9).is_empty());
    let taken = queue.take_due(at(100), 9);
    let merged = Settlement {
        latest: at(30),
        ..settlement(&alice, 60, 10)
    };
    assert_eq!(taken, [merged]);
    assert!(queue.is_empty());
}

#[test]
fn full_queue_merges_with_same_limits() {
    let mut queue = SettlementQueue::default();
    let most = u32::try_from(QueueBounds::default().entries).unwrap();
    for caller in 0..most {
        let kept = queue.add(settlement(&descriptors(1, caller), 1, caller.into()), EPOCH);
        assert_eq!(kept, Placement::Queued);
    }
    assert_eq!(
        queue.add(settlement(&descriptors(1, most), 5, 9), EPOCH),
        Placement::Merged
    );
    assert_eq!(
        queue.add(settlement(&descriptors(2, 0), 7, 9), EPOCH),
        Placement::Queued
    );
    assert_eq!(queue.len(), QueueBounds::default().entries + 1);
    let oldest = queue.take_oldest().unwrap();
    assert_eq!((oldest.amount, oldest.since), (6, EPOCH));
    let rest: u64 = queue
        .take_due(EPOCH, usize::MAX)
        .iter()
        .map(|settlement| settlement.amount)
        .sum();
    assert_eq!(rest, u64::from(most) - 1 + 7);
}

#[test]
fn queue_is_bounded_in_bytes() {
    let mut queue = SettlementQueue::default();
    let long = "x".repeat(60_000);
    let mut others = 0;
    for caller in 0..200_u32 {
        let value: Rc<str> = format!("{caller}{long}").into();
        let counters = [(Rc::from("auth.user"), value)];
        let limit = LimitEntries {
            key: "tokenlimit.a",
            counters: &counters,
        };
        let set = DescriptorSet::new("test".into(), &[limit], 1, Layout::Single);
        let kept = queue.add(settlement(&Rc::new(set), 1, 0), EPOCH);
        others += u32::from(kept == Placement::Merged);
    }
    assert!(queue.len() < 100, "{}", queue.len());
    assert_eq!(others, 200 - u32::try_from(queue.len()).unwrap());
}

#[test]
fn settlement_is_stale_after_a_day() {
    let settlement = settlement(&descriptors(1, 1), 1, 7);
    let last = at(7).saturating_add(MAX_AGE);
    assert!(!settlement.is_stale(last));
    assert!(settlement.is_stale(last.saturating_add(Nanos::new(1))));
}

#[test]
fn layout_decides_descriptors_of_limits() {
    let counters = [(Rc::from("auth.user"), Rc::from("alice"))];
    let limits = ["tokenlimit.a", "tokenlimit.b"].map(|key| LimitEntries {
        key,
        counters: &counters,
    });
    let single = DescriptorSet::new("d".into(), &limits, 0, Layout::Single);
    let entries = super::mock::entries;
    let keys = |descriptor: &[u8]| -> Vec<String> {
        let entries = entries(descriptor).into_iter();
        entries.map(|(key, _)| key).collect()
    };
    assert_eq!(single.descriptors.len(), 1);
    assert_eq!(
        keys(&single.descriptors[0]),
        ["tokenlimit.a", "auth.user", "tokenlimit.b"]
    );
    let per_limit = DescriptorSet::new("d".into(), &limits, 0, Layout::PerLimit);
    assert_eq!(per_limit.descriptors.len(), 3);
    assert_eq!(per_limit.descriptors[0], single.descriptors[0]);
    assert_eq!(
        keys(&per_limit.descriptors[2]),
        ["tokenlimit.b", "auth.user"]
    );
    for (with, without) in per_limit.without_hits().iter().zip(&per_limit.descriptors) {
        assert!(with.starts_with(without) && with.ends_with(&NO_HITS));
    }
}

#[test]
fn unusable_replies_are_distinguished() {
    assert!(matches!(
        message::read_reserve(&[]),
        Err(MessageError::Code(0))
    ));
    assert!(matches!(
        message::read_check(&[8, 3]),
        Err(MessageError::Code(3))
    ));
    assert!(matches!(
        message::read_check(&[0x0a, 0xff]),
        Err(MessageError::Malformed(_))
    ));
    let large = vec![0x7a; message::MAX_REPLY_BYTES + 1];
    assert_eq!(message::read_check(&large), Err(MessageError::TooLarge));
    // A reservation ID that is too long is dropped.
    let mut reply = vec![8, 1, 0x12, 0xac, 0x02];
    reply.extend([b'x'; 300]);
    assert_eq!(message::read_reserve(&reply).unwrap().reservation, None);
}

#[test]
fn credit_reduces_settlements_until_it_expires() {
    let mut credits = Credits::default();
    let [alice, bob] = [descriptors(1, 1), descriptors(1, 2)];
    credits.add(at(0), &alice, 30, at(10));
    assert_eq!(credits.reduce(at(1), &bob, 20), 20, "of another caller");
    assert_eq!(credits.reduce(at(1), &alice, 20), 0);
    assert_eq!(credits.reduce(at(1), &alice, 20), 10);
    assert_eq!(credits.reduce(at(1), &alice, 20), 20);
    credits.add(at(1), &alice, 30, at(10));
    credits.add(at(1), &alice, 30, at(5));
    assert_eq!(credits.reduce(at(5), &alice, 20), 20, "expired");
    credits.add(at(5), &alice, 30, at(10));
    credits.add(at(10), &alice, 5, at(20));
    assert_eq!(credits.reduce(at(15), &alice, 7), 2, "a new one");
}

#[test]
fn credits_are_bounded() {
    let mut credits = Credits::default();
    for caller in 0..10_000 {
        credits.add(at(0), &descriptors(1, caller), 5, at(10));
    }
    let reduced = |caller| descriptors(1, caller);
    let mut kept = 0;
    for caller in 0..10_000 {
        kept += 5 - credits.reduce(at(1), &reduced(caller), 5);
    }
    assert_eq!(kept, 1024 * 5);
}

#[test]
fn queued_settlement_is_reduced_and_never_sent_empty() {
    let mut queue = SettlementQueue::default();
    let alice = descriptors(1, 1);
    queue.add(settlement(&alice, 30, 0), EPOCH);
    assert_eq!(queue.reduce(&alice, 10, at(1)), 0);
    assert_eq!(queue.reduce(&descriptors(1, 2), 10, at(1)), 10);
    assert_eq!(queue.reduce(&alice, 30, at(1)), 10);
    assert!(queue.is_empty());
}

#[test]
fn usage_of_the_next_window_is_not_reduced() {
    let mut queue = SettlementQueue::default();
    let alice = descriptors(1, 1);
    queue.add(settlement(&alice, 30, 10), EPOCH);
    assert_eq!(queue.reduce(&alice, 20, at(10)), 20);
    queue.add(settlement(&alice, 30, 5), EPOCH);
    assert_eq!(queue.reduce(&alice, 20, at(10)), 20, "some of it");
    assert_eq!(queue.reduce(&alice, 20, at(11)), 0);
    assert_eq!(queue.take_due(EPOCH, 1)[0].amount, 40);
}
