//! The queue neither loses nor reorders nor exceeds its depth.

use super::{Counter, MOST, Queue};
use proptest::prelude::*;
use std::collections::{BTreeMap, VecDeque};

const ALICE: Counter = (0, 1);
const BOB: Counter = (0, 2);

#[test]
fn requests_wait_in_order_and_so_many_of_them() {
    let mut queue = Queue::default();
    assert!(queue.join(ALICE, 1, 10, 2, 'a'));
    assert!(queue.join(ALICE, 2, 20, 2, 'b'));
    assert!(!queue.join(ALICE, 3, 30, 2, 'c'), "two are enough");
    assert!(queue.join(BOB, 4, 15, 2, 'd'));
    assert_eq!(queue.len(), 3);
    assert_eq!(queue.firsts(9), [1, 4]);
    assert_eq!(queue.before(ALICE, Some(1)), None, "it is the first");
    assert_eq!(queue.before(ALICE, Some(2)), Some('b'));
    assert_eq!(queue.before((1, 1), Some(2)), None, "nobody waits there");
    assert_eq!(queue.overdue(15), [1, 4]);
    assert!(queue.leave(ALICE, 1));
    assert!(!queue.leave(ALICE, 1), "it is gone");
    assert_eq!(queue.before(ALICE, Some(2)), None);
    assert!(queue.forget(2) && !queue.forget(2));
    assert!(queue.leave(BOB, 4));
    assert!(queue.is_empty() && queue.firsts(9).is_empty());
}

#[test]
fn who_came_first_is_before_others_wherever_they_wait() {
    let mut queue = Queue::default();
    assert!(queue.join(ALICE, 1, 10, 2, 'a'));
    assert!(queue.join(BOB, 2, 10, 2, 'b'));
    assert_eq!(queue.before(BOB, Some(1)), None, "2 came later");
    assert_eq!(queue.before(ALICE, Some(2)), Some('a'));
    assert!(queue.move_over(BOB, ALICE, 2, 2, 'c'));
    assert_eq!(queue.firsts(9), [1]);
    assert!(queue.join(BOB, 3, 10, 2, 'd'));
    assert!(queue.move_over(ALICE, BOB, 1, 2, 'e'));
    let mut firsts = queue.firsts(9);
    firsts.sort_unstable();
    assert_eq!((queue.len(), firsts), (3, vec![1, 2]));
    assert!(!queue.move_over(ALICE, BOB, 2, 2, 'f'), "two are enough");
    assert!(
        !queue.move_over(ALICE, BOB, 9, 9, 'f'),
        "nobody of that name"
    );
    assert_eq!(queue.len(), 3);
}

#[test]
fn every_counter_gets_its_turn() {
    let mut queue = Queue::default();
    for context in 0..10 {
        assert!(queue.join((0, u128::from(context)), context, 0, 1, ()));
    }
    let mut seen: Vec<u32> = (0..5).flat_map(|_| queue.firsts(4)).collect();
    assert_eq!(seen.len(), 20);
    seen.sort_unstable();
    seen.dedup();
    assert_eq!(seen.len(), 10, "{seen:?}");
    assert_eq!(queue.firsts(99).len(), 10, "each once");
}

#[test]
fn a_worker_lets_only_so_many_wait() {
    let mut queue = Queue::default();
    for context in 0..MOST {
        let context = u32::try_from(context).unwrap();
        assert!(queue.join((0, u128::from(context)), context, 0, 1, ()));
    }
    assert!(!queue.join((1, 0), u32::MAX, 0, 1, ()));
    assert!(queue.leave((0, 5), 5));
    assert!(queue.join((1, 0), u32::MAX, 0, 1, ()));
}

#[derive(Clone, Debug)]
enum Step {
    Join(u8),
    Leave(u8, u8),
    Move(u8, u8),
    Serve(u8),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        (0..4_u8).prop_map(Step::Join),
        (0..4_u8, any::<u8>()).prop_map(|(counter, place)| Step::Leave(counter, place)),
        (0..4_u8, 0..4_u8).prop_map(|(from, to)| Step::Move(from, to)),
        (0..8_u8).prop_map(Step::Serve),
    ]
}

proptest! {
    /// Against the plainest of queues, one for each counter.
    #[test]
    fn nothing_is_lost_or_reordered(steps in prop::collection::vec(step(), 0..200), depth in 0..6_usize) {
        let mut queue = Queue::default();
        let mut plain: BTreeMap<Counter, VecDeque<u32>> = BTreeMap::new();
        let of = |counter: u8| (usize::from(counter % 2), u128::from(counter / 2));
        for (context, step) in (1..).zip(steps) {
            match step {
                Step::Join(counter) => {
                    let line = plain.entry(of(counter)).or_default();
                    let joined = queue.join(of(counter), context, u64::from(context), depth, context);
                    prop_assert_eq!(joined, line.len() < depth);
                    if joined {
                        line.push_back(context);
                    }
                }
                Step::Leave(counter, place) => {
                    let line = plain.entry(of(counter)).or_default();
                    let gone = line.remove(usize::from(place) % line.len().max(1));
                    prop_assert_eq!(queue.leave(of(counter), gone.unwrap_or(0)), gone.is_some());
                }
                Step::Move(from, to) => {
                    let first = plain.get(&of(from)).and_then(|line| line.front().copied());
                    let Some(first) = first else { continue };
                    let line = plain.entry(of(to)).or_default();
                    let moved = queue.move_over(of(from), of(to), first, depth, 0);
                    prop_assert_eq!(moved, from != to && line.len() < depth);
                    if moved {
                        // Contexts are numbered in the order in which they come.
                        let place = line.partition_point(|known| *known < first);
                        line.insert(place, first);
                        plain.entry(of(from)).or_default().pop_front();
                    }
                }
                Step::Serve(most) => {
                    let most = usize::from(most);
                    let firsts = queue.firsts(most);
                    let lines = plain.values().filter(|line| !line.is_empty());
                    prop_assert_eq!(firsts.len(), lines.count().min(most));
                    for context in firsts {
                        let of = plain.iter_mut().find(|(_, line)| line.front() == Some(&context));
                        let (counter, line) = of.expect("it is the first of a line");
                        prop_assert_eq!(queue.before(*counter, Some(context)), None);
                        line.pop_front();
                        prop_assert!(queue.leave(*counter, context));
                    }
                }
            }
            let mut all: Vec<u32> = plain.values().flatten().copied().collect();
            let mut known = queue.all();
            all.sort_unstable();
            known.sort_unstable();
            prop_assert_eq!(queue.len(), all.len());
            prop_assert_eq!(&known, &all);
            // Who has waited longest waits for nobody.
            for counter in plain.keys() {
                prop_assert_eq!(queue.before(*counter, known.first().copied()).filter(|_| !known.is_empty()), None);
            }
            for (counter, line) in &plain {
                prop_assert!(line.len() <= depth);
                prop_assert_eq!(queue.before(*counter, None).is_some(), !line.is_empty());
            }
        }
    }
}
