//! The files of the tests of warnings.

use serde_json::{Value, json};

use crate::WarningCode;
use crate::fixtures::{policy, route};

/// A warning, the path to it, a file that provokes it and nothing else, and one that provokes nothing.
type Case = (WarningCode, &'static str, Value, Value);

const HTTP: &str = "type.googleapis.com/envoy.extensions.filters.http";
const FILTERS: &str =
    "static_resources.listeners[0].filter_chains[0].filters[0].typed_config.http_filters";

pub(super) fn all() -> Vec<Case> {
    [
        targets(),
        limits(),
        expressions(),
        missing(),
        plugins(),
        chains(),
    ]
    .concat()
}

/// A limit of all requests.
fn rate() -> Value {
    json!({ "rates": [{ "limit": 1000, "window": "1h" }] })
}

fn limits_of(limits: &Value) -> Value {
    policy("llm", &json!({ "limits": limits }))
}

/// A policy with one limit that has these fields.
fn limit(fields: &Value) -> Value {
    let mut limit = rate();
    for (name, value) in fields.as_object().unwrap() {
        limit[name] = value.clone();
    }
    limits_of(&json!({ "a": limit }))
}

/// A limitador with leases, and limits of 1,000 tokens and 100 requests.
fn leased(amount: u64, requests: u64) -> Value {
    let window = json!([{ "limit": 100, "window": "1m" }]);
    let policy = limit(&json!({ "requests": window }));
    let lease = json!({ "amount": amount, "requests": requests });
    let storage = json!({ "type": "limitador", "cluster": "limitador", "lease": lease });
    json!({ "policies": [policy], "storage": storage })
}

pub(super) fn predicate(predicate: &str) -> Value {
    limit(&json!({ "when": [{ "predicate": predicate }] }))
}

/// A policy that reads `auth`.
fn of_user() -> Value {
    limit(&json!({ "counters": [{ "expression": "auth.identity.sub" }] }))
}

fn targets() -> Vec<Case> {
    let targets = |kind: &str| {
        let target = json!({ "group": "gateway.networking.k8s.io", "kind": kind, "name": "chat" });
        let limits = json!({ "a": rate() });
        policy("llm", &json!({ "targetRef": target, "limits": limits }))
    };
    let routed = json!({
        "policies": [targets("HTTPRoute")],
        "routes": [route("chat", &json!({ "rules": [{}] }))],
    });
    let attached = json!([{ "name": "tollgate", "config": targets("HTTPRoute") }]);
    vec![
        (
            WarningCode::NoRoutes,
            "spec.targetRef",
            targets("HTTPRoute"),
            targets("Gateway"),
        ),
        (
            WarningCode::NoRoutes,
            "policies[0].spec.targetRef",
            json!({ "policies": [targets("HTTPRoute")] }),
            routed,
        ),
        (
            WarningCode::NoRoutes,
            "spec.pluginConfig.spec.targetRef",
            istio(
                "WasmPlugin",
                &json!({ "pluginConfig": targets("HTTPRoute") }),
            ),
            istio("EnvoyExtensionPolicy", &json!({ "wasm": attached })),
        ),
    ]
}

fn limits() -> Vec<Case> {
    let priced = |input: &str| {
        json!({
            "policies": [limit(&json!({ "budgets": [{ "usd": "1.00", "window": "1d" }] }))],
            "pricing": { "gpt": { "input": input, "cachedInput": "0.001", "output": "10.00" } },
        })
    };
    let numbers = |number: Value| {
        limits_of(&json!({ "a": { "rates": [{ "limit": number, "window": "1h" }] } }))
    };
    let other = json!({ "rates": [{ "limit": 1000, "window": "1m" }] });
    // The same windows in other words, or others.
    let spelled = |hour: &str, week: &str| {
        let of = |hour: &str, week: &str| {
            let rates = json!([{ "limit": 1000, "window": hour }]);
            json!({ "rates": rates, "requests": [{ "limit": 10, "window": week }] })
        };
        limits_of(&json!({ "a": of("1h", "7d"), "b": of(hour, week) }))
    };
    let two = |first: &str, second: &str| {
        limit(&json!({ "counters": [{ "expression": first }, { "expression": second }] }))
    };
    vec![
        (
            WarningCode::NoCounters,
            "spec.limits.each-user",
            limits_of(&json!({ "each-user": rate() })),
            limits_of(&json!({ "tokens-per-minute": rate(), "peruse": other })),
        ),
        (
            WarningCode::NoCounters,
            "spec.limits.perUser",
            limits_of(&json!({ "perUser": rate() })),
            limits_of(&json!({ "perUser": {
                "rates": [{ "limit": 1, "window": "1h" }], "counters": [{ "expression": "auth.identity.sub" }],
            } })),
        ),
        (
            WarningCode::SameLimit,
            "spec.limits.b",
            limits_of(&json!({ "a": rate(), "b": rate() })),
            limits_of(&json!({ "a": rate(), "b": other })),
        ),
        (
            WarningCode::SameLimit,
            "spec.limits.b",
            spelled("60m", "168h"),
            spelled("61m", "7d"),
        ),
        (
            WarningCode::NumberAsText,
            "spec.limits.a.rates[0].limit",
            numbers(json!("5000")),
            numbers(json!(5000)),
        ),
        (
            WarningCode::LargeReservation,
            "spec.limits.a.reservation.max",
            limit(&json!({ "reservation": { "max": 1001 } })),
            limit(&json!({ "reservation": { "max": 1000 } })),
        ),
        (
            WarningCode::LargeReservation,
            "spec.limits.a.reservation.amount",
            limit(&json!({ "reservation": { "amount": 8000 } })),
            limit(&json!({ "reservation": { "amount": "llm.?max_output_tokens.orValue(8000)" } })),
        ),
        (
            WarningCode::LargeLease,
            "storage.lease.amount",
            leased(101, 10),
            leased(100, 10),
        ),
        (
            WarningCode::LargeLease,
            "storage.lease.requests",
            leased(100, 11),
            leased(100, 10),
        ),
        (
            WarningCode::LowPrice,
            "pricing.gpt.input",
            priced("0.0025"),
            priced("2.50"),
        ),
        (
            WarningCode::ClaimSpelling,
            "spec.limits.a.counters[1].expression",
            two("auth.identity.user_id", "auth.identity.userid"),
            two("auth.identity.userid", "auth.identity.org"),
        ),
    ]
}

fn expressions() -> Vec<Case> {
    let at = "spec.limits.a.when[0].predicate";
    vec![
        (
            WarningCode::UnknownValue,
            at,
            predicate("llm.api == 'chat_completion'"),
            predicate("llm.api == 'chat_completions' && llm.?provider.orValue('') != ''"),
        ),
        (
            WarningCode::UnknownValue,
            at,
            predicate("llm.?provider.orValue('') in ['openai', 'antropic']"),
            predicate("llm.provider in ['openai', 'anthropic'] && llm.model != 'chat'"),
        ),
        (
            WarningCode::BypassablePath,
            at,
            predicate("request.path == '/v1/chat/completions' && llm.stream"),
            predicate("llm.api == 'chat_completions' && request.path != '/health'"),
        ),
        (
            WarningCode::BypassablePath,
            at,
            predicate("request['path'].startsWith('/v1')"),
            predicate("!(request.path in ['/health'])"),
        ),
        (
            WarningCode::BypassableHost,
            at,
            predicate("request.host == 'llm.example.com'"),
            predicate("request.host.lowerAscii().split(':')[0] == 'llm.example.com'"),
        ),
    ]
}

fn missing() -> Vec<Case> {
    let at = "spec.limits.a.when[0].predicate";
    let cost = |cost: &str| limit(&json!({ "cost": cost }));
    let computed = |field: &str, expression: &str| {
        let mut rate = json!({ "limit": 1000, "window": "1h" });
        rate[field] = expression.into();
        limit(&json!({ "rates": [rate] }))
    };
    vec![
        (
            WarningCode::NegatedMissing,
            at,
            predicate("!auth.identity.tier.startsWith('gold')"),
            predicate("has(auth.identity.tier) && !auth.identity.tier.startsWith('gold')"),
        ),
        (
            WarningCode::NegatedMissing,
            at,
            predicate("!auth.identity.is_admin"),
            predicate("auth.identity.is_admin != true && !('a' in auth.identity.roles)"),
        ),
        (
            WarningCode::NegatedMissing,
            at,
            predicate("!(auth.identity.admin || auth.identity.ops)"),
            predicate("!(auth.identity.admin == true || auth.identity.ops == true)"),
        ),
        (
            WarningCode::NegatedMissing,
            at,
            predicate("!(requestBodyJSON('/n') > 5)"),
            predicate("requestBodyJSON('/n') == null || !(requestBodyJSON('/n') > 5)"),
        ),
        (
            WarningCode::MissingInComparison,
            "spec.limits.a.cost",
            cost("auth.identity.tier != 'gold' ? 2 : 1"),
            cost("auth.?identity.?tier.orValue('') != 'gold' ? 2 : 1"),
        ),
        (
            WarningCode::MissingInComparison,
            "spec.limits.a.rates[0].window",
            computed("window", "auth.identity.tier == 'gold' ? '1m' : '1h'"),
            computed(
                "window",
                "auth.?identity.?tier.orValue('') == 'gold' ? '1m' : '1h'",
            ),
        ),
        (
            WarningCode::MissingInComparison,
            "spec.limits.a.rates[0].limit",
            computed("limit", "auth.identity.tier == 'gold' ? 200 : 100"),
            computed(
                "limit",
                "has(auth.identity.tier) && auth.identity.tier == 'gold' ? 200 : 100",
            ),
        ),
    ]
}

/// An entry of `http_filters`.
fn filter(kind: &str, settings: &Value) -> Value {
    let mut config = settings.clone();
    config["@type"] = format!("{HTTP}.{kind}.v3.Settings").into();
    json!({ "name": format!("envoy.filters.http.{kind}"), "typed_config": config })
}

fn jwt_authn(key: &str) -> Value {
    let provider = json!({ "issuer": "https://issuer.example.com", "payload_in_metadata": key });
    filter("jwt_authn", &json!({ "providers": { "p": provider } }))
}

/// tollgate as an entry of `http_filters`.
fn tollgate(configuration: &Value) -> Value {
    json!({ "name": "tollgate", "typed_config": {
        "@type": format!("{HTTP}.wasm.v3.Wasm"),
        "config": {
            "name": "tollgate", "vm_config": { "vm_id": "tollgate" }, "failure_policy": "FAIL_RELOAD",
            "configuration": { "@type": "type.googleapis.com/google.protobuf.Struct", "value": configuration },
        },
    } })
}

fn envoy(filters: &[Value]) -> Value {
    let manager = json!({ "http_filters": filters });
    let chains = json!([{ "filters": [{ "typed_config": manager }] }]);
    json!({ "static_resources": {
        "listeners": [{ "filter_chains": chains }], "clusters": [{ "name": "limitador" }],
    } })
}

/// Envoy with a setting of the plugin.
fn plugin(field: &str, value: Value) -> Value {
    let mut filter = tollgate(&limit(&json!({})));
    filter["typed_config"]["config"][field] = value;
    envoy(&[filter])
}

fn istio(kind: &str, spec: &Value) -> Value {
    json!({ "kind": kind, "metadata": { "name": "tollgate" }, "spec": spec })
}

fn plugins() -> Vec<Case> {
    let at = "static_resources.listeners[0].filter_chains[0].filters[0].typed_config.http_filters[0].typed_config.config";
    let place = |field: &str| -> &'static str { format!("{at}.{field}").leak() };
    let wasm =
        |strategy: &str| json!({ "failStrategy": strategy, "pluginConfig": limit(&json!({})) });
    let extension = |open: bool| {
        let wasm = json!([{ "name": "tollgate", "failOpen": open, "config": limit(&json!({})) }]);
        istio("EnvoyExtensionPolicy", &json!({ "wasm": wasm }))
    };
    let cluster = |name: &str| {
        let storage = json!({ "type": "limitador", "cluster": name });
        envoy(&[tollgate(
            &json!({ "policies": [limit(&json!({}))], "storage": storage }),
        )])
    };
    vec![
        (
            WarningCode::NoVmId,
            place("vm_config"),
            plugin("vm_config", json!({ "runtime": "envoy.wasm.runtime.v8" })),
            plugin("vm_config", json!({ "vm_id": "tollgate" })),
        ),
        (
            WarningCode::FailOpen,
            place("failure_policy"),
            plugin("failure_policy", json!("FAIL_OPEN")),
            plugin("failure_policy", json!("FAIL_CLOSED")),
        ),
        (
            WarningCode::FailOpen,
            place("fail_open"),
            plugin("fail_open", json!(true)),
            plugin("fail_open", json!(false)),
        ),
        (
            WarningCode::FailOpen,
            "spec.failStrategy",
            istio("WasmPlugin", &wasm("FAIL_OPEN")),
            istio("WasmPlugin", &wasm("FAIL_RELOAD")),
        ),
        (
            WarningCode::FailOpen,
            "spec.wasm.failStrategy",
            istio("TrafficExtension", &json!({ "wasm": wasm("FAIL_OPEN") })),
            istio("TrafficExtension", &json!({ "wasm": wasm("FAIL_CLOSE") })),
        ),
        (
            WarningCode::FailOpen,
            "spec.wasm[0].failOpen",
            extension(true),
            extension(false),
        ),
        (
            WarningCode::UnknownCluster,
            place("configuration.value.storage.cluster"),
            cluster("limitadr"),
            cluster("limitador"),
        ),
    ]
}

fn chains() -> Vec<Case> {
    let place = |path: &str| -> &'static str { format!("{FILTERS}{path}").leak() };
    let value = "[1].typed_config.config.configuration.value";
    let with_auth = |auth: Value| tollgate(&json!({ "policies": [of_user()], "auth": auth }));
    let header = || with_auth(json!([{ "header": { "identity.sub": "x-user" } }]));
    let namespace = |name: &str| {
        let predicate = format!("metadata.filter_metadata['{name}'].tier == 'gold'");
        tollgate(&self::predicate(&predicate))
    };
    let mut bodies = tollgate(
        &json!({ "policies": [limit(&json!({}))], "requestBody": { "maxBytes": 1_000_000 } }),
    );
    bodies["name"] = json!("limits");
    let buffer = |bytes: u64| filter("buffer", &json!({ "max_request_bytes": bytes }));
    let istio_phase = |phase: &str| {
        istio(
            "WasmPlugin",
            &json!({ "phase": phase, "pluginConfig": of_user() }),
        )
    };
    let patch = |operation: &str| {
        let patch = json!({ "operation": operation, "value": tollgate(&of_user()) });
        istio(
            "EnvoyFilter",
            &json!({ "configPatches": [{ "applyTo": "HTTP_FILTER", "patch": patch }] }),
        )
    };
    let keyed = |key: &str| json!([{ "metadata": "envoy.filters.http.jwt_authn", "key": key }]);
    let removes = json!({ "mutations": { "request_mutations": [{ "remove": "X-User" }] } });
    vec![
        (
            WarningCode::BeforeAuthentication,
            place("[0].typed_config.config"),
            envoy(&[
                with_auth(json!([{ "filterState": "a" }])),
                jwt_authn("identity"),
            ]),
            envoy(&[jwt_authn("identity"), tollgate(&of_user())]),
        ),
        (
            WarningCode::BeforeAuthentication,
            place("[0].typed_config.config"),
            envoy(&[tollgate(&of_user()), jwt_authn("identity")]),
            envoy(&[filter("ext_authz", &json!({})), tollgate(&of_user())]),
        ),
        (
            WarningCode::BeforeAuthentication,
            place("[0].typed_config.config"),
            envoy(&[with_auth(keyed("payload")), jwt_authn("payload")]),
            envoy(&[jwt_authn("payload"), with_auth(keyed("payload"))]),
        ),
        (
            WarningCode::BeforeAuthentication,
            "spec",
            istio_phase("AUTHN"),
            istio_phase("STATS"),
        ),
        (
            WarningCode::BeforeAuthentication,
            "spec.configPatches[0].patch.value.typed_config.config",
            patch("INSERT_FIRST"),
            patch("INSERT_BEFORE"),
        ),
        (
            WarningCode::UnwrittenMetadata,
            place(value),
            envoy(&[filter("jwt_authn", &json!({})), tollgate(&of_user())]),
            envoy(&[filter("ext_authz", &json!({})), tollgate(&of_user())]),
        ),
        (
            WarningCode::UnwrittenMetadata,
            place("[1].typed_config.config.configuration.value.auth[0]"),
            envoy(&[jwt_authn("payload"), with_auth(keyed("identity"))]),
            envoy(&[jwt_authn("payload"), with_auth(keyed("payload"))]),
        ),
        (
            WarningCode::UnwrittenMetadata,
            place("[1].typed_config.config.configuration.value.spec.limits.a.when[0].predicate"),
            envoy(&[filter("rbac", &json!({})), namespace("my.tiers")]),
            envoy(&[
                filter(
                    "set_metadata",
                    &json!({ "metadata": [{ "metadata_namespace": "my.tiers" }] }),
                ),
                namespace("my.tiers"),
            ]),
        ),
        (
            WarningCode::UnstrippedHeader,
            place("[1].typed_config.config.configuration.value.auth[0].header[\"identity.sub\"]"),
            envoy(&[filter("rbac", &json!({})), header()]),
            envoy(&[filter("header_mutation", &removes), header()]),
        ),
        (
            WarningCode::SmallBuffer,
            place("[1].typed_config.config"),
            envoy(&[buffer(65_536), bodies.clone()]),
            envoy(&[buffer(1_000_000), bodies]),
        ),
    ]
}
