//! A service that is slow, or for which Envoy makes no more calls.

use crate::host::double::Call;
use crate::host::{HeaderMap, HostError};
use crate::memory::Share;
use crate::stream::tests::harness::{completion, request};
use crate::stream::tests::service::harness::{CHECK, Gateway, RESERVE, RLS, rls, with_queue};
use crate::telemetry::release_gauges;
use limits::service::CallId;

/// The most settlement calls of a worker under way.
const MAX_CALLS: usize = 64;

impl Gateway {
    /// Returns the calls that have no reply yet.
    fn under_way(&self) -> usize {
        self.methods().len() - self.answered
    }

    /// An exchange of so many tokens whose checks are replied to, and whose settlement is not.
    fn exchange_unsettled(&mut self, tokens: u64) {
        let mut stream = self.envoy.stream();
        stream.on_request_headers(true);
        let last = u32::try_from(self.methods().len()).unwrap();
        let call = self.call(self.methods().len() - 1);
        let said = self.limitador.call(&call.method, &call.message).unwrap();
        let reply = self.envoy.plugin.on_reply(CallId(last), Ok(&said));
        stream.on_check_reply(reply.unwrap());
        stream.on_response_headers(false);
        self.envoy.body(&mut stream, &completion(tokens), true);
        stream.on_log();
    }

    /// Replies to the settlements whose place in the order is given.
    fn settle_open(&mut self, indexes: &[usize]) {
        for &index in indexes {
            let call = self.call(index);
            let said = self.limitador.call(&call.method, &call.message).unwrap();
            let token = u32::try_from(index + 1).unwrap();
            assert!(
                self.envoy
                    .plugin
                    .on_reply(CallId(token), Ok(&said))
                    .is_none()
            );
        }
    }
}

#[test]
fn settlements_under_way_are_bounded_and_merged() {
    for storage in [RESERVE, CHECK, RLS] {
        let mut gateway = Gateway::new(storage);
        gateway.limitador.limit = 1_000_000;
        let mut open: Vec<usize> = Vec::new();
        for _ in 0..300 {
            let before = gateway.methods().len();
            gateway.exchange_unsettled(3);
            // The first of the calls is the check.
            open.extend(before + 1..gateway.methods().len());
            gateway.envoy.plugin.on_tick();
            assert!(open.len() <= MAX_CALLS, "{storage}");
        }
        assert_eq!(open.len(), MAX_CALLS, "{storage}");
        let pending = gateway
            .envoy
            .host
            .metric("tollgate.storage_settlements_pending");
        assert_eq!(pending, 1, "what waits is one settlement: {storage}");

        // As soon as there is room, what was merged is sent.
        let before = gateway.methods().len();
        gateway.settle_open(&open);
        assert!(gateway.methods().len() - before <= MAX_CALLS, "{storage}");
        gateway.answered = before;
        gateway.answer(&mut None);
        gateway.wait(100);
        assert_eq!(gateway.under_way(), 0);
        assert_eq!(gateway.limitador.total(), 900, "{storage}");
        assert!(gateway.limitador.reserved.is_empty(), "all are released");
        assert!(gateway.envoy.plugin.is_drained());
    }
}

#[test]
fn saturated_service_keeps_circuit_closed() {
    for storage in [RESERVE, CHECK, RLS] {
        for mode in ["local", "allow", "deny"] {
            let mut gateway = Gateway::with_mode(storage, mode);
            gateway.limitador.limit = 1_000;
            assert_eq!(gateway.exchange(10), "admitted");
            let saturate = |gateway: &Gateway, times| {
                let host = &gateway.envoy.host;
                host.fail(Call::CallGrpc, times, HostError::InternalFailure);
            };
            // Neither the check nor the settlement is accepted: the own count decides.
            for _ in 0..4 {
                saturate(&gateway, 1_000);
                assert_eq!(gateway.exchange(10), "admitted", "{storage} {mode}");
            }
            saturate(&gateway, 1_000);
            assert_eq!(gateway.exchange(10), "denied", "{storage} {mode}");
            gateway.envoy.host.recover();
            assert_eq!(gateway.logged("storage_circuit_open"), 0);
            let unmade = gateway
                .envoy
                .host
                .metric("tollgate.storage_calls_saturated");
            assert!(unmade >= 5, "{unmade}");
            gateway.wait(50);
            let used = if storage == RLS { 40..=50 } else { 50..=50 };
            assert!(
                used.contains(&gateway.limitador.total()),
                "{storage} {mode}"
            );
            let retried = gateway
                .envoy
                .host
                .metric("tollgate.storage_settlements_retried");
            assert_eq!(retried, 0, "none has failed");
        }
    }
}

#[test]
fn service_that_never_replied_is_down() {
    let mut gateway = Gateway::with_mode(RESERVE, "deny");
    let host = &gateway.envoy.host;
    host.fail(Call::CallGrpc, 1_000, HostError::InternalFailure);
    for _ in 0..5 {
        assert_eq!(gateway.exchange(1), "failed");
    }
    assert_eq!(gateway.logged("storage_circuit_open"), 1);
}

#[test]
fn service_that_stopped_replying_is_down() {
    let mut gateway = Gateway::with_mode(CHECK, "deny");
    assert_eq!(gateway.exchange(1), "admitted");
    let host = &gateway.envoy.host;
    host.fail(Call::CallGrpc, 1_000, HostError::InternalFailure);
    host.clock.set(host.clock.get() + 1_100_000_000);
    assert_eq!(gateway.exchange(1), "failed");
}

#[test]
fn timeouts_beside_replies_keep_circuit_closed() {
    let mut gateway = Gateway::with_mode(CHECK, "deny");
    gateway.limitador.limit = 1_000;
    let mut open = Vec::new();
    for _ in 0..20 {
        gateway.exchange_unsettled(1);
        open.push(gateway.methods().len() - 1);
    }
    let clock = &gateway.envoy.host.clock;
    clock.set(clock.get() + 1_000_000);
    gateway.exchange_unsettled(1);
    let clock = &gateway.envoy.host.clock;
    clock.set(clock.get() + 1_000_000_000);
    for index in open {
        let token = u32::try_from(index + 1).unwrap();
        assert!(
            gateway
                .envoy
                .plugin
                .on_reply(CallId(token), Err(14))
                .is_none()
        );
    }
    assert_eq!(gateway.logged("storage_circuit_open"), 0);
    gateway.answered = gateway.methods().len() - 1;
    gateway.wait(10_000);
    assert_eq!(gateway.limitador.total(), 21);
}

#[test]
fn trap_takes_the_worker_off_gauges() {
    let mut gateway = with_queue(CHECK, 4, "1m");
    release_gauges(&*gateway.envoy.host);
    gateway.limitador.limit = 0;
    let _queued = gateway.come();
    let host = gateway.envoy.host.clone();
    host.fail(Call::CallGrpc, 1_000, HostError::InternalFailure);
    let clock = &host.clock;
    clock.set(clock.get() + 2_000_000_000);
    for caller in ["bob", "carol", "dave", "eve", "frank"] {
        let mut stream = gateway.envoy.stream();
        host.set_headers(HeaderMap::Request, &request(caller));
        stream.on_request_headers(true);
        stream.on_response_headers(false);
        gateway.envoy.body(&mut stream, &completion(1), true);
        stream.on_log();
    }
    let gauges = [
        "tollgate.queued",
        "tollgate.storage_circuit_open",
        "tollgate.storage_settlements_pending",
        "tollgate.memory_bytes",
    ];
    for gauge in &gauges[..3] {
        assert!(host.metric(gauge) > 0, "{gauge}");
    }
    release_gauges(&*host);
    for gauge in gauges {
        assert_eq!(host.metric(gauge), 0, "{gauge}");
    }
}

#[test]
fn headers_of_the_service_are_not_kept_without_memory() {
    let reply = rls(1, &[(1, 9, 3, 7)], &[("x-ratelimit-limit", "9")]);
    for is_exhausted in [false, true] {
        let rest = r#", "memory": { "perWorker": "32MiB" }"#;
        let gateway = Gateway::with("", RLS, rest);
        let before = Share::Headers.used();
        let mut stream = gateway.envoy.stream();
        stream.on_request_headers(true);
        let bytes = if is_exhausted { 29 << 20 } else { 0 };
        let others = vec![0_u8; bytes];
        let answered = gateway
            .envoy
            .plugin
            .on_reply(CallId(1), reply.as_deref().map_err(|it| *it));
        stream.on_check_reply(answered.unwrap());
        drop(others);
        assert_eq!(Share::Headers.used() > before, !is_exhausted);
        stream.on_response_headers(false);
        let headers = gateway.envoy.host.headers.borrow()[&HeaderMap::Response].clone();
        let is_passed_on = headers.iter().any(|(name, _)| name == "x-ratelimit-limit");
        assert_eq!(is_passed_on, !is_exhausted);
        stream.on_log();
        drop(stream);
        assert_eq!(Share::Headers.used(), before);
    }
}
