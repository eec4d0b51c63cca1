//! A service that fails, and streams that end meanwhile.

use crate::host::double::Call;
use crate::host::{Direction, HostError};
use crate::stream::Next;
use crate::stream::tests::harness::completion;
use crate::stream::tests::service::harness::{CHECK, Gateway, RESERVE, RLS};
use limits::service::CallId;
use limits::service::mock::MockReply;

#[test]
fn failure_mode_decides_and_usage_is_settled_later() {
    let garbage: MockReply = Ok(vec![0x0a, 0xff]);
    let without_decision: MockReply = Ok(vec![8, 0]);
    let large: MockReply = Ok(vec![0; 100_000]);
    for storage in [RESERVE, CHECK] {
        for (mode, decision) in [
            ("local", "admitted"),
            ("allow", "failed_open"),
            ("deny", "failed"),
        ] {
            for said in [
                Err(14),
                Err(4),
                Err(13),
                garbage.clone(),
                without_decision.clone(),
                large.clone(),
            ] {
                let mut gateway = Gateway::with_mode(storage, mode);
                let decided = gateway.exchange_by(20, &mut |_| Some(said.clone()));
                assert_eq!(decided, decision, "{said:?}");
                if mode == "deny" {
                    assert_eq!(gateway.envoy.host.replies.borrow()[0].status, 500);
                }
                gateway.wait(10_000);
                let expected = if mode == "deny" { 0 } else { 20 };
                assert_eq!(
                    gateway.limitador.total(),
                    expected,
                    "{storage} {mode} {said:?}"
                );
                assert!(gateway.envoy.plugin.is_drained());
            }
        }
    }
}

#[test]
fn call_that_cannot_start_is_not_awaited() {
    for (mode, decision) in [
        ("local", "admitted"),
        ("allow", "failed_open"),
        ("deny", "failed"),
    ] {
        let mut gateway = Gateway::with_mode(RESERVE, mode);
        let host = &gateway.envoy.host;
        host.fail(Call::CallGrpc, 2, HostError::InternalFailure);
        assert_eq!(gateway.exchange(20), decision);
        gateway.wait(10_000);
        assert_eq!(
            gateway.limitador.total(),
            if mode == "deny" { 0 } else { 20 }
        );
    }
}

#[test]
fn disconnect_while_pending_releases_reservation() {
    let mut gateway = Gateway::new(RESERVE);
    let mut stream = gateway.envoy.stream();
    assert_eq!(stream.on_request_headers(true), Next::Pause);
    stream.on_log();
    drop(stream);
    assert_eq!(gateway.methods(), ["Reserve"]);
    gateway.answer(&mut None);
    assert_eq!(gateway.methods(), ["Reserve", "Commit"]);
    assert!(gateway.limitador.reserved.is_empty());
    assert_eq!(gateway.limitador.total(), 0);
    assert!(gateway.envoy.host.resumed.borrow().is_empty());
    assert!(gateway.envoy.host.replies.borrow().is_empty());
    assert_eq!(
        gateway.exchange(60),
        "admitted",
        "nothing is reserved locally"
    );
}

#[test]
fn open_circuit_only_probes() {
    let mut gateway = Gateway::new(CHECK);
    for _ in 0..5 {
        assert_eq!(gateway.exchange_by(1, &mut |_| Some(Err(14))), "admitted");
    }
    assert_eq!(gateway.logged("storage_circuit_open"), 1);
    assert_eq!(
        gateway.envoy.host.metric("tollgate.storage_circuit_open"),
        1
    );
    assert_eq!(gateway.envoy.host.metric("tollgate.storage_outages"), 1);
    let calls = gateway.methods().len();
    for _ in 0..10 {
        assert_eq!(gateway.exchange(1), "admitted");
    }
    assert_eq!(gateway.methods().len(), calls, "only probes are sent");
    assert_eq!(gateway.exchange(40), "admitted");
    assert_eq!(
        gateway.exchange(40),
        "denied",
        "55 are used, as this Envoy knows"
    );
    gateway.wait(10_000);
    assert_eq!(gateway.logged("storage_circuit_closed"), 1);
    assert_eq!(
        gateway.envoy.host.metric("tollgate.storage_circuit_open"),
        0
    );
    assert_eq!(gateway.limitador.total(), 55);
    assert_eq!(gateway.exchange(1), "denied");
    assert_eq!(gateway.methods().last().unwrap(), "CheckRateLimit");
}

#[test]
fn open_circuit_is_probed_without_traffic() {
    let mut gateway = Gateway::with_mode(RESERVE, "deny");
    for _ in 0..5 {
        assert_eq!(gateway.exchange_by(1, &mut |_| Some(Err(14))), "failed");
    }
    assert_eq!(gateway.exchange(1), "failed");
    gateway.wait(1_000);
    assert_eq!(gateway.exchange(1), "admitted");
    assert_eq!(gateway.limitador.total(), 1);
}

#[test]
fn local_count_failure_follows_failure_mode() {
    for (mode, decision, counted) in [("allow", "failed_open", 20), ("deny", "failed", 0)] {
        for storage in [RESERVE, CHECK] {
            let rest = format!(r#", "failureMode": "{mode}""#);
            let mut gateway = Gateway::with("", storage, &rest);
            let host = &gateway.envoy.host;
            host.fail(Call::SharedData, 1, HostError::InternalFailure);
            assert_eq!(gateway.exchange(20), decision, "{storage}");
            assert_eq!(gateway.limitador.total(), counted, "{storage}");
            assert!(gateway.limitador.reserved.is_empty());
            let replies = gateway.envoy.host.replies.borrow().len();
            assert_eq!(replies, usize::from(mode == "deny"));
        }
    }
}

#[test]
fn failing_host_gets_at_most_one_reply() {
    let failures = [
        Call::Now,
        Call::SharedData,
        Call::SetSharedData,
        Call::Resume(Direction::Request),
        Call::Reply,
        Call::CallGrpc,
        Call::WriteMetric,
    ];
    for storage in [RESERVE, CHECK, RLS] {
        for call in failures {
            for times in [1, 2, 5] {
                let gateway = Gateway::new(storage);
                let host = &gateway.envoy.host;
                let mut stream = gateway.envoy.stream();
                host.fail(call, times, HostError::InternalFailure);
                stream.on_request_headers(false);
                for token in 1..=4 {
                    let reply: Result<&[u8], u32> = Ok(&[8, 1]);
                    if let Some(answered) = gateway.envoy.plugin.on_reply(CallId(token), reply) {
                        stream.on_check_reply(answered);
                    }
                }
                stream.on_request_body(0, true);
                stream.on_response_headers(false);
                gateway.envoy.body(&mut stream, &completion(5), true);
                stream.on_log();
                gateway.envoy.plugin.on_tick();
                let resumed = host.count(Call::Resume(Direction::Request));
                let replied = host.count(Call::Reply);
                assert!(
                    resumed + replied <= 1,
                    "{storage} {call:?}: {resumed} {replied}"
                );
            }
        }
    }
}
