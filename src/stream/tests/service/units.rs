//! What a rate limit service counts of a limit besides tokens: requests, and money.

use crate::host::Buffer;
use crate::stream::Next;
use crate::stream::tests::harness::{Envoy, configuration};
use crate::stream::tests::service::harness::{CHECK, Gateway, RESERVE, RLS};
use limits::service::mock::{Limitador, entries};
use serde_json::{Value, json};

/// Two limits, one for each caller and one for all, each of tokens, requests and, where it can be, money.
fn gateway(storage: &str) -> Gateway {
    let pricing = r#""pricing": { "m": { "input": 1, "output": 2 } }"#;
    let rest = format!(r#", "storage": {storage}, {pricing}"#);
    let mut json: Value = serde_json::from_str(&configuration("", &rest)).unwrap();
    let limit = |counter: &str| {
        let mut limit = json!({
            "rates": [{ "limit": 1_000, "window": "1m" }, { "limit": 9_000, "window": "1h" }],
            "requests": [{ "limit": 4, "window": "1m" }],
            "counters": [{ "expression": counter }],
        });
        if storage != RLS {
            limit["budgets"] = json!([{ "usd": 10, "window": "1d" }]);
        }
        limit
    };
    json["policies"][0]["spec"]["limits"] =
        json!({ "each": limit("auth.user"), "all": limit("'all'") });
    let mut limitador = Limitador::new(1_000);
    limitador.limits = vec![("limit.", 4), ("budget.", 10_000_000_000)];
    Gateway {
        envoy: Envoy::with(&json.to_string()),
        limitador,
        answered: 0,
    }
}

impl Gateway {
    /// What is counted under keys of tokens, of requests and of money.
    fn counted(&self) -> [u64; 3] {
        ["tokenlimit.", "limit.", "budget."].map(|start| {
            let used = self.limitador.used.iter();
            let of_unit = used.filter(|((_, descriptor), _)| {
                let keys = entries(descriptor).into_iter().map(|(key, _)| key);
                let keys: Vec<_> = keys
                    .filter(|key| key.contains("limit.") || key.contains("budget."))
                    .collect();
                assert!(
                    keys.iter().all(|key| key.starts_with(start))
                        || keys.iter().all(|key| !key.starts_with(start)),
                    "{keys:?}"
                );
                keys.iter().any(|key| key.starts_with(start))
            });
            of_unit.map(|(_, used)| used).sum()
        })
    }
}

#[test]
fn units_are_counted_separately() {
    for (storage, calls) in [(RESERVE, 6), (CHECK, 6), (RLS, 3)] {
        let mut gateway = gateway(storage);
        for tokens in [10, 20, 30, 40] {
            let before = gateway.methods().len();
            assert_eq!(gateway.exchange(tokens), "admitted", "{storage}");
            let made = gateway.methods().len() - before;
            assert_eq!(made, calls, "{storage}");
        }
        // 2 dollars for a million tokens of output, and 1 for the token of input of each request.
        let usd = if storage == RLS {
            0
        } else {
            96 * 2_000 + 4 * 1_000
        };
        assert_eq!(gateway.counted(), [100, 4, usd], "{storage}");
        assert_eq!(gateway.exchange(1), "denied", "four requests: {storage}");
        // One that knows no questions without a hit counts them.
        let tokens = if storage == RLS { 101 } else { 100 };
        assert_eq!(gateway.counted(), [tokens, 4, usd], "{storage}");
        assert!(gateway.limitador.reserved.is_empty(), "{storage}");
    }
}

#[test]
fn request_is_counted_at_admission() {
    for storage in [RESERVE, CHECK] {
        let mut gateway = gateway(storage);
        let mut stream = gateway.envoy.stream();
        assert_eq!(stream.on_request_headers(true), Next::Pause);
        assert_eq!(gateway.counted(), [0; 3]);
        let mut stream = Some(stream);
        gateway.answer(&mut stream);
        assert_eq!(gateway.counted(), [0, 1, 0], "{storage}");
        stream.unwrap().on_log();
        gateway.answer(&mut None);
        assert_eq!(gateway.counted(), [0, 1, 0], "{storage}");
        assert!(gateway.limitador.reserved.is_empty());
    }
}

#[test]
fn rejected_request_is_not_counted() {
    for storage in [RESERVE, CHECK] {
        let mut gateway = gateway(storage);
        let mut stream = gateway.envoy.stream();
        stream.on_request_headers(true);
        stream.on_log();
        drop(stream);
        gateway.answer(&mut None);
        gateway.limitador.limits[1].1 = 0;
        assert_eq!(gateway.exchange(1), "denied", "a budget of zero");
        assert_eq!(gateway.counted(), [0; 3], "{storage}");
        assert!(gateway.limitador.reserved.is_empty(), "{storage}");
        gateway.limitador.limits[1].1 = 10_000_000_000;
        for _ in 0..4 {
            assert_eq!(gateway.exchange(1), "admitted", "nor does this Envoy");
        }
    }
}

#[test]
fn outage_loses_no_usage() {
    for storage in [RESERVE, CHECK] {
        let mut gateway = gateway(storage);
        for _ in 0..3 {
            let decided = gateway.exchange_by(50, &mut |_| Some(Err(14)));
            assert_eq!(decided, "admitted");
        }
        gateway.wait(10_000);
        assert_eq!(
            gateway.counted(),
            [150, 3, 147 * 2_000 + 3 * 1_000],
            "{storage}"
        );
        assert_eq!(gateway.exchange(1), "admitted");
        assert_eq!(gateway.exchange(1), "denied");
    }
}

#[test]
fn exhausted_budget_is_checked_with_body_model() {
    let mut gateway = gateway(RESERVE);
    gateway.limitador.limits = vec![];
    gateway.exchange(6_000_000);
    gateway.limitador.used.clear();
    let before = gateway.methods().len();
    let mut stream = gateway.envoy.stream();
    assert_eq!(stream.on_request_headers(false), Next::Continue);
    assert_eq!(gateway.methods().len(), before);
    let body = br#"{"model":"m","max_tokens":100}"#;
    gateway.envoy.host.set_buffer(Buffer::RequestBody, body);
    assert_eq!(stream.on_request_body(body.len(), true), Next::Watermark);
    assert_eq!(gateway.methods().len(), before + 3);
}

#[test]
fn dry_run_requests_are_counted() {
    let spec = r#", "requests": [{ "limit": 1, "window": "1m" }], "shadow": true"#;
    for storage in [RESERVE, CHECK] {
        let mut gateway = Gateway::with(spec, storage, "");
        gateway.limitador.limits = vec![("limit.", 1)];
        assert_eq!(gateway.exchange(5), "admitted");
        assert_eq!(gateway.exchange(5), "shadow_denied", "{storage}");
        assert_eq!(gateway.counted(), [10, 2, 0], "{storage}");
    }
}

#[test]
fn redirected_request_counts_once_at_the_service() {
    for storage in [RESERVE, CHECK, RLS] {
        let mut plain = gateway(storage);
        assert_eq!(plain.exchange(60), "admitted");
        let mut redirected = gateway(storage);
        let details = ["response", "code_details"];
        for _ in 0..2 {
            let mut stream = redirected.envoy.stream();
            stream.on_request_headers(true);
            let mut stream = Some(stream);
            redirected.answer(&mut stream);
            let host = &redirected.envoy.host;
            host.set_property(&details, b"internal_redirect");
            stream.unwrap().on_log();
            redirected.answer(&mut None);
            redirected
                .envoy
                .host
                .set_property(&details, b"via_upstream");
        }
        assert_eq!(redirected.exchange(60), "admitted");
        let [tokens, requests, money] = redirected.counted();
        let [plain_tokens, plain_requests, plain_money] = plain.counted();
        assert_eq!(
            (requests, money),
            (plain_requests, plain_money),
            "{storage}"
        );
        // A service that adds 1 for each check counts that of each hop, as of any exchange that costs nothing.
        let of_checks = if storage == RLS { 2 } else { 0 };
        assert_eq!(tokens, plain_tokens + of_checks, "{storage}");
        assert_eq!(redirected.counted()[1], 1, "{storage}");
    }
}
