//! A filter whose counters are at a rate limit service.

use crate::host::double::SentCall;
use crate::host::{Buffer, HeaderMap};
use crate::stream::tests::harness::{Envoy, completion, configuration, request, send};
use crate::stream::{Next, Stream};
use limits::service::mock::{Limitador, MockReply};
use limits::service::{CallId, CheckReply};
use serde_json::{Value, json};

pub(in crate::stream::tests) const RESERVE: &str =
    r#"{ "type": "limitador", "cluster": "limitador" }"#;

pub(in crate::stream::tests) const CHECK: &str =
    r#"{ "type": "limitador", "cluster": "limitador", "protocol": "check-report" }"#;
pub(in crate::stream::tests) const RLS: &str =
    r#"{ "type": "envoy-rls", "cluster": "ratelimit", "domain": "llm" }"#;

/// An Envoy, a limitador, and how many of the calls between them were answered.
pub(in crate::stream::tests) struct Gateway {
    pub(in crate::stream::tests) envoy: Envoy,
    pub(in crate::stream::tests) limitador: Limitador,
    pub(in crate::stream::tests) answered: usize,
}

impl Gateway {
    pub(in crate::stream::tests) fn with(spec: &str, storage: &str, rest: &str) -> Self {
        let rest = format!(r#", "storage": {storage} {rest}"#);
        Self {
            envoy: Envoy::with(&configuration(spec, &rest)),
            limitador: Limitador::new(50),
            answered: 0,
        }
    }

    pub(in crate::stream::tests) fn new(storage: &str) -> Self {
        Self::with("", storage, "")
    }

    pub(in crate::stream::tests) fn with_mode(storage: &str, mode: &str) -> Self {
        let storage = storage.replace('}', &format!(r#", "failureMode": "{mode}" }}"#));
        Self::new(&storage)
    }

    pub(in crate::stream::tests) fn call(&self, index: usize) -> SentCall {
        self.envoy.host.grpc.borrow()[index].clone()
    }

    pub(in crate::stream::tests) fn methods(&self) -> Vec<String> {
        let calls = self.envoy.host.grpc.borrow();
        calls.iter().map(|call| call.method.clone()).collect()
    }

    /// Answers every call that has none yet, and those that follow from that. Replies to questions go
    /// to the stream, if it is still there.
    pub(in crate::stream::tests) fn answer_by(
        &mut self,
        stream: &mut Option<Stream>,
        say: &mut dyn FnMut(&SentCall) -> Option<MockReply>,
    ) {
        while self.answered < self.envoy.host.grpc.borrow().len() {
            let call = self.call(self.answered);
            self.answered += 1;
            let said =
                say(&call).unwrap_or_else(|| self.limitador.call(&call.method, &call.message));
            let token = u32::try_from(self.answered).unwrap();
            let reply = said.as_deref().map_err(|status| *status);
            let plugin = &self.envoy.plugin;
            let next = plugin.on_reply(CallId(token), reply);
            plugin.deliver_replies(next, |answered| match stream {
                Some(stream) => {
                    stream.on_check_reply(answered);
                    None
                }
                None => Some(answered),
            });
        }
    }

    pub(in crate::stream::tests) fn answer(&mut self, stream: &mut Option<Stream>) {
        self.answer_by(stream, &mut |_| None);
    }

    /// Returns a whole exchange of so many tokens, with these replies to its calls; its decision.
    pub(in crate::stream::tests) fn exchange_by(
        &mut self,
        tokens: u64,
        say: &mut dyn FnMut(&SentCall) -> Option<MockReply>,
    ) -> String {
        let resumed = self.envoy.host.resumed.borrow().len();
        let replies = self.envoy.host.replies.borrow().len();
        let mut stream = self.envoy.stream();
        let next = stream.on_request_headers(true);
        let calls = self.envoy.host.grpc.borrow().len();
        let mut stream = Some(stream);
        let was_checked = calls > self.answered;
        self.answer_by(&mut stream, say);
        let mut stream = stream.unwrap();
        let resumed_now = self.envoy.host.resumed.borrow().len() - resumed;
        let rejected = self.envoy.host.replies.borrow().len() - replies;
        if was_checked && next == Next::Pause && rejected == 0 {
            assert_eq!(resumed_now, 1, "resumed once");
        } else {
            assert_eq!(resumed_now, 0);
            assert_eq!(rejected, usize::from(next == Next::Pause));
        }
        if rejected == 0 {
            stream.on_response_headers(false);
            self.envoy.body(&mut stream, &completion(tokens), true);
        }
        stream.on_log();
        self.answer_by(&mut None, say);
        self.envoy.state("tollgate.decision").unwrap_or_default()
    }

    pub(in crate::stream::tests) fn exchange(&mut self, tokens: u64) -> String {
        self.exchange_by(tokens, &mut |_| None)
    }

    /// Time passes, with the ticks in it.
    pub(in crate::stream::tests) fn wait(&mut self, milliseconds: u64) {
        for _ in 0..milliseconds.div_ceil(50) {
            let clock = &self.envoy.host.clock;
            clock.set(clock.get() + 50_000_000);
            self.envoy.plugin.on_tick();
            self.answer(&mut None);
        }
    }

    pub(in crate::stream::tests) fn logged(&self, what: &str) -> usize {
        let log = self.envoy.log.lines();
        log.iter().filter(|(_, line)| line.contains(what)).count()
    }
}

pub(in crate::stream::tests) const BODY: &str = r#"{"model":"big","stream":true}"#;

pub(in crate::stream::tests) const BODY_WHEN: &str =
    r#", "when": [{ "predicate": "requestBodyJSON('/model') == 'big'" }]"#;

/// Returns a gateway whose caller is exhausted by its own count, but not by that of the service.
pub(in crate::stream::tests) fn locally_exhausted() -> Gateway {
    let mut gateway = Gateway::new(RESERVE);
    gateway.exchange(60);
    gateway.limitador.used.clear();
    gateway.envoy.host.resumed.borrow_mut().clear();
    gateway
}

/// Returns a reply of Envoy's protocol: a code, statuses (limit, remaining, seconds), and headers.
#[expect(clippy::unnecessary_wraps, reason = "the type of a scripted reply")]
pub(in crate::stream::tests) fn rls(
    code: u8,
    statuses: &[(u8, u8, u8, u8)],
    headers: &[(&str, &str)],
) -> MockReply {
    let mut reply = vec![8, code];
    for (code, limit, remaining, seconds) in statuses {
        reply.extend([
            0x12, 12, 8, *code, 0x12, 2, 8, *limit, 0x18, *remaining, 0x22, 2, 8, *seconds,
        ]);
    }
    for (name, value) in headers {
        let size = |text: &str| u8::try_from(text.len()).unwrap();
        reply.extend([0x1a, size(name) + size(value) + 4, 0x0a, size(name)]);
        reply.extend(name.as_bytes());
        reply.extend([0x12, size(value)]);
        reply.extend(value.as_bytes());
    }
    Ok(reply)
}

pub(in crate::stream::tests) const MILLISECOND: u64 = 1_000_000;

/// Returns a limit on the model `large`, and what there is to take instead, each with a limit of its own.
pub(in crate::stream::tests) fn with_fallbacks(storage: &str) -> Gateway {
    let limit = |model: &str, tokens: u64, action: &Value| {
        json!({
            "when": [{ "predicate": format!("llm.model == '{model}'") }],
            "rates": [{ "limit": tokens, "window": "1m" }],
            "counters": [{ "expression": "auth.user" }],
            "onExceeded": action,
        })
    };
    let rest = format!(r#", "holdHeaders": true, "storage": {storage}"#);
    let mut json: Value = serde_json::from_str(&configuration("", &rest)).unwrap();
    let alternatives = json!({ "alternatives": [
        { "model": "middle" },
        { "model": "small", "headers": { "X-To": "b" } },
    ] });
    json["policies"][0]["spec"]["limits"] = json!({
        "large": limit("large", 50, &alternatives),
        "middle": limit("middle", 10, &json!({ "alternatives": [{ "model": "large" }] })),
        "small": limit("small", 60, &json!("deny")),
    });
    let mut limitador = Limitador::new(1_000);
    limitador.limits = vec![
        ("tokenlimit.large", 50),
        ("tokenlimit.middle", 10),
        ("tokenlimit.small", 60),
    ];
    Gateway {
        envoy: Envoy::with(&json.to_string()),
        limitador,
        answered: 0,
    }
}

/// Returns a limit of 50 tokens, at which so many wait for so long.
pub(in crate::stream::tests) fn with_queue(storage: &str, depth: u64, timeout: &str) -> Gateway {
    let spec =
        format!(r#", "onExceeded": {{ "queue": {{ "depth": {depth}, "timeout": "{timeout}" }} }}"#);
    Gateway::with(&spec, storage, "")
}

impl Gateway {
    /// Requests the model `large`, with a response of so many tokens if it is admitted; the decision.
    pub(in crate::stream::tests) fn request_large(&mut self, rest: &str, tokens: u64) -> String {
        let (replies, resumed) = (self.replies(), self.resumed());
        let mut stream = self.envoy.stream();
        let body = format!("{{\"model\":\"large\",\"max_tokens\":1{rest}}}");
        let next = send(&self.envoy, &mut stream, &body);
        let mut stream = Some(stream);
        self.answer(&mut stream);
        let mut stream = stream.unwrap();
        let (replies, resumed) = (self.replies() - replies, self.resumed() - resumed);
        let expected = usize::from(next != Next::Continue);
        assert_eq!(replies + resumed, expected, "resumed or answered once");
        if replies == 0 {
            self.end(&mut stream, tokens);
        } else {
            stream.on_log();
        }
        self.answer(&mut None);
        self.envoy.state("tollgate.decision").unwrap_or_default()
    }

    pub(in crate::stream::tests) fn end(&self, stream: &mut Stream, tokens: u64) {
        let headers = [(":status", "200"), ("content-type", "application/json")];
        self.envoy.host.set_headers(HeaderMap::Response, &headers);
        stream.on_response_headers(false);
        self.envoy.body(stream, &completion(tokens), true);
        stream.on_log();
    }

    /// Returns the body as it goes to the upstream.
    pub(in crate::stream::tests) fn sent(&self) -> String {
        let body = self.envoy.host.buffers.borrow()[&Buffer::RequestBody].clone();
        String::from_utf8(body).unwrap()
    }

    pub(in crate::stream::tests) fn resumed(&self) -> usize {
        self.envoy.host.resumed.borrow().len()
    }

    pub(in crate::stream::tests) fn replies(&self) -> usize {
        self.envoy.host.replies.borrow().len()
    }

    pub(in crate::stream::tests) fn queued(&self) -> i64 {
        self.envoy.host.metric("tollgate.queued")
    }

    /// Returns the number of checks at the service.
    pub(in crate::stream::tests) fn was_checked(&self) -> usize {
        let methods = self.methods();
        let calls = |method: &&String| ["Reserve", "CheckRateLimit"].contains(&method.as_str());
        methods.iter().filter(calls).count()
    }

    /// Returns a request that is expected to use about 40 tokens, with whatever is answered to it.
    pub(in crate::stream::tests) fn come(&mut self) -> Stream {
        let mut stream = self.envoy.stream();
        let mut headers = request("alice").to_vec();
        headers.extend([("content-length", "180"), ("content-encoding", "gzip")]);
        self.envoy.host.set_headers(HeaderMap::Request, &headers);
        self.envoy.host.set_buffer(Buffer::RequestBody, b"");
        stream.on_request_headers(false);
        let mut stream = Some(stream);
        self.answer(&mut stream);
        stream.unwrap()
    }

    pub(in crate::stream::tests) fn poll_queue(&self, streams: &mut [&mut Stream]) {
        self.envoy.plugin.poll_queue(|context| {
            let mut streams = streams.iter_mut();
            let stream = streams.find(|stream| stream.id == context)?;
            Some(stream.poll_queue())
        });
    }

    /// Ticks of 10 milliseconds with the replies in them, for the streams that wait.
    pub(in crate::stream::tests) fn ticks(&mut self, number: usize, streams: &mut [&mut Stream]) {
        for _ in 0..number {
            let clock = &self.envoy.host.clock;
            clock.set(clock.get() + 10 * MILLISECOND);
            self.envoy.plugin.on_tick();
            self.deliver(None, streams);
            self.poll_queue(streams);
            while self.answered < self.envoy.host.grpc.borrow().len() {
                let call = self.call(self.answered);
                self.answered += 1;
                let said = self.limitador.call(&call.method, &call.message);
                let token = u32::try_from(self.answered).unwrap();
                let reply = said.as_deref().map_err(|status| *status);
                let plugin = &self.envoy.plugin;
                let next = plugin.on_reply(CallId(token), reply);
                self.deliver(next, streams);
            }
        }
    }

    /// Gives streams this reply to a check, and others that are ready.
    pub(in crate::stream::tests) fn deliver(
        &self,
        reply: Option<CheckReply>,
        streams: &mut [&mut Stream],
    ) {
        self.envoy.plugin.deliver_replies(reply, |reply| {
            let mut streams = streams.iter_mut();
            match streams.find(|stream| stream.id == reply.stream) {
                Some(stream) => {
                    stream.on_check_reply(reply);
                    None
                }
                None => Some(reply),
            }
        });
    }
}
