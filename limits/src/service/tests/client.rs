//! The client with a transport that says whether calls are made.

use super::super::mock::Limitador;
use super::super::{CallId, CheckError, Protocol, ReservationId};
use super::wire::{
    ADMITTED, NOW, after, check, client, client_of, client_with, open_circuit, settings, settle,
};
use super::{at, descriptors};
use std::collections::BTreeSet;
use std::rc::Rc;

#[test]
fn calls_under_way_do_not_make_a_dead_service_saturated() {
    let (client, wire) = client(Protocol::CheckReport);
    let call = check(&client, NOW).unwrap();
    wire.fails.set(true);
    let error_at = |milliseconds| check(&client, after(NOW, milliseconds)).unwrap_err();
    assert_eq!(error_at(100), CheckError::Saturated, "it may still reply");
    assert_eq!(error_at(101), CheckError::Failed);
    // A reply shows that it is there, also one that says nothing.
    client.on_reply(after(NOW, 102), call, Err(3));
    wire.fails.set(false);
    check(&client, after(NOW, 103)).unwrap();
    wire.fails.set(true);
    assert_eq!(error_at(1_102), CheckError::Saturated);
    assert_eq!(error_at(1_103), CheckError::Failed);
}

#[test]
fn late_replies_show_that_a_service_is_there() {
    let (client, wire) = client(Protocol::CheckReport);
    settle(&client, NOW, 1, 5);
    settle(&client, NOW, 2, 5);
    let reply: Result<&[u8], u32> = Ok(&[8, 1]);
    assert!(client.on_reply(after(NOW, 150), CallId(4), reply).is_none());
    wire.fails.set(true);
    let error_at = |milliseconds| check(&client, after(NOW, milliseconds)).unwrap_err();
    assert_eq!(error_at(240), CheckError::Saturated);
    assert_eq!(error_at(251), CheckError::Failed);
}

#[test]
fn clock_that_steps_back_opens_circuit_all_the_same() {
    let (client, wire) = client(Protocol::CheckReport);
    let call = check(&client, NOW).unwrap();
    client.on_reply(after(NOW, 1), call, Ok(&[8, 1]));
    let then = at(1_000_000_000);
    for _ in 0..5 {
        let call = check(&client, then).unwrap();
        client.on_reply(after(then, 100), call, Err(14));
    }
    assert!(wire.is_open() && client.is_circuit_open());
}

#[test]
fn clock_that_steps_back_does_not_saturate() {
    let (client, wire) = client(Protocol::CheckReport);
    let call = check(&client, NOW).unwrap();
    client.on_reply(after(NOW, 1), call, Ok(&[8, 1]));
    wire.fails.set(true);
    let then = at(1_000_000_000);
    assert_eq!(check(&client, then), Err(CheckError::Failed));
}

#[test]
fn implausible_usage_is_capped_wherever_it_leaves() {
    const MAX: u64 = 64 * u32::MAX as u64;
    let id = || Some(ReservationId("1".to_owned()));
    // Sent at once; queued because no call is made; queued because none is replied to.
    let (sent, wire) = client(Protocol::Reserve);
    sent.settle(NOW, &descriptors(1, 1), id(), 1 << 40, &vec![]);
    assert_eq!(wire.amounts(0), [("Commit".to_owned(), MAX)]);
    assert_eq!(wire.lost(), (1 << 40) - MAX);
    for is_made in [false, true] {
        let (client, wire) = client(Protocol::Reserve);
        check(&client, NOW).unwrap();
        wire.calls.borrow_mut().clear();
        wire.fails.set(!is_made);
        client.settle(NOW, &descriptors(1, 1), id(), 1 << 40, &vec![]);
        client.fail_calls(NOW);
        wire.fails.set(false);
        let mut limitador = Limitador::new(u64::MAX);
        let mut replied = wire.len();
        for tick in 0..200 {
            let now = after(NOW, 50 * tick);
            client.on_tick(now);
            while let Some(call) = wire.call(replied) {
                replied += 1;
                let reply = limitador.call(&call.method, &call.message);
                let id = CallId(u32::try_from(4 * replied).unwrap());
                client.on_reply(now, id, reply.as_deref().map_err(|it| *it));
            }
        }
        assert_eq!(limitador.total(), MAX, "{is_made}");
        assert_eq!(wire.lost(), (1 << 40) - MAX);
    }
}

#[test]
fn credit_of_a_service_that_drops_excess_erases_nothing() {
    let (client, wire) = client(Protocol::EnvoyRls);
    let alice = descriptors(1, 1);
    client.settle(NOW, &alice, None, 10, &vec![]);
    // What was credited before is forgotten, too.
    client.credit(NOW, &alice, 7, after(NOW, 60_000));
    // The service has not added what did not fit.
    client.on_reply(NOW, CallId(4), Ok(&[8, 2]));
    wire.fails.set(true);
    client.settle(NOW, &alice, None, 30, &vec![]);
    client.credit(NOW, &alice, 20, after(NOW, 60_000));
    wire.fails.set(false);
    let known = wire.len();
    client.on_tick(after(NOW, 50));
    assert_eq!(wire.amounts(known), [("ShouldRateLimit".to_owned(), 30)]);
}

#[test]
fn calls_that_have_ended_are_not_under_way() {
    let (client, wire) = client(Protocol::CheckReport);
    let call = check(&client, NOW).unwrap();
    client.on_reply(after(NOW, 10), call, Err(14));
    wire.fails.set(true);
    assert_eq!(check(&client, after(NOW, 20)), Err(CheckError::Failed));
    // The time of those that follow begins anew.
    wire.fails.set(false);
    check(&client, after(NOW, 300)).unwrap();
    wire.fails.set(true);
    assert_eq!(check(&client, after(NOW, 400)), Err(CheckError::Saturated));
    client.on_reply(after(NOW, 401), CallId(8), Err(14));
    let (client, wire) = super::wire::client(Protocol::CheckReport);
    settle(&client, NOW, 1, 5);
    client.fail_calls(after(NOW, 10));
    wire.fails.set(true);
    assert_eq!(check(&client, after(NOW, 20)), Err(CheckError::Failed));
}

#[test]
fn service_without_any_reply_is_not_saturated() {
    let (client, wire) = client(Protocol::CheckReport);
    wire.fails.set(true);
    // Also where the clock begins with zero.
    assert_eq!(check(&client, at(500_000_000)), Err(CheckError::Failed));
}

#[test]
fn replies_to_other_workers_show_service_answers() {
    let shared = Rc::default();
    let worker = || client_of(settings(Protocol::CheckReport), &shared);
    let [(first, _), (second, wire)] = [worker(), worker()];
    let call = check(&first, NOW).unwrap();
    first.on_reply(NOW, call, ADMITTED);
    wire.fails.set(true);
    assert_eq!(
        check(&second, after(NOW, 1_000)),
        Err(CheckError::Saturated)
    );
    assert_eq!(check(&second, after(NOW, 1_001)), Err(CheckError::Failed));
}

#[test]
fn failures_after_reply_open_circuit() {
    let (client, wire) = client(Protocol::CheckReport);
    let call = check(&client, NOW).unwrap();
    client.on_reply(NOW, call, ADMITTED);
    // The clock of a worker stands still while it handles what has arrived.
    open_circuit(&client, &wire, NOW);
}

#[test]
fn delays_of_workers_differ() {
    let retry_of = |seed| {
        let (client, wire) = client_with(settings(Protocol::EnvoyRls), &Rc::default(), seed);
        settle(&client, NOW, 1, 5);
        client.on_reply(NOW, CallId(4), Err(14));
        let is_sent = |milliseconds: &u64| {
            client.on_tick(after(NOW, *milliseconds));
            wire.len() == 2
        };
        (125..=250).find(is_sent).expect("it is sent again in time")
    };
    let delays: BTreeSet<u64> = (0..10).map(retry_of).collect();
    assert!(delays.len() > 5, "{delays:?}");
}
