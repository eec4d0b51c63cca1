//! What becomes of a request that a rate limit service has no room for.

use super::super::{Envoy, completion, configuration, header, request, send};
use super::{CHECK, Gateway, RESERVE, RLS};
use crate::host::{Buffer, HeaderMap};
use crate::stream::{Next, Stream};
use limits::service::CallId;
use limits::service::mock::{Limitador, entries};
use serde_json::{Value, json};

const MILLISECOND: u64 = 1_000_000;

/// A limit on the model `large`, and what there is to take instead, each with a limit of its own.
fn choosing(storage: &str) -> Gateway {
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

/// A limit of 50 tokens, at which so many wait for so long.
fn queueing(storage: &str, depth: u64, timeout: &str) -> Gateway {
    let spec =
        format!(r#", "onExceeded": {{ "queue": {{ "depth": {depth}, "timeout": "{timeout}" }} }}"#);
    Gateway::with(&spec, storage, "")
}

impl Gateway {
    /// Asks the model `large`, and answers with so many tokens if that is let go; the decision.
    fn ask_large(&mut self, rest: &str, tokens: u64) -> String {
        let (replies, resumed) = (self.replies(), self.resumed());
        let mut stream = self.envoy.stream();
        let body = format!("{{\"model\":\"large\",\"max_tokens\":1{rest}}}");
        let next = send(&self.envoy, &mut stream, &body);
        let mut stream = Some(stream);
        self.answer(&mut stream);
        let mut stream = stream.unwrap();
        let (replies, resumed) = (self.replies() - replies, self.resumed() - resumed);
        let expected = usize::from(next == Next::Pause);
        assert_eq!(replies + resumed, expected, "resumed or answered once");
        if replies == 0 {
            self.end(&mut stream, tokens);
        } else {
            stream.on_log();
        }
        self.answer(&mut None);
        self.envoy.state("tollgate.decision").unwrap_or_default()
    }

    fn end(&self, stream: &mut Stream, tokens: u64) {
        let headers = [(":status", "200"), ("content-type", "application/json")];
        self.envoy.host.set_headers(HeaderMap::Response, &headers);
        stream.on_response_headers(false);
        self.envoy.body(stream, &completion(tokens), true);
        stream.on_log();
    }

    /// The body as it goes to the upstream.
    fn sent(&self) -> String {
        let body = self.envoy.host.buffers.borrow()[&Buffer::RequestBody].clone();
        String::from_utf8(body).unwrap()
    }

    fn resumed(&self) -> usize {
        self.envoy.host.resumed.borrow().len()
    }

    fn replies(&self) -> usize {
        self.envoy.host.replies.borrow().len()
    }

    fn queued(&self) -> i64 {
        self.envoy.host.metric("tollgate.queued")
    }

    /// How often the service was asked.
    fn asked(&self) -> usize {
        let methods = self.methods();
        let asks = |method: &&String| ["Reserve", "CheckRateLimit"].contains(&method.as_str());
        methods.iter().filter(asks).count()
    }

    /// A request that is expected to use about 40 tokens, with whatever is answered to it.
    fn come(&mut self) -> Stream {
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

    fn look_again(&self, streams: &mut [&mut Stream]) {
        self.envoy.plugin.poll_queue(|context| {
            let mut streams = streams.iter_mut();
            let stream = streams.find(|stream| stream.id == context)?;
            Some(stream.poll_queue())
        });
    }

    /// Ticks of 10 milliseconds, with the answers in them, for those who wait.
    fn ticks(&mut self, number: usize, streams: &mut [&mut Stream]) {
        for _ in 0..number {
            let clock = &self.envoy.host.clock;
            clock.set(clock.get() + 10 * MILLISECOND);
            self.envoy.plugin.on_tick();
            self.look_again(streams);
            while self.answered < self.envoy.host.grpc.borrow().len() {
                let call = self.call(self.answered);
                self.answered += 1;
                let said = self.limitador.call(&call.method, &call.message);
                let token = u32::try_from(self.answered).unwrap();
                let reply = said.as_deref().map_err(|status| *status);
                let Some(answered) = self.envoy.plugin.on_reply(CallId(token), reply) else {
                    continue;
                };
                let mut streams = streams.iter_mut();
                match streams.find(|stream| stream.id == answered.stream) {
                    Some(stream) => stream.on_check_reply(answered),
                    None => self.envoy.plugin.release_reply(answered),
                }
            }
        }
    }
}

#[test]
fn alternatives_are_asked_about_in_turn_and_the_first_that_fits_is_taken() {
    for storage in [RESERVE, CHECK] {
        let mut gateway = choosing(storage);
        assert_eq!(gateway.ask_large("", 60), "admitted", "{storage}");
        assert_eq!(gateway.ask_large("", 12), "alternative", "{storage}");
        assert_eq!(gateway.sent(), r#"{"model":"middle","max_tokens":1}"#);
        assert_eq!(gateway.ask_large("", 60), "alternative", "{storage}");
        assert_eq!(gateway.sent(), r#"{"model":"small","max_tokens":1}"#);
        let header = |map, name: &str| header(&gateway.envoy, map, name);
        assert_eq!(header(HeaderMap::Request, "x-to").as_deref(), Some("b"));
        let length = header(HeaderMap::Request, "content-length");
        assert_eq!(length.as_deref(), Some("32"));
        let told = header(HeaderMap::Response, "x-tollgate-alternative");
        assert_eq!(told.as_deref(), Some("small"));
        let limit = gateway.envoy.state("tollgate.limit");
        assert_eq!(limit.as_deref(), Some("large"));

        let asked = gateway.asked();
        assert_eq!(gateway.ask_large("", 1), "denied", "{storage}");
        assert!(gateway.asked() <= asked + 6, "each is tried once");
        assert_eq!(gateway.sent(), r#"{"model":"large","max_tokens":1}"#);
        let reply = gateway.envoy.host.replies.borrow()[0].clone();
        assert!(reply.body.contains("large"), "{}", reply.body);

        let used = |model: &str| -> u64 {
            let used = gateway.limitador.used.iter();
            let of_model = used.filter(|((_, descriptor), _)| {
                let (key, _) = &entries(descriptor)[0];
                key.contains(model)
            });
            of_model.map(|(_, used)| used).sum()
        };
        let used = ["large", "middle", "small"].map(used);
        assert_eq!(used, [60, 12, 60], "each is counted where it went");
        assert!(gateway.limitador.reserved.is_empty(), "{storage}");
    }
}

#[test]
fn who_leaves_while_an_alternative_is_asked_about_holds_nothing() {
    let mut gateway = choosing(RESERVE);
    gateway.ask_large("", 60);
    let mut stream = gateway.envoy.stream();
    let body = r#"{"model":"large","max_tokens":1}"#;
    assert_eq!(send(&gateway.envoy, &mut stream, body), Next::Pause);
    // The first is refused; what is asked next is about another model.
    gateway.answered += 1;
    let token = u32::try_from(gateway.answered).unwrap();
    let answered = gateway
        .envoy
        .plugin
        .on_reply(CallId(token), Ok(&[8, 2]))
        .unwrap();
    stream.on_check_reply(answered);
    assert_eq!(gateway.methods().last().unwrap(), "Reserve");
    stream.on_log();
    drop(stream);
    gateway.answer(&mut None);
    assert!(gateway.limitador.reserved.is_empty());
    assert_eq!(gateway.limitador.total(), 60);
    assert_eq!((gateway.resumed(), gateway.replies()), (1, 0));
    assert_eq!(gateway.ask_large("", 12), "alternative");
}

#[test]
fn a_stream_that_becomes_another_is_asked_for_usage_once() {
    let mut gateway = choosing(RESERVE);
    gateway.ask_large("", 60);
    gateway.limitador.limits[1].1 = 0;
    assert_eq!(gateway.ask_large(r#","stream":true"#, 1), "alternative");
    assert_eq!(
        gateway.sent(),
        r#"{"stream_options":{"include_usage":true},"model":"small","max_tokens":1,"stream":true}"#
    );
    let length = header(&gateway.envoy, HeaderMap::Request, "content-length");
    assert_eq!(length, Some(gateway.sent().len().to_string()));
}

#[test]
fn without_an_answer_the_failure_mode_decides_on_alternatives_too() {
    for (mode, decision, model) in [
        ("local", "alternative", "middle"),
        ("allow", "failed_open", "large"),
    ] {
        let storage = RESERVE.replace('}', &format!(r#", "failureMode": "{mode}" }}"#));
        let mut gateway = choosing(&storage);
        gateway.ask_large("", 60);
        let mut stream = gateway.envoy.stream();
        let body = r#"{"model":"large","max_tokens":1}"#;
        send(&gateway.envoy, &mut stream, body);
        let mut stream = Some(stream);
        gateway.answer_by(&mut stream, &mut |call| {
            (call.method == "Reserve").then_some(Err(14))
        });
        assert!(gateway.sent().contains(model), "{mode}");
        gateway.end(&mut stream.unwrap(), 7);
        let decided = gateway.envoy.state("tollgate.decision");
        assert_eq!(decided.as_deref(), Some(decision), "{mode}");
    }
}

#[test]
fn the_first_in_line_asks_now_and_then_and_the_others_wait_for_him() {
    for storage in [RESERVE, CHECK] {
        let mut gateway = queueing(storage, 2, "5m");
        assert_eq!(gateway.exchange(60), "admitted");
        let (mut second, mut third, fourth) = (gateway.come(), gateway.come(), gateway.come());
        drop(fourth);
        let waiting = (gateway.queued(), gateway.replies());
        assert_eq!(waiting, (2, 1), "two may wait: {storage}");
        let (asked, resumed) = (gateway.asked(), gateway.resumed());
        gateway.ticks(300, &mut [&mut second, &mut third]);
        assert_eq!(gateway.resumed(), resumed, "{storage}");
        let times = gateway.asked() - asked;
        assert!((2..=6).contains(&times), "{storage}: {times} in 3 seconds");
        // Exchanges of another Envoy have ended, or a window.
        gateway.limitador.used.clear();
        gateway.ticks(101, &mut [&mut second, &mut third]);
        assert!(gateway.resumed() > resumed, "{storage}");
        gateway.end(&mut second, 60);
        let state = |key: &str| gateway.envoy.state(key);
        assert_eq!(state("tollgate.decision").as_deref(), Some("queued"));
        assert_eq!(state("tollgate.limit").as_deref(), Some("free"));
    }
}

#[test]
fn what_an_exchange_leaves_over_is_asked_for_at_once() {
    for storage in [RESERVE, CHECK] {
        let mut gateway = queueing(storage, 9, "5m");
        let (mut first, mut second, mut third) = (gateway.come(), gateway.come(), gateway.come());
        assert_eq!((gateway.queued(), gateway.replies()), (2, 0));
        let (asked, resumed) = (gateway.asked(), gateway.resumed());
        gateway.ticks(5, &mut [&mut second, &mut third]);
        assert_eq!(gateway.asked(), asked, "nothing has changed");
        gateway.end(&mut first, 1);
        gateway.ticks(2, &mut [&mut second, &mut third]);
        assert_eq!(gateway.queued(), 1, "{storage}");
        gateway.end(&mut second, 1);
        gateway.ticks(2, &mut [&mut third]);
        assert_eq!(gateway.queued(), 0, "{storage}");
        gateway.end(&mut third, 1);
        gateway.answer(&mut None);
        assert_eq!(gateway.resumed() - resumed, 2);
        assert_eq!(gateway.limitador.total(), 3);
        assert!(gateway.limitador.reserved.is_empty());
    }
}

#[test]
fn who_waits_in_vain_for_the_service_is_refused_in_time() {
    for storage in [RESERVE, CHECK, RLS] {
        let mut gateway = queueing(storage, 9, "500ms");
        gateway.exchange(60);
        let resumed = gateway.resumed();
        let (mut second, mut third) = (gateway.come(), gateway.come());
        gateway.ticks(49, &mut [&mut second, &mut third]);
        assert_eq!((gateway.replies(), gateway.queued()), (0, 2), "{storage}");
        gateway.ticks(2, &mut [&mut second, &mut third]);
        assert_eq!((gateway.replies(), gateway.queued()), (2, 0), "{storage}");
        assert_eq!(gateway.envoy.host.replies.borrow()[0].status, 429);
        second.on_log();
        third.on_log();
        gateway.answer(&mut None);
        assert_eq!(gateway.resumed(), resumed);
        assert!(gateway.limitador.reserved.is_empty());
    }
}

#[test]
fn who_leaves_the_line_while_his_question_is_open_holds_nothing_and_holds_up_nobody() {
    let mut gateway = queueing(RESERVE, 9, "5m");
    gateway.exchange(60);
    let (mut second, mut third) = (gateway.come(), gateway.come());
    gateway.limitador.used.clear();
    let clock = &gateway.envoy.host.clock;
    clock.set(clock.get() + 2_000 * MILLISECOND);
    let asked = gateway.asked();
    gateway.look_again(&mut [&mut second, &mut third]);
    assert_eq!(gateway.asked(), asked + 1, "only the first in line asks");
    second.on_log();
    drop(second);
    assert_eq!(gateway.queued(), 1);
    gateway.answer(&mut None);
    assert!(gateway.limitador.reserved.is_empty());
    let resumed = gateway.resumed();
    gateway.ticks(2, &mut [&mut third]);
    assert_eq!((gateway.queued(), gateway.resumed()), (0, resumed + 1));
    gateway.end(&mut third, 1);
    gateway.answer(&mut None);
    assert_eq!(gateway.limitador.total(), 1);
}

#[test]
fn who_waits_is_decided_on_by_the_failure_mode_when_the_service_does_not_answer() {
    for (mode, resumed, replies) in [("local", 0, 0), ("allow", 1, 0), ("deny", 0, 1)] {
        let storage = RESERVE.replace('}', &format!(r#", "failureMode": "{mode}" }}"#));
        let mut gateway = queueing(&storage, 9, "5m");
        gateway.exchange(60);
        let mut second = gateway.come();
        let before = gateway.resumed();
        let clock = &gateway.envoy.host.clock;
        clock.set(clock.get() + 2_000 * MILLISECOND);
        gateway.look_again(&mut [&mut second]);
        let mut second = Some(second);
        gateway.answer_by(&mut second, &mut |_| Some(Err(14)));
        assert_eq!(gateway.resumed() - before, resumed, "{mode}");
        assert_eq!(gateway.replies(), replies, "{mode}");
        assert_eq!(gateway.queued(), i64::from(mode == "local"), "{mode}");
    }
}
