//! A configuration that is replaced while the circuit is open.

use crate::plugin::Plugin;
use crate::stream::tests::harness::configuration;
use crate::stream::tests::service::harness::{CHECK, Gateway, RESERVE};
use std::rc::Rc;

impl Gateway {
    /// Replaces the configuration by one with this storage. Returns what was in force before.
    pub(in crate::stream::tests) fn reconfigure(&mut self, storage: &str) -> Rc<Plugin> {
        let rest = format!(r#", "storage": {storage}"#);
        let configuration = configuration("", &rest);
        let host = self.envoy.host.clone();
        let plugin = Plugin::configure(host, configuration.as_bytes()).unwrap();
        std::mem::replace(&mut self.envoy.plugin, Rc::new(plugin))
    }

    fn gauges(&self) -> (i64, i64) {
        let metric = |name| self.envoy.host.metric(name);
        (
            metric("tollgate.storage_circuit_open"),
            metric("tollgate.storage_settlements_pending"),
        )
    }
}

#[test]
fn queued_settlements_pass_to_successor() {
    for (before, after) in [(RESERVE, RESERVE), (CHECK, CHECK), (RESERVE, CHECK)] {
        let mut gateway = Gateway::new(before);
        gateway.limitador.limit = 1_000;
        for _ in 0..8 {
            gateway.exchange_by(5, &mut |_| Some(Err(14)));
        }
        assert_eq!(gateway.gauges(), (1, 1));
        let replaced = gateway.reconfigure(after);
        assert!(replaced.is_of_same_service(&gateway.envoy.plugin));
        replaced.hand_over(&gateway.envoy.plugin);
        assert!(replaced.is_drained());
        replaced.end(Some(&gateway.envoy.plugin));
        drop(replaced);
        assert_eq!(gateway.gauges(), (0, 1), "the new one has not failed yet");
        gateway.wait(10_000);
        assert_eq!(gateway.limitador.total(), 40);
        assert_eq!(gateway.gauges(), (0, 0));
        assert_eq!(gateway.envoy.host.metric("tollgate.storage_tokens_lost"), 0);
    }
}

#[test]
fn settlements_under_way_pass_to_successor_at_end() {
    let mut gateway = Gateway::new(CHECK);
    let mut stream = gateway.envoy.stream();
    stream.on_request_headers(true);
    let mut stream = Some(stream);
    gateway.answer(&mut stream);
    let mut stream = stream.unwrap();
    gateway.end(&mut stream, 7);
    let replaced = gateway.reconfigure(CHECK);
    replaced.hand_over(&gateway.envoy.plugin);
    assert!(!replaced.is_drained(), "it waits for a reply");
    replaced.end(Some(&gateway.envoy.plugin));
    assert!(replaced.is_drained());
    gateway.answered = gateway.methods().len();
    gateway.wait(10_000);
    assert_eq!(gateway.limitador.total(), 7);
}

#[test]
fn settlements_without_successor_are_logged_as_lost() {
    let other = CHECK.replace(r#""cluster": "limitador""#, r#""cluster": "other""#);
    let mut gateway = Gateway::new(CHECK);
    for _ in 0..8 {
        gateway.exchange_by(5, &mut |_| Some(Err(14)));
    }
    let replaced = gateway.reconfigure(&other);
    assert!(!replaced.is_of_same_service(&gateway.envoy.plugin));
    assert!(!replaced.drain());
    replaced.end(None);
    assert!(replaced.is_drained());
    assert_eq!(gateway.logged("settlements_lost"), 1);
    assert_eq!(
        gateway.envoy.host.metric("tollgate.storage_tokens_lost"),
        40
    );
    drop(replaced);
    assert_eq!(gateway.gauges(), (0, 0));
}
