//! What a caller meets: admission, holds, windows, pages, and other workers.

mod model;

use super::*;
use crate::host::double::{Call, Double};
use crate::host::{self, HostError, SharedData};
use std::collections::HashMap;
use std::sync::Mutex;
use std::thread;

const SECOND: u64 = 1_000_000_000;
const MINUTE: u64 = 60 * SECOND;
const TTL: u64 = 600 * SECOND;
/// A Thursday afternoon in 2026.
const NOW: u64 = 1_780_000_000 * SECOND;

fn fixed(identity: u128) -> Rate {
    let algorithm = Algorithm::Fixed;
    let length = MINUTE;
    Rate::new(identity, Window { algorithm, length })
}

fn claim(rate: &Rate, key: u128, limit: u64, hold: u64) -> Claim<'_> {
    Claim {
        rate,
        key,
        limit,
        hold,
    }
}

/// A worker with its exchange buffers.
struct Worker<'a> {
    local: Local,
    shared: &'a dyn SharedData,
    tickets: Vec<Ticket>,
    standings: Vec<Standing>,
}

impl<'a> Worker<'a> {
    fn new(shared: &'a dyn SharedData, max_counters: u32) -> Self {
        Self {
            local: Local::new(max_counters),
            shared,
            tickets: Vec::new(),
            standings: Vec::new(),
        }
    }

    fn try_admit(&mut self, now: u64, claims: &[Claim<'_>]) -> Result<Verdict, StorageError> {
        let Self {
            local,
            shared,
            tickets,
            standings,
        } = self;
        local.admit(*shared, now, claims, TTL, tickets, standings)
    }

    fn admit(&mut self, now: u64, claims: &[Claim<'_>]) -> bool {
        self.try_admit(now, claims).unwrap() == Verdict::Admitted
    }

    /// Settles the request admitted last.
    fn settle(&mut self, now: u64, claims: &[Claim<'_>], costs: &[u64]) {
        self.settle_with(now, claims, &self.tickets.clone(), costs);
    }

    fn settle_with(&mut self, now: u64, claims: &[Claim<'_>], tickets: &[Ticket], costs: &[u64]) {
        let settled = self.local.settle(
            self.shared,
            now,
            claims,
            tickets,
            costs,
            &mut self.standings,
        );
        settled.unwrap();
    }

    fn spend(&mut self, now: u64, claim: Claim<'_>, cost: u64) {
        self.settle_with(now, &[claim], &[], &[cost]);
    }

    fn standing(&mut self, now: u64, claim: Claim<'_>) -> Standing {
        self.settle_with(now, &[Claim { hold: 0, ..claim }], &[], &[]);
        self.standings[0]
    }
}

#[test]
fn a_lone_request_gets_in_while_anything_is_left_and_none_after() {
    let (shared, rate) = (Double::default(), fixed(1));
    let mut worker = Worker::new(&shared, 100);
    let claims = [claim(&rate, 7, 50, 4096)];
    assert!(worker.admit(NOW, &claims));
    worker.settle(NOW + SECOND, &claims, &[49]);
    assert_eq!(worker.standings[0].remaining(), 1);
    assert!(worker.admit(NOW + 2 * SECOND, &claims));
    worker.settle(NOW + 3 * SECOND, &claims, &[60]);
    let refused = worker.try_admit(NOW + 4 * SECOND, &claims).unwrap();
    let standing = Standing {
        limit: 50,
        used: 109,
        held: 0,
        resets_at: NOW + MINUTE,
    };
    assert_eq!(refused, Verdict::Denied { claim: 0, standing });
    assert!(!worker.admit(NOW + MINUTE - 1, &claims));
    assert!(worker.admit(NOW + MINUTE, &claims));
}

#[test]
fn concurrent_requests_get_in_as_far_as_their_holds_fit() {
    let (shared, rate) = (Double::default(), fixed(1));
    let mut worker = Worker::new(&shared, 100);
    let claims = [claim(&rate, 7, 1000, 100)];
    assert!(worker.admit(NOW, &claims));
    let tickets = worker.tickets.clone();
    let admitted = (1..64).filter(|_| worker.admit(NOW, &claims)).count();
    assert_eq!(admitted, 9);
    assert_eq!(worker.standings[0].held, 1000);
    worker.settle_with(NOW + SECOND, &claims, &tickets, &[30]);
    assert_eq!(worker.standing(NOW + SECOND, claims[0]).held, 900);
}

#[test]
fn admission_without_a_hold_writes_nothing() {
    let (shared, rate) = (Double::default(), fixed(1));
    let mut worker = Worker::new(&shared, 100);
    let claims = [claim(&rate, 7, 50, 0)];
    assert!(worker.admit(NOW, &claims));
    assert_eq!(shared.count(Call::SetSharedData), 0);
    worker.settle(NOW, &claims, &[50]);
    assert!(!worker.admit(NOW, &claims));
    assert_eq!(shared.count(Call::SetSharedData), 1);
}

#[test]
fn rates_on_one_key_are_read_and_written_once() {
    let shared = Double::default();
    let rates: Vec<Rate> = (0..6).map(fixed).collect();
    let mut worker = Worker::new(&shared, 65536);
    let claims: Vec<Claim> = rates.iter().map(|rate| claim(rate, 7, 50, 10)).collect();
    assert!(worker.admit(NOW, &claims));
    worker.settle(NOW, &claims, &[1, 2, 3, 4, 5, 6]);
    let used: Vec<u64> = worker.standings.iter().map(|s| s.used).collect();
    assert_eq!(used, [1, 2, 3, 4, 5, 6]);
    assert_eq!(shared.count(Call::SharedData), 2);
    assert_eq!(shared.count(Call::SetSharedData), 2);
}

#[test]
fn one_refusal_holds_nothing_anywhere_and_names_the_longest_wait() {
    let (shared, minute) = (Double::default(), fixed(1));
    let length = 60 * MINUTE;
    let algorithm = Algorithm::Fixed;
    let hour = Rate::new(2, Window { algorithm, length });
    let mut worker = Worker::new(&shared, 65536);
    let claims = [
        claim(&minute, 1, 50, 10),
        claim(&minute, 2, 50, 10),
        claim(&hour, 3, 50, 10),
        claim(&minute, 4, 50, 10),
    ];
    worker.spend(NOW, claims[1], 50);
    worker.spend(NOW, claims[2], 50);
    let Verdict::Denied { claim, standing } = worker.try_admit(NOW + 1, &claims).unwrap() else {
        panic!("admitted");
    };
    assert_eq!((claim, standing.resets_at), (2, NOW + length));
    for claim in claims {
        assert_eq!(worker.standing(NOW + 1, claim).held, 0);
    }
}

#[test]
fn a_counter_claimed_twice_holds_the_sum() {
    let (shared, rate) = (Double::default(), fixed(1));
    let mut worker = Worker::new(&shared, 100);
    let claims = [claim(&rate, 7, 100, 30), claim(&rate, 7, 100, 30)];
    assert!(worker.admit(NOW, &claims));
    assert_eq!(worker.standing(NOW, claims[0]).held, 60);
    let tickets = worker.tickets.clone();
    assert!(!worker.admit(NOW, &claims));
    worker.settle_with(NOW, &claims, &tickets, &[5, 6]);
    let standing = worker.standing(NOW, claims[0]);
    assert_eq!((standing.used, standing.held), (11, 0));
}

#[test]
fn a_limit_of_zero_refuses_always() {
    let (shared, rate) = (Double::default(), fixed(1));
    let mut worker = Worker::new(&shared, 100);
    let refused = worker.try_admit(NOW, &[claim(&rate, 7, 0, 10)]).unwrap();
    let standing = Standing {
        resets_at: NOW + MINUTE,
        ..Standing::default()
    };
    assert_eq!(refused, Verdict::Denied { claim: 0, standing });
}

#[test]
fn a_lost_hold_is_forgotten_and_not_released_from_others() {
    let (shared, rate) = (Double::default(), fixed(1));
    let mut worker = Worker::new(&shared, 100);
    let claims = [claim(&rate, 7, 100, 60)];
    assert!(worker.admit(NOW, &claims));
    let lost = worker.tickets.clone();
    assert!(!worker.admit(NOW + TTL - 1, &claims));
    let later = NOW + 2 * TTL;
    assert!(worker.admit(later, &claims));
    worker.settle_with(later, &claims, &lost, &[0]);
    assert_eq!(worker.standing(later, claims[0]).held, 60);
}

#[test]
fn a_hold_outlives_its_window_and_costs_the_next() {
    let (shared, rate) = (Double::default(), fixed(1));
    let mut worker = Worker::new(&shared, 100);
    let claims = [claim(&rate, 7, 100, 60)];
    assert!(worker.admit(NOW, &claims));
    let later = NOW + 2 * MINUTE;
    assert_eq!(worker.standing(later, claims[0]).held, 60);
    worker.settle(later, &claims, &[40]);
    let standing = worker.standing(later + MINUTE - 1, claims[0]);
    assert_eq!((standing.used, standing.held), (40, 0));
    assert_eq!(worker.standing(later + MINUTE, claims[0]).used, 0);
}

#[test]
fn a_clock_that_steps_back_neither_frees_nor_locks_out() {
    let (shared, rate) = (Double::default(), fixed(1));
    let mut worker = Worker::new(&shared, 100);
    let claims = [claim(&rate, 7, 50, 0)];
    worker.spend(NOW, claims[0], 50);
    let back = NOW - 1_000 * MINUTE;
    assert!(!worker.admit(back, &claims));
    assert!(!worker.admit(back + MINUTE - 1, &claims));
    assert!(worker.admit(back + MINUTE, &claims));
}

#[test]
fn counters_outlive_a_change_of_the_limit_but_not_of_the_identity() {
    let (shared, rate) = (Double::default(), fixed(1));
    let mut worker = Worker::new(&shared, 100);
    worker.spend(NOW, claim(&rate, 7, 50, 0), 70);
    let mut reloaded = Worker::new(&shared, 100);
    assert_eq!(reloaded.standing(NOW, claim(&rate, 7, 200, 0)).used, 70);
    assert_eq!(reloaded.standing(NOW, claim(&fixed(2), 7, 200, 0)).used, 0);
}

#[test]
fn values_that_are_no_pages_are_empty_and_counted() {
    let rate = fixed(1);
    for bytes in [&b"x"[..], b"tg\x02\x0b", b"tg\x01\x0brest", &[0xff; 84]] {
        let shared = Double::default();
        let mut worker = Worker::new(&shared, 1);
        worker.spend(NOW, claim(&rate, 7, 50, 0), 1);
        for (value, _) in shared.shared.borrow_mut().values_mut() {
            *value = bytes.to_vec();
        }
        worker.spend(NOW, claim(&rate, 7, 50, 0), 3);
        assert_eq!(worker.standings[0].used, 3);
        assert_eq!(worker.local.occupancy().unreadable, 1);
    }
}

#[test]
fn host_failures_are_told_with_the_claims_they_concern() {
    let (shared, rate) = (Double::default(), fixed(1));
    let mut worker = Worker::new(&shared, 65536);
    let claims = [
        claim(&rate, 1, 50, 5),
        claim(&rate, 2, 50, 5),
        claim(&rate, 1, 50, 5),
    ];
    shared.fail(Call::SharedData, 1, HostError::InternalFailure);
    let failure = StorageError::Host(HostError::InternalFailure);
    assert_eq!(worker.try_admit(NOW, &claims), Err(failure.clone()));
    assert!(worker.admit(NOW, &claims));
    shared.fail(Call::SetSharedData, 1, HostError::InternalFailure);
    let Worker {
        local,
        tickets,
        standings,
        ..
    } = &mut worker;
    let settled = local.settle(&shared, NOW, &claims, tickets, &[9, 9, 9], standings);
    let unsettled = StorageError::Unsettled {
        claims: vec![0, 2],
        cause: Box::new(failure),
    };
    assert_eq!(settled, Err(unsettled));
    assert_eq!(standings[1].used, 9);
}

#[test]
fn a_write_that_never_succeeds_is_given_up_and_holds_nothing() {
    let (shared, rate) = (Double::default(), fixed(1));
    let mut worker = Worker::new(&shared, 65536);
    let claims = [claim(&rate, 1, 50, 5), claim(&rate, 2, 50, 5)];
    shared.fail(Call::SetSharedData, 64, HostError::CasMismatch);
    assert_eq!(worker.try_admit(NOW, &claims), Err(StorageError::Contended));
    assert_eq!(worker.local.occupancy().retries, 64);
    assert_eq!(worker.standing(NOW, claims[0]).held, 0);
}

#[test]
fn debtors_stay_refused_in_a_flood_of_a_million_keys() {
    let (shared, rate) = (Double::default(), fixed(1));
    let mut worker = Worker::new(&shared, 1024);
    let debtors: Vec<_> = (0..8)
        .map(|n| claim(&rate, u128::MAX / 3 + n, 1000, 0))
        .collect();
    for debtor in &debtors {
        worker.spend(NOW, *debtor, 1000);
    }
    for key in 0..1_000_000 {
        let newcomer = [claim(&rate, key, 1000, 0)];
        if worker.admit(NOW + 1, &newcomer) {
            worker.settle(NOW + 1, &newcomer, &[30]);
        }
        if key % 1000 == 0 {
            for debtor in &debtors {
                assert!(!worker.admit(NOW + 2, &[*debtor]));
            }
        }
    }
    let pages = 1024_u64.div_ceil(6);
    assert_eq!(worker.local.occupancy().pages_full, pages);
    let bytes: usize = shared
        .shared
        .borrow()
        .values()
        .map(|(page, _)| page.len())
        .sum();
    assert!(bytes as u64 <= pages * (17 * 88 + 4));
    assert!(
        debtors
            .iter()
            .all(|debtor| worker.admit(NOW + 1 + MINUTE, &[*debtor]))
    );
}
/// Shared data that threads can share, as those of an Envoy do.
#[derive(Default)]
struct Memory(Mutex<HashMap<Vec<u8>, Written>>);

/// A value, and the number of the write.
type Written = (Vec<u8>, u32);

impl SharedData for Memory {
    fn shared_data(&self, key: &[u8]) -> host::Result<Option<(Vec<u8>, u32)>> {
        Ok(self.0.lock().unwrap().get(key).cloned())
    }

    fn set_shared_data(&self, key: &[u8], value: &[u8], expected: u32) -> host::Result<()> {
        let mut values = self.0.lock().unwrap();
        let written = values.get(key).map(|(_, written)| *written);
        if written.is_some_and(|written| written != expected) {
            return Err(HostError::CasMismatch);
        }
        let next = written.unwrap_or(0) + 1;
        values.insert(key.to_vec(), (value.to_vec(), next));
        Ok(())
    }
}

#[test]
fn eight_workers_leave_exactly_the_sum_and_never_pass_the_limit() {
    let (memory, tokens, requests) = (Memory::default(), fixed(1), fixed(2));
    let claims = [
        claim(&tokens, 1, 1000, 10),
        claim(&requests, 2, u64::MAX, 1),
    ];
    let admitted: u64 = thread::scope(|scope| {
        let worker = || {
            let mut worker = Worker::new(&memory, 65536);
            (0..500)
                .map(|_| {
                    let admitted = worker.admit(NOW, &claims);
                    if admitted {
                        worker.settle(NOW, &claims, &[9, 1]);
                    }
                    u64::from(admitted)
                })
                .sum::<u64>()
        };
        let workers: Vec<_> = (0..8).map(|_| scope.spawn(worker)).collect();
        workers
            .into_iter()
            .map(|worker| worker.join().unwrap())
            .sum()
    });
    let mut worker = Worker::new(&memory, 65536);
    let [tokens, requests] = claims.map(|claim| worker.standing(NOW, claim));
    assert_eq!((tokens.used, tokens.held), (9 * admitted, 0));
    assert_eq!((requests.used, requests.held), (admitted, 0));
    // The last one in may go past the limit, and none is refused while there is room for it alone.
    assert!((1000..1009).contains(&tokens.used), "{tokens:?}");
}
