//! Charges that are corrected at a rate limit service, whose protocols can only add.

use crate::host::HeaderMap;
use crate::stream::Next;
use crate::stream::tests::corrections::{TEXT, usage};
use crate::stream::tests::service::harness::{CHECK, Gateway, RESERVE, RLS};

impl Gateway {
    /// Returns a gateway where everything has room.
    fn with_room(storage: &str) -> Self {
        let mut gateway = Self::new(storage);
        gateway.limitador.limit = 1_000;
        gateway
    }

    /// Returns how often a settlement was sent: a call beyond the check that adds something.
    fn settlements(&self) -> usize {
        let methods = self.methods();
        let checks = ["Reserve", "CheckRateLimit"];
        let is_check = |method: &&String| checks.contains(&method.as_str());
        methods.len() - methods.iter().filter(is_check).count()
    }

    /// Returns an exchange whose response reports these tokens, one event after the other.
    fn exchange_of_events(&mut self, reports: &[u64]) {
        let mut stream = self.envoy.stream();
        assert_eq!(stream.on_request_headers(true), Next::Pause);
        let mut stream = Some(stream);
        self.answer(&mut stream);
        let mut stream = stream.unwrap();
        let headers = [(":status", "200"), ("content-type", "text/event-stream")];
        self.envoy.host.set_headers(HeaderMap::Response, &headers);
        stream.on_response_headers(false);
        self.envoy.body(&mut stream, TEXT, false);
        for tokens in reports {
            self.envoy.body(&mut stream, &usage(*tokens), false);
            self.answer(&mut None);
        }
        self.envoy.body(&mut stream, "", true);
        stream.on_log();
        self.answer(&mut None);
    }
}

#[test]
fn higher_report_adds_the_difference() {
    for storage in [RESERVE, CHECK, RLS] {
        let mut gateway = Gateway::with_room(storage);
        gateway.exchange_of_events(&[40, 60]);
        assert_eq!(gateway.limitador.total(), 60, "{storage}");
    }
}

#[test]
fn unchanged_report_settles_once() {
    for storage in [RESERVE, CHECK] {
        let mut gateway = Gateway::with_room(storage);
        gateway.exchange_of_events(&[40, 40]);
        assert_eq!(gateway.limitador.total(), 40, "{storage}");
        assert_eq!(gateway.settlements(), 1);
    }
}

#[test]
fn lower_report_reduces_what_is_settled_next() {
    for storage in [RESERVE, CHECK, RLS] {
        let mut gateway = Gateway::with_room(storage);
        gateway.exchange_of_events(&[60, 20]);
        assert_eq!(gateway.limitador.total(), 60, "{storage}");
        gateway.exchange_of_events(&[30]);
        gateway.exchange_of_events(&[30]);
        assert_eq!(gateway.limitador.total(), 80, "{storage}");
        assert!(gateway.limitador.reserved.is_empty(), "{storage}");
    }
}

#[test]
fn credit_ends_with_its_window() {
    for storage in [RESERVE, CHECK] {
        let mut gateway = Gateway::with_room(storage);
        gateway.exchange_of_events(&[60, 20]);
        gateway.wait(60_000);
        gateway.exchange_of_events(&[30]);
        assert_eq!(gateway.limitador.total(), 90, "{storage}");
    }
}

#[test]
fn queued_settlement_is_corrected_in_the_queue() {
    let flushed = CHECK.replace('}', r#", "flush": "100ms" }"#);
    let mut gateway = Gateway::with_room(&flushed);
    gateway.exchange_of_events(&[60, 20]);
    gateway.wait(200);
    assert_eq!(gateway.limitador.total(), 20);
}
