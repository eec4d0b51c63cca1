//! Generations against a list of holds.

use super::*;
use proptest::prelude::*;

#[derive(Clone, Debug)]
enum Operation {
    Place(u64),
    Release(usize),
    Wait(u64),
}

/// A hold that was not released.
struct Listed {
    ticket: Ticket,
    placed: u64,
    amount: u64,
}

fn operation() -> impl Strategy<Value = Operation> {
    prop_oneof![
        (0..100_u64).prop_map(Operation::Place),
        (0..100_usize).prop_map(Operation::Release),
        (0..15_u64).prop_map(Operation::Wait),
    ]
}

fn held(listed: &[Listed], now: u64, within: u64) -> u64 {
    let live = listed.iter().filter(|hold| now < hold.placed + within);
    live.map(|hold| hold.amount).sum()
}

proptest! {
    #[test]
    fn a_hold_counts_for_one_to_two_lifetimes_unless_it_is_released(
        operations in prop::collection::vec(operation(), 0..60),
        lifetime in 1..40_u64,
    ) {
        let (mut holds, mut listed, mut now) = (Holds::default(), Vec::<Listed>::new(), 1000);
        for operation in operations {
            match operation {
                Operation::Place(amount) => {
                    let ticket = holds.place(now, lifetime, amount);
                    listed.push(Listed { ticket, placed: now, amount });
                }
                Operation::Release(_) if listed.is_empty() => {}
                Operation::Release(position) => {
                    let hold = listed.swap_remove(position % listed.len());
                    holds.release(hold.ticket, hold.amount);
                }
                Operation::Wait(time) => now += time,
            }
            holds = holds.advance(now);
            prop_assert!(held(&listed, now, lifetime) <= holds.total());
            prop_assert!(holds.total() <= held(&listed, now, 2 * lifetime));
            prop_assert!(holds.total() == 0 || now < holds.forgotten_at());
            prop_assert_eq!(holds.advance(holds.forgotten_at().max(now)).total(), 0);
        }
    }
}

#[test]
fn a_longer_lifetime_is_kept_and_extremes_do_not_overflow() {
    let mut holds = Holds::default();
    holds.place(1000, 10, 1);
    holds.place(1005, 500, 2);
    assert_eq!(holds.advance(1504).total(), 3);
    let ticket = holds.place(u64::MAX, u64::MAX, u64::MAX);
    holds.release(ticket, u64::MAX);
    assert_eq!(holds.advance(u64::MAX).total(), 0);
}
