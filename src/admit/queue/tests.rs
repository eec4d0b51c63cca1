//! The queue loses nothing, keeps the order of arrival, and stays within its depth.

mod fairness;

use super::{Arrival, MAX_QUEUED, Place, Queue};
use crate::ledger::CounterId;
use crate::policies::{CallerId, RateIndex};
use limits::Timestamp;
use proptest::prelude::*;
use std::collections::{BTreeMap, VecDeque};

const ALICE: CounterId = (RateIndex::new(0), 1);
const BOB: CounterId = (RateIndex::new(0), 2);

const fn counter(rate: usize, key: u128) -> CounterId {
    (RateIndex::new(rate), key)
}

const fn at(nanoseconds: u64) -> Timestamp {
    Timestamp::new(nanoseconds)
}

impl<Reason: Copy> Queue<Reason> {
    /// Adds a request of a caller that is the same for all.
    fn join(
        &mut self,
        counter: CounterId,
        stream: u32,
        until: Timestamp,
        depth: usize,
        reason: Reason,
    ) -> bool {
        let arrival = Arrival {
            stream,
            caller: CallerId::new(0),
            until,
        };
        let place = self.push(counter, arrival, depth, reason);
        assert_ne!(place, Place::Taken, "a caller displaces nothing of its own");
        place == Place::Free
    }

    /// Moves a request of that caller.
    fn moves(
        &mut self,
        from: CounterId,
        to: CounterId,
        stream: u32,
        depth: usize,
        reason: Reason,
    ) -> bool {
        self.move_to(from, to, stream, depth, reason) != Place::None
    }
}

#[test]
fn requests_wait_in_order_up_to_depth() {
    let mut queue = Queue::default();
    assert!(queue.join(ALICE, 1, at(10), 2, 'a'));
    assert!(queue.join(ALICE, 2, at(20), 2, 'b'));
    assert!(!queue.join(ALICE, 3, at(30), 2, 'c'), "two are enough");
    assert!(queue.join(BOB, 4, at(15), 2, 'd'));
    assert_eq!(queue.len(), 3);
    assert_eq!(queue.poll_first(9), [1, 4]);
    assert_eq!(queue.ahead(ALICE, Some(1)), None, "it is the first");
    assert_eq!(queue.ahead(ALICE, Some(2)), Some('b'));
    assert_eq!(queue.ahead(counter(1, 1), Some(2)), None, "an empty line");
    assert_eq!(queue.overdue(at(15)), [1, 4]);
    assert!(queue.remove(ALICE, 1));
    assert!(!queue.remove(ALICE, 1), "it is gone");
    assert_eq!(queue.ahead(ALICE, Some(2)), None);
    assert!(queue.remove_stream(2) && !queue.remove_stream(2));
    assert!(queue.remove(BOB, 4));
    assert!(queue.is_empty() && queue.poll_first(9).is_empty());
}

#[test]
fn earlier_arrival_is_ahead_in_every_line() {
    let mut queue = Queue::default();
    assert!(queue.join(ALICE, 1, at(10), 2, 'a'));
    assert!(queue.join(BOB, 2, at(10), 2, 'b'));
    assert_eq!(queue.ahead(BOB, Some(1)), None, "2 came later");
    assert_eq!(queue.ahead(ALICE, Some(2)), Some('a'));
    assert!(queue.moves(BOB, ALICE, 2, 2, 'c'));
    assert_eq!(queue.poll_first(9), [1]);
    assert!(queue.join(BOB, 3, at(10), 2, 'd'));
    assert!(queue.moves(ALICE, BOB, 1, 2, 'e'));
    let mut firsts = queue.poll_first(9);
    firsts.sort_unstable();
    assert_eq!((queue.len(), firsts), (3, vec![1, 2]));
    assert!(queue.join(ALICE, 4, at(10), 2, 'f'));
    assert!(!queue.moves(ALICE, BOB, 4, 2, 'f'), "two are enough");
    assert!(queue.moves(ALICE, BOB, 2, 2, 'f'));
    assert_eq!(queue.take_displaced(), [3], "it came later");
    assert!(!queue.moves(ALICE, BOB, 9, 9, 'f'), "an unknown stream");
    assert_eq!(queue.len(), 3);
}

#[test]
fn counters_are_polled_in_turn() {
    let mut queue = Queue::default();
    for context in 0..10 {
        assert!(queue.join(counter(0, context.into()), context, at(0), 1, ()));
    }
    let mut seen: Vec<u32> = (0..5).flat_map(|_| queue.poll_first(4)).collect();
    assert_eq!(seen.len(), 20);
    seen.sort_unstable();
    seen.dedup();
    assert_eq!(seen.len(), 10, "{seen:?}");
    assert_eq!(queue.poll_first(99).len(), 10, "each once");
}

#[test]
fn queue_is_bounded_in_all_lines() {
    let mut queue = Queue::default();
    for context in 0..MAX_QUEUED {
        let context = u32::try_from(context).unwrap();
        assert!(queue.join(counter(0, context.into()), context, at(0), 1, ()));
    }
    assert!(!queue.join(counter(1, 0), u32::MAX, at(0), 1, ()));
    assert!(queue.remove(counter(0, 5), 5));
    assert!(queue.join(counter(1, 0), u32::MAX, at(0), 1, ()));
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
    /// Compares the queue with a plain list for each counter.
    #[test]
    fn queue_agrees_with_plain_lines(steps in prop::collection::vec(step(), 0..200), depth in 0..6_usize) {
        let mut queue = Queue::default();
        let mut plain: BTreeMap<CounterId, VecDeque<u32>> = BTreeMap::new();
        let of = |number: u8| counter(usize::from(number % 2), u128::from(number / 2));
        for (context, step) in (1..).zip(steps) {
            match step {
                Step::Join(counter) => {
                    let line = plain.entry(of(counter)).or_default();
                    let joined = queue.join(of(counter), context, at(context.into()), depth, context);
                    prop_assert_eq!(joined, line.len() < depth);
                    if joined {
                        line.push_back(context);
                    }
                }
                Step::Leave(counter, place) => {
                    let line = plain.entry(of(counter)).or_default();
                    let gone = line.remove(usize::from(place) % line.len().max(1));
                    prop_assert_eq!(queue.remove(of(counter), gone.unwrap_or(0)), gone.is_some());
                }
                Step::Move(from, to) => {
                    let first = plain.get(&of(from)).and_then(|line| line.front().copied());
                    let Some(first) = first else { continue };
                    let line = plain.entry(of(to)).or_default();
                    let moved = queue.moves(of(from), of(to), first, depth, 0);
                    // A full line keeps those that arrived first.
                    let newer = line.back().copied().filter(|last| *last > first);
                    let displaced = newer.filter(|_| from != to && line.len() >= depth);
                    let has_room = line.len() < depth || displaced.is_some();
                    prop_assert_eq!(moved, from != to && has_room);
                    prop_assert_eq!(queue.take_displaced(), Vec::from_iter(displaced));
                    if moved {
                        if displaced.is_some() {
                            line.pop_back();
                        }
                        // Streams are numbered in the order of their arrival.
                        let place = line.partition_point(|known| *known < first);
                        line.insert(place, first);
                        plain.entry(of(from)).or_default().pop_front();
                    }
                }
                Step::Serve(most) => {
                    let most = usize::from(most);
                    let firsts = queue.poll_first(most);
                    let lines = plain.values().filter(|line| !line.is_empty());
                    prop_assert_eq!(firsts.len(), lines.count().min(most));
                    for context in firsts {
                        let of = plain.iter_mut().find(|(_, line)| line.front() == Some(&context));
                        let (counter, line) = of.expect("it is the first of a line");
                        prop_assert_eq!(queue.ahead(*counter, Some(context)), None);
                        line.pop_front();
                        prop_assert!(queue.remove(*counter, context));
                    }
                }
            }
            let mut all: Vec<u32> = plain.values().flatten().copied().collect();
            let mut known = queue.all();
            all.sort_unstable();
            known.sort_unstable();
            prop_assert_eq!(queue.len(), all.len());
            prop_assert_eq!(&known, &all);
            // Nothing is ahead of the request that arrived first.
            for counter in plain.keys() {
                prop_assert_eq!(queue.ahead(*counter, known.first().copied()).filter(|_| !known.is_empty()), None);
            }
            for (counter, line) in &plain {
                prop_assert!(line.len() <= depth);
                prop_assert_eq!(queue.ahead(*counter, None).is_some(), !line.is_empty());
            }
        }
    }
}
