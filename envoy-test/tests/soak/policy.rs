//! The configuration: one limit that counts all tokens of each caller, and others for some kinds.

use envoy_test::{
    llm::MODEL,
    metered,
    remote::{DOMAIN, Protocol},
};
use serde_json::{Value, json};

use crate::kind::Kind;

/// The tokens of each caller, which none exhausts.
pub(crate) const AMPLE: u64 = 1_000_000_000_000;

/// Returns the configuration of an update: each differs from the one before.
pub(crate) fn configuration(storage: Option<Protocol>, update: u64) -> Value {
    let of = |kind: Kind| {
        let kind = kind.caller();
        json!([{ "predicate": format!("request.?headers['x-kind'].orValue('') == '{kind}'") }])
    };
    let caller = json!([{ "expression": "auth.identity.userid" }]);
    let mut configuration = metered::configuration(json!({
        "tokens": { "rates": [{ "limit": AMPLE, "window": "24h" }], "counters": caller },
        "queue": {
            "concurrency": 2,
            "when": of(Kind::Queue),
            "onExceeded": { "queue": { "depth": 4, "timeout": "2s" } },
        },
        "concurrency": { "concurrency": 3, "when": of(Kind::Concurrency) },
        "limited": { "rates": [{ "limit": 2_000, "window": "10s" }], "when": of(Kind::Limited) },
        "budget": { "budgets": [{ "usd": 1_000_000, "window": "24h" }], "when": of(Kind::Budget) },
        "fallback": {
            "rates": [{ "limit": 0, "window": "1h" }],
            "when": [{ "predicate": "llm.model == 'large'" }],
            "onExceeded": { "alternatives": [{ "model": MODEL }] },
        },
    }));
    configuration["holdHeaders"] = true.into();
    configuration["pricing"] =
        json!({ MODEL: { "input": 1, "output": 2 }, "default": { "input": 1, "output": 2 } });
    configuration["usage"] = json!({ "backgroundTtl": format!("{}s", 3_600 + update % 2) });
    if let Some(protocol) = storage {
        configuration["storage"] = protocol.storage();
        configuration["storage"]["failureMode"] = "local".into();
    }
    configuration
}

/// Returns the tokens that a service has counted for all callers.
pub(crate) async fn counted(limitador: &integration::Limitador) -> Result<u64, integration::Error> {
    let counters = limitador.counters(DOMAIN).await?;
    let tokens = counters.iter().filter(|counter| counter.max_value == AMPLE);
    Ok(tokens.map(|counter| counter.used).sum())
}
