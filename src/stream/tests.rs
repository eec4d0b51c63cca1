//! The state machine against a double of Envoy: what it must do, and never do, at every turn.

mod actions;
mod budgets;
mod costs;
mod service;

use super::state::State;
use super::{Next, Stream};
use crate::host::double::{Call, Double};
use crate::host::log_capture::LogCapture;
use crate::host::{Buffer, Direction, HeaderMap, HostError};
use crate::plugin::Plugin;
use limits::Standing;
use std::cell::Cell;
use std::rc::Rc;

/// A minute in nanoseconds.
const MINUTE: u64 = 60_000_000_000;

/// A policy of 50 tokens a minute for each `x-user`, with whatever else is given.
fn configuration(spec: &str, rest: &str) -> String {
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
    fn standings(&self) -> Vec<Standing> {
        let State::Admitted(admitted) = &self.state else {
            return Vec::new();
        };
        let charges = admitted.admission.charges.iter();
        charges.map(|charge| charge.counter.standing).collect()
    }

    /// Whether an admitted request retains attributes.
    fn retains_attributes(&self) -> bool {
        matches!(&self.state, State::Admitted(admitted) if admitted.retained.is_some())
    }
}

struct Envoy {
    host: Rc<Double>,
    plugin: Rc<Plugin>,
    log: LogCapture,
    /// How many streams there were; each is known by its number.
    streams: Cell<u32>,
}

impl Envoy {
    fn with(configuration: &str) -> Self {
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

    fn new() -> Self {
        Self::with(&configuration("", ""))
    }

    fn stream(&self) -> Stream {
        self.host.filter_state.borrow_mut().clear();
        self.host.set_headers(HeaderMap::Request, &request("alice"));
        self.host.set_headers(
            HeaderMap::Response,
            &[(":status", "200"), ("content-type", "application/json")],
        );
        self.streams.set(self.streams.get() + 1);
        self.plugin.stream(self.streams.get())
    }

    fn body(&self, stream: &mut Stream, body: &str, end: bool) -> Next {
        self.host.set_buffer(Buffer::ResponseBody, body.as_bytes());
        stream.on_response_body(body.len(), end)
    }

    /// A whole exchange of so many tokens; whether it was let go.
    fn exchange(&self, tokens: u64) -> bool {
        let mut stream = self.stream();
        let let_go = stream.on_request_headers(false) == Next::Continue;
        if let_go {
            self.host.set_buffer(Buffer::RequestBody, &[b' '; 100]);
            stream.on_request_body(100, true);
            stream.on_response_headers(false);
            self.body(&mut stream, &completion(tokens), true);
        } else {
            stream.on_response_headers(false);
            stream.on_response_body(10, true);
        }
        stream.on_log();
        let_go
    }

    fn state(&self, key: &str) -> Option<String> {
        self.host.filter_state.borrow().get(key).cloned()
    }
}

fn request(user: &str) -> [(&'static str, &str); 4] {
    [
        (":method", "POST"),
        (":path", "/v1/chat/completions"),
        (":authority", "llm"),
        ("x-user", user),
    ]
}

fn completion(tokens: u64) -> String {
    format!(
        r#"{{"id":"1","object":"chat.completion","model":"m","choices":[{{"message":{{"content":"hi"}}}}],
        "usage":{{"prompt_tokens":0,"completion_tokens":{tokens},"total_tokens":{tokens}}}}}"#
    )
}

#[test]
fn a_limit_admits_until_it_is_spent_and_again_after_its_window() {
    let envoy = Envoy::new();
    assert!(envoy.exchange(100), "while a token is left");
    assert_eq!(
        envoy.state("tollgate.decision").as_deref(),
        Some("admitted")
    );
    assert_eq!(envoy.state("tollgate.total_tokens").as_deref(), Some("100"));
    assert!(!envoy.exchange(100));
    assert_eq!(envoy.state("tollgate.decision").as_deref(), Some("denied"));
    assert_eq!(envoy.state("tollgate.limit").as_deref(), Some("free"));
    let replies = envoy.host.replies.borrow();
    let [reply] = replies.as_slice() else {
        panic!("one reply, not {replies:?}");
    };
    assert_eq!(reply.status, 429);
    assert_eq!(reply.header("retry-after"), Some("60"));
    assert_eq!(
        reply.header("x-ratelimit-limit"),
        Some("50, 50;w=60;name=\"free\"")
    );
    assert_eq!(reply.header("x-ratelimit-remaining"), Some("0"));
    assert_eq!(reply.header("x-ratelimit-reset"), Some("60"));
    let body: serde_json::Value = serde_json::from_str(&reply.body).unwrap();
    assert_eq!(body["error"]["code"], "rate_limit_exceeded");
    assert!(body["error"]["message"].as_str().unwrap().contains("free"));

    envoy.host.clock.set(1_001 * MINUTE);
    assert!(envoy.exchange(1), "a new window");
}

#[test]
fn usage_is_charged_before_its_bytes_go_on() {
    let envoy = Envoy::new();
    let mut stream = envoy.stream();
    stream.on_request_headers(false);
    stream.on_request_body(100, true);
    stream.on_response_headers(false);
    envoy.body(&mut stream, &completion(60), false);
    assert!(!envoy.exchange(1), "charged though the body has not ended");
    stream.on_log();
}

#[test]
fn an_exchange_is_charged_once_however_often_it_ends() {
    let envoy = Envoy::new();
    let mut stream = envoy.stream();
    stream.on_request_headers(false);
    stream.on_response_headers(false);
    envoy.body(&mut stream, &completion(30), true);
    envoy.body(&mut stream, &completion(30), true);
    stream.on_response_trailers();
    stream.on_log();
    assert_eq!(envoy.host.metric("tollgate.tokens.kind=output.model=m"), 30);
    assert!(envoy.exchange(1), "30 of 50 are used");
}

#[test]
fn a_client_that_leaves_in_mid_answer_is_charged_an_estimate() {
    let envoy = Envoy::new();
    let mut stream = envoy.stream();
    stream.on_request_headers(false);
    stream.on_request_body(400, true);
    stream.on_response_headers(false);
    let body = r#"{"object":"chat.completion","choices":[{"message":{"content":"0123456789"#;
    envoy.body(&mut stream, body, false);
    stream.on_log();
    assert_eq!(envoy.state("tollgate.estimated").as_deref(), Some("true"));
    assert!(
        !envoy.exchange(1),
        "400 bytes of request are more than 50 tokens"
    );
}

#[test]
fn a_client_that_leaves_before_the_answer_is_charged_for_what_he_sent() {
    let envoy = Envoy::new();
    let mut stream = envoy.stream();
    stream.on_request_headers(false);
    stream.on_request_body(400, true);
    let details = b"downstream_remote_disconnect";
    envoy
        .host
        .set_property(&["response", "code_details"], details);
    stream.on_log();
    assert_eq!(envoy.state("tollgate.input_tokens").as_deref(), Some("89"));
    assert!(!envoy.exchange(1));
}

#[test]
fn an_upstream_that_fails_costs_nothing() {
    let envoy = Envoy::new();
    for (status, end) in [("503", false), ("404", true), ("204", true), ("304", true)] {
        let mut stream = envoy.stream();
        stream.on_request_headers(false);
        stream.on_request_body(1_000, true);
        let headers = [(":status", status), ("content-type", "application/json")];
        envoy.host.set_headers(HeaderMap::Response, &headers);
        stream.on_response_headers(end);
        if !end {
            envoy.body(&mut stream, r#"{"error":{"message":"no"}}"#, true);
        }
        stream.on_log();
    }
    let mut stream = envoy.stream();
    stream.on_request_headers(false);
    stream.on_request_body(1_000, true);
    stream.on_log();
    assert!(envoy.exchange(1), "nothing is used yet");
}

#[test]
fn other_protocols_pass() {
    let envoy = Envoy::new();
    let mut stream = envoy.stream();
    stream.on_request_headers(false);
    envoy
        .host
        .set_headers(HeaderMap::Response, &[(":status", "101")]);
    stream.on_response_headers(false);
    for _ in 0..3 {
        assert_eq!(
            envoy.body(&mut stream, &completion(1_000), false),
            Next::Continue
        );
        assert_eq!(stream.on_request_body(1_000, false), Next::Continue);
    }
    stream.on_log();
    assert!(envoy.exchange(1));
}

const BODY_WHEN: &str = r#", "when": [{ "predicate": "requestBodyJSON('/model') == 'big'" }]"#;

#[test]
fn a_predicate_on_the_body_waits_for_the_body() {
    let envoy = Envoy::with(&configuration(BODY_WHEN, ""));
    for (model, decision) in [
        ("big", "admitted"),
        ("big", "denied"),
        ("small", "unmatched"),
    ] {
        let mut stream = envoy.stream();
        assert_eq!(stream.on_request_headers(false), Next::Continue);
        let body = format!(r#"{{"model":"{model}"}}"#);
        envoy.host.set_buffer(Buffer::RequestBody, body.as_bytes());
        assert_eq!(stream.on_request_body(5, false), Next::Pause);
        let next = stream.on_request_body(body.len(), true);
        if decision == "denied" {
            assert_eq!(next, Next::Pause);
        } else {
            assert_eq!(next, Next::Continue);
            stream.on_response_headers(false);
            envoy.body(&mut stream, &completion(60), true);
        }
        stream.on_log();
        assert_eq!(envoy.state("tollgate.decision").as_deref(), Some(decision));
    }
    assert!(
        envoy.host.resumed.borrow().is_empty(),
        "callbacks let go of what they kept"
    );
}

#[test]
fn headers_wait_too_where_they_may() {
    let envoy = Envoy::with(&configuration(BODY_WHEN, r#", "holdHeaders": true"#));
    let mut stream = envoy.stream();
    assert_eq!(stream.on_request_headers(false), Next::Pause);
    envoy
        .host
        .set_buffer(Buffer::RequestBody, b"{\"model\":\"big\"}");
    assert_eq!(stream.on_request_body(15, false), Next::Pause);
    assert_eq!(stream.on_request_trailers(), Next::Continue);
    stream.on_log();
}

#[test]
fn nobody_hides_from_a_predicate_by_a_body_that_cannot_be_read() {
    let max = r#", "requestBody": { "maxBytes": 1024 }"#;
    let envoy = Envoy::with(&configuration(BODY_WHEN, max));
    let mut stream = envoy.stream();
    stream.on_request_headers(false);
    assert_eq!(stream.on_request_body(2_000, false), Next::Pause);
    assert_eq!(
        envoy.host.replies.borrow().last().unwrap().status,
        500,
        "too large"
    );
    stream.on_log();

    let mut stream = envoy.stream();
    let mut headers = request("alice").to_vec();
    headers.push(("content-encoding", "gzip"));
    envoy.host.set_headers(HeaderMap::Request, &headers);
    assert_eq!(stream.on_request_headers(false), Next::Pause);
    assert_eq!(envoy.host.replies.borrow().len(), 2, "compressed");
    stream.on_log();

    // A POST that says it is an upgrade is read all the same.
    let mut stream = envoy.stream();
    let mut headers = request("alice").to_vec();
    headers.push(("upgrade", "websocket"));
    envoy.host.set_headers(HeaderMap::Request, &headers);
    stream.on_request_headers(false);
    envoy
        .host
        .set_buffer(Buffer::RequestBody, b"{\"model\":\"big\"}");
    stream.on_request_body(15, true);
    stream.on_log();
    assert_eq!(
        envoy.state("tollgate.decision").as_deref(),
        Some("admitted")
    );
}

#[test]
fn an_answer_that_comes_before_the_body_is_let_through_or_replaced() {
    let envoy = Envoy::with(&configuration(BODY_WHEN, r#", "failureMode": "allow""#));
    let mut stream = envoy.stream();
    stream.on_request_headers(false);
    assert_eq!(stream.on_request_body(5, false), Next::Pause);
    stream.on_response_headers(false);
    assert_eq!(*envoy.host.resumed.borrow(), [Direction::Request]);
    stream.on_log();

    let envoy = Envoy::with(&configuration(BODY_WHEN, ""));
    let mut stream = envoy.stream();
    stream.on_request_headers(false);
    stream.on_request_body(5, false);
    envoy
        .host
        .set_headers(HeaderMap::Response, &[(":status", "401")]);
    assert_eq!(stream.on_response_headers(false), Next::Continue);
    stream.on_log();
    assert!(
        envoy.host.replies.borrow().is_empty(),
        "an error is not replaced"
    );
    assert!(envoy.host.resumed.borrow().is_empty());
}

#[test]
fn a_fault_refuses_or_lets_go_as_the_failure_mode_says() {
    let fault = r#", "when": [{ "predicate": "int(auth.user) > 0" }]"#;
    for (mode, let_go, decision) in [("deny", false, "failed"), ("allow", true, "failed_open")] {
        let rest = format!(r#", "failureMode": "{mode}""#);
        let envoy = Envoy::with(&configuration(fault, &rest));
        assert_eq!(envoy.exchange(10), let_go);
        assert_eq!(envoy.state("tollgate.decision").as_deref(), Some(decision));
        assert_eq!(envoy.host.metric("tollgate.evaluation_errors"), 1);
    }
}

#[test]
fn a_missing_claim_makes_a_predicate_false_and_a_counter_a_fault() {
    let when = r#", "when": [{ "predicate": "auth.tier == 'gold'" }]"#;
    let envoy = Envoy::with(&configuration(when, ""));
    assert!(envoy.exchange(10));
    assert_eq!(
        envoy.state("tollgate.decision").as_deref(),
        Some("unmatched")
    );
    assert_eq!(envoy.host.metric("tollgate.missing_values"), 1);

    let envoy = Envoy::new();
    let mut stream = envoy.stream();
    envoy
        .host
        .set_headers(HeaderMap::Request, &request("alice")[..3]);
    assert_eq!(stream.on_request_headers(false), Next::Pause);
    assert_eq!(envoy.host.replies.borrow().last().unwrap().status, 500);
}

#[test]
fn nothing_is_resumed_or_answered_twice_whatever_fails_and_in_whatever_order() {
    let calls = [
        Call::Headers(HeaderMap::Request),
        Call::Headers(HeaderMap::Response),
        Call::Buffer(Buffer::RequestBody),
        Call::Buffer(Buffer::ResponseBody),
        Call::SharedData,
        Call::SetSharedData,
        Call::Now,
        Call::Reply,
        Call::Resume(Direction::Request),
        Call::SetFilterState,
        Call::AddToMetric,
    ];
    for spec in ["", BODY_WHEN] {
        for call in calls {
            let envoy = Envoy::with(&configuration(spec, ""));
            for used in [60, 60] {
                let mut stream = envoy.stream();
                envoy.host.fail(call, 3, HostError::InternalFailure);
                let replies = envoy.host.replies.borrow().len();
                stream.on_request_headers(false);
                envoy
                    .host
                    .set_buffer(Buffer::RequestBody, b"{\"model\":\"big\"}");
                stream.on_request_body(15, true);
                stream.on_request_trailers();
                stream.on_response_headers(false);
                envoy.body(&mut stream, &completion(used), true);
                stream.on_response_trailers();
                let before = envoy.host.replies.borrow().len();
                stream.on_log();
                assert!(before <= replies + 1, "{call:?}: one reply at most");
                assert_eq!(
                    envoy.host.replies.borrow().len(),
                    before,
                    "{call:?}: none at the end"
                );
            }
            assert!(envoy.host.resumed.borrow().is_empty(), "{call:?}");
        }
    }
}

#[test]
fn usage_that_could_not_be_counted_is_counted_as_lost() {
    let envoy = Envoy::new();
    let mut stream = envoy.stream();
    stream.on_request_headers(false);
    stream.on_response_headers(false);
    envoy
        .host
        .fail(Call::SetSharedData, 1_000, HostError::InternalFailure);
    envoy.body(&mut stream, &completion(60), true);
    stream.on_log();
    assert_eq!(envoy.host.metric("tollgate.storage_errors"), 1);
}

#[test]
fn admitted_responses_carry_quota_headers_where_they_are_asked_for() {
    let headers = r#", "replies": { "headers": "draft-03" }"#;
    let envoy = Envoy::with(&configuration("", headers));
    envoy.exchange(20);
    let mut stream = envoy.stream();
    stream.on_request_headers(false);
    stream.on_response_headers(false);
    let maps = envoy.host.headers.borrow();
    let response = &maps[&HeaderMap::Response];
    let value = |name| {
        let (_, value) = response.iter().find(|(key, _)| key == name).unwrap();
        String::from_utf8(value.clone()).unwrap()
    };
    assert_eq!(value("x-ratelimit-remaining"), "30");
    assert_eq!(value("x-ratelimit-reset"), "60");
}

#[test]
fn one_line_in_the_log_for_a_caller_and_window() {
    let envoy = Envoy::new();
    envoy.exchange(60);
    for _ in 0..5 {
        envoy.exchange(1);
    }
    let log = envoy.log.lines();
    let [(_, line)] = log.as_slice() else {
        panic!("one line, not {log:?}");
    };
    let expected = "limit_rejected policy=test/llm limit=free counter=\"auth.user = alice\" used=60 \
                    reserved=0 limit_value=50 unit=tokens";
    assert_eq!(line, expected);
}

#[test]
fn credentials_are_not_logged() {
    let json = configuration("", "").replace("auth.user", "request.headers['x-api-key']");
    let envoy = Envoy::with(&json);
    let mut headers = request("alice").to_vec();
    headers.push(("x-api-key", "sk-1"));
    for _ in 0..2 {
        let mut stream = envoy.stream();
        envoy.host.set_headers(HeaderMap::Request, &headers);
        stream.on_request_headers(true);
        stream.on_response_headers(false);
        envoy.body(&mut stream, &completion(60), true);
        stream.on_log();
    }
    let log = envoy.log.lines();
    assert!(
        log[0].1.contains("[withheld]") && !log[0].1.contains("sk-1"),
        "{log:?}"
    );
}

#[test]
fn a_fault_of_a_limit_in_shadow_refuses_nobody() {
    let spec = r#", "shadow": true, "when": [{ "predicate": "int(auth.user) > 0" }]"#;
    let envoy = Envoy::with(&configuration(spec, ""));
    assert!(envoy.exchange(10));
    assert_eq!(envoy.host.metric("tollgate.evaluation_errors"), 1);
}

#[test]
fn requests_in_flight_are_not_counted_in_tokens() {
    let spec = r#", "concurrency": 20, "alertAt": 0.5"#;
    let json = configuration(spec, "").replace(r#""limit": 50"#, r#""limit": 5000"#);
    let envoy = Envoy::with(&json);
    for _ in 0..3 {
        assert!(envoy.exchange(100));
    }
    assert_eq!(
        envoy
            .host
            .metric("tollgate.alerts.policy=test/llm.limit=free"),
        0
    );
}

#[test]
fn what_is_held_may_depend_on_the_body() {
    let spec = r#", "reservation": { "amount": "requestBodyJSON('/budget')" }"#;
    let envoy = Envoy::with(&configuration(spec, ""));
    let mut first = envoy.stream();
    assert_eq!(send(&envoy, &mut first, r#"{"budget":50}"#), Next::Continue);
    let mut second = envoy.stream();
    assert_eq!(send(&envoy, &mut second, r#"{"budget":1}"#), Next::Pause);
}

/// Sends a request with this body; what Envoy is to do with it.
fn send(envoy: &Envoy, stream: &mut Stream, body: &str) -> Next {
    let length = body.len().to_string();
    let mut headers = request("alice").to_vec();
    headers.push(("content-type", "application/json"));
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

fn header(envoy: &Envoy, map: HeaderMap, name: &str) -> Option<String> {
    let maps = envoy.host.headers.borrow();
    let (_, value) = maps[&map].iter().find(|(key, _)| key == name)?;
    Some(String::from_utf8(value.clone()).unwrap())
}

#[test]
fn requests_at_once_are_admitted_as_far_as_they_fit() {
    let envoy = Envoy::new();
    let ask = |max: u64| format!("{{\"max_tokens\":{max}}}");
    let gauge = || {
        let metric = "tollgate.reserved.policy=test/llm.limit=free";
        envoy.host.metric(metric)
    };
    let mut first = envoy.stream();
    assert_eq!(send(&envoy, &mut first, &ask(30)), Next::Continue);
    let of_first = gauge();
    assert!((30..50).contains(&of_first), "{of_first}");
    let mut second = envoy.stream();
    assert_eq!(send(&envoy, &mut second, &ask(30)), Next::Pause, "60 of 50");
    assert_eq!(gauge(), of_first, "who is refused holds nothing");
    let reply = envoy.host.replies.borrow().last().unwrap().clone();
    assert_eq!(
        reply.header("retry-after"),
        Some("1"),
        "as soon as the other is done"
    );
    let body: serde_json::Value = serde_json::from_str(&reply.body).unwrap();
    let held = body["error"]["message"].as_str().unwrap();
    let held = held
        .strip_prefix("Token rate limit \"free\" of policy \"test/llm\" is fully reserved: ")
        .and_then(|held| held.strip_suffix(" s."));
    let expected = " of 50 tokens per 1m are reserved by requests in flight. Try again in 1";
    assert!(held.is_some_and(|held| held.ends_with(expected)), "{body}");
    let log = envoy.log.lines().last().unwrap().1.clone();
    assert!(
        log.contains(" counter=\"auth.user = alice\" used=0 reserved=")
            && log
                .ends_with(" msg=\"reserved by requests in flight, a retry may succeed shortly\""),
        "{log}"
    );
    second.on_log();
    let mut third = envoy.stream();
    assert_eq!(
        send(&envoy, &mut third, &ask(5)),
        Next::Continue,
        "some 40 of 50"
    );
    assert!(gauge() > of_first);
    third.on_log();
    assert_eq!(gauge(), of_first);

    first.on_response_headers(false);
    envoy.body(&mut first, &completion(10), true);
    first.on_log();
    let mut fourth = envoy.stream();
    assert_eq!(
        send(&envoy, &mut fourth, &ask(1_000)),
        Next::Continue,
        "alone, with 40 left"
    );
    fourth.on_log();
    assert!(envoy.exchange(1), "nothing is held any more");
    assert_eq!(gauge(), 0);
}

#[test]
fn usage_is_asked_for_in_a_stream_and_kept_from_a_client_who_did_not() {
    let chunk = "data: {\"object\":\"chat.completion.chunk\",\"choices\":[{\"delta\":{\"content\":\"hi\"}}]}\n\n";
    let report = "data: {\"object\":\"chat.completion.chunk\",\"choices\":[],\"usage\":{\"prompt_tokens\":1,\"completion_tokens\":59,\"total_tokens\":60}}\n\n";
    for (holds, asked) in [(false, false), (true, false), (false, true), (true, true)] {
        let rest = format!(r#", "holdHeaders": {holds}"#);
        let envoy = Envoy::with(&configuration("", &rest));
        let mut stream = envoy.stream();
        let options = if asked {
            r#","stream_options":{"include_usage":true}"#
        } else {
            ""
        };
        let body = format!("{{\"stream\":true{options}}}");
        assert_eq!(send(&envoy, &mut stream, &body), Next::Continue);
        let sent = envoy.host.buffers.borrow()[&Buffer::RequestBody].clone();
        let sent = String::from_utf8(sent).unwrap();
        let length = header(&envoy, HeaderMap::Request, "content-length");
        if asked {
            assert_eq!(sent, body);
        } else {
            assert_eq!(
                sent,
                r#"{"stream_options":{"include_usage":true},"stream":true}"#
            );
        }
        match (holds, asked) {
            (false, _) => assert_eq!(length, None, "it left before the body was known"),
            (true, false) => assert_eq!(length, Some(sent.len().to_string())),
            (true, true) => assert_eq!(length, Some(body.len().to_string())),
        }
        envoy.host.set_headers(
            HeaderMap::Response,
            &[
                (":status", "200"),
                ("content-type", "text/event-stream"),
                ("content-length", "1000"),
            ],
        );
        stream.on_response_headers(false);
        let kept = header(&envoy, HeaderMap::Response, "content-length").is_some();
        assert_eq!(kept, asked);
        let mut seen = String::new();
        for (piece, end) in [
            (chunk, false),
            (&report[..20], false),
            (&report[20..], false),
            ("data: [DONE]\n\n", false),
            ("", true),
        ] {
            envoy.body(&mut stream, piece, end);
            seen += str::from_utf8(&envoy.host.buffers.borrow()[&Buffer::ResponseBody]).unwrap();
        }
        stream.on_log();
        let all = format!("{chunk}{report}data: [DONE]\n\n");
        let without = format!("{chunk}data: [DONE]\n\n");
        assert_eq!(seen, if asked { all } else { without }, "{holds} {asked}");
        assert_eq!(envoy.state("tollgate.total_tokens").as_deref(), Some("60"));
        assert_eq!(envoy.state("tollgate.estimated").as_deref(), Some("false"));
    }
}

#[test]
fn nobody_is_asked_for_usage_to_whom_no_limit_applies() {
    let none = r#", "when": [{ "predicate": "llm.model == 'other'" }]"#;
    let envoy = Envoy::with(&configuration(none, ""));
    let mut stream = envoy.stream();
    send(&envoy, &mut stream, r#"{"model":"m","stream":true}"#);
    assert_eq!(
        envoy.host.count(Call::ReplaceBuffer(Buffer::RequestBody)),
        0
    );
    stream.on_log();
    assert_eq!(
        envoy.state("tollgate.decision").as_deref(),
        Some("unmatched")
    );
}

#[test]
fn a_stream_that_breaks_off_costs_at_least_what_it_reported() {
    let envoy = Envoy::new();
    let mut stream = envoy.stream();
    send(&envoy, &mut stream, r#"{"stream":true}"#);
    let headers = [(":status", "200"), ("content-type", "text/event-stream")];
    envoy.host.set_headers(HeaderMap::Response, &headers);
    stream.on_response_headers(false);
    let start = "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"usage\":{\"input_tokens\":45,\"output_tokens\":1}}}\n\n";
    envoy.body(&mut stream, start, false);
    let text = "x".repeat(430);
    let delta = format!(
        "event: content_block_delta\ndata: {{\"type\":\"content_block_delta\",\"delta\":{{\"type\":\"text_delta\",\"text\":\"{text}\"}}}}\n\n"
    );
    envoy.body(&mut stream, &delta, false);
    stream.on_log();
    assert_eq!(envoy.state("tollgate.input_tokens").as_deref(), Some("45"));
    assert_eq!(
        envoy.state("tollgate.output_tokens").as_deref(),
        Some("100")
    );
    assert_eq!(envoy.state("tollgate.estimated").as_deref(), Some("true"));
}

#[test]
fn a_completion_without_a_sensible_report_is_not_free() {
    for usage in [
        "",
        r#","usage":{}"#,
        r#","usage":null"#,
        r#","usage":{"prompt_tokens":-9,"completion_tokens":-9,"total_tokens":-9}"#,
    ] {
        let envoy = Envoy::new();
        let mut stream = envoy.stream();
        send(&envoy, &mut stream, r#"{"messages":[]}"#);
        stream.on_response_headers(false);
        let text = "x".repeat(430);
        let body = format!(
            r#"{{"object":"chat.completion","choices":[{{"message":{{"content":"{text}"}}}}]{usage}}}"#
        );
        envoy.body(&mut stream, &body, true);
        stream.on_log();
        assert_eq!(
            envoy.state("tollgate.output_tokens").as_deref(),
            Some("100"),
            "{usage}"
        );
        assert_eq!(
            envoy.state("tollgate.estimated").as_deref(),
            Some("true"),
            "{usage}"
        );
    }
}

#[test]
fn a_limit_in_shadow_counts_and_does_not_refuse() {
    let envoy = Envoy::with(&configuration(r#", "shadow": true"#, ""));
    assert!(envoy.exchange(60));
    assert_eq!(
        envoy.state("tollgate.decision").as_deref(),
        Some("admitted")
    );
    assert!(envoy.exchange(60));
    assert_eq!(
        envoy.state("tollgate.decision").as_deref(),
        Some("shadow_denied")
    );
    assert_eq!(envoy.state("tollgate.limit").as_deref(), Some("free"));
    let name = "tollgate.requests.decision=shadow_denied.policy=test/llm.limit=free";
    assert_eq!(envoy.host.metric(name), 1);
}

#[test]
fn only_so_many_requests_are_in_flight_at_once() {
    let envoy = Envoy::with(&configuration(
        r#", "concurrency": 2, "reservation": { "amount": "0" }"#,
        "",
    ));
    let mut streams: Vec<Stream> = (0..2).map(|_| envoy.stream()).collect();
    for stream in &mut streams {
        assert_eq!(send(&envoy, stream, "{}"), Next::Continue);
    }
    let mut third = envoy.stream();
    assert_eq!(send(&envoy, &mut third, "{}"), Next::Pause);
    third.on_log();
    let body = envoy.host.replies.borrow().last().unwrap().body.clone();
    assert!(body.contains("2 concurrent requests"), "{body}");
    streams.pop().unwrap().on_log();
    let mut fourth = envoy.stream();
    assert_eq!(send(&envoy, &mut fourth, "{}"), Next::Continue);
    fourth.on_log();
}

#[test]
fn a_reservation_is_held_in_place_of_the_estimate() {
    let spec = r#", "reservation": { "amount": "llm.max_output_tokens / 2", "ttl": "30s" }"#;
    let envoy = Envoy::with(&configuration(spec, ""));
    let ask = |max: u64| format!("{{\"max_tokens\":{max}}}");
    let mut streams: Vec<Stream> = (0..2).map(|_| envoy.stream()).collect();
    for stream in &mut streams {
        assert_eq!(
            send(&envoy, stream, &ask(50)),
            Next::Continue,
            "25 of 50 each"
        );
    }
    let mut third = envoy.stream();
    assert_eq!(send(&envoy, &mut third, &ask(1)), Next::Pause);
    // Both streams are lost, as when their VM traps: their holds run out.
    envoy.host.clock.set(1_001 * MINUTE + 1);
    let mut fourth = envoy.stream();
    assert_eq!(send(&envoy, &mut fourth, &ask(50)), Next::Continue);
}

#[test]
fn callers_and_operators_are_told_of_a_limit_that_is_nearly_used_up() {
    let envoy = Envoy::with(&configuration(r#", "alertAt": 0.8"#, ""));
    let told = || {
        envoy
            .host
            .metric("tollgate.alerts.policy=test/llm.limit=free")
    };
    envoy.exchange(39);
    assert_eq!(told(), 0);
    envoy.exchange(1);
    assert_eq!(told(), 1, "40 of 50");
    envoy.exchange(1);
    assert_eq!(told(), 1, "once");
    let alert = header(&envoy, HeaderMap::Response, "x-ratelimit-alert");
    assert_eq!(alert.as_deref(), Some("\"free\""));
}

#[test]
fn a_window_may_follow_the_calendar_slide_or_refill() {
    // Half past a minute.
    let start = 1_000 * MINUTE + MINUTE / 2;
    for (algorithm, wait) in [("calendar", "30"), ("sliding", "60"), ("bucket", "14")] {
        let json = configuration("", "").replace(
            r#""window": "1m""#,
            &format!(r#""window": "1m", "algorithm": "{algorithm}""#),
        );
        let envoy = Envoy::with(&json);
        envoy.host.clock.set(start);
        assert!(envoy.exchange(60));
        assert!(!envoy.exchange(1));
        let reply = envoy.host.replies.borrow().last().unwrap().clone();
        let retry = reply.header("retry-after").unwrap().to_owned();
        if algorithm != "sliding" {
            assert_eq!(retry, wait, "{algorithm}");
        }
        envoy
            .host
            .clock
            .set(start + retry.parse::<u64>().unwrap() * 1_000_000_000);
        assert!(envoy.exchange(1), "{algorithm}: when it was told to retry");
    }
}

#[test]
fn a_policy_says_where_the_total_is() {
    let json = configuration("", r#", "usage": { "paths": ["/meta/spent"] }"#);
    let envoy = Envoy::with(&json);
    let mut stream = envoy.stream();
    stream.on_request_headers(true);
    stream.on_response_headers(false);
    envoy.body(&mut stream, r#"{"meta":{"spent":33}}"#, true);
    stream.on_log();
    assert_eq!(envoy.state("tollgate.total_tokens").as_deref(), Some("33"));
}

#[test]
fn counters_that_find_no_room_are_told_of_once_an_hour() {
    let envoy = Envoy::with(&configuration(
        "",
        r#", "storage": { "type": "local", "maxCounters": 64 }"#,
    ));
    let crowd = |from: u32| {
        for user in from..from + 1_000 {
            let mut stream = envoy.stream();
            envoy
                .host
                .set_headers(HeaderMap::Request, &request(&user.to_string()));
            stream.on_request_headers(true);
            stream.on_response_headers(false);
            envoy.body(&mut stream, &completion(10), true);
            stream.on_log();
        }
        let log = envoy.log.lines();
        log.iter()
            .filter(|(_, line)| line.contains("maxCounters"))
            .count()
    };
    assert_eq!(crowd(0), 1);
    assert_eq!(crowd(10_000), 1);
    assert!(envoy.host.metric("tollgate.counter_evictions") > 0);
    envoy.host.clock.set(1_061 * MINUTE);
    assert_eq!(crowd(20_000), 2);
}

#[test]
fn a_policy_is_enforced_where_it_is_attached() {
    let policy = |kind: &str, name: &str, limit: u64| {
        format!(
            r#"{{
              "apiVersion": "kuadrant.io/v1alpha1", "kind": "TokenRateLimitPolicy",
              "metadata": {{ "name": "{name}" }},
              "spec": {{
                "targetRef": {{ "group": "gateway.networking.k8s.io", "kind": "{kind}", "name": "{name}" }},
                "limits": {{ "all": {{ "rates": [{{ "limit": {limit}, "window": "1m" }}] }} }}
              }}
            }}"#
        )
    };
    let configuration = format!(
        r#"{{
          "policies": [{}, {}],
          "routes": [{{
            "apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute",
            "metadata": {{ "name": "route" }},
            "spec": {{ "hostnames": ["llm"] }}
          }}]
        }}"#,
        policy("Gateway", "gateway", 10),
        policy("HTTPRoute", "route", 100)
    );
    let envoy = Envoy::with(&configuration);
    let ask = |host: &str| {
        let mut stream = envoy.stream();
        let mut headers = request("alice");
        headers[2] = (":authority", host);
        envoy.host.set_headers(HeaderMap::Request, &headers);
        let let_go = stream.on_request_headers(true) == Next::Continue;
        stream.on_response_headers(false);
        envoy.body(&mut stream, &completion(60), true);
        stream.on_log();
        let_go
    };
    // The route's own policy takes the place of the gateway's.
    assert!(ask("llm:8080") && ask("LLM") && !ask("llm"));
    // Elsewhere the gateway's is in force, in a counter of its own.
    assert!(ask("other") && !ask("another"));
}
