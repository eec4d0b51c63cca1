//! Long values that limits count by, in descriptors.

use super::harness::{Gateway, RESERVE};
use crate::host::HeaderMap;
use crate::stream::tests::harness::request;

#[test]
fn long_values_are_cut_at_a_service() {
    let mut gateway = Gateway::new(RESERVE);
    let mut descriptors = Vec::new();
    for end in ["a", "b"] {
        let user = format!("{}{end}", "u".repeat(20_000));
        let mut stream = gateway.envoy.stream();
        let headers = request(&user);
        gateway.envoy.host.set_headers(HeaderMap::Request, &headers);
        stream.on_request_headers(true);
        let mut stream = Some(stream);
        descriptors.push(
            gateway
                .envoy
                .host
                .grpc
                .borrow()
                .last()
                .unwrap()
                .message
                .clone(),
        );
        gateway.answer(&mut stream);
        stream.unwrap().on_log();
        gateway.answer(&mut None);
    }
    assert!(descriptors.iter().all(|message| message.len() < 600));
    assert_ne!(descriptors[0], descriptors[1]);
}
