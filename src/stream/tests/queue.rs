//! Requests that wait in a queue.

use crate::host::{Buffer, HeaderMap};
use crate::stream::tests::harness::{
    Envoy, MINUTE, SECOND, configuration, request, send, with_queue, with_shared_queue,
    with_two_queues,
};
use crate::stream::{Next, Stream};

#[test]
fn queued_requests_are_admitted_in_order() {
    let envoy = with_queue(2, "");
    let (mut first, mut second, mut third) = (envoy.stream(), envoy.stream(), envoy.stream());
    assert_eq!(send(&envoy, &mut first, "{}"), Next::Continue);
    assert_eq!(send(&envoy, &mut second, "{}"), Next::Watermark);
    assert_eq!(send(&envoy, &mut third, "{}"), Next::Watermark);
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
        "queued requests come first"
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
    assert!(envoy.exchange(1), "nothing is reserved any more");
}

#[test]
fn one_tick_admits_all_that_fit() {
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
fn queue_timeout_rejects() {
    let envoy = with_queue(2, "");
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
fn window_end_admits_queued_request() {
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
fn disconnect_frees_place_in_queue() {
    let envoy = with_queue(2, "");
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
fn unknown_stream_leaves_the_queue() {
    let envoy = with_queue(2, "");
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
fn body_is_kept_while_headers_are_queued() {
    let envoy = with_queue(2, r#", "holdHeaders": true"#);
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
fn usage_is_requested_before_queueing() {
    let envoy = with_queue(2, r#", "holdHeaders": true"#);
    let (mut first, mut second) = (envoy.stream(), envoy.stream());
    send(&envoy, &mut first, "{}");
    assert_eq!(
        send(&envoy, &mut second, r#"{"stream":true}"#),
        Next::Watermark
    );
    let body = envoy.host.buffers.borrow()[&Buffer::RequestBody].clone();
    let body = String::from_utf8(body).unwrap();
    assert!(body.contains("include_usage"), "{body}");
}

#[test]
fn early_response_ends_queueing() {
    for (status, replies) in [("200", 1), ("503", 0)] {
        let envoy = with_queue(2, "");
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

#[test]
fn counters_have_separate_queues() {
    let envoy = with_two_queues();
    let chat = |stream: &mut Stream, user: &str| {
        envoy.host.set_headers(HeaderMap::Request, &request(user));
        stream.on_request_headers(true)
    };
    let mut streams: Vec<Stream> = (0..4).map(|_| envoy.stream()).collect();
    let [alice, bob, again, carol] = &mut *streams else {
        panic!("four")
    };
    assert_eq!(chat(alice, "alice"), Next::Continue);
    assert_eq!(chat(bob, "bob"), Next::Continue);
    assert_eq!(chat(again, "alice"), Next::Pause);
    assert_eq!(chat(carol, "carol"), Next::Pause);
    envoy.answer(bob, 1);
    // There is room for one: the first queued request has an own exchange in the way, and moves aside.
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

/// Sends a request of a caller, without a body.
fn chat(envoy: &Envoy, stream: &mut Stream, user: &str) -> Next {
    envoy.host.set_headers(HeaderMap::Request, &request(user));
    stream.on_request_headers(true)
}

#[test]
fn newest_of_greedy_caller_is_rejected() {
    let envoy = with_shared_queue(3);
    let mut streams: Vec<Stream> = (0..5).map(|_| envoy.stream()).collect();
    let [first, second, third, fourth, bob] = &mut *streams else {
        panic!("five")
    };
    assert_eq!(chat(&envoy, first, "alice"), Next::Continue);
    for stream in [&mut *second, &mut *third, &mut *fourth] {
        assert_eq!(chat(&envoy, stream, "alice"), Next::Pause);
    }
    assert_eq!(chat(&envoy, bob, "bob"), Next::Pause);
    assert_eq!((envoy.queued(), envoy.replies()), (3, 0));
    envoy.tick(&mut [second, third, fourth, bob]);
    assert_eq!((envoy.queued(), envoy.replies()), (3, 1));
    let reply = envoy.host.replies.borrow()[0].clone();
    assert_eq!(reply.status, 429);
    assert!(reply.header("retry-after").is_some());
    fourth.on_response_headers(true);
    fourth.on_log();
    assert_eq!(envoy.state("tollgate.decision").as_deref(), Some("denied"));
    assert_eq!(envoy.state("tollgate.limit").as_deref(), Some("all"));
    envoy.tick(&mut [second, third, fourth, bob]);
    assert_eq!(envoy.replies(), 1, "once");

    // The others proceed in the order of their arrival.
    envoy.answer(first, 1);
    envoy.tick(&mut [second, third, bob]);
    assert_eq!(second.standings().len(), 2, "it is admitted");
    envoy.answer(second, 1);
    envoy.tick(&mut [third, bob]);
    assert_eq!(third.standings().len(), 2, "it is admitted");
    envoy.answer(third, 1);
    envoy.tick(&mut [bob]);
    assert_eq!(bob.standings().len(), 2, "it is admitted");
    envoy.answer(bob, 1);
    let counts = (envoy.queued(), envoy.resumed(), envoy.replies());
    assert_eq!(counts, (0, 3, 1));
}

#[test]
fn displaced_request_can_end_before_its_rejection() {
    let envoy = with_shared_queue(2);
    let mut streams: Vec<Stream> = (0..4).map(|_| envoy.stream()).collect();
    let [first, second, third, bob] = &mut *streams else {
        panic!("four")
    };
    for stream in [&mut *first, &mut *second, &mut *third] {
        chat(&envoy, stream, "alice");
    }
    assert_eq!(chat(&envoy, bob, "bob"), Next::Pause);
    third.on_log();
    assert_eq!(envoy.queued(), 2, "second and bob");
    envoy.tick(&mut [second, third, bob]);
    assert_eq!((envoy.queued(), envoy.replies()), (2, 0));
    envoy.answer(first, 1);
    envoy.tick(&mut [second, bob]);
    envoy.answer(second, 1);
    envoy.tick(&mut [bob]);
    assert_eq!((envoy.queued(), envoy.resumed()), (0, 2));
}
