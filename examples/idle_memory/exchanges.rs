//! Exchanges that are idle, in each of the states in which one can be for long.

use limits::service::CallId;
use limits::service::mock::Limitador;
use std::cell::RefCell;
use std::rc::Rc;
use tollgate::{Buffer, Double, HeaderMap, Plugin, SentCall, Stream};

/// The exchanges of a state that are measured: enough for what they share to be little.
const EXCHANGES: u32 = 256;

/// A state, and the headers of its requests.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Case {
    pub(crate) state: &'static str,
    /// Fields of the limit.
    limit: &'static str,
    /// Settings beside the policies.
    settings: &'static str,
    /// Whether the request's headers are needed no longer.
    drops_headers: bool,
    reach: fn(&Filter, &mut Stream),
}

/// The most bytes of an idle exchange beside its headers: 2 KiB in the module, whose pointers are half as large.
const MAX_BYTES: isize = 2048 + 256;

/// The most bytes of what identifies the counters and the calls of one at a rate limit service.
const MAX_REMOTE_BYTES: isize = 1536;

/// The filter, and what is outside of it.
struct Filter {
    host: Rc<Double>,
    plugin: Plugin,
    limitador: RefCell<Limitador>,
}

/// What a state takes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Size {
    /// The bytes of an exchange, without the map of its request's headers where that is needed.
    pub(crate) bytes: isize,
    /// The bytes of that map, as Envoy passes it.
    pub(crate) headers: isize,
}

/// The headers of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Headers {
    /// As a client of an SDK sends them.
    Usual,
    /// With a path of 58 KB, a claim of 20 KB, and 100 other headers.
    Large,
}

/// All states in which an exchange can be for long.
pub(crate) const CASES: [Case; 12] = [
    Case {
        state: "waiting for the body",
        limit: "",
        settings: "",
        drops_headers: false,
        reach: |_, _| {},
    },
    Case {
        state: "waiting for the rest of the body",
        limit: "",
        settings: "",
        drops_headers: false,
        reach: |filter, stream| {
            body(
                filter,
                stream,
                br#"{"model":"m","stream":true,"messages":["#,
                false,
            );
        },
    },
    Case {
        state: "queued",
        limit: r#", "concurrency": 1, "onExceeded": { "queue": { "depth": 1024, "timeout": "1m" } }"#,
        settings: "",
        drops_headers: false,
        reach: |filter, stream| body(filter, stream, BODY, true),
    },
    Case {
        state: "waiting for a rate limit service",
        limit: "",
        settings: SERVICE,
        drops_headers: false,
        reach: |filter, stream| body(filter, stream, BODY, true),
    },
    Case {
        state: "admitted by a rate limit service",
        limit: "",
        settings: SERVICE,
        drops_headers: true,
        reach: |filter, stream| {
            body(filter, stream, BODY, true);
            filter.answer(stream);
        },
    },
    Case {
        state: "admitted, without a response",
        limit: "",
        settings: "",
        drops_headers: true,
        reach: |filter, stream| body(filter, stream, BODY, true),
    },
    Case {
        state: "the same, with a cost that reads a header",
        limit: r#", "cost": "usage.total_tokens * (request.headers['x-tier'] == 'gold' ? 1 : 2)""#,
        settings: "",
        drops_headers: false,
        reach: |filter, stream| body(filter, stream, BODY, true),
    },
    Case {
        state: "metering JSON, between chunks",
        limit: "",
        settings: "",
        drops_headers: true,
        reach: |filter, stream| {
            body(filter, stream, BODY, true);
            response(
                filter,
                stream,
                "application/json",
                br#"{"model":"m","choices":["#,
            );
        },
    },
    Case {
        state: "metering a stream, between chunks",
        limit: "",
        settings: r#", "usage": { "includeUsage": "never" }"#,
        drops_headers: true,
        reach: |filter, stream| {
            body(filter, stream, BODY, true);
            response(filter, stream, "text/event-stream", EVENTS);
        },
    },
    Case {
        state: "the same, with usage in every chunk",
        limit: "",
        settings: r#", "usage": { "includeUsage": "never" }"#,
        drops_headers: true,
        reach: |filter, stream| {
            body(filter, stream, BODY, true);
            response(filter, stream, "text/event-stream", EVENTS_WITH_USAGE);
        },
    },
    Case {
        state: "the same, counted by a rate limit service",
        limit: "",
        settings: SERVICE,
        drops_headers: true,
        reach: |filter, stream| {
            body(filter, stream, BODY, true);
            filter.answer(stream);
            response(filter, stream, "text/event-stream", EVENTS);
        },
    },
    Case {
        state: "the same, with a requested usage report",
        limit: "",
        settings: "",
        drops_headers: true,
        reach: |filter, stream| {
            body(filter, stream, BODY, true);
            response(filter, stream, "text/event-stream", EVENTS);
        },
    },
];

const BODY: &[u8] = br#"{"model":"gpt-4o","stream":true,"messages":[{"role":"user","content":"hi"}],"metadata":{"team":"t"}}"#;

const SERVICE: &str = r#", "storage": { "type": "limitador", "cluster": "limitador" }"#;

const EVENTS_WITH_USAGE: &[u8] = b"data: {\"model\":\"gpt-4o\",\"choices\":[{\"delta\":{\"content\":\"Hi\"}}],\"usage\":{\"prompt_tokens\":1,\"completion_tokens\":1}}\n\ndata: {\"usage\":{";

const EVENTS: &[u8] = b"data: {\"model\":\"gpt-4o\",\"choices\":[{\"delta\":{\"content\":\"Hi\"}}]}\n\ndata: {\"choices\":[";

// === impl Case ===

impl Case {
    /// Returns the most bytes of an exchange in the state beside its headers.
    pub(crate) fn max_bytes(&self) -> isize {
        if self.settings == SERVICE {
            MAX_BYTES + MAX_REMOTE_BYTES
        } else {
            MAX_BYTES
        }
    }
}

/// Returns the size of an exchange in a state.
pub(crate) fn measure(case: &Case, headers: Headers) -> Size {
    let host = Rc::new(Double::default());
    host.clock.set(1_700_000_000_000_000_000);
    let plugin = Plugin::configure(host.clone(), policy(case).as_bytes()).unwrap();
    host.grpc.borrow_mut().reserve(4 * EXCHANGES as usize);
    let filter = Filter {
        host,
        plugin,
        limitador: RefCell::new(Limitador::new(1_000_000_000_000)),
    };
    let mut streams = Vec::with_capacity(EXCHANGES as usize + 2);
    // The first ones define what all exchanges share.
    for id in 1..=2 {
        streams.push(exchange(case, headers, &filter, id));
    }
    let before = tollgate::allocated();
    for id in 3..EXCHANGES + 3 {
        streams.push(exchange(case, headers, &filter, id));
    }
    let bytes =
        (tollgate::allocated() - before).cast_signed() / isize::try_from(EXCHANGES).unwrap();
    let headers = if case.drops_headers {
        0
    } else {
        header_bytes(headers)
    };
    Size {
        bytes: bytes + isize::try_from(size_of::<Stream>()).unwrap() - headers,
        headers,
    }
}

fn exchange(case: &Case, headers: Headers, filter: &Filter, id: u32) -> Stream {
    let Filter { host, plugin, .. } = filter;
    set_headers(host, headers);
    let mut stream = plugin.stream(id);
    stream.on_request_headers(false);
    (case.reach)(filter, &mut stream);
    // What the double keeps is no part of the filter.
    host.calls.take();
    host.buffers.take();
    host.headers.take();
    for call in host.grpc.borrow_mut().iter_mut() {
        *call = SentCall::default();
    }
    stream
}

// === impl Filter ===

impl Filter {
    /// Answers the last call to the rate limit service.
    fn answer(&self, stream: &mut Stream) {
        let calls = self.host.grpc.borrow();
        let (id, call) = (
            CallId(u32::try_from(calls.len()).unwrap()),
            calls.last().unwrap(),
        );
        let mut limitador = self.limitador.borrow_mut();
        let reply = limitador.call(&call.method, &call.message).unwrap();
        // The double of the service has no part in what is measured.
        *limitador = Limitador::new(1_000_000_000_000);
        drop((calls, limitador));
        let reply = self.plugin.on_reply(id, Ok(&reply)).unwrap();
        stream.on_check_reply(reply);
    }
}

fn body(filter: &Filter, stream: &mut Stream, bytes: &[u8], end_of_stream: bool) {
    filter.host.set_buffer(Buffer::RequestBody, bytes);
    stream.on_request_body(bytes.len(), end_of_stream);
}

fn response(filter: &Filter, stream: &mut Stream, kind: &str, bytes: &[u8]) {
    let host = &filter.host;
    let headers = [
        (":status", "200"),
        ("content-type", kind),
        ("x-filler", &*"f".repeat(8_000)),
    ];
    host.set_headers(HeaderMap::Response, &headers);
    stream.on_response_headers(false);
    host.set_buffer(Buffer::ResponseBody, bytes);
    stream.on_response_body(bytes.len(), false);
}

/// Returns the names and values of a request's headers.
fn header_pairs(headers: Headers) -> Vec<(String, String)> {
    let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let mut pairs = vec![
        pair(":method", "POST"),
        pair(":authority", "llm"),
        pair("content-type", "application/json"),
        pair("user-agent", "sdk"),
        pair("x-groups", "free"),
        pair("x-tier", "gold"),
        pair("x-request-id", "0f5c1f4e-8f6e-4a5c-9d3e-2b1a0c9d8e7f"),
        pair(
            "traceparent",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        ),
    ];
    let path = "/v1/chat/completions";
    if headers == Headers::Usual {
        pairs.extend([pair(":path", path), pair("x-user-id", "alice")]);
        return pairs;
    }
    pairs.push(pair(":path", &format!("/{}{path}", "p".repeat(58_000))));
    pairs.push(pair("x-user-id", &"u".repeat(20_000)));
    for name in ["tracestate", "b3"] {
        pairs.push(pair(name, &"t".repeat(1_000)));
    }
    pairs.extend((0..100).map(|index| pair(&format!("x-filler-{index}"), "filler")));
    pairs
}

fn set_headers(host: &Double, headers: Headers) {
    let pairs = header_pairs(headers);
    let pairs: Vec<(&str, &str)> = pairs
        .iter()
        .map(|(n, v)| (n.as_str(), v.as_str()))
        .collect();
    host.set_headers(HeaderMap::Request, &pairs);
}

/// Returns the bytes of a map of headers as Envoy passes it.
fn header_bytes(headers: Headers) -> isize {
    let pairs = header_pairs(headers);
    let texts = pairs
        .iter()
        .map(|(name, value)| name.len() + value.len() + 10);
    isize::try_from(texts.sum::<usize>() + 4).unwrap()
}

fn policy(case: &Case) -> String {
    let Case {
        limit, settings, ..
    } = case;
    format!(
        r#"{{
          "policies": [{{
            "apiVersion": "kuadrant.io/v1alpha1", "kind": "TokenRateLimitPolicy",
            "metadata": {{ "name": "llm", "namespace": "test" }},
            "spec": {{
              "targetRef": {{ "group": "gateway.networking.k8s.io", "kind": "Gateway", "name": "g" }},
              "limits": {{
                "free": {{
                  "rates": [{{ "limit": 1000000000000, "window": "1m" }}],
                  "when": [
                    {{ "predicate": "request.path.endsWith(\"/v1/chat/completions\")" }},
                    {{ "predicate": "auth.identity.groups.split(\",\").exists(g, g == \"free\")" }}
                  ],
                  "counters": [
                    {{ "expression": "auth.identity.userid" }},
                    {{ "expression": "request.url_path" }}
                  ]{limit}
                }}
              }}
            }}
          }}],
          "auth": [{{ "header": {{ "identity.userid": "x-user-id", "identity.groups": "x-groups" }} }}]{settings}
        }}"#
    )
}
