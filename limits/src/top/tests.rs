//! Sketches against exact counts.

use super::{TopCounter, TopCounters};
use crate::local::StoreError;
use crate::rate::Rate;
use crate::shared_data::{SharedData, SharedDataError};
use crate::time::Nanos;
use crate::window::{Algorithm, Window};
use proptest::prelude::*;
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;

const RATE: Rate = Rate::new(
    7,
    Window {
        algorithm: Algorithm::Fixed,
        length: Nanos::MINUTE,
    },
);

/// Memory with one value, of which so many writes fail because another worker was faster.
#[derive(Default)]
struct Memory {
    value: RefCell<Option<(Vec<u8>, u32)>>,
    conflicts: Cell<u32>,
}

impl SharedData for Memory {
    fn shared_data(&self, _: &[u8]) -> Result<Option<(Vec<u8>, u32)>, SharedDataError> {
        Ok(self.value.borrow().clone())
    }

    fn set_shared_data(&self, _: &[u8], value: &[u8], _: u32) -> Result<(), SharedDataError> {
        if let Some(left) = self.conflicts.get().checked_sub(1) {
            self.conflicts.set(left);
            return Err(SharedDataError::CasMismatch);
        }
        *self.value.borrow_mut() = Some((value.to_vec(), 1));
        Ok(())
    }
}

fn add(sketch: &mut TopCounters, key: u128, amount: u64) {
    sketch.add(key, amount, true, &mut || format!("user {key}").into());
}

/// Returns the keys with what they have used and the errors.
fn listed(sketch: &TopCounters) -> Vec<(u128, u64, u64)> {
    let counters = sketch.largest().into_iter();
    counters.map(|it| (it.key, it.used, it.error)).collect()
}

/// Asserts that a sketch is right within its bound about streams with these sums.
fn assert_bounded(sketch: &TopCounters, capacity: usize, exact: &BTreeMap<u128, u64>) {
    let total: u64 = exact.values().sum();
    let most = total / u64::try_from(capacity).unwrap();
    let listed = sketch.largest();
    assert!(listed.len() <= 2 * capacity);
    for TopCounter {
        key, used, error, ..
    } in &listed
    {
        let exact = exact.get(key).copied().unwrap_or_default();
        assert!(used - error <= exact && exact <= *used, "{key}: {exact}");
        // Each of the two windows has its part of the total.
        assert!(
            *error <= most,
            "{key}: error {error}, expected at most {most}"
        );
    }
    assert!(listed.is_sorted_by(|one, other| one.used >= other.used));
    for (key, exact) in exact {
        let is_listed = listed.iter().any(|it| it.key == *key);
        assert!(is_listed || *exact <= most, "{key} with {exact} is missing");
    }
}

#[test]
fn few_counters_are_exact() {
    let mut sketch = TopCounters::new(3);
    for (key, amount) in [(1, 10), (2, 30), (3, 20), (1, 15)] {
        add(&mut sketch, key, amount);
    }
    assert_eq!(listed(&sketch), [(2, 30, 0), (1, 25, 0), (3, 20, 0)]);
    assert_eq!(&*sketch.largest()[0].text, "user 2");
}

#[test]
fn new_counter_displaces_the_smallest() {
    let mut sketch = TopCounters::new(2);
    for (key, amount) in [(1, 10), (2, 30), (3, 5)] {
        add(&mut sketch, key, amount);
    }
    assert_eq!(listed(&sketch), [(2, 30, 0), (3, 15, 10)]);
}

#[test]
fn without_memory_nothing_grows() {
    let mut sketch = TopCounters::new(10);
    let mut lost = TopCounters::new(10);
    lost.add(1, 4, false, &mut || "".into());
    assert!(lost.largest().is_empty());
    assert!(!lost.is_empty(), "what was not counted is known");
    add(&mut sketch, 1, 10);
    sketch.add(2, 30, false, &mut || "b".into());
    assert_eq!(listed(&sketch), [(2, 40, 10)]);
    sketch.merge(&lost);
    assert_eq!(listed(&sketch), [(2, 44, 14)]);
}

#[test]
fn windows_are_forgotten_in_turn() {
    let mut sketch = TopCounters::new(4);
    sketch.advance(100);
    add(&mut sketch, 1, 10);
    sketch.advance(101);
    add(&mut sketch, 2, 5);
    assert_eq!(listed(&sketch), [(1, 10, 0), (2, 5, 0)]);
    sketch.advance(100);
    assert_eq!(listed(&sketch), [(1, 10, 0), (2, 5, 0)], "a step back");
    sketch.advance(102);
    assert_eq!(listed(&sketch), [(2, 5, 0)]);
    sketch.advance(104);
    assert_eq!(listed(&sketch), []);
    add(&mut sketch, 3, 1);
    sketch.advance(50);
    assert_eq!(listed(&sketch), [], "a clock that was far ahead");
}

#[test]
fn merge_aligns_windows() {
    let (mut old, mut new) = (TopCounters::new(4), TopCounters::new(4));
    old.advance(100);
    new.advance(101);
    add(&mut old, 1, 10);
    add(&mut new, 1, 7);
    add(&mut new, 2, 5);
    old.merge(&new);
    assert_eq!(listed(&old), [(1, 17, 0), (2, 5, 0)]);
    old.advance(102);
    assert_eq!(listed(&old), [(1, 7, 0), (2, 5, 0)]);
}

#[test]
fn workers_share_one_list() {
    let memory = Memory::default();
    let [mut one, mut other] = [TopCounters::new(4), TopCounters::new(4)];
    add(&mut one, 1, 10);
    add(&mut one, 2, 8);
    add(&mut other, 2, 5);
    one.publish(&memory, RATE).unwrap();
    assert!(one.is_empty());
    let expected = [(2, 13, 0), (1, 10, 0)];
    assert_eq!(listed(&other.with_shared(&memory, RATE).unwrap()), expected);
    other.publish(&memory, RATE).unwrap();
    let all = one.with_shared(&memory, RATE).unwrap();
    assert_eq!(listed(&all), expected);
    assert_eq!(&*all.largest()[1].text, "user 1");
}

#[test]
fn contention_loses_nothing() {
    let memory = Memory::default();
    let mut sketch = TopCounters::new(4);
    add(&mut sketch, 1, 10);
    memory.conflicts.set(64);
    let failed = sketch.publish(&memory, RATE);
    assert_eq!(failed, Err(StoreError::Contended));
    add(&mut sketch, 1, 5);
    memory.conflicts.set(63);
    sketch.publish(&memory, RATE).unwrap();
    let shared = sketch.with_shared(&memory, RATE).unwrap();
    assert_eq!(listed(&shared), [(1, 15, 0)]);
}

#[test]
fn unreadable_list_starts_anew() {
    let memory = Memory::default();
    let mut sketch = TopCounters::new(4);
    add(&mut sketch, 1, 10);
    for bytes in [&b"tt"[..], b"tt\x01\x00nonsense", &[0xff; 200]] {
        *memory.value.borrow_mut() = Some((bytes.to_vec(), 1));
        let shared = sketch.with_shared(&memory, RATE).unwrap();
        assert_eq!(listed(&shared), [(1, 10, 0)]);
    }
}

#[test]
fn million_keys_keep_memory_bounded() {
    const KEYS: u128 = 1_000_000;
    let memory = Memory::default();
    let mut sketch = TopCounters::new(100);
    let mut largest_value = 0;
    for number in 0..KEYS {
        // Multiples of an odd number, so that new keys are all over the list.
        add(&mut sketch, number * 0x9e37_79b9 % (1 << 32), 1);
        if number % 3 == 0 {
            add(&mut sketch, u128::MAX, 1);
        }
        assert!(sketch.current.counters.len() <= 100);
        if number % 1_000 == 0 {
            sketch.publish(&memory, RATE).unwrap();
            let value = memory.value.borrow();
            largest_value = largest_value.max(value.as_ref().unwrap().0.len());
        }
    }
    assert!(
        largest_value < 2 * 100 * (34 + 128) + 100,
        "{largest_value}"
    );
    let all = sketch.with_shared(&memory, RATE).unwrap();
    let first = &all.largest()[0];
    assert_eq!(first.key, u128::MAX);
    let exact = KEYS.div_ceil(3);
    let exact = u64::try_from(exact).unwrap();
    let within = first.used - first.error..=first.used;
    assert!(within.contains(&exact), "{first:?}");
    assert!(first.error <= 1_400_000 / 100, "{first:?}");
}

/// What happens to one of several workers.
#[derive(Clone, Debug)]
enum Step {
    Add(usize, u128, u64),
    Publish(usize),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    // Small keys come often, as large consumers do.
    let key = prop_oneof![0..4_u128, 0..40_u128];
    let add = (0..3_usize, key, 1..100_u64);
    let step = prop_oneof![
        8 => add.prop_map(|(worker, key, amount)| Step::Add(worker, key, amount)),
        1 => (0..3_usize).prop_map(Step::Publish),
    ];
    prop::collection::vec(step, 0..300)
}

proptest! {
    #[test]
    fn lists_are_exact_within_bound(steps in steps(), capacity in 1..20_usize) {
        let memory = Memory::default();
        let mut workers = vec![TopCounters::new(capacity); 3];
        let mut exact = BTreeMap::new();
        for step in steps {
            match step {
                Step::Add(worker, key, amount) => {
                    add(&mut workers[worker], key, amount);
                    *exact.entry(key).or_default() += amount;
                }
                Step::Publish(worker) => workers[worker].publish(&memory, RATE).unwrap(),
            }
        }
        let (last, others) = workers.split_last_mut().unwrap();
        for worker in others {
            worker.publish(&memory, RATE).unwrap();
        }
        let all = last.with_shared(&memory, RATE).unwrap();
        assert_bounded(&all, capacity, &exact);
        let bytes = all.encode();
        prop_assert_eq!(TopCounters::decode(&bytes, capacity), Some(all));
    }

    #[test]
    fn any_bytes_are_read(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let mut framed = b"tt\x01\0".to_vec();
        framed.extend(&bytes);
        for bytes in [bytes, framed] {
            if let Some(sketch) = TopCounters::decode(&bytes, 4) {
                prop_assert!(sketch.largest().len() <= 200);
            }
        }
    }
}
