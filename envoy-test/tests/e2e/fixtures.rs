//! Policies and bodies that several modules use.

use envoy_test::metered::configuration;
use serde_json::{Value, json};

/// A limit that no test reaches.
pub(crate) const AMPLE: u64 = 1_000_000_000;

/// A completion of 100 tokens in 3 events; the middle one is the usage report.
pub(crate) const STREAM_WITH_REPORT: [&str; 3] = [
    "data: {\"id\":\"1\",\"object\":\"chat.completion.chunk\",\"model\":\"m\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"Hi\"}}]}\n\n",
    "data: {\"id\":\"1\",\"object\":\"chat.completion.chunk\",\"model\":\"m\",\"choices\":[],\"usage\":{\"prompt_tokens\":5,\"completion_tokens\":95,\"total_tokens\":100}}\n\n",
    "data: [DONE]\n\n",
];

/// A limit of `tokens` an hour for each caller.
pub(crate) fn hourly(tokens: u64) -> Value {
    json!({
        "rates": [{ "limit": tokens, "window": "1h" }],
        "counters": [{ "expression": "auth.identity.userid" }],
    })
}

/// [`hourly`] with further fields of the limit.
pub(crate) fn hourly_with(tokens: u64, fields: Value) -> Value {
    let mut limit = hourly(tokens);
    if let (Value::Object(limit), Value::Object(fields)) = (&mut limit, fields) {
        limit.extend(fields);
    }
    limit
}

/// Limits by model with two fallbacks for `large`, of which the first has no tokens: 100 tokens of `large` and 200
/// of `small-and-cheap` for each caller.
pub(crate) fn fallbacks() -> Value {
    let limit = |model: &str, tokens: u64, action: Value| {
        let when = json!([{ "predicate": format!("llm.model == '{model}'") }]);
        hourly_with(tokens, json!({ "when": when, "onExceeded": action }))
    };
    let alternatives = json!({ "alternatives": [
        { "model": "middle" },
        { "model": "small-and-cheap", "headers": { "x-to": "elsewhere" } },
    ] });
    let mut configuration = configuration(json!({
        "large": limit("large", 100, alternatives),
        "middle": limit("middle", 0, json!("deny")),
        "small": limit("small-and-cheap", 200, json!("deny")),
    }));
    configuration["holdHeaders"] = true.into();
    configuration
}

/// What a caller gets that sends the same chat for `large` four times under [`fallbacks`]: status, decision and the
/// model that the provider receives.
pub(crate) const FALLBACK_OUTCOMES: [(u16, &str, &str); 4] = [
    (200, "admitted", "large"),
    (200, "alternative", "small-and-cheap"),
    (200, "alternative", "small-and-cheap"),
    (429, "denied", ""),
];

/// A limit of `tokens` an hour for each caller, for bodies that name the model `large`.
pub(crate) fn large_model_limit(tokens: u64) -> Value {
    let when = json!([{ "predicate": "requestBodyJSON('/model') == 'large'" }]);
    configuration(json!({ "large": hourly_with(tokens, json!({ "when": when })) }))
}

/// The response of a provider, with this content and usage.
pub(crate) fn completion(model: &str, content: &str, usage: &Value) -> Value {
    json!({
        "id": "1",
        "object": "chat.completion",
        "model": model,
        "choices": [{ "message": { "role": "assistant", "content": content } }],
        "usage": usage,
    })
}
