//! Hard limits.

use crate::host::HeaderMap;
use crate::stream::tests::harness::{Envoy, MINUTE, configuration, header, request, send, send_as};
use crate::stream::{Next, Stream};
use serde_json::{Value, json};

/// The limit.
const LIMIT: u64 = 1000;

/// Returns a hard limit with other fields.
fn hard(fields: &Value) -> Envoy {
    let mut json: Value =
        serde_json::from_str(&configuration("", r#", "holdHeaders": true"#)).unwrap();
    let limit = &mut json["policies"][0]["spec"]["limits"]["free"];
    limit["rates"] = json!([{ "limit": LIMIT, "window": "1m" }]);
    limit["cap"] = json!(true);
    for (name, value) in fields.as_object().unwrap() {
        limit[name] = value.clone();
    }
    Envoy::with(&json.to_string())
}

/// The most input tokens of a body without parts and tools.
fn input(body: &str) -> u64 {
    body.len() as u64 + 64
}

fn capped(envoy: &Envoy) -> Option<String> {
    header(envoy, HeaderMap::Response, "x-tollgate-capped")
}

/// Sends a request, whose response uses all that it may.
fn exhaust(envoy: &Envoy, body: &str) -> (Next, u64) {
    let mut stream = envoy.stream();
    let next = send(envoy, &mut stream, body);
    let reserved = stream.reserved().first().copied().unwrap_or_default();
    if next == Next::Continue {
        envoy.answer(&mut stream, reserved);
    } else {
        stream.on_log();
    }
    (next, reserved)
}

#[test]
fn bound_is_lowered_to_what_is_left() {
    let envoy = hard(&json!({}));
    let body = r#"{"model":"m","max_tokens":900,"n":2}"#;
    let bound = (LIMIT - input(body)) / 2;
    let (next, reserved) = exhaust(&envoy, body);
    assert_eq!(next, Next::Continue);
    assert_eq!(reserved, input(body) + 2 * bound);
    assert_eq!(
        envoy.sent(),
        format!(r#"{{"model":"m","max_tokens":{bound},"n":2}}"#)
    );
    assert_eq!(capped(&envoy), Some(bound.to_string()));
    let length = header(&envoy, HeaderMap::Request, "content-length");
    assert_eq!(length, Some(envoy.sent().len().to_string()));
    // Nothing is left for another.
    assert_eq!(exhaust(&envoy, body).0, Next::Pause);
    assert_eq!(envoy.replies(), 1);
    envoy.wait(MINUTE);
    assert_eq!(exhaust(&envoy, body).0, Next::Continue);
}

#[test]
fn bound_is_lowered_in_a_body_of_any_content_type() {
    let envoy = hard(&json!({}));
    let body = r#"{"model":"m","max_tokens":2000}"#;
    let mut stream = envoy.stream();
    let next = send_as(&envoy, &mut stream, "text/plain", body);
    assert_eq!(next, Next::Continue);
    let bound = LIMIT - input(body);
    assert_eq!(
        envoy.sent(),
        format!(r#"{{"model":"m","max_tokens":{bound}}}"#)
    );
    assert_eq!(stream.reserved(), [LIMIT]);
}

#[test]
fn bound_that_fits_stays() {
    let envoy = hard(&json!({}));
    let body = r#"{"model":"m","max_tokens":90}"#;
    let (next, reserved) = exhaust(&envoy, body);
    assert_eq!((next, reserved), (Next::Continue, input(body) + 90));
    assert_eq!(envoy.sent(), body);
    assert_eq!(capped(&envoy), None);
}

#[test]
fn bound_is_set_where_there_is_none() {
    let envoy = hard(&json!({ "capMax": 300 }));
    let body = r#"{"model":"m"}"#;
    let (next, reserved) = exhaust(&envoy, body);
    assert_eq!((next, reserved), (Next::Continue, input(body) + 300));
    assert_eq!(envoy.sent(), r#"{"max_tokens":300,"model":"m"}"#);
    assert_eq!(capped(&envoy).as_deref(), Some("300"));
}

#[test]
fn too_little_output_is_rejected() {
    let envoy = hard(&json!({ "capMin": 200 }));
    let body = r#"{"model":"m","max_tokens":700}"#;
    assert_eq!(exhaust(&envoy, body), (Next::Continue, input(body) + 700));
    // Less than 200 are left, but a request that asks for less than that is admitted.
    assert_eq!(exhaust(&envoy, body).0, Next::Pause);
    let reply = envoy.host.replies.borrow()[0].clone();
    assert_eq!(reply.status, 429);
    assert_eq!(
        reply.header("retry-after"),
        Some("60"),
        "not now: {reply:?}"
    );
    let small = r#"{"model":"m","max_tokens":9}"#;
    assert_eq!(exhaust(&envoy, small).0, Next::Continue);
    assert_eq!(envoy.sent(), small);
}

#[test]
fn rejection_says_what_is_needed_and_left() {
    let envoy = hard(&json!({ "capMin": 200 }));
    let body = r#"{"model":"m","max_tokens":700}"#;
    assert_eq!(exhaust(&envoy, body).0, Next::Continue);
    assert_eq!(exhaust(&envoy, body).0, Next::Pause);
    let left = LIMIT - input(body) - 700;
    let needed = input(body) + 200;
    let reply = envoy.host.replies.borrow()[0].clone();
    let expected = format!("needs at least {needed}, and {left} of 1000 tokens per 1m are left");
    assert!(reply.body.contains(&expected), "{reply:?}");
    assert_eq!(reply.header("retry-after"), Some("60"));
}

#[test]
fn request_beyond_the_limit_itself_is_not_to_be_retried() {
    let envoy = hard(&json!({ "capMin": 50 }));
    for body in [
        format!(r#"{{"model":"m","prompt":"{}"}}"#, "a".repeat(1000)),
        r#"{"model":"m","n":50}"#.to_owned(),
    ] {
        let replies = envoy.replies();
        assert_eq!(exhaust(&envoy, &body).0, Next::Pause, "{body}");
        let reply = envoy.host.replies.borrow()[replies].clone();
        assert_eq!(reply.status, 429);
        assert_eq!(reply.header("retry-after"), None, "{reply:?}");
        assert_eq!(reply.header("x-should-retry"), Some("false"));
        assert!(reply.body.contains("never has room"), "{reply:?}");
        assert!(!reply.body.contains("Try again"), "{reply:?}");
    }
}

#[test]
fn requests_that_cannot_be_bounded_are_rejected() {
    let envoy = hard(&json!({}));
    for body in [
        "[1]",
        r#"{"n":1,"N":50}"#,
        r#"{"max_tokens":1,"max_tokens":5}"#,
    ] {
        let replies = envoy.replies();
        assert_eq!(exhaust(&envoy, body).0, Next::Pause, "{body}");
        assert_eq!(envoy.replies(), replies + 1);
        let reply = envoy.host.replies.borrow()[replies].clone();
        assert_eq!(reply.status, 400, "{reply:?}");
        assert_eq!(reply.details, "tollgate_uncapped");
        assert!(reply.body.contains("request_not_bounded"), "{reply:?}");
        assert!(reply.body.contains("not a JSON object in plain form"));
    }
    let mut compressed = envoy.stream();
    let mut headers = request("alice").to_vec();
    headers.push(("content-encoding", "gzip"));
    envoy.host.set_headers(HeaderMap::Request, &headers);
    assert_eq!(compressed.on_request_headers(false), Next::Pause);
    assert_eq!(envoy.replies(), 4);
    let mut empty = envoy.stream();
    assert_eq!(empty.on_request_headers(true), Next::Continue);
    assert_eq!(empty.reserved(), [0]);
}

#[test]
fn reasoning_that_does_not_fit_is_rejected() {
    let envoy = hard(&json!({}));
    let body = r#"{"model":"m","max_tokens":800,"reasoning":{"max_tokens":600}}"#;
    assert_eq!(exhaust(&envoy, body), (Next::Continue, input(body) + 800));
    envoy.wait(MINUTE);
    let first = r#"{"model":"m","max_tokens":100}"#;
    assert_eq!(exhaust(&envoy, first).0, Next::Continue);
    // What is left is more than the reasoning and `capMin`, and then less.
    let (next, reserved) = exhaust(&envoy, body);
    assert_eq!(
        (next, reserved),
        (Next::Continue, LIMIT - input(first) - 100)
    );
    let lowered = reserved - input(body);
    assert!(
        envoy
            .sent()
            .contains(&format!(r#""max_tokens":{lowered},"#))
    );
    assert!(
        envoy.sent().contains(r#"{"max_tokens":600}"#),
        "{}",
        envoy.sent()
    );
    envoy.wait(MINUTE);
    let first = r#"{"model":"m","max_tokens":300}"#;
    assert_eq!(exhaust(&envoy, first).0, Next::Continue);
    assert_eq!(exhaust(&envoy, body).0, Next::Pause);
    assert_eq!(envoy.host.replies.borrow()[0].status, 429);
}

#[test]
fn parts_are_rejected_without_their_bound() {
    let body = r#"{"messages":[{"role":"user","content":[{"type":"image_url","image_url":{"url":"https://a"}}]}],"max_tokens":20}"#;
    let envoy = hard(&json!({}));
    assert_eq!(exhaust(&envoy, body).0, Next::Pause);
    let reply = envoy.host.replies.borrow()[0].clone();
    assert_eq!(reply.details, "tollgate_uncapped");
    assert!(reply.body.contains("it has images"), "{reply:?}");
    let envoy = hard(&json!({ "capParts": 500 }));
    let (next, reserved) = exhaust(&envoy, body);
    assert_eq!(next, Next::Continue);
    // The address is not text.
    assert!((520..input(body) + 520).contains(&reserved), "{reserved}");
}

#[test]
fn text_like_image_counts_by_its_bytes() {
    let envoy = hard(&json!({ "capParts": 1 }));
    let text = format!("data:{}", "word ".repeat(100));
    let body = json!({
        "messages": [{ "role": "tool", "content": [{ "type": "text", "text": "a", "file": text }] }],
        "max_tokens": 20,
    })
    .to_string();
    let (next, reserved) = exhaust(&envoy, &body);
    assert_eq!(next, Next::Continue);
    assert!(reserved >= input(&body) + 20, "{reserved}");
}

/// However requests overlap, and whatever they use of what they may, the limit holds.
#[test]
fn concurrent_requests_never_exceed_limit() {
    let mut admitted = 0;
    for seed in 0..40_u64 {
        let envoy = hard(&json!({ "capMax": 300 }));
        let mut random = seed;
        let mut next = |below: u64| {
            random = random
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (random >> 33) % below
        };
        let mut used = 0;
        let mut open: Vec<Stream> = Vec::new();
        for _ in 0..64 {
            let body = match next(4) {
                0 => r#"{"model":"m"}"#.to_owned(),
                n => format!(r#"{{"model":"m","max_tokens":{},"n":{n}}}"#, 1 + next(400)),
            };
            let mut stream = envoy.stream();
            if send(&envoy, &mut stream, &body) == Next::Continue {
                admitted += 1;
                open.push(stream);
            }
            let in_flight: u64 = open.iter().flat_map(Stream::reserved).sum();
            assert!(used + in_flight <= LIMIT, "seed {seed}: {used} {in_flight}");
            if next(2) == 0 && !open.is_empty() {
                let index = usize::try_from(next(open.len() as u64)).unwrap();
                let mut stream = open.swap_remove(index);
                let most: u64 = stream.reserved().iter().sum();
                let tokens = most - next(most / 2 + 1);
                used += tokens;
                envoy.answer(&mut stream, tokens);
            }
        }
        assert!(used <= LIMIT, "seed {seed}");
    }
    assert!(admitted > 80, "{admitted}");
}
