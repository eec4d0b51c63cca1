//! Estimates: what requests reserve, and what responses without a report cost.

use crate::host::{Buffer, HeaderMap};
use crate::stream::tests::harness::{
    Envoy, MINUTE, SECOND, completion, configuration, header, request, send,
};
use crate::stream::{Next, Stream};

/// Returns a filter with a limit of so many tokens a minute.
fn with_limit(tokens: u64) -> Envoy {
    let limit = format!(r#""limit": {tokens}"#);
    Envoy::with(&configuration("", "").replace(r#""limit": 50"#, &limit))
}

/// Lets a request without a bound have a response of so many tokens that takes so long.
fn teach(envoy: &Envoy, tokens: u64, nanoseconds: u64) {
    let mut stream = envoy.stream();
    assert_eq!(send(envoy, &mut stream, r#"{"model":"m"}"#), Next::Continue);
    envoy.wait(nanoseconds);
    envoy.answer(&mut stream, tokens);
}

/// Returns how many of 300 requests without a bound are admitted at once.
fn admitted_at_once(envoy: &Envoy) -> usize {
    let mut streams: Vec<Stream> = Vec::new();
    let mut admitted = 0;
    for _ in 0..300 {
        let mut stream = envoy.stream();
        admitted += usize::from(send(envoy, &mut stream, r#"{"model":"m"}"#) == Next::Continue);
        streams.push(stream);
    }
    for mut stream in streams {
        stream.on_log();
    }
    admitted
}

#[test]
fn short_answers_admit_no_more_requests_at_once() {
    let fresh = admitted_at_once(&with_limit(4_000));
    assert!((2..=10).contains(&fresh), "{fresh}");
    let taught = with_limit(4_000);
    for _ in 0..40 {
        teach(&taught, 1, SECOND);
    }
    taught.wait(2 * MINUTE);
    assert_eq!(admitted_at_once(&taught), fresh);
}

#[test]
fn short_answers_of_others_admit_no_more() {
    let honest = with_limit(100_000);
    for _ in 0..20 {
        teach(&honest, 10_000, 2 * MINUTE);
    }
    honest.wait(2 * MINUTE);
    let before = admitted_at_once(&honest);
    assert!((2..=10).contains(&before), "{before}");
    for _ in 0..400 {
        teach(&honest, 1, SECOND);
    }
    honest.wait(2 * MINUTE);
    assert_eq!(admitted_at_once(&honest), before);
}

#[test]
fn bounded_answers_teach_nothing_about_unbounded_ones() {
    let envoy = with_limit(100_000);
    let before = admitted_at_once(&envoy);
    for _ in 0..20 {
        let mut stream = envoy.stream();
        let body = r#"{"model":"m","max_tokens":20000}"#;
        assert_eq!(send(&envoy, &mut stream, body), Next::Continue);
        envoy.wait(2 * MINUTE);
        envoy.answer(&mut stream, 20_000);
    }
    envoy.wait(2 * MINUTE);
    assert_eq!(admitted_at_once(&envoy), before);
}

#[test]
fn fetched_answers_teach_nothing() {
    let json = configuration("", r#", "usage": { "methods": ["POST", "GET"] }"#);
    let envoy = Envoy::with(&json.replace(r#""limit": 50"#, r#""limit": 100000"#));
    let before = admitted_at_once(&envoy);
    for _ in 0..20 {
        let mut stream = envoy.stream();
        let mut headers = request("alice").to_vec();
        headers[0] = (":method", "GET");
        envoy.host.set_headers(HeaderMap::Request, &headers);
        assert_eq!(stream.on_request_headers(true), Next::Continue);
        envoy.wait(2 * MINUTE);
        envoy.answer(&mut stream, 20_000);
        assert_eq!(
            envoy.state("tollgate.total_tokens").as_deref(),
            Some("20000")
        );
    }
    envoy.wait(2 * MINUTE);
    assert_eq!(admitted_at_once(&envoy), before);
}

const MARKER: &str = "data: {\"object\":\"chat.completion.chunk\",\"choices\":[{\"delta\":{\"content\":\"<\"}}]}\n\n";

/// Sends a request, whose response has these bytes after so many seconds; then the client disconnects.
/// Returns what it was charged.
fn hang_up(envoy: &Envoy, body: &str, seconds: u64, headers: &[(&str, &str)], bytes: &str) -> u64 {
    let mut stream = envoy.stream();
    assert_eq!(send(envoy, &mut stream, body), Next::Continue);
    envoy.host.set_headers(HeaderMap::Response, headers);
    stream.on_response_headers(false);
    envoy.wait(seconds * SECOND);
    envoy.body(&mut stream, bytes, false);
    stream.on_log();
    let tokens = envoy.state("tollgate.total_tokens");
    tokens.map_or(0, |tokens| tokens.parse().unwrap())
}

const STREAM: [(&str, &str); 2] = [(":status", "200"), ("content-type", "text/event-stream")];

#[test]
fn hidden_reasoning_is_charged_when_client_hangs_up() {
    let envoy = with_limit(1_000_000);
    for _ in 0..3 {
        teach(&envoy, 3_000, 10 * SECOND);
    }
    let body = r#"{"model":"m","max_tokens":10000}"#;
    let charged = hang_up(&envoy, body, 20, &STREAM, MARKER);
    assert!((3_000..=6_100).contains(&charged), "{charged} of 6,000");
    let bounded = r#"{"model":"m","max_tokens":500}"#;
    let charged = hang_up(&envoy, bounded, 20, &STREAM, MARKER);
    assert!((500..520).contains(&charged), "{charged} of at most 500");
    let unbounded = r#"{"model":"m"}"#;
    let charged = hang_up(&envoy, unbounded, 3600, &STREAM, MARKER);
    assert!((3_000..3_600).contains(&charged), "{charged} is reserved");
}

#[test]
fn embeddings_are_not_charged_by_time() {
    let envoy = with_limit(1_000_000);
    let mut stream = envoy.stream();
    let mut headers = request("alice").to_vec();
    headers[1] = (":path", "/v1/embeddings");
    envoy.host.set_headers(HeaderMap::Request, &headers);
    let body = r#"{"model":"m","input":"hello"}"#;
    stream.on_request_headers(false);
    envoy.host.set_buffer(Buffer::RequestBody, body.as_bytes());
    stream.on_request_body(body.len(), true);
    envoy.wait(100 * SECOND);
    stream.on_response_headers(false);
    envoy.body(&mut stream, "{\"obj", false);
    stream.on_log();
    let total = envoy.state("tollgate.total_tokens").unwrap();
    assert!(total.parse::<u64>().unwrap() < 10, "{total}");
}

#[test]
fn client_that_leaves_before_response_pays_for_time() {
    let envoy = with_limit(1_000_000);
    let mut stream = envoy.stream();
    let body = r#"{"model":"m","max_tokens":10000}"#;
    assert_eq!(send(&envoy, &mut stream, body), Next::Continue);
    envoy.wait(20 * SECOND);
    let details = b"downstream_remote_disconnect";
    envoy
        .host
        .set_property(&["response", "code_details"], details);
    stream.on_log();
    let total = envoy.state("tollgate.total_tokens").unwrap();
    assert!((2_000..2_020).contains(&total.parse().unwrap()), "{total}");
}

#[test]
fn response_cut_off_before_first_byte_is_estimated() {
    let gzip = [
        (":status", "200"),
        ("content-type", "application/json"),
        ("content-encoding", "gzip"),
    ];
    let body = r#"{"model":"m","max_tokens":10000}"#;
    for (headers, bytes) in [
        (&STREAM[..], ""),
        (&STREAM, "\n \n"),
        (&gzip, ""),
        (&gzip, "\u{1f}"),
    ] {
        let envoy = with_limit(1_000_000);
        let charged = hang_up(&envoy, body, 10, headers, bytes);
        assert!((1_000..1_020).contains(&charged), "{bytes:?}: {charged}");
        // The same at its regular end costs nothing.
        let mut stream = envoy.stream();
        send(&envoy, &mut stream, body);
        envoy.host.set_headers(HeaderMap::Response, &STREAM);
        stream.on_response_headers(false);
        envoy.body(&mut stream, "", true);
        stream.on_log();
        assert_eq!(envoy.state("tollgate.total_tokens"), None);
    }
}

#[test]
fn error_that_is_cut_off_costs_nothing() {
    let envoy = with_limit(1_000_000);
    let headers = [(":status", "503"), ("content-type", "application/json")];
    let body = r#"{"model":"m","max_tokens":10000}"#;
    assert_eq!(hang_up(&envoy, body, 10, &headers, ""), 0);
}

#[test]
fn undecodable_response_costs_its_reservation() {
    let envoy = with_limit(1_000_000);
    let mut stream = envoy.stream();
    send(&envoy, &mut stream, r#"{"model":"m","max_tokens":777}"#);
    let headers = [
        (":status", "200"),
        ("content-type", "application/json"),
        ("content-encoding", "br"),
    ];
    envoy.host.set_headers(HeaderMap::Response, &headers);
    stream.on_response_headers(false);
    envoy.body(&mut stream, "\u{7f}\u{7f}\u{7f}\u{7f}\u{7f}\u{7f}", true);
    stream.on_log();
    let total = envoy.state("tollgate.total_tokens").unwrap();
    assert!((777..800).contains(&total.parse().unwrap()), "{total}");
}

#[test]
fn reservation_is_clamped_to_each_limit() {
    let rates = r#""limit": 500, "window": "1m" }, { "limit": 2000, "window": "1h""#;
    let json = configuration("", "").replace(r#""limit": 50, "window": "1m""#, rates);
    let envoy = Envoy::with(&json);
    let mut stream = envoy.stream();
    let body = r#"{"max_tokens":1099511627776}"#;
    assert_eq!(send(&envoy, &mut stream, body), Next::Continue);
    let gauge = "tollgate.reserved.policy=test/llm.limit=free";
    assert_eq!(envoy.host.metric(gauge), 500);
    stream.on_response_headers(false);
    envoy.body(&mut stream, &completion(10), true);
    stream.on_log();
    assert_eq!(envoy.host.metric(gauge), 0);
}

/// Returns what one request with this body reserves of a limit of ten million tokens.
fn reserved(envoy: &Envoy, body: &str) -> i64 {
    let gauge = || {
        let metric = "tollgate.reserved.policy=test/llm.limit=free";
        envoy.host.metric(metric)
    };
    let before = gauge();
    let mut stream = envoy.stream();
    assert_eq!(send(envoy, &mut stream, body), Next::Continue);
    let reserved = gauge() - before;
    stream.on_log();
    assert_eq!(gauge(), before);
    reserved
}

#[test]
fn excessive_bound_reserves_what_is_plausible() {
    let envoy = with_limit(10_000_000);
    let excessive = [
        r#"{"model":"m","max_tokens":1099511627776}"#,
        r#"{"model":"m","max_tokens":1000000,"n":128}"#,
        r#"{"model":"m","n":1099511627776}"#,
    ];
    for body in excessive {
        let reserved = reserved(&envoy, body);
        assert!((32_768..32_800).contains(&reserved), "{reserved} {body}");
    }
    assert!(reserved(&envoy, r#"{"model":"m","max_tokens":100}"#) < 150);
    // A long response makes longer ones plausible.
    let mut stream = envoy.stream();
    let body = r#"{"model":"m","max_tokens":100000}"#;
    assert_eq!(send(&envoy, &mut stream, body), Next::Continue);
    envoy.answer(&mut stream, 100_001);
    for body in excessive {
        let reserved = reserved(&envoy, body);
        assert!((200_000..200_040).contains(&reserved), "{reserved} {body}");
    }
}

#[test]
fn claimed_amount_reserves_what_is_plausible() {
    let reservation = r#", "reservation": { "amount": "llm.?max_output_tokens.orValue(1000)" }"#;
    let json = configuration(reservation, "").replace(r#""limit": 50"#, r#""limit": 10000000"#);
    let envoy = Envoy::with(&json);
    let reserved_by = |max: u64| reserved(&envoy, &format!("{{\"max_tokens\":{max}}}"));
    assert_eq!(reserved_by(20_000), 20_000);
    assert!((32_768..32_800).contains(&reserved_by(1 << 40)));
    // What the policy itself names is no claim of the client.
    let json = json.replace("llm.?max_output_tokens.orValue(1000)", "100000");
    let fixed = reserved(&Envoy::with(&json), r#"{"max_tokens":1}"#);
    assert_eq!(fixed, 100_000);
}

#[test]
fn reservation_has_bound_of_its_limit() {
    let reservation = r#", "reservation": { "max": 4000 }"#;
    let json = configuration(reservation, "").replace(r#""limit": 50"#, r#""limit": 10000000"#);
    let envoy = Envoy::with(&json);
    assert_eq!(reserved(&envoy, r#"{"max_tokens":5000}"#), 4_000);
    assert!(reserved(&envoy, r#"{"max_tokens":100}"#) < 150);
    for amount in ["100000", "int(request.headers['content-length']) * 1000"] {
        let max = format!(r#"{{ "max": 4000, "amount": "{amount}" }}"#);
        let json = json.replace(r#"{ "max": 4000 }"#, &max);
        let envoy = Envoy::with(&json);
        assert_eq!(reserved(&envoy, r#"{"max_tokens":5000}"#), 4_000);
    }
}

#[test]
fn claimed_length_of_unread_body_is_bounded() {
    let envoy = with_limit(10_000_000);
    let mut stream = envoy.stream();
    let mut headers = request("alice").to_vec();
    headers.push(("content-type", "application/json"));
    headers.push(("content-encoding", "gzip"));
    headers.push(("content-length", "1099511627776"));
    envoy.host.set_headers(HeaderMap::Request, &headers);
    assert_eq!(stream.on_request_headers(false), Next::Continue);
    let metric = "tollgate.reserved.policy=test/llm.limit=free";
    let reserved = envoy.host.metric(metric);
    assert!((100_000..300_000).contains(&reserved), "{reserved}");
}

#[test]
fn bound_above_2_40_reserves_like_none() {
    let gauge = "tollgate.reserved.policy=test/llm.limit=free";
    let reserved = |body: &str| {
        let envoy = with_limit(1_000_000);
        assert_eq!(send(&envoy, &mut envoy.stream(), body), Next::Continue);
        envoy.host.metric(gauge)
    };
    let padded = r#"{"max":1000000000000000}"#;
    for body in [
        r#"{"max_tokens":1099511627777}"#,
        r#"{"n":9007199254740992   }"#,
        r#"{"max_completion_tokens":1e300}"#,
    ] {
        assert!(reserved(body).abs_diff(reserved(padded)) < 5, "{body}");
    }
}

#[test]
fn implausible_content_length_is_no_estimate() {
    let gauge = "tollgate.reserved.policy=test/llm.limit=free";
    let envoy = with_limit(1_000_000_000_000);
    let mut stream = envoy.stream();
    let mut headers = request("alice").to_vec();
    headers.extend([
        ("content-length", "9007199254740992"),
        ("content-type", "text/plain"),
    ]);
    envoy.host.set_headers(HeaderMap::Request, &headers);
    stream.on_request_headers(false);
    assert_eq!(envoy.host.metric(gauge), 400);
}

#[test]
fn accept_encoding_of_metered_requests_is_narrowed() {
    let none = r#", "when": [{ "predicate": "request.headers['x-user'] == 'other'" }]"#;
    let on_body = r#", "when": [{ "predicate": "llm.model == 'm'" }]"#;
    let never = r#", "usage": { "includeUsage": "never" }"#;
    let hold = r#", "holdHeaders": true"#;
    for (spec, rest, accepted, expected) in [
        ("", never, "br, gzip", "gzip"),
        (on_body, never, "br, gzip", "gzip"),
        // Those of changed requests are removed when the body is known.
        ("", hold, "br, gzip", "gzip"),
        // A usage report could not be withheld.
        ("", "", "br, gzip", "identity"),
        ("", "", "gzip", "identity"),
        (on_body, "", "br, gzip", "identity"),
        ("", "", "gzip, identity;q=0", "gzip, identity;q=0"),
        ("", "", "br, gzip, *;q=0", "gzip, identity;q=0"),
        (none, "", "br, gzip", "br, gzip"),
    ] {
        let envoy = Envoy::with(&configuration(spec, rest));
        let mut stream = envoy.stream();
        let mut headers = request("alice").to_vec();
        headers.push(("accept-encoding", accepted));
        envoy.host.set_headers(HeaderMap::Request, &headers);
        stream.on_request_headers(false);
        let sent = header(&envoy, HeaderMap::Request, "accept-encoding");
        assert_eq!(sent.as_deref(), Some(expected), "{spec} {rest} {accepted}");
    }
}
