//! The schema of the limits of a policy.

use serde_json::{Value, json};

use super::shapes::{
    cel, described, limit_name, list, nullable, number_as_text, object, usd, whole, window,
};
use crate::{bounds, budget, limit, on_exceeded, rate};

pub(super) fn limits() -> Value {
    json!({
        "description": "The limits by their names.",
        "type": "object",
        "minProperties": 1,
        "maxProperties": bounds::LIMITS,
        "propertyNames": limit_name(),
        "additionalProperties": nullable(&json!({ "$ref": "#/$defs/limit" }))
    })
}

pub(super) fn limit() -> Value {
    let expression = cel("a part of the key of the counter.");
    let counter = object(
        &limit::COUNTER,
        &["expression"],
        &json!({ "expression": expression }),
    );
    let reservation = object(
        &limit::RESERVATION,
        &[],
        &json!({
            "amount": {
                "description": "The number of tokens that a request reserves.",
                "anyOf": [{ "type": "integer", "minimum": 0 }, cel("the number of tokens.")]
            },
            "ttl": {
                "description": "The time after which the reservation expires: a duration such as 30s, or CEL that yields one or a number of seconds.",
                "type": "string",
                "minLength": 1,
                "maxLength": bounds::EXPRESSION_BYTES
            },
            "max": described("The most tokens that one request reserves.", whole(&bounds::RESERVATION_MAX))
        }),
    );
    let rate = json!({ "$ref": "#/$defs/rate" });
    let budget = object(
        &budget::BUDGET,
        &["usd", "window"],
        &json!({
            "usd": usd("The most that may be used in a window, in US dollars."),
            "window": window("A duration such as 1h, 24h or 30d."),
            "algorithm": algorithm()
        }),
    );
    let [min, max] = [bounds::ALERT_AT.start(), bounds::ALERT_AT.end()]
        .map(|parts| f64::from(*parts) / 1_000_000.0);
    object(
        &limit::LIMIT,
        &[],
        &json!({
            "rates": described("Rates of cost; all are enforced.", list(0, bounds::RATES, &rate)),
            "requests": described("Rates of requests; all are enforced.", list(0, bounds::RATES, &rate)),
            "budgets": described("Rates of money; all are enforced.", list(0, bounds::RATES, &budget)),
            "cost": cel("the cost of one exchange against the rates; by default its total of tokens."),
            "whenMissing": {
                "description": "The handling of a request for which a counter expression has no value; by default failureMode decides.",
                "enum": ["skip", "reject"]
            },
            "when": { "$ref": "#/$defs/when" },
            "counters": list(0, bounds::COUNTERS, &counter),
            "concurrency": described("The most requests in flight per key.", whole(&bounds::CONCURRENCY)),
            "alertAt": {
                "description": "The share of the limit whose use is reported.",
                "anyOf": [
                    { "type": "number", "minimum": min, "maximum": max },
                    number_as_text()
                ]
            },
            "cap": {
                "description": "Hard limit: the request's own bound on its output is lowered to what is left.",
                "type": "boolean",
                "default": false
            },
            "capMin": described("The least output, in tokens, that is worth a request under a hard limit.", whole(&bounds::CAP_TOKENS)),
            "capParts": described("The most tokens of an image, a recording or a file. Without it, a hard limit rejects requests with such parts.", whole(&bounds::CAP_TOKENS)),
            "capMax": described("The most output, in tokens, of a request that sets no bound of its own.", whole(&bounds::CAP_TOKENS)),
            "reply": described("The reply to requests that the limit rejects, where it is not that of replies.", super::settings::limit_reply()),
            "shadow": {
                "description": "Dry run: count and report, and never reject.",
                "type": "boolean",
                "default": false
            },
            "onExceeded": on_exceeded(),
            "reservation": described("What a request reserves until its usage is known.", reservation)
        }),
    )
}

fn on_exceeded() -> Value {
    let queue = object(
        &on_exceeded::QUEUE,
        &["depth", "timeout"],
        &json!({
            "depth": described("The maximum of queued requests per counter.", whole(&bounds::QUEUE_DEPTH)),
            "timeout": window("The maximum time that a request is queued for: a duration such as 5s.")
        }),
    );
    let value = json!({
        "type": "string",
        "minLength": 1,
        "maxLength": bounds::HEADER_VALUE_BYTES,
        "pattern": "^[ -~]+$"
    });
    let mut alternative = object(
        &on_exceeded::ALTERNATIVE,
        &[],
        &json!({
            "model": {
                "description": "The model that is requested instead.",
                "type": "string",
                "minLength": 1,
                "maxLength": bounds::NAME_BYTES,
                "pattern": "^[!-~]+$"
            },
            "headers": {
                "description": "Headers that replace those of the request.",
                "type": "object",
                "minProperties": 1,
                "maxProperties": bounds::ALTERNATIVE_HEADERS,
                "propertyNames": {
                    "pattern": "^[A-Za-z0-9!#$%&'*+.^_`|~-]+$",
                    "maxLength": bounds::HEADER_NAME_BYTES
                },
                "additionalProperties": value
            }
        }),
    );
    alternative["minProperties"] = json!(1);
    let alternatives = described(
        "Fallbacks of the request, tried in order.",
        list(1, bounds::ALTERNATIVES, &alternative),
    );
    let mut action = object(
        &on_exceeded::EXCEEDED,
        &[],
        &json!({
            "queue": described("The request is queued until it fits, in order of arrival.", queue),
            "alternatives": alternatives
        }),
    );
    action["minProperties"] = json!(1);
    action["maxProperties"] = json!(1);
    json!({
        "description": "The handling of a request that exceeds the limit.",
        "default": "deny",
        "anyOf": [{ "enum": ["deny", "allow"] }, action]
    })
}

fn algorithm() -> Value {
    json!({
        "description": "When windows begin and end.",
        "enum": ["fixed", "calendar", "sliding", "bucket"],
        "default": "fixed"
    })
}

pub(super) fn rate() -> Value {
    object(
        &rate::RATE,
        &["limit", "window"],
        &json!({
            "limit": {
                "description": "The most in a window. A negative number is 0.",
                "anyOf": [{ "type": "integer" }, cel("the most in a window.")]
            },
            "min": described("The lower bound of a limit that is an expression.", whole(&bounds::LIMIT)),
            "max": {
                "description": "The upper bound of a limit that is an expression; none for no bound.",
                "anyOf": [whole(&bounds::LIMIT), { "const": "none" }]
            },
            "window": {
                "description": "A duration such as 1m, 1h30m or 7d, or CEL that yields one or a number of seconds.",
                "type": "string",
                "minLength": 1,
                "maxLength": bounds::EXPRESSION_BYTES
            },
            "minWindow": window("The lower bound of a window that is an expression."),
            "algorithm": algorithm()
        }),
    )
}
