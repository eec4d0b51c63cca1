//! Background responses: each is charged once, to the request that has started it.

use crate::host::{Buffer, HeaderMap};
use crate::plugin::Plugin;
use crate::stream::tests::harness::{Envoy, MINUTE, SECOND, configuration};
use crate::stream::{Next, Stream};
use crate::telemetry::release_gauges;
use std::rc::Rc;

const RESERVED: &str = "tollgate.reserved.policy=test/llm.limit=free";

/// Returns a response object of the Responses API.
pub(in crate::stream::tests) fn response(id: &str, status: &str, usage: Option<u64>) -> String {
    let usage = usage.map_or("null".to_owned(), |total| {
        format!(
            r#"{{"input_tokens":10,"output_tokens":{},"total_tokens":{total}}}"#,
            total - 10
        )
    });
    let output = if status == "completed" || status == "cancelled" {
        r#"{"type":"message","content":[{"type":"output_text","text":"Hello"}]}"#
    } else {
        ""
    };
    let error = if status == "failed" {
        r#"{"code":"server_error","message":"no"}"#
    } else {
        "null"
    };
    format!(
        r#"{{"id":"{id}","object":"response","background":true,"status":"{status}","error":{error},"model":"m","output":[{output}],"usage":{usage}}}"#
    )
}

/// Returns an event of a stream of responses.
fn event(kind: &str, id: &str, status: &str, usage: Option<u64>) -> String {
    let response = response(id, status, usage);
    format!("event: {kind}\ndata: {{\"type\":\"{kind}\",\"response\":{response}}}\n\n")
}

fn ample(spec: &str, rest: &str) -> Envoy {
    let spec = format!(r#", "reservation": {{ "amount": "300" }} {spec}"#);
    Envoy::with(&configuration(&spec, rest).replace("50,", "5000,"))
}

impl Envoy {
    /// Returns another worker of the same Envoy.
    fn worker(&self, spec: &str, rest: &str) -> Self {
        let spec = format!(r#", "reservation": {{ "amount": "300" }} {spec}"#);
        let configuration = configuration(&spec, rest).replace("50,", "5000,");
        let plugin = Plugin::configure(self.host.clone(), configuration.as_bytes()).unwrap();
        Self {
            host: self.host.clone(),
            plugin: Rc::new(plugin),
            log: crate::host::log_capture::LogCapture::start(),
            streams: self.streams.clone(),
        }
    }

    /// Returns the same worker with limits of another name.
    fn renamed(self) -> Self {
        let configuration = configuration("", "").replace("\"free\"", "\"other\"");
        let plugin = Plugin::configure(self.host.clone(), configuration.as_bytes()).unwrap();
        Self {
            plugin: Rc::new(plugin),
            ..self
        }
    }

    pub(in crate::stream::tests) fn request(&self, user: &str, method: &str, path: &str) -> Stream {
        let mut stream = self.stream();
        let length = if method == "POST" { "40" } else { "0" };
        let headers = [
            (":method", method),
            (":path", path),
            (":authority", "llm"),
            ("x-user", user),
            ("content-length", length),
        ];
        self.host.set_headers(HeaderMap::Request, &headers);
        if method == "POST" {
            let body = r#"{"model":"m","max_output_tokens":200}"#;
            let body = format!("{body:40}");
            let next = stream.on_request_headers(false);
            self.host.set_buffer(Buffer::RequestBody, body.as_bytes());
            if next != Next::Pause || self.replies() == 0 {
                stream.on_request_body(body.len(), true);
            }
        } else {
            stream.on_request_headers(true);
        }
        stream
    }

    /// Returns an exchange of a caller, with this response; whole, unless the client disconnects.
    pub(in crate::stream::tests) fn respond(
        &self,
        mut stream: Stream,
        kind: &str,
        body: &str,
        is_whole: bool,
    ) {
        let headers = [(":status", "200"), ("content-type", kind)];
        self.host.set_headers(HeaderMap::Response, &headers);
        stream.on_response_headers(false);
        self.body(&mut stream, body, false);
        if is_whole {
            self.body(&mut stream, "", true);
        }
        stream.on_log();
    }

    fn submit(&self, user: &str, id: &str) {
        let stream = self.request(user, "POST", "/v1/responses");
        self.respond(
            stream,
            "application/json",
            &response(id, "queued", None),
            true,
        );
    }

    fn poll(&self, user: &str, id: &str, status: &str, usage: Option<u64>) {
        let stream = self.request(user, "GET", &format!("/v1/responses/{id}?include=x"));
        self.respond(
            stream,
            "application/json",
            &response(id, status, usage),
            true,
        );
    }

    /// Returns what a caller has used and reserved.
    fn counter(&self, user: &str) -> (u64, u64) {
        let mut stream = self.stream();
        self.host.set_headers(
            HeaderMap::Request,
            &[(":method", "GET"), (":path", "/"), ("x-user", user)],
        );
        stream.on_request_headers(true);
        let standing = stream.standings()[0];
        stream.on_log();
        (standing.used, standing.reserved)
    }
}

#[test]
fn background_response_is_charged_once_to_its_submitter() {
    let first = ample("", "");
    let second = first.worker("", "");
    first.submit("alice", "resp_1");
    assert_eq!(first.counter("alice"), (0, 300), "reserved");
    second.poll("bob", "resp_1", "queued", None);
    second.poll("alice", "resp_1", "in_progress", None);
    assert_eq!(second.counter("alice"), (0, 300), "still reserved");
    for worker in [&second, &first, &second, &first, &second] {
        worker.poll("bob", "resp_1", "completed", Some(70));
        assert_eq!(worker.state("tollgate.total_tokens"), None);
        assert_eq!(worker.counter("alice"), (70, 0));
        assert_eq!(worker.counter("bob"), (0, 0));
    }
    let metric = |name| first.host.metric(name);
    assert_eq!(metric("tollgate.tokens.kind=output.model=m"), 60);
    assert_eq!(metric("tollgate.estimated"), 0);
    assert_eq!(metric("tollgate.missing_usage"), 0);
    assert_eq!(metric(RESERVED), 0);
    first.wait(120 * MINUTE);
    assert!(first.exchange(1));
    assert_eq!(metric("tollgate.estimated"), 0, "charged already");
}

#[test]
fn concurrency_ends_with_the_exchange_that_submits() {
    let envoy = ample(r#", "concurrency": 1"#, "");
    envoy.submit("alice", "resp_1");
    envoy.submit("alice", "resp_2");
    assert_eq!(envoy.counter("alice"), (0, 600));
}

#[test]
fn cut_off_stream_is_charged_when_resumed() {
    let envoy = ample("", "");
    let stream = envoy.request("alice", "POST", "/v1/responses");
    let begun = event("response.created", "resp_1", "queued", None)
        + "event: response.output_text.delta\ndata: {\"type\":\"response.output_text.delta\",\"delta\":\"Hello\"}\n\n";
    envoy.respond(stream, "text/event-stream", &begun, false);
    assert_eq!(envoy.counter("alice"), (0, 300), "no estimate yet");
    let path = "/v1/responses/resp_1?stream=true&starting_after=2";
    let rest = event("response.completed", "resp_1", "completed", Some(90));
    for user in ["alice", "bob"] {
        let stream = envoy.request(user, "GET", path);
        envoy.respond(stream, "text/event-stream", &rest, true);
        assert_eq!(envoy.counter("alice"), (90, 0));
    }
    assert_eq!(envoy.counter("bob"), (0, 0));
}

#[test]
fn streamed_background_response_is_charged_by_own_report() {
    let envoy = ample("", "");
    let stream = envoy.request("alice", "POST", "/v1/responses");
    let whole = event("response.created", "resp_1", "queued", None)
        + &event("response.completed", "resp_1", "completed", Some(90));
    envoy.respond(stream, "text/event-stream", &whole, true);
    envoy.poll("alice", "resp_1", "completed", Some(90));
    assert_eq!(envoy.counter("alice"), (90, 0));
    release_gauges(&*envoy.host);
    assert_eq!(envoy.host.metric(RESERVED), 0);
}

#[test]
fn response_without_report_in_time_is_estimated() {
    let envoy = ample("", r#", "usage": { "backgroundTtl": "5s" }"#);
    envoy.submit("alice", "resp_1");
    envoy.wait(4 * SECOND);
    envoy.plugin.on_tick();
    assert_eq!(envoy.counter("alice"), (0, 300));
    envoy.wait(2 * SECOND);
    envoy.plugin.on_tick();
    let (used, reserved) = envoy.counter("alice");
    assert!((200..300).contains(&used) && reserved == 0, "{used}");
    assert_eq!(envoy.host.metric("tollgate.estimated"), 1);
    assert_eq!(envoy.host.metric(RESERVED), 0);
    envoy.poll("alice", "resp_1", "completed", Some(4_000));
    assert_eq!(envoy.counter("alice").0, used, "charged once");
    // Without ticks, the next exchange settles it.
    envoy.submit("bob", "resp_2");
    envoy.wait(6 * SECOND);
    envoy.poll("carol", "resp_3", "queued", None);
    assert_eq!(envoy.counter("bob").1, 0);
}

#[test]
fn trap_takes_off_what_is_in_flight_and_not_what_is_deferred() {
    let envoy = ample("", r#", "usage": { "backgroundTtl": "5s" }"#);
    release_gauges(&*envoy.host);
    envoy.submit("alice", "resp_1");
    let in_flight = envoy.request("bob", "POST", "/v1/responses");
    assert_eq!(envoy.host.metric(RESERVED), 600);
    release_gauges(&*envoy.host);
    assert_eq!(envoy.host.metric(RESERVED), 300, "another settles it");
    drop(in_flight);
    envoy.wait(6 * SECOND);
    envoy.plugin.on_tick();
    assert_eq!(envoy.host.metric(RESERVED), 0);
    release_gauges(&*envoy.host);
    assert_eq!(envoy.host.metric(RESERVED), 0);
}

#[test]
fn report_that_is_fetched_before_the_submit_ends_is_charged() {
    let completed = event("response.completed", "resp_1", "completed", Some(70));
    for (last, is_whole) in [("", false), ("", true), (completed.as_str(), true)] {
        let envoy = ample(r#", "concurrency": 1"#, "");
        let mut stream = envoy.request("alice", "POST", "/v1/responses");
        let headers = [(":status", "200"), ("content-type", "text/event-stream")];
        envoy.host.set_headers(HeaderMap::Response, &headers);
        stream.on_response_headers(false);
        let created = event("response.created", "resp_1", "queued", None);
        envoy.body(&mut stream, &created, false);
        envoy.poll("bob", "resp_1", "completed", Some(70));
        assert_eq!(envoy.counter("bob"), (0, 0));
        envoy.body(&mut stream, last, false);
        if is_whole {
            envoy.body(&mut stream, "", true);
        }
        stream.on_log();
        assert_eq!(envoy.counter("alice"), (70, 0), "{last} {is_whole}");
        release_gauges(&*envoy.host);
        assert_eq!(envoy.host.metric(RESERVED), 0);
        assert_eq!(envoy.host.metric("tollgate.tokens.kind=output.model=m"), 60);
    }
}

#[test]
fn text_that_is_fetched_without_the_report_raises_the_estimate() {
    let delta = format!(
        "event: response.output_text.delta\ndata: {{\"type\":\"response.output_text.delta\",\"delta\":\"{}\"}}\n\n",
        "word ".repeat(2_000)
    );
    let created = event("response.created", "resp_1", "in_progress", None);
    let whole = response("resp_1", "completed", Some(70)).replace("Hello", &"word ".repeat(2_000));
    let until_report = whole.split(r#","usage""#).next().unwrap();
    for (kind, fetched) in [
        ("text/event-stream", created + &delta),
        // From a cursor behind the first event.
        ("text/event-stream", delta),
        ("application/json", until_report.to_owned()),
    ] {
        let envoy = ample("", r#", "usage": { "backgroundTtl": "5s" }"#);
        envoy.submit("alice", "resp_1");
        for _ in 0..2 {
            let path = "/v1/responses/resp_1?stream=true";
            let stream = envoy.request("bob", "GET", path);
            envoy.respond(stream, kind, &fetched, false);
            assert_eq!(envoy.counter("alice"), (0, 300), "a report may follow");
        }
        envoy.wait(6 * SECOND);
        envoy.plugin.on_tick();
        let (used, reserved) = envoy.counter("alice");
        assert!((2_000..3_000).contains(&used) && reserved == 0, "{used}");
        assert_eq!(envoy.counter("bob"), (0, 0));
    }
}

#[test]
fn final_status_decides_cost_without_report() {
    let envoy = ample("", "");
    for (user, status, usage) in [
        ("alice", "cancelled", None),
        ("bob", "failed", None),
        ("carol", "cancelled", Some(33)),
        ("dave", "incomplete", Some(44)),
    ] {
        envoy.submit(user, user);
        let stream = envoy.request(user, "POST", &format!("/v1/responses/{user}/cancel"));
        envoy.respond(
            stream,
            "application/json",
            &response(user, status, usage),
            true,
        );
    }
    let (estimate, reserved) = envoy.counter("alice");
    assert!(
        (200..300).contains(&estimate) && reserved == 0,
        "{estimate}"
    );
    assert_eq!(envoy.counter("bob"), (0, 0));
    assert_eq!(envoy.counter("carol"), (33, 0));
    assert_eq!(envoy.counter("dave"), (44, 0));
}

#[test]
fn response_without_record_is_estimated_at_once() {
    let envoy = ample("", "");
    let long = "x".repeat(300);
    for id in ["resp_1", "resp_1", "", &long] {
        envoy.submit("alice", id);
    }
    let (used, reserved) = envoy.counter("alice");
    assert!((600..900).contains(&used), "{used}");
    assert_eq!(reserved, 300, "the first is deferred");
    assert_eq!(envoy.host.metric("tollgate.estimated"), 3);
}

#[test]
fn flood_of_submits_is_bounded_and_never_free() {
    let envoy = Envoy::with(&configuration("", "").replace("50,", "90000000,"));
    for number in 0..5_000 {
        envoy.submit("alice", &format!("resp_{number}"));
    }
    let bytes: usize = {
        let shared = envoy.host.shared.borrow();
        shared.values().map(|(value, _)| value.len()).sum()
    };
    assert!(bytes < 2 << 20, "{bytes}");
    let estimated = envoy.host.metric("tollgate.estimated");
    assert!((904..3_000).contains(&estimated), "{estimated}");
    envoy.wait(61 * MINUTE);
    for _ in 0..5_000 {
        envoy.plugin.on_tick();
    }
    assert_eq!(envoy.host.metric("tollgate.estimated"), 5_000);
    assert_eq!(envoy.host.metric(RESERVED), 0);
}

#[test]
fn report_of_another_upstream_or_response_settles_nothing() {
    let envoy = ample("", "");
    let cluster = |name: &str| {
        envoy
            .host
            .set_property(&["xds", "cluster_name"], name.as_bytes());
    };
    cluster("openai");
    envoy.submit("alice", "resp_1");
    cluster("other");
    envoy.poll("alice", "resp_1", "completed", Some(11));
    cluster("openai");
    let stream = envoy.request("alice", "GET", "/v1/responses/resp_2");
    let body = response("resp_1", "completed", Some(11));
    envoy.respond(stream, "application/json", &body, true);
    assert_eq!(envoy.counter("alice"), (0, 300));
    envoy.poll("alice", "resp_1", "completed", Some(70));
    assert_eq!(envoy.counter("alice"), (70, 0));
}

#[test]
fn charged_get_of_known_response_is_free() {
    let envoy = ample("", r#", "usage": { "methods": ["POST", "GET"] }"#);
    envoy.submit("alice", "resp_1");
    for _ in 0..2 {
        envoy.poll("bob", "resp_1", "completed", Some(70));
    }
    assert_eq!(envoy.counter("alice"), (70, 0));
    assert_eq!(envoy.counter("bob"), (0, 0));
    envoy.poll("bob", "resp_9", "completed", Some(70));
    assert_eq!(envoy.counter("bob"), (70, 0), "as configured");
}

#[test]
fn charged_get_of_pending_response_has_no_usage() {
    let envoy = ample("", r#", "usage": { "methods": ["POST", "GET"] }"#);
    envoy.submit("alice", "resp_1");
    for id in ["resp_1", "resp_9"] {
        for status in ["queued", "in_progress"] {
            envoy.poll("bob", id, status, None);
            assert_eq!(envoy.state("tollgate.total_tokens"), None, "{id} {status}");
            assert_eq!(envoy.state("tollgate.estimated"), None, "{id} {status}");
        }
    }
    assert_eq!(envoy.host.metric("tollgate.estimated"), 0);
    assert_eq!(envoy.counter("alice"), (0, 300));
    assert_eq!(envoy.counter("bob"), (0, 0));
    envoy.poll("carol", "resp_9", "completed", Some(70));
    assert_eq!(envoy.counter("carol"), (70, 0), "by its report");
    assert_eq!(envoy.counter("bob"), (0, 0));
}

#[test]
fn costs_follow_from_report_or_in_proportion() {
    for (cost, expected) in [
        ("usage.output_tokens * 3", 60 * 3),
        // Of the request, only what was estimated is known.
        (
            "usage.total_tokens * (request.headers['x-user'] == 'alice' ? 5 : 1)",
            70 * 5,
        ),
    ] {
        let spec = format!(r#", "cost": "{cost}""#);
        let envoy = ample(&spec, "");
        envoy.submit("alice", "resp_1");
        envoy.poll("bob", "resp_1", "completed", Some(70));
        assert_eq!(envoy.counter("alice"), (expected, 0), "{cost}");
    }
}

#[test]
fn budget_is_charged_by_price_of_model() {
    let envoy = ample(
        r#", "budgets": [{ "usd": 1, "window": "1h" }]"#,
        r#", "pricing": { "m": { "input": 0, "output": 2 } }"#,
    );
    envoy.submit("alice", "resp_1");
    envoy.poll("bob", "resp_1", "completed", Some(70));
    let mut stream = envoy.request("alice", "GET", "/");
    let used: Vec<u64> = stream.standings().iter().map(|it| it.used).collect();
    assert_eq!(used, [70, 120_000]);
    stream.on_log();
}

#[test]
fn other_policies_leave_a_deferred_charge_alone() {
    let envoy = ample("", "");
    let other = envoy.worker("", "").renamed();
    envoy.submit("alice", "resp_1");
    other.poll("bob", "resp_1", "completed", Some(70));
    assert_eq!(envoy.counter("alice"), (0, 300));
    envoy.poll("bob", "resp_1", "completed", Some(70));
    assert_eq!(envoy.counter("alice"), (70, 0));
}
