//! Tests of policies in the forms that Kuadrant's operator, its examples and models-as-a-service have: they load, and
//! their limits are those that the operator writes into limitador.

use serde_json::{Value, json};

use crate::{Configuration, limitador, parse_yaml};

/// A limit in limitador: its namespace, its value, its seconds, its key and its variables.
type Expected = (
    &'static str,
    u64,
    u64,
    &'static str,
    &'static [&'static str],
);

/// A policy of the operator's integration tests: one limit for all.
const ONE_LIMIT: (&str, &[Expected]) = (
    r"
apiVersion: kuadrant.io/v1alpha1
kind: TokenRateLimitPolicy
metadata:
  name: toystore-trlp
  namespace: tests
spec:
  targetRef:
    group: gateway.networking.k8s.io
    kind: HTTPRoute
    name: toystore-route
  limits:
    l1:
      rates:
      - limit: 5000
        window: 1m
",
    &[(
        "tests/toystore-route",
        5_000,
        60,
        "tokenlimit.l1__4130ef46",
        &[],
    )],
);

/// Tiers by a claim, as models-as-a-service has them, with durations as Go writes them.
const TIERS: (&str, &[Expected]) = (
    r#"
apiVersion: kuadrant.io/v1alpha1
kind: TokenRateLimitPolicy
metadata:
  name: tier-limits
  namespace: openshift-ingress
spec:
  targetRef:
    group: gateway.networking.k8s.io
    kind: Gateway
    name: maas-gateway
  limits:
    free-tokens:
      rates:
      - limit: 10000
        window: 1h0m0s
      when:
      - predicate: 'auth.identity.tier == "free" && !request.path.endsWith("/v1/models")'
      counters:
      - expression: auth.identity.userid
    premium-tokens:
      rates:
      - limit: 50000
        window: 1h0m0s
      - limit: 400000
        window: 24h
      when:
      - predicate: 'auth.identity.tier == "premium" && !request.path.endsWith("/v1/models")'
      counters:
      - expression: auth.identity.userid
"#,
    &[
        (
            "openshift-ingress/maas-gateway",
            10_000,
            3_600,
            "tokenlimit.free_tokens__140fe7fe",
            &[r#"descriptors[0]["auth.identity.userid"]"#],
        ),
        (
            "openshift-ingress/maas-gateway",
            50_000,
            3_600,
            "tokenlimit.premium_tokens__47de98ee",
            &[r#"descriptors[0]["auth.identity.userid"]"#],
        ),
        (
            "openshift-ingress/maas-gateway",
            400_000,
            86_400,
            "tokenlimit.premium_tokens__47de98ee",
            &[r#"descriptors[0]["auth.identity.userid"]"#],
        ),
    ],
);

/// Subscriptions to models, as its controller generates them: quoted names, and headers in counters.
const SUBSCRIPTIONS: (&str, &[Expected]) = (
    r#"
apiVersion: kuadrant.io/v1alpha1
kind: TokenRateLimitPolicy
metadata:
  name: model-subscriptions
  namespace: llm
spec:
  targetRef:
    group: gateway.networking.k8s.io
    kind: HTTPRoute
    name: model
  when: []
  limits:
    "acme.gold/llama-3.1":
      rates:
      - {limit: 100000, window: 1m}
      when:
      - predicate: auth.identity.selected_subscription == "acme.gold" && request.headers["x-model"] == "llama-3.1"
      counters:
      - expression: auth.identity.userid
      - expression: request.headers["x-team"]
    deny-unsubscribed:
      rates:
      - {limit: 0, window: 1m}
      when:
      - predicate: '!(has(auth.identity.subscriptions) && auth.identity.subscriptions.exists(s, s == "acme.gold"))'
"#,
    &[
        (
            "llm/model",
            100_000,
            60,
            "tokenlimit.acme_gold_llama_3_1__7b05f0b5",
            &[
                r#"descriptors[0]["auth.identity.userid"]"#,
                r#"descriptors[0]["request.headers[\"x-team\"]"]"#,
            ],
        ),
        (
            "llm/model",
            0,
            60,
            "tokenlimit.deny_unsubscribed__8b8d146e",
            &[],
        ),
    ],
);

/// Reservations of a fixed number of tokens, and pointers to usage.
const RESERVED: (&str, &[Expected]) = (
    r#"
apiVersion: kuadrant.io/v1alpha1
kind: TokenRateLimitPolicy
metadata:
  name: reserved
spec:
  targetRef:
    group: gateway.networking.k8s.io
    kind: HTTPRoute
    name: chat
    sectionName: completions
  dataExtraction:
    response:
      totalTokens:
      - /usage/total_tokens
      - /usageMetadata/totalTokenCount
      inputTokens:
      - /usage/input_tokens
  limits:
    chat:
      rates:
      - limit: 100000
        window: 1h
      reservation:
        amount: 8000
        ttl: 'duration("30s")'
    batch:
      rates:
      - limit: -1
        window: 10m
      reservation:
        amount: "1 + 1"
        ttl: duration(auth.identity.timeout)
"#,
    &[
        (
            "default/chat",
            100_000,
            3_600,
            "tokenlimit.chat__55f1ea0f",
            &[],
        ),
        ("default/chat", 0, 600, "tokenlimit.batch__cc54a004", &[]),
    ],
);

/// Defaults that merge, with a limit that only reserves.
const DEFAULTS: (&str, &[Expected]) = (
    r#"
apiVersion: kuadrant.io/v1alpha1
kind: TokenRateLimitPolicy
metadata:
  name: gateway-policy
spec:
  targetRef:
    group: gateway.networking.k8s.io
    kind: Gateway
    name: ai-gateway
  defaults:
    strategy: merge
    when:
    - predicate: request.url_path.startsWith("/v1/")
    limits:
      limit-a:
        reservation:
          amount: "1000"
          ttl: duration('30s')
      limit-b:
        rates: []
      global:
        rates:
        - limit: 99999
          window: 99h59m
        counters: []
"#,
    &[(
        "default/ai-gateway",
        99_999,
        359_940,
        "tokenlimit.global__15ff0fb9",
        &[],
    )],
);

/// Overrides, as `kubectl get` returns them.
const OVERRIDES: (&str, &[Expected]) = (
    r#"
apiVersion: kuadrant.io/v1alpha1
kind: TokenRateLimitPolicy
metadata:
  annotations:
    kubectl.kubernetes.io/last-applied-configuration: "{}"
  creationTimestamp: "2026-05-01T10:00:00Z"
  generation: 2
  managedFields: []
  name: caps
  namespace: gateways
  resourceVersion: "4711"
  uid: 6f6f1f4c-0b64-4d8f-8e5c-0d8b4c8d4b3e
spec:
  overrides:
    limits:
      per team:
        counters:
        - expression: auth.identity.metadata.labels["example.com/team"]
        rates:
        - limit: 250000
          window: 30m
    strategy: atomic
  targetRef:
    group: gateway.networking.k8s.io
    kind: Gateway
    name: llm
    sectionName: https
status:
  conditions:
  - lastTransitionTime: "2026-05-01T10:00:01Z"
    message: TokenRateLimitPolicy has been accepted
    reason: Accepted
    status: "True"
    type: Accepted
  observedGeneration: 2
"#,
    &[(
        "gateways/llm",
        250_000,
        1_800,
        "tokenlimit.per_team__522378b0",
        &[r#"descriptors[0]["auth.identity.metadata.labels[\"example.com/team\"]"]"#],
    )],
);

/// Groups of an API key, and free models for all.
const GROUPS: (&str, &[Expected]) = (
    r#"
apiVersion: kuadrant.io/v1alpha1
kind: TokenRateLimitPolicy
metadata:
  name: token-limit
  namespace: gateway-system
spec:
  targetRef:
    group: gateway.networking.k8s.io
    kind: Gateway
    name: my-llm-gateway
  limits:
    free:
      rates:
      - limit: 20000
        window: 24h
      when:
      - predicate: auth.identity.metadata.annotations["kuadrant.io/groups"].split(",").exists(g, g == "free")
      counters:
      - expression: auth.identity.metadata.annotations["secret.kuadrant.io/user-id"]
    model:
      rates:
      - limit: 500
        window: 10s
      when:
      - predicate: request.method == "POST" && requestBodyJSON("/model") == "small"
      counters:
      - expression: source.remote_address
"#,
    &[
        (
            "gateway-system/my-llm-gateway",
            20_000,
            86_400,
            "tokenlimit.free__22c0bffe",
            &[
                r#"descriptors[0]["auth.identity.metadata.annotations[\"secret.kuadrant.io/user-id\"]"]"#,
            ],
        ),
        (
            "gateway-system/my-llm-gateway",
            500,
            10,
            "tokenlimit.model__8159e591",
            &[r#"descriptors[0]["source.remote_address"]"#],
        ),
    ],
);

const ALL: [(&str, &[Expected]); 7] = [
    ONE_LIMIT,
    TIERS,
    SUBSCRIPTIONS,
    RESERVED,
    DEFAULTS,
    OVERRIDES,
    GROUPS,
];

fn read(yaml: &str) -> Configuration {
    parse_yaml(yaml.as_bytes()).unwrap_or_else(|errors| panic!("{errors}\n{yaml}"))
}

#[test]
fn limits_are_those_of_the_operator() {
    for (yaml, expected) in ALL {
        let configuration = read(yaml);
        let limits = limitador::limits(&configuration, None).unwrap();
        let limits: Vec<Value> = limits
            .iter()
            .map(|limit| {
                json!([
                    limit.namespace,
                    limit.max_value,
                    limit.seconds,
                    limit.conditions,
                    limit.variables
                ])
            })
            .collect();
        let expected: Vec<Value> = expected
            .iter()
            .map(|(namespace, max_value, seconds, key, variables)| {
                let condition = format!("descriptors[0][\"{key}\"] == \"1\"");
                json!([namespace, max_value, seconds, [condition], variables])
            })
            .collect();
        assert_eq!(limits, expected, "{yaml}");
    }
}

#[test]
fn all_policies_are_one_configuration() {
    let documents = ALL.map(|(yaml, _)| yaml).join("---");
    assert_eq!(read(&documents).policies.len(), 7);
}

#[test]
fn first_drafts_name_what_they_have_become() {
    let draft = r#"
apiVersion: kuadrant.io/v1alpha1
kind: TokenRateLimitPolicy
metadata: { name: token-limit-free, namespace: gateway-system }
spec:
  targetRef: { group: gateway.networking.k8s.io, kind: Gateway, name: my-llm-gateway }
  limits:
    free:
      rates: [ { limit: 20000, window: 1d } ]
      predicate: request.auth.claims["kuadrant.io/groups"].split(",").exists(g, g == "free")
      counter: auth.identity.userid
"#;
    assert_eq!(
        parse_yaml(draft.as_bytes()).unwrap_err().to_string(),
        "spec.limits.free.predicate: unknown field, did you mean \"when\": [ { \"predicate\": ... } ]?\n\
         spec.limits.free.counter: unknown field, did you mean \"counters\": [ { \"expression\": ... } ]?"
    );
    let later = draft
        .replace("predicate: request", "when: [ { predicate: request")
        .replace("== \"free\")", "== \"free\")' } ]")
        .replace("predicate: request", "predicate: 'request")
        .replace(
            "counter: auth.identity.userid",
            "counters: [ { expression: auth.identity.userid } ]",
        );
    assert_eq!(
        parse_yaml(later.as_bytes()).unwrap_err().to_string(),
        "spec.limits.free.when[0].predicate: unknown field \"auth\" of \"request\", the identity of the caller is `auth.identity`"
    );
    assert!(
        parse_yaml(
            later
                .replace("request.auth.claims", "auth.identity")
                .as_bytes()
        )
        .is_ok()
    );
}

#[test]
fn many_predicates_counters_and_rates_are_read() {
    let many =
        |count: usize, item: &dyn Fn(usize) -> Value| -> Value { (0..count).map(item).collect() };
    let policy = crate::fixtures::policy(
        "many",
        &json!({
            "when": many(1024, &|n| json!({ "predicate": format!("auth.a{n} != 1") })),
            "limits": { "a": {
                "rates": many(64, &|n| json!({ "limit": 1 + n, "window": format!("{}s", 1 + n) })),
                "when": many(1024, &|_| json!({ "predicate": "true" })),
                "counters": many(1024, &|n| json!({ "expression": format!("auth.b{n}") })),
            } },
        }),
    );
    let configuration = crate::parse(policy.to_string().as_bytes()).unwrap();
    let limit = &configuration.policies[0].limits[0];
    assert_eq!((limit.rates.len(), limit.counters.len()), (64, 1024));
}
