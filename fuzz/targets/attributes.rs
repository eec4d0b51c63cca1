//! Any expression that compiles is evaluated on any metadata, headers and body.
//!
//! The input has lines: an expression, a header's value, a request's body; what follows is the metadata
//! message.
#![no_main]

use libfuzzer_sys::fuzz_target;
use std::rc::Rc;
use tollgate::admit::{self, Look};
use tollgate::attributes::{Attributes, Body};
use tollgate::host::double::Double;
use tollgate::host::{Headers, Host};
use tollgate::plugin::Plugin;

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
    let host = Double::default();
    host.set_property(&["metadata"], metadata);
    host.set_property(&["filter_state", "m"], body);
    let headers = Headers::from_pairs([(":path", b"/".as_slice()), ("x", header)]);
    let host: Rc<dyn Host> = Rc::new(host);
    let Ok(plugin) = Plugin::configure(host, configuration(expression).as_bytes()) else {
        return;
    };
    let mut attributes = Attributes::new(headers);
    attributes.body = Body::parse(body);
    let _ = admit::admit(&plugin, &mut attributes, Look::Last { expected: 1 });
});
