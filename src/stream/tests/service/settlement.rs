//! Settlements that are slow, fail, or are too large.

use crate::host::double::SentCall;
use crate::stream::Next;
use crate::stream::tests::harness::completion;
use crate::stream::tests::service::harness::{CHECK, Gateway, RESERVE, RLS};
use limits::service::message::RateLimitRequest;
use prost::Message;

#[test]
fn failed_settlement_is_retried() {
    for storage in [RESERVE, CHECK, RLS] {
        let mut gateway = Gateway::new(storage);
        gateway.limitador.limit = 1_000;
        let mut failures = 3;
        let settles = |call: &SentCall| match &*call.method {
            "Commit" | "Report" => true,
            "ShouldRateLimit" => {
                RateLimitRequest::decode(&*call.message)
                    .unwrap()
                    .hits_addend
                    > 0
            }
            _ => false,
        };
        for _ in 0..3 {
            let decision = gateway.exchange_by(40, &mut |call| {
                let fails = settles(call) && failures > 0;
                failures -= u32::from(fails);
                fails.then_some(Err(14))
            });
            assert_eq!(decision, "admitted");
        }
        let questions = if storage == RLS { 3 } else { 0 };
        assert_eq!(gateway.limitador.total(), questions);
        assert_eq!(
            gateway
                .envoy
                .host
                .metric("tollgate.storage_settlements_pending"),
            1
        );
        gateway.wait(5_000);
        assert_eq!(gateway.limitador.total(), 120);
        assert_eq!(
            gateway
                .envoy
                .host
                .metric("tollgate.storage_settlements_pending"),
            0
        );
        assert_eq!(
            gateway
                .envoy
                .host
                .metric("tollgate.storage_settlements_retried"),
            3
        );
    }
}

#[test]
fn slow_service_counts_once() {
    for storage in [RESERVE, CHECK] {
        let mut gateway = Gateway::with_mode(storage, "allow");
        for _ in 0..5 {
            let mut stream = gateway.envoy.stream();
            assert_eq!(stream.on_request_headers(true), Next::Pause);
            let mut stream = Some(stream);
            gateway.answer(&mut stream);
            let mut stream = stream.unwrap();
            stream.on_response_headers(false);
            gateway.envoy.body(&mut stream, &completion(7), true);
            stream.on_log();
            let settlement = gateway.call(gateway.answered);
            assert!(settlement.timeout_ms >= 1_000, "only probes are sent");
            // A request would have given up long before.
            let clock = &gateway.envoy.host.clock;
            clock.set(clock.get() + 600_000_000);
            gateway.answer(&mut None);
            gateway.wait(1_000);
        }
        assert_eq!(gateway.limitador.total(), 35, "{storage}");
        assert_eq!(
            gateway.logged("storage_circuit_open"),
            0,
            "requests are answered"
        );
    }
}

#[test]
fn silent_service_counts_at_most_twice() {
    for storage in [RESERVE, CHECK] {
        let mut gateway = Gateway::new(storage);
        assert_eq!(gateway.exchange(0), "admitted");
        // What arrives while a stream is paused is processed when it resumes.
        let mut stalled: Vec<SentCall> = Vec::new();
        for tokens in [10, 5] {
            gateway.exchange_by(tokens, &mut |call| {
                stalled.push(call.clone());
                Some(Err(14))
            });
        }
        for _ in 0..400 {
            let clock = &gateway.envoy.host.clock;
            clock.set(clock.get() + 50_000_000);
            gateway.envoy.plugin.on_tick();
            gateway.answer_by(&mut None, &mut |call| {
                stalled.push(call.clone());
                Some(Err(14))
            });
        }
        for call in stalled {
            let _ = gateway.limitador.call(&call.method, &call.message);
        }
        gateway.wait(20_000);
        let counted = gateway.limitador.total();
        assert!((15..=30).contains(&counted), "{storage}: {counted}");
    }
}

#[test]
fn absurd_usage_is_settled_in_bounded_parts() {
    const ABSURD: u64 = 1 << 40;
    const PART: u64 = u32::MAX as u64;
    let counted = 64 * PART;
    for (storage, fails) in [(CHECK, false), (RESERVE, false), (RESERVE, true)] {
        let mut gateway = Gateway::new(storage);
        let decided = gateway.exchange_by(ABSURD, &mut |call| {
            (fails && call.method == "Commit").then_some(Err(14))
        });
        assert_eq!(decided, "admitted");
        gateway.wait(10_000);
        assert_eq!(gateway.limitador.total(), counted, "{storage} {fails}");
        assert!(gateway.envoy.plugin.is_drained());
        let lost = i64::try_from(ABSURD - counted).unwrap();
        let metric = gateway.envoy.host.metric("tollgate.storage_tokens_lost");
        assert_eq!(metric, lost, "{storage} {fails}");
        let lines = gateway.logged("settlements_lost");
        assert_eq!(lines, 1);
        // 64 parts, and an inquiry before those that are retried.
        assert!(gateway.methods().len() < 80);
    }
}
