//! Generations against a list of reservations.

use super::*;
use proptest::prelude::*;

#[derive(Clone, Debug)]
enum Operation {
    Reserve(u64),
    Release(usize),
    Wait(u64),
}

/// A reservation that was not released.
struct Listed {
    generation: GenerationId,
    at: Timestamp,
    amount: u64,
}

fn operation() -> impl Strategy<Value = Operation> {
    prop_oneof![
        (0..100_u64).prop_map(Operation::Reserve),
        (0..100_usize).prop_map(Operation::Release),
        (0..15_u64).prop_map(Operation::Wait),
    ]
}

fn reserved(listed: &[Listed], now: Timestamp, within: u64) -> u64 {
    let live = listed
        .iter()
        .filter(|listed| now.since(listed.at) < Nanos::new(within));
    live.map(|listed| listed.amount).sum()
}

proptest! {
    #[test]
    fn reservations_live_one_to_two_lifetimes(
        operations in prop::collection::vec(operation(), 0..60),
        lifetime in 1..40_u64,
    ) {
        let mut generations = Generations::default();
        let mut listed = Vec::<Listed>::new();
        let mut now = Timestamp::new(1000);
        for operation in operations {
            match operation {
                Operation::Reserve(amount) => {
                    let generation = generations.reserve(now, Nanos::new(lifetime), amount);
                    listed.push(Listed { generation, at: now, amount });
                }
                Operation::Release(_) if listed.is_empty() => {}
                Operation::Release(position) => {
                    let released = listed.swap_remove(position % listed.len());
                    generations.release(released.generation, released.amount);
                }
                Operation::Wait(time) => now = now.saturating_add(Nanos::new(time)),
            }
            generations = generations.advance(now);
            let total = generations.total();
            prop_assert!(reserved(&listed, now, lifetime) <= total);
            prop_assert!(total <= reserved(&listed, now, 2 * lifetime));
            prop_assert!(total == 0 || now < generations.expires_at());
            let forgotten = generations.advance(generations.expires_at().max(now));
            prop_assert_eq!(forgotten.total(), 0);
        }
    }
}

#[test]
fn longer_lifetime_wins_and_extremes_saturate() {
    let mut generations = Generations::default();
    generations.reserve(Timestamp::new(1000), Nanos::new(10), 1);
    generations.reserve(Timestamp::new(1005), Nanos::new(500), 2);
    assert_eq!(generations.advance(Timestamp::new(1504)).total(), 3);
    let generation = generations.reserve(Timestamp::MAX, Nanos::MAX, u64::MAX);
    generations.release(generation, u64::MAX);
    assert_eq!(generations.advance(Timestamp::MAX).total(), 0);
}

#[test]
fn reservations_expire_with_their_generation() {
    let until = Timestamp::new(100);
    for (current, previous, expected) in [
        (0, 0, Timestamp::EPOCH),
        (0, 5, until),
        (5, 0, Timestamp::new(110)),
        (5, 5, Timestamp::new(110)),
    ] {
        let generations = Generations {
            current,
            previous,
            until,
            lifetime: Nanos::new(10),
        };
        assert_eq!(generations.expires_at(), expected, "{generations:?}");
    }
}

#[test]
fn generation_survives_as_a_number() {
    let mut generations = Generations::default();
    let generation = generations.reserve(Timestamp::new(100), Nanos::new(10), 5);
    assert_ne!(generation, GenerationId::NONE);
    assert_eq!(GenerationId::from_u64(generation.to_u64()), generation);
    assert_eq!(GenerationId::NONE.to_u64(), 0);
}
