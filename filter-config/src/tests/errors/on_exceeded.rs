//! Tests of invalid `onExceeded`.

#![expect(clippy::too_many_lines, reason = "the tests are tables")]

use serde_json::{Value, json};

use crate::fixtures::{assert_errors, long_form, set, tutorial};

#[test]
fn invalid_hard_limits_are_rejected() {
    let mut document = long_form();
    set(&mut document, "/holdHeaders", Some(json!(true)));
    let limit = "/policies/0/spec/limits/free";
    let at = |field: &str| format!("{limit}/{field}");
    assert_errors(
        &document,
        [
            (
                at("capMin").as_str(),
                Some(json!(1)),
                "policies[0].spec.limits.free.capMin: has no effect without \"cap\": true",
            ),
            (
                at("cap").as_str(),
                Some(json!(5)),
                "policies[0].spec.limits.free.cap: found 5, expected true or false",
            ),
        ],
    );
    set(&mut document, &at("cap"), Some(json!(true)));
    let conflict = "conflicts with \"cap\", remove one of them";
    let of_free =
        |field: &str, message: &str| format!("policies[0].spec.limits.free.{field}: {message}");
    let what = "the limit \"free\" of \"gateway-system/token-limits\" has \"cap\"";
    let held = format!(
        "holdHeaders: must be true: {what}, which changes a request before its headers are sent"
    );
    let remote = format!("storage: must be local: {what}, which is not exact across Envoys");
    assert_errors(
        &document,
        [
            ("/holdHeaders", Some(json!(false)), held.as_str()),
            (
                "/storage",
                Some(json!({ "type": "limitador", "cluster": "c" })),
                remote.as_str(),
            ),
            (
                at("capMin").as_str(),
                Some(json!(0)),
                &of_free(
                    "capMin",
                    "found 0, expected a whole number from 1 to 10000000",
                ),
            ),
            (
                at("cost").as_str(),
                Some(json!("usage.input_tokens")),
                &of_free("cost", conflict),
            ),
            (
                at("shadow").as_str(),
                Some(json!(true)),
                &of_free("shadow", conflict),
            ),
            (
                at("onExceeded").as_str(),
                Some(json!("allow")),
                &of_free("onExceeded", conflict),
            ),
            (
                at("reservation").as_str(),
                Some(json!({ "amount": 5 })),
                &of_free("reservation", conflict),
            ),
            (
                at("rates").as_str(),
                Some(json!([])),
                &of_free("rates", "missing required field"),
            ),
        ],
    );
}

#[test]
fn invalid_actions_are_rejected() {
    let mut document = long_form();
    set(&mut document, "/holdHeaders", Some(json!(true)));
    let queue =
        |depth: Value, timeout: Value| json!({ "queue": { "depth": depth, "timeout": timeout } });
    let alternative = |alternative: Value| json!({ "alternatives": [alternative] });
    let header =
        |name: &str, value: Value| json!({ "alternatives": [{ "headers": { name: value } }] });
    for (value, expected) in [
        (
            json!(1),
            "onExceeded: found 1, expected \"deny\", \"allow\", or an object with exactly one of \"queue\" and \"alternatives\"",
        ),
        (
            json!("queue"),
            "onExceeded: found \"queue\", expected \"deny\", \"allow\", or an object with exactly one of \"queue\" and \"alternatives\"",
        ),
        (
            json!({}),
            "onExceeded: found an object, expected \"deny\", \"allow\", or an object with exactly one of \"queue\" and \"alternatives\"",
        ),
        (
            json!({ "queue": {}, "alternatives": [] }),
            "onExceeded: found an object, expected \"deny\", \"allow\", or an object with exactly one of \"queue\" and \"alternatives\"",
        ),
        (
            json!({ "queues": {} }),
            "onExceeded.queues: unknown field, did you mean \"queue\"?\npolicies[0].spec.limits.free.onExceeded: found an object, expected \"deny\", \"allow\", or an object with exactly one of \"queue\" and \"alternatives\"",
        ),
        (
            json!({ "queue": {} }),
            "onExceeded.queue.depth: missing required field\npolicies[0].spec.limits.free.onExceeded.queue.timeout: missing required field",
        ),
        (
            queue(json!(0), json!("1s")),
            "onExceeded.queue.depth: found 0, expected a whole number from 1 to 1024",
        ),
        (
            queue(json!(1025), json!("1s")),
            "onExceeded.queue.depth: found 1025, expected a whole number from 1 to 1024",
        ),
        (
            queue(json!(1), json!("9ms")),
            "onExceeded.queue.timeout: found \"9ms\", expected a duration from \"10ms\" to \"10m\"",
        ),
        (
            queue(json!(1), json!("1h")),
            "onExceeded.queue.timeout: found \"1h\", expected a duration from \"10ms\" to \"10m\"",
        ),
        (
            queue(json!(1), json!(5)),
            "onExceeded.queue.timeout: invalid duration 5, did you mean \"5s\"?",
        ),
        (
            json!({ "alternatives": [] }),
            "onExceeded.alternatives: must not be empty",
        ),
        (
            json!({ "alternatives": vec![json!({ "model": "m" }); 17] }),
            "onExceeded.alternatives: found 17 alternatives, expected at most 16",
        ),
        (
            json!({ "alternatives": [{ "model": "m" }, { "model": "m" }] }),
            "onExceeded.alternatives[1]: duplicate alternative, already given at policies[0].spec.limits.free.onExceeded.alternatives[0]",
        ),
        (
            alternative(json!({})),
            "onExceeded.alternatives[0]: must not be empty",
        ),
        (
            alternative(json!({ "model": "" })),
            "onExceeded.alternatives[0].model: must not be empty",
        ),
        (
            alternative(json!({ "model": "a b" })),
            "onExceeded.alternatives[0].model: invalid model name, expected visible ASCII",
        ),
        (
            alternative(json!({ "model": "a", "header": {} })),
            "onExceeded.alternatives[0].header: unknown field, did you mean \"headers\"?",
        ),
        (
            alternative(json!({ "headers": {} })),
            "onExceeded.alternatives[0].headers: must not be empty",
        ),
        (
            header(":path", json!("/")),
            "onExceeded.alternatives[0].headers[\":path\"]: invalid header name, expected a token of RFC 9110 such as \"x-user-id\"",
        ),
        (
            header("Content-Length", json!("1")),
            "onExceeded.alternatives[0].headers.Content-Length: reserved header name, expected one that does not describe the message or its connection",
        ),
        (
            header("x-to", json!("a\r\nb: c")),
            "onExceeded.alternatives[0].headers.x-to: invalid header value, expected printable ASCII",
        ),
        (
            header("x-to", json!(1)),
            "onExceeded.alternatives[0].headers.x-to: found 1, expected a string",
        ),
        (
            json!({ "alternatives": [{ "headers": { "x-to": "a", "X-To": "b" } }] }),
            "onExceeded.alternatives[0].headers.x-to: duplicate field, expected it once",
        ),
    ] {
        let expected = format!("policies[0].spec.limits.free.{expected}");
        let place = "/policies/0/spec/limits/free/onExceeded";
        assert_errors(&document, [(place, Some(value), expected.as_str())]);
    }
}

#[test]
fn actions_conflicting_with_other_fields_are_rejected() {
    let limit = "/policies/0/spec/limits/free";
    let mut document = long_form();
    set(&mut document, &format!("{limit}/shadow"), Some(json!(true)));
    let allow = format!("{limit}/onExceeded");
    let excluded =
        "policies[0].spec.limits.free.onExceeded: conflicts with \"shadow\", remove one of them";
    assert_errors(
        &document,
        [(allow.as_str(), Some(json!("allow")), excluded)],
    );
    assert_errors(
        &document,
        [(allow.as_str(), Some(json!("deny")), "accepted")],
    );

    let alternatives = json!({ "alternatives": [{ "model": "small" }] });
    let held = "holdHeaders: must be true: the limit \"free\" of \"gateway-system/token-limits\" has \"alternatives\", which change a request before its headers are sent";
    assert_errors(
        &tutorial(),
        [(
            "/spec/limits/free/onExceeded",
            Some(alternatives.clone()),
            held,
        )],
    );
    let mut document = long_form();
    set(&mut document, &allow, Some(alternatives));
    assert_errors(
        &document,
        [
            ("/holdHeaders", None, held),
            ("/holdHeaders", Some(json!(false)), held),
            ("/holdHeaders", Some(json!(true)), "accepted"),
        ],
    );
}
