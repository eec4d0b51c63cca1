//! Actions that are wrong.

#![allow(clippy::too_many_lines)] // Tables.

use serde_json::{Value, json};

use super::refused;
use crate::tests::{long_form, set, tutorial};

#[test]
fn actions_that_are_wrong() {
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
            "onExceeded: expected \"deny\", \"allow\", or an object with exactly one of \"queue\" and \"alternatives\", found 1",
        ),
        (
            json!("queue"),
            "onExceeded: expected \"deny\", \"allow\", or an object with exactly one of \"queue\" and \"alternatives\", found \"queue\"",
        ),
        (
            json!({}),
            "onExceeded: expected \"deny\", \"allow\", or an object with exactly one of \"queue\" and \"alternatives\", found an object",
        ),
        (
            json!({ "queue": {}, "alternatives": [] }),
            "onExceeded: expected \"deny\", \"allow\", or an object with exactly one of \"queue\" and \"alternatives\", found an object",
        ),
        (
            json!({ "queues": {} }),
            "onExceeded.queues: unknown field, did you mean \"queue\"?\npolicies[0].spec.limits.free.onExceeded: expected \"deny\", \"allow\", or an object with exactly one of \"queue\" and \"alternatives\", found an object",
        ),
        (
            json!({ "queue": {} }),
            "onExceeded.queue.depth: required, but missing\npolicies[0].spec.limits.free.onExceeded.queue.timeout: required, but missing",
        ),
        (
            queue(json!(0), json!("1s")),
            "onExceeded.queue.depth: expected a whole number from 1 to 1024, found 0",
        ),
        (
            queue(json!(1025), json!("1s")),
            "onExceeded.queue.depth: expected a whole number from 1 to 1024, found 1025",
        ),
        (
            queue(json!(1), json!("9ms")),
            "onExceeded.queue.timeout: expected a duration from \"10ms\" to \"10m\", found \"9ms\"",
        ),
        (
            queue(json!(1), json!("1h")),
            "onExceeded.queue.timeout: expected a duration from \"10ms\" to \"10m\", found \"1h\"",
        ),
        (
            queue(json!(1), json!(5)),
            "onExceeded.queue.timeout: expected a duration from \"10ms\" to \"10m\", found 5",
        ),
        (
            json!({ "alternatives": [] }),
            "onExceeded.alternatives: must not be empty",
        ),
        (
            json!({ "alternatives": vec![json!({ "model": "m" }); 17] }),
            "onExceeded.alternatives: too many alternatives: 17, at most 16",
        ),
        (
            json!({ "alternatives": [{ "model": "m" }, { "model": "m" }] }),
            "onExceeded.alternatives[1]: the same alternative is given already at policies[0].spec.limits.free.onExceeded.alternatives[0]",
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
            "onExceeded.alternatives[0].model: the name of a model must be visible ASCII",
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
            "onExceeded.alternatives[0].headers[\":path\"]: not the name of a header",
        ),
        (
            header("Content-Length", json!("1")),
            "onExceeded.alternatives[0].headers.Content-Length: a header that an alternative cannot set",
        ),
        (
            header("x-to", json!("a\r\nb: c")),
            "onExceeded.alternatives[0].headers.x-to: a header value must be printable ASCII",
        ),
        (
            header("x-to", json!(1)),
            "onExceeded.alternatives[0].headers.x-to: expected a string, found 1",
        ),
        (
            json!({ "alternatives": [{ "headers": { "x-to": "a", "X-To": "b" } }] }),
            "onExceeded.alternatives[0].headers.x-to: given more than once",
        ),
    ] {
        let expected = format!("policies[0].spec.limits.free.{expected}");
        let place = "/policies/0/spec/limits/free/onExceeded";
        refused(&document, [(place, Some(value), expected.as_str())]);
    }
}

#[test]
fn actions_that_do_not_go_with_the_rest() {
    let limit = "/policies/0/spec/limits/free";
    let mut document = long_form();
    set(&mut document, &format!("{limit}/shadow"), Some(json!(true)));
    let allow = format!("{limit}/onExceeded");
    let excluded =
        "policies[0].spec.limits.free.onExceeded: cannot be given together with \"shadow\"";
    refused(
        &document,
        [(allow.as_str(), Some(json!("allow")), excluded)],
    );
    refused(
        &document,
        [(allow.as_str(), Some(json!("deny")), "accepted")],
    );

    let alternatives = json!({ "alternatives": [{ "model": "small" }] });
    let held = "holdHeaders: has to be true: the limit \"free\" of \"gateway-system/token-limits\" has alternatives, which change a request before its headers leave";
    refused(
        &tutorial(),
        [(
            "/spec/limits/free/onExceeded",
            Some(alternatives.clone()),
            held,
        )],
    );
    let mut document = long_form();
    set(&mut document, &allow, Some(alternatives));
    refused(
        &document,
        [
            ("/holdHeaders", None, held),
            ("/holdHeaders", Some(json!(false)), held),
            ("/holdHeaders", Some(json!(true)), "accepted"),
        ],
    );
}
