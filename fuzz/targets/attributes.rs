//! Any expression that compiles is evaluated on any metadata, headers and body without a panic.
//!
//! The lines of the input are an expression, the value of a header and the body of a request; the rest is
//! the metadata message.
#![no_main]

use libfuzzer_sys::fuzz_target;
use std::rc::Rc;
use tollgate::{Buffer, Double, HeaderMap, Plugin};

/// Returns a configuration with a limit that has this expression as its counter.
fn configuration(expression: &str) -> String {
    serde_json::json!({
        "auth": [
            { "metadata": "m" },
            { "filterState": "m" },
            { "header": { "identity.userid": "x" } }
        ],
        "policies": [{
            "apiVersion": "kuadrant.io/v1alpha1", "kind": "TokenRateLimitPolicy",
            "metadata": { "name": "p" },
            "spec": {
                "targetRef": { "group": "gateway.networking.k8s.io", "kind": "Gateway", "name": "g" },
                "limits": { "l": {
                    "rates": [{ "limit": 1, "window": "1m" }],
                    "counters": [{ "expression": expression }]
                } }
            }
        }]
    })
    .to_string()
}

fuzz_target!(|data: &[u8]| {
    let mut parts = data.splitn(4, |byte| *byte == b'\n');
    let mut part = || parts.next().unwrap_or_default();
    let (expression, header, body, metadata) = (part(), part(), part(), part());
    let Ok(expression) = str::from_utf8(expression) else {
        return;
    };
    let host = Rc::new(Double::default());
    host.set_property(&["metadata"], metadata);
    host.set_property(&["filter_state", "m"], body);
    let Ok(header) = str::from_utf8(header) else {
        return;
    };
    host.set_headers(
        HeaderMap::Request,
        &[
            (":path", "/"),
            ("content-type", "application/json"),
            ("x", header),
        ],
    );
    host.set_buffer(Buffer::RequestBody, body);
    let Ok(plugin) = Plugin::configure(host, configuration(expression).as_bytes()) else {
        return;
    };
    let mut stream = plugin.stream(1);
    let _ = stream.on_request_headers(false);
    let _ = stream.on_request_body(body.len(), true);
    stream.on_log();
});
