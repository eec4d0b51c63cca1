//! Any expression that compiles is evaluated on any metadata, headers and body without a panic, and within its fuel.
//!
//! The lines of the input are an expression, the value of a header and the body of a request; the rest is
//! the metadata message. The header is also evaluated repeated to the length of the longest, and the body as many
//! elements of a list.
#![no_main]

use cel::common::value::{CowVal, Val};
use cel::context::VariableResolver;
use filter_config::{Expression, Failure, Fuel, FuelLimits, REQUEST_BODY};
use libfuzzer_sys::fuzz_target;
use std::rc::Rc;
use std::time::{Duration, Instant};
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

/// The longest header value that Envoy accepts by default, about.
const HEADER_BYTES: usize = 57 << 10;

/// The elements of a large body.
const ELEMENTS: usize = 4000;

/// How long an evaluation may take here, where sanitizers slow it down by far more than a module is slower.
const MAX_EVALUATION: Duration = Duration::from_millis(500);

/// A request whose values are large.
struct Large {
    path: Box<dyn Val>,
    headers: Box<dyn Val>,
    body: Box<dyn Val>,
}

// === impl Large ===

impl Large {
    fn new(header: &str, body: &[u8]) -> Self {
        let text = header.repeat(HEADER_BYTES / header.len().max(1));
        let element = serde_json::from_slice(body).unwrap_or(serde_json::json!({ "": { "": 0 } }));
        let value = |json: serde_json::Value| -> Box<dyn Val> {
            let value = cel::to_value(json).expect("JSON is a value");
            value.try_into().expect("JSON is a value")
        };
        Self {
            path: value(serde_json::json!(text)),
            headers: value(serde_json::json!({ "x": text, "y": header })),
            body: value(serde_json::json!(vec![
                element;
                ELEMENTS / body.len().max(1) + 1
            ])),
        }
    }
}

impl VariableResolver for Large {
    fn resolve<'b>(&'b self, variable: &str) -> Option<CowVal<'b, 'b>> {
        Some(CowVal::Borrowed(match variable {
            "request.path" | "llm.model" => &*self.path,
            "request.headers" => &*self.headers,
            REQUEST_BODY | "auth" => &*self.body,
            _ => return None,
        }))
    }
}

/// Evaluates an expression on large values: it ends soon, and has no value if its fuel is exhausted.
fn evaluate(expression: &Expression, request: &Large) {
    let fuel = Fuel::new(FuelLimits::default());
    let start = Instant::now();
    let value = expression.evaluate(request, &fuel);
    let is_exhausted = matches!(value, Err(Failure::Exhausted(_)));
    drop(value);
    let took = start.elapsed();
    assert!(took < MAX_EVALUATION, "{}: {took:?}", expression.source());
    assert!(fuel.steps() <= FuelLimits::default().steps);
    assert_eq!(is_exhausted, fuel.exhausted().is_some());
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
    let json = configuration(expression);
    let Ok(plugin) = Plugin::configure(host, json.as_bytes()) else {
        return;
    };
    let compiled = filter_config::parse(json.as_bytes()).expect("the plugin has accepted it");
    let request = Large::new(header, body);
    for limit in compiled.policies.iter().flat_map(|policy| &policy.limits) {
        for counter in &limit.counters {
            evaluate(counter, &request);
        }
    }
    let mut stream = plugin.stream(1);
    let _ = stream.on_request_headers(false);
    let _ = stream.on_request_body(body.len(), true);
    stream.on_log();
});
