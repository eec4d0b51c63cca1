//! The CPU time of an exchange, natively and part by part, against the double of Envoy: it shows which
//! part a regression in `make bench` comes from. It prints, and asserts nothing.

use std::hint::black_box;
use std::rc::Rc;
use std::time::Instant;
use tollgate::{Buffer, Double, HeaderMap, Plugin};

const POLICY: &str = r#"{
  "policies": [{
    "apiVersion": "kuadrant.io/v1alpha1", "kind": "TokenRateLimitPolicy",
    "metadata": { "name": "llm", "namespace": "test" },
    "spec": {
      "targetRef": { "group": "gateway.networking.k8s.io", "kind": "Gateway", "name": "g" },
      "limits": {
        "free": {
          "rates": [{ "limit": 1000000000000, "window": "1m" }],
          "when": [
            { "predicate": "request.path == \"/v1/chat/completions\"" },
            { "predicate": "auth.identity.groups.split(\",\").exists(g, g == \"free\")" }
          ],
          "counters": [{ "expression": "auth.identity.userid" }]
        }
      }
    }
  }],
  "auth": [{ "header": { "identity.userid": "x-user-id", "identity.groups": "x-groups" } }]
}"#;

fn main() {
    let host = Rc::new(Double::default());
    host.clock.set(1_700_000_000_000_000_000);
    let plugin = Plugin::configure(host.clone(), POLICY.as_bytes()).unwrap();
    let body = format!(
        r#"{{"id":"1","object":"chat.completion","model":"m","choices":[{{"message":{{"role":"assistant","content":"{}"}}}}],"usage":{{"prompt_tokens":5,"completion_tokens":95,"total_tokens":100}}}}"#,
        "word ".repeat(360)
    );
    host.set_headers(
        HeaderMap::Response,
        &[
            (":status", "200"),
            ("content-type", "application/json"),
            ("server", "x"),
            ("date", "y"),
        ],
    );
    host.set_headers(
        HeaderMap::Request,
        &[
            (":method", "POST"),
            (":path", "/v1/chat/completions"),
            (":authority", "llm"),
            ("content-type", "application/json"),
            ("accept", "*/*"),
            ("user-agent", "bench"),
            ("x-user-id", "alice"),
            ("x-groups", "free"),
        ],
    );
    host.set_buffer(Buffer::ResponseBody, body.as_bytes());
    let rounds: u128 = std::env::args()
        .nth(1)
        .and_then(|n| n.parse().ok())
        .unwrap_or(50_000);
    let mut elapsed = [0u128; 4];
    for _ in 0..rounds {
        let start = Instant::now();
        let mut stream = plugin.stream(1);
        black_box(stream.on_request_headers(false));
        let admitted = Instant::now();
        stream.on_request_body(200, true);
        black_box(stream.on_response_headers(false));
        let headers = Instant::now();
        black_box(stream.on_response_body(body.len(), true));
        let settled = Instant::now();
        stream.on_log();
        let logged = Instant::now();
        for (elapsed, (from, to)) in elapsed.iter_mut().zip([
            (start, admitted),
            (admitted, headers),
            (headers, settled),
            (settled, logged),
        ]) {
            *elapsed += (to - from).as_nanos();
        }
        host.calls.borrow_mut().clear();
    }
    for (part, elapsed) in ["admit", "response headers", "meter and settle", "log"]
        .iter()
        .zip(elapsed)
    {
        println!("{part:>18} {:>6} ns", elapsed / rounds);
    }
}
