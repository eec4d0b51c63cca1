//! What becomes of a request that a limit has no room for, through whole exchanges.

use super::{Envoy, MINUTE, completion, configuration, header, request, send};
use crate::host::double::Call;
use crate::host::{Buffer, Direction, HeaderMap, HostError};
use crate::stream::{Next, Stream};
use serde_json::{Value, json};

/// A limit of one request at once, for which others wait.
fn queueing(depth: u64, rest: &str) -> Envoy {
    let spec = format!(
        r#", "concurrency": 1, "reservation": {{ "amount": "0" }},
        "onExceeded": {{ "queue": {{ "depth": {depth}, "timeout": "5s" }} }}"#
    );
    Envoy::with(&configuration(&spec, rest))
}

const SECOND: u64 = 1_000_000_000;

impl Envoy {
    /// A tick, for the streams that there are.
    fn tick(&self, streams: &mut [&mut Stream]) {
        self.plugin.poll_queue(|context| {
            let mut streams = streams.iter_mut();
            let stream = streams.find(|stream| stream.id == context)?;
            Some(stream.poll_queue())
        });
    }

    fn wait(&self, nanoseconds: u64) {
        self.host.clock.set(self.host.clock.get() + nanoseconds);
    }

    /// Ends an exchange that was let go, with so many tokens.
    fn answer(&self, stream: &mut Stream, tokens: u64) {
        self.host.set_headers(
            HeaderMap::Response,
            &[(":status", "200"), ("content-type", "application/json")],
        );
        stream.on_response_headers(false);
        self.body(stream, &completion(tokens), true);
        stream.on_log();
    }

    fn resumed(&self) -> usize {
        self.host.count(Call::Resume(Direction::Request))
    }

    fn replies(&self) -> usize {
        self.host.replies.borrow().len()
    }

    fn queued(&self) -> i64 {
        self.host.metric("tollgate.queued")
    }
}

#[test]
fn requests_wait_and_go_on_in_the_order_in_which_they_came() {
    let envoy = queueing(2, "");
    let (mut first, mut second, mut third) = (envoy.stream(), envoy.stream(), envoy.stream());
    assert_eq!(send(&envoy, &mut first, "{}"), Next::Continue);
    assert_eq!(send(&envoy, &mut second, "{}"), Next::Pause);
    assert_eq!(send(&envoy, &mut third, "{}"), Next::Pause);
    assert_eq!((envoy.queued(), envoy.replies()), (2, 0));
    let mut fourth = envoy.stream();
    assert_eq!(send(&envoy, &mut fourth, "{}"), Next::Pause);
    assert_eq!(envoy.replies(), 1, "two may wait");
    assert_eq!(envoy.host.replies.borrow()[0].status, 429);
    fourth.on_log();

    envoy.tick(&mut [&mut second, &mut third]);
    assert_eq!(envoy.resumed(), 0, "there is no room yet");
    envoy.answer(&mut first, 1);
    let mut fifth = envoy.stream();
    assert_eq!(
        send(&envoy, &mut fifth, "{}"),
        Next::Pause,
        "there is room, for those who came before"
    );
    assert_eq!(envoy.replies(), 2, "the line is full again");
    envoy.tick(&mut [&mut second, &mut third]);
    assert_eq!((envoy.resumed(), envoy.queued()), (1, 1));
    envoy.answer(&mut second, 1);
    assert_eq!(envoy.state("tollgate.decision").as_deref(), Some("queued"));
    assert_eq!(envoy.state("tollgate.limit").as_deref(), Some("free"));
    envoy.tick(&mut [&mut third]);
    assert_eq!((envoy.resumed(), envoy.queued()), (2, 0));
    envoy.answer(&mut third, 1);
    assert_eq!(envoy.host.metric("tollgate.requests.decision=queued"), 2);
    assert!(envoy.exchange(1), "nothing is held any more");
}

#[test]
fn as_many_go_on_at_once_as_there_is_room_for() {
    let envoy = Envoy::with(&configuration(
        r#", "concurrency": 3, "reservation": { "amount": "0" },
        "onExceeded": { "queue": { "depth": 9, "timeout": "5s" } }"#,
        "",
    ));
    let mut gone: Vec<Stream> = (0..3).map(|_| envoy.stream()).collect();
    let mut waiting: Vec<Stream> = (0..5).map(|_| envoy.stream()).collect();
    for stream in gone.iter_mut().chain(&mut waiting) {
        send(&envoy, stream, "{}");
    }
    for stream in &mut gone {
        envoy.answer(stream, 1);
    }
    let mut streams: Vec<&mut Stream> = waiting.iter_mut().collect();
    envoy.tick(&mut streams);
    assert_eq!((envoy.resumed(), envoy.queued()), (3, 2));
}

#[test]
fn who_waits_in_vain_is_refused() {
    let envoy = queueing(2, "");
    let (mut first, mut second) = (envoy.stream(), envoy.stream());
    send(&envoy, &mut first, "{}");
    send(&envoy, &mut second, "{}");
    envoy.wait(5 * SECOND - 1);
    envoy.tick(&mut [&mut second]);
    assert_eq!(envoy.replies(), 0);
    envoy.wait(1);
    envoy.tick(&mut [&mut second]);
    assert_eq!((envoy.replies(), envoy.queued()), (1, 0));
    let reply = envoy.host.replies.borrow()[0].clone();
    assert_eq!(reply.status, 429);
    assert!(reply.header("retry-after").is_some());
    envoy.tick(&mut [&mut second]);
    second.on_response_headers(false);
    second.on_response_body(10, true);
    second.on_log();
    assert_eq!(envoy.state("tollgate.decision").as_deref(), Some("denied"));
    assert_eq!((envoy.replies(), envoy.resumed()), (1, 0));
}

#[test]
fn tokens_are_waited_for_until_the_window_ends() {
    let spec = r#", "onExceeded": { "queue": { "depth": 9, "timeout": "10m" } }"#;
    let envoy = Envoy::with(&configuration(spec, ""));
    assert!(envoy.exchange(100));
    let mut second = envoy.stream();
    second.on_request_headers(true);
    assert_eq!(envoy.queued(), 1, "without a body, at the headers");
    envoy.tick(&mut [&mut second]);
    assert_eq!(envoy.resumed(), 0);
    envoy.wait(MINUTE);
    envoy.tick(&mut [&mut second]);
    assert_eq!(envoy.resumed(), 1);
    envoy.answer(&mut second, 5);
    assert_eq!(envoy.state("tollgate.total_tokens").as_deref(), Some("5"));
}

#[test]
fn who_leaves_lets_the_next_one_move_up() {
    let envoy = queueing(2, "");
    let (mut first, mut second, mut third) = (envoy.stream(), envoy.stream(), envoy.stream());
    for stream in [&mut first, &mut second, &mut third] {
        send(&envoy, stream, "{}");
    }
    second.on_log();
    assert_eq!(envoy.queued(), 1);
    envoy.answer(&mut first, 1);
    envoy.tick(&mut [&mut second, &mut third]);
    assert_eq!(envoy.resumed(), 1);
    assert_eq!(second.poll_queue(), crate::admit::QueuePoll::Done);
    assert_eq!(envoy.resumed(), 1, "only what waits is resumed");
    envoy.answer(&mut third, 1);
    assert_eq!(envoy.state("tollgate.decision").as_deref(), Some("queued"));
}

#[test]
fn a_stream_that_nobody_knows_holds_up_nobody() {
    let envoy = queueing(2, "");
    let (mut first, mut second, mut third) = (envoy.stream(), envoy.stream(), envoy.stream());
    for stream in [&mut first, &mut second, &mut third] {
        send(&envoy, stream, "{}");
    }
    drop(second);
    envoy.answer(&mut first, 1);
    envoy.tick(&mut [&mut third]);
    assert_eq!((envoy.resumed(), envoy.queued()), (1, 0));
}

#[test]
fn a_body_that_comes_while_the_headers_wait_is_kept() {
    let envoy = queueing(2, r#", "holdHeaders": true"#);
    let mut first = envoy.stream();
    send(&envoy, &mut first, "{}");
    let mut second = envoy.stream();
    let mut headers = request("alice").to_vec();
    headers.push(("content-type", "text/plain"));
    envoy.host.set_headers(HeaderMap::Request, &headers);
    assert_eq!(second.on_request_headers(false), Next::Pause);
    assert_eq!(second.on_request_body(100, false), Next::Watermark);
    assert_eq!(second.on_request_body(100, false), Next::Watermark);
    assert_eq!(second.on_request_trailers(), Next::Pause);
    envoy.answer(&mut first, 1);
    envoy.tick(&mut [&mut second]);
    assert_eq!(envoy.resumed(), 1);
    assert_eq!(second.on_request_body(100, true), Next::Continue);
    envoy.answer(&mut second, 1);
}

#[test]
fn a_stream_is_asked_for_usage_before_it_waits() {
    let envoy = queueing(2, r#", "holdHeaders": true"#);
    let (mut first, mut second) = (envoy.stream(), envoy.stream());
    send(&envoy, &mut first, "{}");
    assert_eq!(send(&envoy, &mut second, r#"{"stream":true}"#), Next::Pause);
    let body = envoy.host.buffers.borrow()[&Buffer::RequestBody].clone();
    let body = String::from_utf8(body).unwrap();
    assert!(body.contains("include_usage"), "{body}");
}

#[test]
fn an_answer_that_comes_before_the_turn_is_not_waited_for() {
    for (status, replies) in [("200", 1), ("503", 0)] {
        let envoy = queueing(2, "");
        let (mut first, mut second) = (envoy.stream(), envoy.stream());
        send(&envoy, &mut first, "{}");
        send(&envoy, &mut second, "{}");
        envoy
            .host
            .set_headers(HeaderMap::Response, &[(":status", status)]);
        second.on_response_headers(false);
        assert_eq!(envoy.replies(), replies, "{status}");
        assert_eq!(envoy.queued(), 0);
        envoy.tick(&mut [&mut second]);
        second.on_log();
        assert_eq!((envoy.replies(), envoy.resumed()), (replies, 0));
        envoy.answer(&mut first, 1);
        assert!(envoy.exchange(1));
    }
}

/// A limit on all callers beside one on each, for both of which requests wait.
fn two_lines() -> Envoy {
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

#[test]
fn who_waits_at_one_counter_does_not_hold_up_the_others() {
    let envoy = two_lines();
    let ask = |stream: &mut Stream, user: &str| {
        envoy.host.set_headers(HeaderMap::Request, &request(user));
        stream.on_request_headers(true)
    };
    let mut streams: Vec<Stream> = (0..4).map(|_| envoy.stream()).collect();
    let [alice, bob, again, carol] = &mut *streams else {
        panic!("four")
    };
    assert_eq!(ask(alice, "alice"), Next::Continue);
    assert_eq!(ask(bob, "bob"), Next::Continue);
    assert_eq!(ask(again, "alice"), Next::Pause);
    assert_eq!(ask(carol, "carol"), Next::Pause);
    envoy.answer(bob, 1);
    // Room for one: the first in line has an exchange of his own in the way, and steps aside.
    envoy.tick(&mut [again, carol]);
    assert_eq!((envoy.resumed(), envoy.queued()), (1, 1));
    envoy.answer(carol, 1);
    assert_eq!(envoy.state("tollgate.decision").as_deref(), Some("queued"));
    envoy.wait(6 * SECOND);
    envoy.tick(&mut [again]);
    assert_eq!(
        (envoy.replies(), envoy.queued()),
        (1, 0),
        "it waits no longer for having changed lines"
    );
}

#[test]
fn a_request_is_let_go_that_exceeds_a_limit_which_allows_it() {
    let envoy = Envoy::with(&configuration(r#", "onExceeded": "allow""#, ""));
    let alerts = || {
        envoy
            .host
            .metric("tollgate.alerts.policy=test/llm.limit=free")
    };
    assert!(envoy.exchange(49));
    assert_eq!(alerts(), 0);
    assert!(envoy.exchange(1));
    assert_eq!(alerts(), 1);
    let alert = header(&envoy, HeaderMap::Response, "x-ratelimit-alert");
    assert_eq!(alert, None, "this one fitted");
    assert!(envoy.exchange(60));
    assert_eq!(
        envoy.state("tollgate.decision").as_deref(),
        Some("admitted")
    );
    let alert = header(&envoy, HeaderMap::Response, "x-ratelimit-alert");
    assert_eq!(alert.as_deref(), Some("\"free\""));
    assert_eq!(alerts(), 1, "once in a window");
    let log = envoy.log.lines();
    let lines: Vec<_> = log
        .iter()
        .filter(|(_, line)| line.starts_with("limit_alert "))
        .collect();
    assert_eq!(lines.len(), 1, "{log:?}");
    assert!(
        lines[0].1.ends_with("used=50 limit_value=50 unit=tokens"),
        "{lines:?}"
    );
    assert_eq!(envoy.replies(), 0);
    envoy.wait(MINUTE);
    assert!(envoy.exchange(60));
    assert_eq!(alerts(), 2, "another window");
}

#[test]
fn more_requests_at_once_are_told_of_once_a_minute() {
    let envoy = Envoy::with(&configuration(
        r#", "concurrency": 1, "onExceeded": "allow""#,
        "",
    ));
    let mut streams: Vec<Stream> = (0..3).map(|_| envoy.stream()).collect();
    for stream in &mut streams {
        assert_eq!(stream.on_request_headers(true), Next::Continue);
    }
    let name = "tollgate.alerts.policy=test/llm.limit=free";
    assert_eq!(envoy.host.metric(name), 1);
}

/// A limit on the model `large`, and what there is to take instead.
fn choosing(alternatives: &Value) -> Envoy {
    let limit = |model: &str, tokens: u64, action: &Value| {
        json!({
            "when": [{ "predicate": format!("llm.model == '{model}'") }],
            "rates": [{ "limit": tokens, "window": "1m" }],
            "counters": [{ "expression": "auth.user" }],
            "onExceeded": action,
        })
    };
    let mut json: Value =
        serde_json::from_str(&configuration("", r#", "holdHeaders": true"#)).unwrap();
    json["policies"][0]["spec"]["limits"] = json!({
        "large": limit("large", 50, &json!({ "alternatives": alternatives })),
        "middle": limit("middle", 10, &json!({ "alternatives": [{ "model": "large" }] })),
        "small": limit("small", 200, &json!("deny")),
    });
    Envoy::with(&json.to_string())
}

impl Envoy {
    /// Asks the model `large`, and is answered with so many tokens if that is let go.
    fn ask_large(&self, rest: &str, tokens: u64) -> Stream {
        let mut stream = self.stream();
        let body = format!("{{\"model\":\"large\",\"max_tokens\":1{rest}}}");
        if send(self, &mut stream, &body) == Next::Continue {
            self.answer(&mut stream, tokens);
        }
        stream
    }

    fn sent(&self) -> String {
        let body = self.host.buffers.borrow()[&Buffer::RequestBody].clone();
        String::from_utf8(body).unwrap()
    }

    fn alternative(&self) -> Option<String> {
        header(self, HeaderMap::Response, "x-tollgate-alternative")
    }
}

#[test]
fn another_model_is_asked_where_the_first_has_no_room() {
    let envoy = choosing(&json!([
        { "model": "middle" },
        { "model": "small", "headers": { "X-To": "b" } }
    ]));
    envoy.ask_large("", 60);
    assert_eq!(envoy.sent(), r#"{"model":"large","max_tokens":1}"#);
    assert_eq!(envoy.alternative(), None);
    // The middle one has room for one, however large.
    envoy.ask_large("", 30);
    assert_eq!(envoy.sent(), r#"{"model":"middle","max_tokens":1}"#);
    assert_eq!(envoy.alternative().as_deref(), Some("middle"));
    envoy.ask_large("", 30);
    assert_eq!(envoy.sent(), r#"{"model":"small","max_tokens":1}"#);
    assert_eq!(envoy.alternative().as_deref(), Some("small"));
    assert_eq!(
        header(&envoy, HeaderMap::Request, "x-to").as_deref(),
        Some("b")
    );
    assert_eq!(
        header(&envoy, HeaderMap::Request, "content-length").as_deref(),
        Some("32")
    );
    let state = |key: &str| envoy.state(key);
    assert_eq!(state("tollgate.decision").as_deref(), Some("alternative"));
    assert_eq!(state("tollgate.limit").as_deref(), Some("large"));
    assert_eq!(envoy.replies(), 0);
    envoy.ask_large("", 200);
    assert_eq!(
        envoy.replies(),
        0,
        "counted under the small model: 30 of 200"
    );
    envoy.ask_large("", 1);
    assert_eq!(envoy.replies(), 1, "there is room nowhere");
    let reply = envoy.host.replies.borrow()[0].clone();
    assert!(reply.body.contains("large"), "{}", reply.body);
    assert_eq!(
        envoy.sent(),
        r#"{"model":"large","max_tokens":1}"#,
        "as it was"
    );
}

#[test]
fn a_stream_that_asks_another_model_is_asked_for_usage_too() {
    let envoy = choosing(&json!([{ "model": "small" }]));
    envoy.ask_large("", 60);
    envoy.ask_large(r#","stream":true"#, 30);
    assert_eq!(
        envoy.sent(),
        r#"{"stream_options":{"include_usage":true},"model":"small","max_tokens":1,"stream":true}"#
    );
    let length = header(&envoy, HeaderMap::Request, "content-length");
    assert_eq!(length, Some(envoy.sent().len().to_string()));
}

#[test]
fn headers_alone_send_a_request_elsewhere() {
    let mut json: Value =
        serde_json::from_str(&configuration("", r#", "holdHeaders": true"#)).unwrap();
    json["policies"][0]["spec"]["limits"] = json!({ "first": {
        "when": [{ "predicate": "!('x-to' in request.headers)" }],
        "rates": [{ "limit": 50, "window": "1m" }],
        "onExceeded": { "alternatives": [{ "headers": { "x-to": "second" } }] },
    } });
    let envoy = Envoy::with(&json.to_string());
    let mut first = envoy.stream();
    assert_eq!(first.on_request_headers(true), Next::Continue);
    envoy.answer(&mut first, 60);
    let mut stream = envoy.stream();
    assert_eq!(stream.on_request_headers(true), Next::Continue);
    assert_eq!(
        header(&envoy, HeaderMap::Request, "x-to").as_deref(),
        Some("second")
    );
    envoy.answer(&mut stream, 30);
    assert_eq!(envoy.alternative().as_deref(), Some("1"));
    assert_eq!(
        envoy.state("tollgate.decision").as_deref(),
        Some("alternative")
    );
    assert_eq!(envoy.state("tollgate.model"), None, "nobody meters it now");
}

#[test]
fn what_names_no_model_in_its_body_has_no_other_model() {
    let envoy = Envoy::with(&configuration(
        r#", "onExceeded": { "alternatives": [{ "model": "small" }] }"#,
        r#", "holdHeaders": true"#,
    ));
    envoy.ask_large("", 60);
    for body in [
        "",
        "{}",
        "[]",
        r#"{"model":1}"#,
        r#"{"model":"a","model":"b"}"#,
    ] {
        let mut stream = envoy.stream();
        assert_eq!(send(&envoy, &mut stream, body), Next::Pause, "{body}");
    }
    let mut stream = envoy.stream();
    let mut headers = request("alice").to_vec();
    headers[1].1 = "/openai/deployments/large/chat/completions";
    headers.push(("content-type", "application/json"));
    envoy.host.set_headers(HeaderMap::Request, &headers);
    stream.on_request_headers(false);
    let body = br#"{"model":"large"}"#;
    envoy.host.set_buffer(Buffer::RequestBody, body);
    assert_eq!(stream.on_request_body(body.len(), true), Next::Pause);
    assert_eq!(envoy.replies(), 6, "the path names the model");
}

#[test]
fn a_request_that_cannot_be_changed_does_not_go_on_and_holds_nothing() {
    for call in [
        Call::SetHeader(HeaderMap::Request),
        Call::ReplaceBuffer(Buffer::RequestBody),
    ] {
        let envoy = choosing(&json!([{ "model": "small" }]));
        envoy.ask_large("", 60);
        envoy.host.fail(call, 1, HostError::BadArgument);
        let mut stream = envoy.ask_large(r#","n":190"#, 0);
        assert_eq!(envoy.host.replies.borrow()[0].status, 500, "{call:?}");
        stream.on_log();
        envoy.ask_large(r#","n":190"#, 150);
        assert_eq!(envoy.replies(), 1, "{call:?}");
        assert_eq!(envoy.alternative().as_deref(), Some("small"));
    }
}
