//! Callers share the places of a queue.

use super::{at, counter};
use crate::admit::queue::places::Scope;
use crate::admit::queue::{Arrival, MAX_DISPLACED, MAX_QUEUED, Place, Queue};
use crate::ledger::CounterId;
use crate::policies::CallerId;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

/// The depth of a line that only the worker bounds.
const DEEP: usize = MAX_QUEUED;

const ATTACKER: u128 = 1;
const VICTIM: u128 = 2;

/// A queue with streams that are numbered as they arrive.
#[derive(Default)]
struct Callers {
    queue: Queue<()>,
    streams: u32,
}

impl Callers {
    fn push(&mut self, counter: CounterId, caller: u128, depth: usize) -> Place {
        self.streams += 1;
        let arrival = Arrival {
            stream: self.streams,
            caller: CallerId::new(caller),
            until: at(0),
        };
        self.queue.push(counter, arrival, depth, ())
    }

    fn places(&self, caller: u128) -> usize {
        self.queue.places.of(Scope::Worker, CallerId::new(caller))
    }
}

#[test]
fn caller_with_many_keys_leaves_places() {
    let mut callers = Callers::default();
    for key in 0..2_000 {
        callers.push(counter(0, key), ATTACKER, 4);
    }
    assert_eq!(callers.places(ATTACKER), MAX_QUEUED);
    for request in 1..=100 {
        assert_eq!(callers.push(counter(1, 0), VICTIM, DEEP), Place::Taken);
        assert_eq!(callers.places(VICTIM), request);
        let newest = u32::try_from(MAX_QUEUED + 1 - request).unwrap();
        assert_eq!(
            callers.queue.take_displaced(),
            [newest],
            "the newest, although it is the first of its line"
        );
    }
    assert_eq!(callers.push(counter(2, 0), ATTACKER, 4), Place::None);
    assert_eq!(callers.queue.len(), MAX_QUEUED);
}

#[test]
fn caller_in_shared_line_leaves_places() {
    let mut callers = Callers::default();
    let shared = counter(0, 0);
    for _ in 0..20 {
        callers.push(shared, ATTACKER, 8);
    }
    let places: Vec<Place> = (0..6).map(|_| callers.push(shared, VICTIM, 8)).collect();
    assert_eq!(places[..4], [Place::Taken; 4]);
    assert_eq!(places[4..], [Place::None; 2], "both have four");
    assert_eq!(callers.queue.take_displaced(), [8, 7, 6, 5]);
    assert_eq!(callers.queue.poll_first(9), [1], "the order stays");
}

#[test]
fn invented_identities_are_bounded_by_line() {
    let mut callers = Callers::default();
    for identity in 0..2_000 {
        callers.push(counter(0, 0), 100 + identity, DEEP);
    }
    assert_eq!(callers.push(counter(1, 0), VICTIM, DEEP), Place::Taken);
    assert_eq!(callers.queue.take_displaced(), [1024]);
    assert_eq!(callers.push(counter(1, 0), VICTIM, DEEP), Place::None);
}

#[test]
fn longest_line_of_one_caller_gives_way() {
    let mut callers = Callers::default();
    for _ in 0..2_000 {
        callers.push(counter(0, 0), VICTIM, DEEP);
    }
    let other = counter(1, 0);
    assert_eq!(callers.push(other, VICTIM, DEEP), Place::Taken);
    assert_eq!(callers.queue.take_displaced(), [1024]);
    assert_eq!(callers.places(VICTIM), MAX_QUEUED);
}

#[test]
fn longest_line_gives_way_although_another_is_newer() {
    let mut callers = Callers::default();
    let (long, short) = (counter(0, 0), counter(1, 0));
    for _ in 0..MAX_QUEUED - 10 {
        callers.push(long, ATTACKER, DEEP);
    }
    for _ in 0..10 {
        callers.push(short, ATTACKER, DEEP);
    }
    assert_eq!(callers.push(counter(2, 0), VICTIM, DEEP), Place::Taken);
    let newest = u32::try_from(MAX_QUEUED - 10).unwrap();
    assert_eq!(callers.queue.take_displaced(), [newest]);
}

#[test]
fn full_line_gives_way_although_another_is_longer() {
    let mut callers = Callers::default();
    let (full, long) = (counter(0, 0), counter(1, 0));
    for line in [full, full, long, long, long] {
        callers.push(line, ATTACKER, 4);
    }
    assert_eq!(callers.push(full, VICTIM, 2), Place::Taken);
    assert_eq!(callers.queue.take_displaced(), [2]);
}

#[test]
fn moved_request_displaces_in_its_line() {
    let mut callers = Callers::default();
    let (one, two) = (counter(0, 0), counter(1, 0));
    for _ in 0..3 {
        callers.push(two, ATTACKER, 3);
    }
    callers.push(one, VICTIM, 3);
    assert_eq!(callers.queue.move_to(one, two, 4, 3, ()), Place::Taken);
    assert_eq!(callers.queue.take_displaced(), [3]);
    assert!(callers.queue.contains(two, 4) && !callers.queue.contains(one, 4));
    assert_eq!(callers.queue.len(), 3);
}

#[test]
fn moved_request_displaces_a_newer_one_of_its_caller() {
    let mut callers = Callers::default();
    let (one, two) = (counter(0, 0), counter(1, 0));
    callers.push(two, ATTACKER, 3);
    callers.push(one, ATTACKER, 3);
    callers.push(two, ATTACKER, 3);
    callers.push(two, ATTACKER, 3);
    callers.push(one, ATTACKER, 3);
    assert_eq!(callers.queue.move_to(one, two, 2, 3, ()), Place::Taken);
    assert_eq!(callers.queue.take_displaced(), [4], "the newest");
    assert_eq!(
        callers.queue.move_to(one, two, 5, 3, ()),
        Place::None,
        "it is the newest itself"
    );
}

#[test]
fn displaced_requests_are_bounded() {
    let mut callers = Callers::default();
    for key in 0..2_000 {
        callers.push(counter(0, key), ATTACKER, 4);
    }
    let joined =
        (0..2_000).filter(|other| callers.push(counter(1, *other), 100 + other, 4) == Place::Taken);
    assert_eq!(joined.count(), MAX_DISPLACED - 1);
    assert_eq!(callers.places(ATTACKER), 1);
}

#[derive(Clone, Debug)]
enum Step {
    Join { key: u8, caller: u8 },
    Leave(u16),
    Move { place: u16, key: u8 },
    Tick,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (0..12_u8, 0..6_u8).prop_map(|(key, caller)| Step::Join { key, caller }),
        1 => any::<u16>().prop_map(Step::Leave),
        2 => (any::<u16>(), 0..12_u8).prop_map(|(place, key)| Step::Move { place, key }),
        1 => Just(Step::Tick),
    ]
}

/// A queued request, as the model knows it: stream, line and caller.
type Known = (u32, CounterId, u128);

/// Returns the places of each caller in a scope.
fn shares(known: &[Known], scope: Scope) -> BTreeMap<u128, usize> {
    let mut shares = BTreeMap::new();
    for (_, line, caller) in known {
        if scope == Scope::Worker || scope == Scope::Line(*line) {
            *shares.entry(*caller).or_default() += 1;
        }
    }
    shares
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    /// Whatever happens, a request gets no place or loses it only if its caller has at least as many places as any
    /// other where there are none left; nothing is lost, and each request is displaced once at most.
    #[test]
    fn only_caller_with_most_gets_no_place(
        taken in 0..5_usize,
        depth in 1..40_usize,
        steps in prop::collection::vec(step(), 0..120),
    ) {
        let mut callers = Callers::default();
        let mut known: Vec<Known> = Vec::new();
        // All but a few places of the worker are taken by others, so that it is full soon.
        for other in 0..MAX_QUEUED.saturating_sub(taken * 10) {
            let line = counter(2, u128::try_from(other).unwrap());
            let caller = 1_000 + u128::try_from(other).unwrap();
            prop_assert_eq!(callers.push(line, caller, 1), Place::Free);
            known.push((callers.streams, line, caller));
        }
        let mut displaced: Vec<u32> = Vec::new();
        let mut rejected: BTreeSet<u32> = BTreeSet::new();
        for step in steps {
            let (scope, new, place) = match step {
                Step::Join { key, caller } => {
                    let line = counter(0, key.into());
                    let is_full = known.iter().filter(|it| it.1 == line).count() >= depth;
                    let scope = if is_full { Scope::Line(line) } else { Scope::Worker };
                    let place = callers.push(line, caller.into(), depth);
                    (scope, (callers.streams, line, caller.into()), place)
                }
                Step::Move { place, key } => {
                    let index = usize::from(place) % known.len();
                    let (stream, from, caller) = known[index];
                    let to = counter(0, key.into());
                    let place = callers.queue.move_to(from, to, stream, depth, ());
                    if from == to {
                        prop_assert_eq!(place, Place::None);
                        continue;
                    }
                    if place != Place::None {
                        known.remove(index);
                    }
                    (Scope::Line(to), (stream, to, caller), place)
                }
                Step::Leave(place) => {
                    let (stream, line, _) = known.remove(usize::from(place) % known.len());
                    prop_assert!(callers.queue.remove(line, stream));
                    continue;
                }
                Step::Tick => {
                    let gone = callers.queue.take_displaced();
                    prop_assert_eq!(&gone, &displaced);
                    for stream in displaced.drain(..) {
                        prop_assert!(rejected.insert(stream), "rejected twice");
                    }
                    continue;
                }
            };
            let mut with_new = known.clone();
            with_new.push(new);
            let shares = shares(&with_new, scope);
            let most = shares.values().copied().max().unwrap_or_default();
            match place {
                Place::Free => known.push(new),
                Place::None => prop_assert_eq!(shares[&new.2], most, "{:?}", scope),
                Place::Taken => {
                    let gone: Vec<Known> = known
                        .iter()
                        .filter(|(stream, line, _)| !callers.queue.contains(*line, *stream))
                        .copied()
                        .collect();
                    prop_assert_eq!(gone.len(), 1);
                    let (stream, line, caller) = gone[0];
                    prop_assert_eq!(shares[&caller], most, "{:?}", scope);
                    let is_newest = |it: &&Known| it.1 == line && it.2 == caller;
                    let newest = known.iter().filter(is_newest).map(|it| it.0).max();
                    prop_assert_eq!(newest, Some(stream));
                    known.retain(|it| it.0 != stream);
                    known.push(new);
                    displaced.push(stream);
                }
            }
            let mut all = callers.queue.all();
            all.sort_unstable();
            let mut expected: Vec<u32> = known.iter().map(|it| it.0).collect();
            expected.sort_unstable();
            prop_assert_eq!(all, expected);
            prop_assert!(known.len() <= MAX_QUEUED);
            for line in callers.queue.lines.values() {
                let arrivals = line.requests.iter().map(|it| it.arrival);
                prop_assert!(arrivals.is_sorted());
            }
            for (caller, share) in self::shares(&known, Scope::Worker) {
                prop_assert_eq!(callers.places(caller), share);
            }
        }
    }
}
