//! A filter with streams on the double of Envoy, and the messages that pass through it.

use crate::host::double::{Call, Double};
use crate::host::log_capture::LogCapture;
use crate::host::{Buffer, Direction, HeaderMap};
use crate::plugin::Plugin;
use crate::stream::state::State;
use crate::stream::{Next, Stream};
use limits::Standing;
use serde_json::{Value, json};
use std::cell::Cell;
use std::rc::Rc;

/// A minute in nanoseconds.
pub(in crate::stream::tests) const MINUTE: u64 = 60_000_000_000;

/// Returns a policy of 50 tokens a minute for each `x-user`, with whatever else is given.
pub(in crate::stream::tests) fn configuration(spec: &str, rest: &str) -> String {
    format!(
        r#"{{
          "policies": [{{
            "apiVersion": "kuadrant.io/v1alpha1", "kind": "TokenRateLimitPolicy",
            "metadata": {{ "name": "llm", "namespace": "test" }},
            "spec": {{
              "targetRef": {{ "group": "gateway.networking.k8s.io", "kind": "Gateway", "name": "g" }},
              "limits": {{ "free": {{
                "rates": [{{ "limit": 50, "window": "1m" }}],
                "counters": [{{ "expression": "auth.user" }}]
                {spec}
              }} }}
            }}
          }}],
          "auth": [{{ "header": {{ "user": "x-user" }} }}]
          {rest}
        }}"#
    )
}

impl Stream {
    /// How the counters of an admitted request stood.
    pub(in crate::stream::tests) fn standings(&self) -> Vec<Standing> {
        let State::Admitted(admitted) = &self.state else {
            return Vec::new();
        };
        let charges = admitted.admission.charges.iter();
        charges.map(|charge| charge.counter.standing).collect()
    }

    /// What an admitted request reserves.
    pub(in crate::stream::tests) fn reserved(&self) -> Vec<u64> {
        let State::Admitted(admitted) = &self.state else {
            return Vec::new();
        };
        let charges = admitted.admission.charges.iter();
        charges.map(|charge| charge.counter.amount).collect()
    }

    /// Returns whether an admitted request retains attributes.
    pub(in crate::stream::tests) fn retains_attributes(&self) -> bool {
        matches!(&self.state, State::Admitted(admitted) if admitted.retained.is_some())
    }
}

pub(in crate::stream::tests) struct Envoy {
    pub(in crate::stream::tests) host: Rc<Double>,
    pub(in crate::stream::tests) plugin: Rc<Plugin>,
    pub(in crate::stream::tests) log: LogCapture,
    /// How many streams there were; each is known by its number.
    pub(in crate::stream::tests) streams: Cell<u32>,
}

impl Envoy {
    pub(in crate::stream::tests) fn with(configuration: &str) -> Self {
        let log = LogCapture::start();
        let host = Rc::new(Double::default());
        host.clock.set(1_000 * MINUTE);
        let plugin = Plugin::configure(host.clone(), configuration.as_bytes()).unwrap();
        Self {
            host,
            plugin: Rc::new(plugin),
            log,
            streams: Cell::default(),
        }
    }

    pub(in crate::stream::tests) fn new() -> Self {
        Self::with(&configuration("", ""))
    }

    pub(in crate::stream::tests) fn stream(&self) -> Stream {
        self.host.filter_state.borrow_mut().clear();
        self.host.set_headers(HeaderMap::Request, &request("alice"));
        self.host.set_headers(
            HeaderMap::Response,
            &[(":status", "200"), ("content-type", "application/json")],
        );
        self.streams.set(self.streams.get() + 1);
        self.plugin.stream(self.streams.get())
    }

    pub(in crate::stream::tests) fn body(
        &self,
        stream: &mut Stream,
        body: &str,
        end: bool,
    ) -> Next {
        self.host.set_buffer(Buffer::ResponseBody, body.as_bytes());
        stream.on_response_body(body.len(), end)
    }

    /// Returns a whole exchange of so many tokens; whether it was admitted.
    pub(in crate::stream::tests) fn exchange(&self, tokens: u64) -> bool {
        let mut stream = self.stream();
        let admitted = stream.on_request_headers(false) == Next::Continue;
        if admitted {
            self.host.set_buffer(Buffer::RequestBody, &[b' '; 100]);
            stream.on_request_body(100, true);
            stream.on_response_headers(false);
            self.body(&mut stream, &completion(tokens), true);
        } else {
            stream.on_response_headers(false);
            stream.on_response_body(10, true);
        }
        stream.on_log();
        admitted
    }

    pub(in crate::stream::tests) fn state(&self, key: &str) -> Option<String> {
        self.host.filter_state.borrow().get(key).cloned()
    }
}

pub(in crate::stream::tests) fn request(user: &str) -> [(&'static str, &str); 4] {
    [
        (":method", "POST"),
        (":path", "/v1/chat/completions"),
        (":authority", "llm"),
        ("x-user", user),
    ]
}

/// Returns a completion that reports these tokens, one of them as input.
pub(in crate::stream::tests) fn completion(tokens: u64) -> String {
    let input = tokens.min(1);
    let output = tokens - input;
    let text = if output > 0 { "hi" } else { "" };
    format!(
        r#"{{"id":"1","object":"chat.completion","model":"m","choices":[{{"message":{{"content":"{text}"}}}}],
        "usage":{{"prompt_tokens":{input},"completion_tokens":{output},"total_tokens":{tokens}}}}}"#
    )
}

pub(in crate::stream::tests) const BODY_WHEN: &str =
    r#", "when": [{ "predicate": "requestBodyJSON('/model') == 'big'" }]"#;

/// Sends a request with this body; what Envoy is to do with it.
pub(in crate::stream::tests) fn send(envoy: &Envoy, stream: &mut Stream, body: &str) -> Next {
    send_as(envoy, stream, "application/json", body)
}

/// The same with a body of this content type.
pub(in crate::stream::tests) fn send_as(
    envoy: &Envoy,
    stream: &mut Stream,
    content_type: &str,
    body: &str,
) -> Next {
    let length = body.len().to_string();
    let mut headers = request("alice").to_vec();
    headers.push(("content-type", content_type));
    headers.push(("content-length", &length));
    headers.push(("accept-encoding", "gzip"));
    envoy.host.set_headers(HeaderMap::Request, &headers);
    let replies = envoy.host.replies.borrow().len();
    stream.on_request_headers(false);
    if envoy.host.replies.borrow().len() > replies {
        return Next::Pause;
    }
    envoy.host.set_buffer(Buffer::RequestBody, body.as_bytes());
    stream.on_request_body(body.len(), true)
}

pub(in crate::stream::tests) fn header(
    envoy: &Envoy,
    map: HeaderMap,
    name: &str,
) -> Option<String> {
    let maps = envoy.host.headers.borrow();
    let (_, value) = maps[&map].iter().find(|(key, _)| key == name)?;
    Some(String::from_utf8(value.clone()).unwrap())
}

/// Returns a limit of one request at once, for which others wait.
pub(in crate::stream::tests) fn with_queue(depth: u64, rest: &str) -> Envoy {
    let spec = format!(
        r#", "concurrency": 1, "reservation": {{ "amount": "0" }},
        "onExceeded": {{ "queue": {{ "depth": {depth}, "timeout": "5s" }} }}"#
    );
    Envoy::with(&configuration(&spec, rest))
}

pub(in crate::stream::tests) const SECOND: u64 = 1_000_000_000;

impl Envoy {
    /// Returns a tick, for the streams that there are.
    pub(in crate::stream::tests) fn tick(&self, streams: &mut [&mut Stream]) {
        self.plugin.poll_queue(|context| {
            let mut streams = streams.iter_mut();
            let stream = streams.find(|stream| stream.id == context)?;
            Some(stream.poll_queue())
        });
    }

    pub(in crate::stream::tests) fn wait(&self, nanoseconds: u64) {
        self.host.clock.set(self.host.clock.get() + nanoseconds);
    }

    /// Ends an admitted exchange, with so many tokens.
    pub(in crate::stream::tests) fn answer(&self, stream: &mut Stream, tokens: u64) {
        self.host.set_headers(
            HeaderMap::Response,
            &[(":status", "200"), ("content-type", "application/json")],
        );
        stream.on_response_headers(false);
        self.body(stream, &completion(tokens), true);
        stream.on_log();
    }

    pub(in crate::stream::tests) fn resumed(&self) -> usize {
        self.host.count(Call::Resume(Direction::Request))
    }

    pub(in crate::stream::tests) fn replies(&self) -> usize {
        self.host.replies.borrow().len()
    }

    pub(in crate::stream::tests) fn queued(&self) -> i64 {
        self.host.metric("tollgate.queued")
    }
}

/// Returns a limit of one request at once of all callers, for which up to `depth` wait, beside one that knows
/// callers apart.
pub(in crate::stream::tests) fn with_shared_queue(depth: u64) -> Envoy {
    let mut json: Value = serde_json::from_str(&configuration("", "")).unwrap();
    json["policies"][0]["spec"]["limits"] = json!({
        "all": { "concurrency": 1, "onExceeded": { "queue": { "depth": depth, "timeout": "5s" } } },
        "each": {
            "rates": [{ "limit": 1_000, "window": "1m" }],
            "counters": [{ "expression": "auth.user" }],
        },
    });
    Envoy::with(&json.to_string())
}

/// Returns a limit on all callers beside one on each, for both of which requests wait.
pub(in crate::stream::tests) fn with_two_queues() -> Envoy {
    let queue = json!({ "queue": { "depth": 2, "timeout": "5s" } });
    let limit = |most: u64, counter: &str| {
        json!({
            "concurrency": most, "counters": [{ "expression": counter }], "onExceeded": queue,
        })
    };
    let mut json: Value = serde_json::from_str(&configuration("", "")).unwrap();
    json["policies"][0]["spec"]["limits"] =
        json!({ "all": limit(2, "'all'"), "each": limit(1, "auth.user") });
    Envoy::with(&json.to_string())
}

impl Envoy {
    /// Requests the model `large`, with a response of so many tokens if it is admitted.
    pub(in crate::stream::tests) fn request_large(&self, rest: &str, tokens: u64) -> Stream {
        let mut stream = self.stream();
        let body = format!("{{\"model\":\"large\",\"max_tokens\":1{rest}}}");
        if send(self, &mut stream, &body) == Next::Continue {
            self.answer(&mut stream, tokens);
        }
        stream
    }

    pub(in crate::stream::tests) fn sent(&self) -> String {
        let body = self.host.buffers.borrow()[&Buffer::RequestBody].clone();
        String::from_utf8(body).unwrap()
    }

    pub(in crate::stream::tests) fn alternative(&self) -> Option<String> {
        header(self, HeaderMap::Response, "x-tollgate-alternative")
    }
}
