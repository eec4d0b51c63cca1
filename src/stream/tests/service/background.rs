//! Background responses whose counters are at a rate limit service.

use crate::stream::tests::background::response;
use crate::stream::tests::service::harness::{CHECK, Gateway, RESERVE};

#[test]
fn service_counts_the_report_once() {
    for storage in [RESERVE, CHECK] {
        let mut gateway = Gateway::new(storage);
        gateway.limitador.limit = 5_000;
        let stream = gateway.envoy.request("alice", "POST", "/v1/responses");
        let mut stream = Some(stream);
        gateway.answer(&mut stream);
        let body = response("resp_1", "queued", None);
        let envoy = &gateway.envoy;
        envoy.respond(stream.unwrap(), "application/json", &body, true);
        gateway.answer(&mut None);
        assert_eq!(gateway.limitador.total(), 0, "{storage}");
        for _ in 0..3 {
            let stream = gateway.envoy.request("bob", "GET", "/v1/responses/resp_1");
            let mut stream = Some(stream);
            gateway.answer(&mut stream);
            let body = response("resp_1", "completed", Some(70));
            let envoy = &gateway.envoy;
            envoy.respond(stream.unwrap(), "application/json", &body, true);
            gateway.answer(&mut None);
            assert_eq!(gateway.limitador.total(), 70, "{storage}");
        }
        assert!(gateway.limitador.reserved.is_empty(), "{storage}");
    }
}
