//! Whatever fails and however often, what was settled is what is counted.

mod properties;

use super::backoff;
use super::circuit::{Change, Circuit, FAILURES};
use super::message::{self, MessageError, NO_HITS};
use super::queue::{Kept, MOST_AGE, MOST_ENTRIES, Queue, Settlement};
use super::subject::{Layout, Limit, Subject};
use std::rc::Rc;

const SECOND: u64 = 1_000_000_000;

fn subject(limits: u128, caller: u32) -> Rc<Subject> {
    let value: Rc<str> = caller.to_string().into();
    let key = format!("tokenlimit.{limits}");
    let counters = [(Rc::from("auth.user"), value)];
    let limit = Limit {
        key: &key,
        counters: &counters,
    };
    Rc::new(Subject::new(
        "test".into(),
        &[limit],
        limits,
        Layout::Together,
    ))
}

fn settlement(subject: &Rc<Subject>, amount: u64, since: u64) -> Settlement {
    Settlement {
        subject: Rc::clone(subject),
        amount,
        since,
        failures: 0,
    }
}

#[test]
fn a_circuit_opens_after_failures_in_a_row_and_closes_with_an_answer() {
    let mut circuit = Circuit::default();
    for _ in 1..FAILURES {
        assert_eq!(circuit.failed(0, 0), None);
    }
    assert_eq!(circuit.succeeded(), None);
    for _ in 1..FAILURES {
        assert_eq!(circuit.failed(0, 0), None);
    }
    assert_eq!(circuit.failed(0, 0), Some(Change::Opened));
    assert_eq!(circuit.failed(0, 0), None, "told once");
    assert_eq!(circuit.succeeded(), Some(Change::Closed));
    assert!(!circuit.is_open());
}

#[test]
fn probes_come_ever_less_often_up_to_a_bound() {
    let mut circuit = Circuit::default();
    for _ in 0..FAILURES {
        circuit.failed(0, 0);
    }
    let mut probes = Vec::new();
    for tick in 0..600 {
        let now = tick * SECOND / 20;
        if circuit.probe(now, 0) {
            probes.push(now);
        }
    }
    let waits: Vec<u64> = probes.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!(waits.is_sorted(), "{waits:?}");
    assert_eq!(*waits.last().unwrap(), backoff::LONGEST);
    assert!(probes[0] <= SECOND / 2);
    // A clock that steps back an hour does not silence it.
    let mut circuit_then = circuit;
    assert!(circuit_then.probe(0, 0));
}

#[test]
fn a_wait_is_never_less_than_half_of_what_it_may_be() {
    for failures in 0..100 {
        let longest = backoff::wait(failures, 0);
        for random in [1, 12_345, u64::MAX / 2, u64::MAX] {
            let wait = backoff::wait(failures, random);
            assert!(wait * 2 >= longest && wait <= backoff::LONGEST);
        }
    }
}

#[test]
fn amounts_of_one_subject_are_one_entry() {
    let mut queue = Queue::default();
    let alice = subject(1, 1);
    for amount in [10, 20, 30] {
        assert_eq!(
            queue.add(settlement(&alice, amount, amount), 100),
            Kept::Own
        );
    }
    assert_eq!(queue.len(), 1);
    assert!(queue.take_due(99, 9).is_empty());
    let taken = queue.take_due(100, 9);
    assert_eq!(taken, [settlement(&alice, 60, 10)]);
    assert!(queue.is_empty());
}

#[test]
fn past_its_bound_a_queue_charges_others_of_the_same_limits() {
    let mut queue = Queue::default();
    let most = u32::try_from(MOST_ENTRIES).unwrap();
    for caller in 0..most {
        let kept = queue.add(settlement(&subject(1, caller), 1, caller.into()), 0);
        assert_eq!(kept, Kept::Own);
    }
    assert_eq!(
        queue.add(settlement(&subject(1, most), 5, 9), 0),
        Kept::Other
    );
    assert_eq!(queue.add(settlement(&subject(2, 0), 7, 9), 0), Kept::Own);
    assert_eq!(queue.len(), MOST_ENTRIES + 1);
    let oldest = queue.take_oldest().unwrap();
    assert_eq!((oldest.amount, oldest.since), (6, 0));
    let rest: u64 = queue
        .take_due(0, usize::MAX)
        .iter()
        .map(|settlement| settlement.amount)
        .sum();
    assert_eq!(rest, u64::from(most) - 1 + 7);
}

#[test]
fn a_queue_is_bounded_in_bytes_too() {
    let mut queue = Queue::default();
    let long = "x".repeat(60_000);
    let mut others = 0;
    for caller in 0..200_u32 {
        let value: Rc<str> = format!("{caller}{long}").into();
        let counters = [(Rc::from("auth.user"), value)];
        let limit = Limit {
            key: "tokenlimit.a",
            counters: &counters,
        };
        let subject = Subject::new("test".into(), &[limit], 1, Layout::Together);
        let kept = queue.add(settlement(&Rc::new(subject), 1, 0), 0);
        others += u32::from(kept == Kept::Other);
    }
    assert!(queue.len() < 100, "{}", queue.len());
    assert_eq!(others, 200 - u32::try_from(queue.len()).unwrap());
}

#[test]
fn what_has_waited_for_a_day_is_stale() {
    let settlement = settlement(&subject(1, 1), 1, SECOND);
    assert!(!settlement.is_stale(SECOND + MOST_AGE));
    assert!(settlement.is_stale(SECOND + MOST_AGE + 1));
}

#[test]
fn limits_lie_in_one_descriptor_or_each_in_its_own() {
    let counters = [(Rc::from("auth.user"), Rc::from("alice"))];
    let limits = ["tokenlimit.a", "tokenlimit.b"].map(|key| Limit {
        key,
        counters: &counters,
    });
    let together = Subject::new("d".into(), &limits, 0, Layout::Together);
    let entries = super::limitador::entries;
    let keys = |descriptor: &[u8]| -> Vec<String> {
        let entries = entries(descriptor).into_iter();
        entries.map(|(key, _)| key).collect()
    };
    assert_eq!(together.descriptors.len(), 1);
    assert_eq!(
        keys(&together.descriptors[0]),
        ["tokenlimit.a", "auth.user", "tokenlimit.b"]
    );
    let apart = Subject::new("d".into(), &limits, 0, Layout::Apart);
    assert_eq!(apart.descriptors.len(), 3);
    assert_eq!(apart.descriptors[0], together.descriptors[0]);
    assert_eq!(keys(&apart.descriptors[2]), ["tokenlimit.b", "auth.user"]);
    for (with, without) in apart.without_hits().iter().zip(&apart.descriptors) {
        assert!(with.starts_with(without) && with.ends_with(&NO_HITS));
    }
}

#[test]
fn replies_that_are_none_are_told_apart() {
    assert!(matches!(message::reserved(&[]), Err(MessageError::Code(0))));
    assert!(matches!(
        message::checked(&[8, 3]),
        Err(MessageError::Code(3))
    ));
    assert!(matches!(
        message::checked(&[0x0a, 0xff]),
        Err(MessageError::Malformed(_))
    ));
    let large = vec![0x7a; message::MOST_BYTES + 1];
    assert_eq!(message::checked(&large), Err(MessageError::TooLarge));
    // A reservation by a name that is too long to be one is as good as none.
    let mut reply = vec![8, 1, 0x12, 0xac, 0x02];
    reply.extend([b'x'; 300]);
    assert_eq!(message::reserved(&reply).unwrap().reservation, None);
}
