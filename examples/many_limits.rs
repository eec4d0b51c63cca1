//! The CPU time of an exchange with few and many limits of which the same two apply, and of configuring them, natively
//! against the double of Envoy. It prints, and asserts nothing.

use serde_json::{Map, Value, json};
use std::hint::black_box;
use std::rc::Rc;
use std::time::Instant;
use tollgate::{Buffer, Double, HeaderMap, Plugin};

/// The numbers of limits.
const SIZES: [usize; 5] = [1, 2, 10, 100, 1_000];

/// A policy with any number of limits, of which two apply to the request.
struct Case {
    name: &'static str,
    limit: fn(usize) -> Value,
}

const CASES: [Case; 12] = [
    Case {
        name: "subscription",
        limit: |index| limit(&[&format!("auth.identity.subscription == \"sub-{index}\"")]),
    },
    Case {
        name: "Kuadrant groups",
        limit: |index| {
            limit(&[&format!(
                "auth.identity.groups.split(\",\").exists(g, g == \"group-{index}\")"
            )])
        },
    },
    Case {
        name: "header in list",
        limit: |index| {
            limit(&[&format!(
                "request.headers[\"x-tier\"] in [\"tier-{index}\", \"other-{index}\"]"
            )])
        },
    },
    Case {
        name: "conjunction",
        limit: |index| {
            limit(&[&format!(
                "request.path.startsWith(\"/v1/\") && auth.identity.subscription == \"sub-{index}\""
            )])
        },
    },
    Case {
        name: "several predicates",
        limit: |index| {
            limit(&[
                "request.path == \"/v1/chat/completions\"",
                "request.method != \"GET\"",
                &format!("auth.identity.groups.split(\",\").exists(g, g == \"group-{index}\")"),
            ])
        },
    },
    Case {
        name: "missing claim",
        limit: |index| limit(&[&format!("auth.identity.plan == \"plan-{index}\"")]),
    },
    Case {
        name: "body",
        limit: |index| limit(&[&format!("requestBodyJSON(\"/model\") == \"model-{index}\"")]),
    },
    Case {
        name: "own body values",
        limit: |index| limit(&[&format!("requestBodyJSON(\"/model-{index}\") == \"m\"")]),
    },
    Case {
        name: "no counters",
        limit: |index| {
            let mut limit = limit(&[&format!("auth.identity.subscription == \"sub-{index}\"")]);
            limit["counters"] = json!([]);
            limit
        },
    },
    Case {
        name: "all without counters",
        limit: |_| {
            let mut limit = limit(&[]);
            limit["counters"] = json!([]);
            limit
        },
    },
    Case {
        name: "all with costs",
        limit: |index| {
            let mut limit = limit(&[]);
            limit["cost"] = format!("usage.input_tokens + usage.output_tokens * {index}").into();
            limit
        },
    },
    Case {
        name: "all with budgets",
        limit: |_| {
            let mut limit = limit(&[]);
            limit["cost"] = "usage.output_tokens > 0 ? usage.total_tokens : 0".into();
            limit["budgets"] = json!([{ "usd": "1000000.00", "window": "1h" }]);
            limit
        },
    },
];

fn limit(predicates: &[&str]) -> Value {
    let when = predicates
        .iter()
        .map(|predicate| json!({ "predicate": predicate }));
    json!({
        "rates": [{ "limit": 1_000_000_000_000_u64, "window": "1m" }],
        "when": when.collect::<Vec<_>>(),
        "counters": [{ "expression": "auth.identity.userid" }]
    })
}

/// Returns the configuration with this number of limits.
fn configuration(case: &Case, size: usize) -> String {
    // The two that apply are the last.
    let first = 1_000 - size;
    let limits = (first..1_000).map(|index| (format!("limit-{index}"), (case.limit)(index)));
    let policy = json!({
        "apiVersion": "kuadrant.io/v1alpha1", "kind": "TokenRateLimitPolicy",
        "metadata": { "name": "llm", "namespace": "test" },
        "spec": {
            "targetRef": { "group": "gateway.networking.k8s.io", "kind": "Gateway", "name": "g" },
            "limits": limits.collect::<Map<_, _>>()
        }
    });
    json!({
        "policies": [policy],
        "pricing": { "default": { "input": 1, "output": 2 } },
        "auth": [{ "header": {
            "identity.userid": "x-user-id", "identity.groups": "x-groups",
            "identity.subscription": "x-subscription"
        } }]
    })
    .to_string()
}

/// The shortest times of configuring, in nanoseconds.
#[derive(Clone, Copy)]
struct Configuring {
    /// Of reading the configuration.
    parsed: u128,
    /// Of reading it and preparing everything for exchanges.
    configured: u128,
}

impl Configuring {
    const NONE: Self = Self {
        parsed: u128::MAX,
        configured: u128::MAX,
    };

    fn run(&mut self, configuration: &str) {
        let start = Instant::now();
        black_box(filter_config::parse(configuration.as_bytes()).unwrap());
        self.parsed = self.parsed.min(start.elapsed().as_nanos());
        let host = Rc::new(Double::default());
        let start = Instant::now();
        black_box(Plugin::configure(host, configuration.as_bytes()).unwrap());
        self.configured = self.configured.min(start.elapsed().as_nanos());
    }
}

/// Exchanges under one configuration.
struct Exchanges {
    host: Rc<Double>,
    plugin: Plugin,
    configuration: String,
    configuring: Configuring,
    /// The fastest batch of exchanges, in nanoseconds for each.
    fastest: u128,
}

impl Exchanges {
    fn new(case: &Case, size: usize, body: &str) -> Self {
        let host = Rc::new(Double::default());
        host.clock.set(1_700_000_000_000_000_000);
        let configuration = configuration(case, size);
        let plugin = Plugin::configure(host.clone(), configuration.as_bytes()).unwrap();
        let response = [(":status", "200"), ("content-type", "application/json")];
        host.set_headers(HeaderMap::Response, &response);
        let request = [
            (":method", "POST"),
            (":path", "/v1/chat/completions"),
            (":authority", "llm"),
            ("content-type", "application/json"),
            ("accept", "*/*"),
            ("user-agent", "bench"),
            ("x-user-id", "alice"),
            ("x-groups", "all,group-998,group-999"),
            ("x-subscription", "sub-999"),
            ("x-tier", "tier-999"),
        ];
        host.set_buffer(Buffer::RequestBody, br#"{"model":"model-999"}"#);
        host.set_buffer(Buffer::ResponseBody, body.as_bytes());
        let exchanges = Self {
            host,
            plugin,
            configuration,
            configuring: Configuring::NONE,
            fastest: u128::MAX,
        };
        let first = if case.name == "no counters" {
            1_000 - size
        } else {
            999
        };
        // Each subscription has used its limit.
        for index in first..1_000 {
            let subscription = format!("sub-{index}");
            let request = request.map(|(name, value)| match name {
                "x-subscription" => (name, subscription.as_str()),
                _ => (name, value),
            });
            exchanges.host.set_headers(HeaderMap::Request, &request);
            exchanges.exchange(body);
        }
        exchanges
    }

    fn exchange(&self, body: &str) {
        let mut stream = self.plugin.stream(1);
        black_box(stream.on_request_headers(false));
        stream.on_request_body(21, true);
        black_box(stream.on_response_headers(false));
        black_box(stream.on_response_body(body.len(), true));
        stream.on_log();
        self.host.calls.borrow_mut().clear();
    }

    fn run(&mut self, rounds: u32, body: &str) {
        let start = Instant::now();
        for _ in 0..rounds {
            self.exchange(body);
        }
        let each = start.elapsed().as_nanos() / u128::from(rounds);
        self.fastest = self.fastest.min(each);
    }
}

fn main() {
    let body = format!(
        r#"{{"id":"1","object":"chat.completion","model":"m","choices":[{{"message":{{"role":"assistant","content":"{}"}}}}],"usage":{{"prompt_tokens":5,"completion_tokens":95,"total_tokens":100}}}}"#,
        "word ".repeat(360)
    );
    let only = std::env::args().nth(1);
    for case in &CASES {
        if only.as_ref().is_some_and(|only| !case.name.contains(only)) {
            continue;
        }
        // Where all of them apply, an exchange takes longer the more there are.
        let sizes = SIZES
            .iter()
            .take(if case.name.starts_with("all") { 4 } else { 5 });
        let mut all: Vec<_> = sizes
            .map(|size| Exchanges::new(case, *size, &body))
            .collect();
        for _ in 0..20 {
            for exchanges in &mut all {
                exchanges.run(100, &body);
                exchanges.configuring.run(&exchanges.configuration);
            }
        }
        for (size, exchanges) in SIZES.iter().zip(&all) {
            let Configuring { parsed, configured } = exchanges.configuring;
            println!(
                "{:>20} {size:>5} limits: {:>8} ns an exchange, read in {:>7} us, configured in {:>7} us",
                case.name,
                exchanges.fastest,
                parsed / 1_000,
                configured / 1_000
            );
        }
    }
}
