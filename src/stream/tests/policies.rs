//! Which limits apply, and what happens when they cannot be evaluated.

use crate::host::HeaderMap;
use crate::stream::Next;
use crate::stream::tests::harness::{Envoy, MINUTE, completion, configuration, request};

#[test]
fn evaluation_error_follows_failure_mode() {
    let predicate = r#", "when": [{ "predicate": "int(auth.user) > 0" }]"#;
    for (mode, admitted, decision) in [("deny", false, "failed"), ("allow", true, "failed_open")] {
        let rest = format!(r#", "failureMode": "{mode}""#);
        let envoy = Envoy::with(&configuration(predicate, &rest));
        assert_eq!(envoy.exchange(10), admitted);
        assert_eq!(envoy.state("tollgate.decision").as_deref(), Some(decision));
        assert_eq!(envoy.host.metric("tollgate.evaluation_errors"), 1);
    }
}

#[test]
fn missing_claim_skips_limit_or_fails_counter() {
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
    assert_eq!(envoy.host.replies.borrow().last().unwrap().status, 401);
    stream.on_log();
    let decision = envoy.state("tollgate.decision");
    assert_eq!(decision.as_deref(), Some("unauthenticated"));
    for (metric, expected) in [
        ("tollgate.requests.decision=unauthenticated", 1),
        ("tollgate.requests.decision=failed.reason=evaluation", 0),
        ("tollgate.missing_values", 1),
        ("tollgate.evaluation_errors", 0),
    ] {
        assert_eq!(envoy.host.metric(metric), expected, "{metric}");
    }
}

/// Returns the decision on a request without identity, and the status of the reply.
fn without_identity(envoy: &Envoy, headers: &[(&str, &str)]) -> (String, Option<u16>) {
    let mut stream = envoy.stream();
    envoy.host.set_headers(HeaderMap::Request, headers);
    let replies = envoy.replies();
    stream.on_request_headers(true);
    stream.on_response_headers(true);
    stream.on_log();
    let sent = envoy.host.replies.borrow();
    let status = sent.get(replies).map(|reply| reply.status);
    (envoy.state("tollgate.decision").unwrap(), status)
}

#[test]
fn missing_identity_follows_settings() {
    let counter = |expression: &str| {
        format!(
            r#", "requests": [{{ "limit": 9, "window": "1m" }}], "counters": [{{ "expression": "{expression}" }}]"#
        )
    };
    let header = counter("request.headers['x-team']");
    let both = counter("auth.user + request.headers['x-team']");
    let allow = r#", "failureMode": "allow""#;
    for (spec, rest, expected) in [
        ("", "", ("unauthenticated", Some(401))),
        ("", allow, ("failed_open", None)),
        (r#", "whenMissing": "skip""#, "", ("unmatched", None)),
        (
            r#", "whenMissing": "reject""#,
            allow,
            ("unauthenticated", Some(401)),
        ),
        (r#", "shadow": true"#, "", ("unmatched", None)),
        (
            r#", "shadow": true, "whenMissing": "reject""#,
            "",
            ("unmatched", None),
        ),
        // Not all that is missing is an identity.
        (&*header, "", ("failed", Some(500))),
        (&*both, "", ("unauthenticated", Some(401))),
    ] {
        let text = configuration("", rest);
        let text = if spec.contains("counters") {
            text.replace(
                r#""counters": [{ "expression": "auth.user" }]"#,
                spec.trim_start_matches(", "),
            )
        } else {
            configuration(spec, rest)
        };
        let envoy = Envoy::with(&text);
        let (decision, status) = without_identity(&envoy, &request("alice")[..3]);
        assert_eq!((&*decision, status), expected, "{spec} {rest}");
    }
}

const PREFLIGHT: [(&str, &str); 5] = [
    (":method", "OPTIONS"),
    (":path", "/v1/chat/completions"),
    (":authority", "llm"),
    ("origin", "https://chat.example.com"),
    ("access-control-request-method", "POST"),
];

#[test]
fn preflight_without_identity_passes_uncounted() {
    let envoy = Envoy::with(&configuration(
        r#", "requests": [{ "limit": 1, "window": "1m" }]"#,
        "",
    ));
    for _ in 0..3 {
        let (decision, status) = without_identity(&envoy, &PREFLIGHT);
        assert_eq!((&*decision, status), ("unmatched", None));
    }
    // Without one of its headers it is a request like any other.
    for absent in [3, 4] {
        let mut headers = PREFLIGHT.to_vec();
        headers.remove(absent);
        let (decision, status) = without_identity(&envoy, &headers);
        assert_eq!((&*decision, status), ("unauthenticated", Some(401)));
    }
    let mut headers = PREFLIGHT.to_vec();
    headers[0].1 = "POST";
    let (decision, _) = without_identity(&envoy, &headers);
    assert_eq!(decision, "unauthenticated");
    // With an identity it is counted.
    let identified = [&PREFLIGHT[..], &[("x-user", "alice")]].concat();
    let decisions = [0, 1].map(|_| without_identity(&envoy, &identified).0);
    assert_eq!(decisions, ["admitted", "denied"]);
}

#[test]
fn error_in_dry_run_rejects_nothing() {
    let spec = r#", "shadow": true, "when": [{ "predicate": "int(auth.user) > 0" }]"#;
    let envoy = Envoy::with(&configuration(spec, ""));
    assert!(envoy.exchange(10));
    assert_eq!(envoy.host.metric("tollgate.evaluation_errors"), 1);
}

#[test]
fn dry_run_counts_without_rejecting() {
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
fn windows_follow_calendar_slide_or_refill() {
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
        assert!(envoy.exchange(1), "{algorithm}: after retry-after");
    }
}

#[test]
fn policy_applies_where_it_is_attached() {
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
    let request_of = |host: &str| {
        let mut stream = envoy.stream();
        let mut headers = request("alice");
        headers[2] = (":authority", host);
        envoy.host.set_headers(HeaderMap::Request, &headers);
        let admitted = stream.on_request_headers(true) == Next::Continue;
        stream.on_response_headers(false);
        envoy.body(&mut stream, &completion(60), true);
        stream.on_log();
        admitted
    };
    // The route's own policy takes the place of the gateway's.
    assert!(request_of("llm:8080") && request_of("LLM") && !request_of("llm"));
    // Elsewhere the gateway's is in force, in a counter of its own.
    assert!(request_of("other") && !request_of("another"));
}
