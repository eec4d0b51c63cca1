//! Tests of effective policies, by Kuadrant's cases.

use proptest::prelude::*;
use serde_json::{Map, Value, json};

use crate::configuration::Configuration;
use crate::fixtures;

/// A policy: its name, the kind and the section of its target, the field and the strategy of its limits, the names of
/// the limits, and whether it has a `when`.
#[derive(Clone, Debug)]
struct Case {
    name: &'static str,
    kind: &'static str,
    section: Option<&'static str>,
    place: &'static str,
    strategy: &'static str,
    limits: &'static [&'static str],
    when: bool,
}

const GATEWAY: Case = Case {
    name: "gateway",
    kind: "Gateway",
    section: None,
    place: "defaults",
    strategy: "atomic",
    limits: &["a", "b"],
    when: false,
};

const ROUTE: Case = Case {
    name: "route",
    kind: "HTTPRoute",
    limits: &["b", "c"],
    ..GATEWAY
};

fn policy(case: &Case) -> Value {
    let limits: Map<String, Value> = case
        .limits
        .iter()
        .map(|name| {
            (
                (*name).to_owned(),
                json!({ "rates": [{ "limit": 1, "window": "1m" }] }),
            )
        })
        .collect();
    let mut rules = json!({ "limits": limits });
    if case.when {
        rules["when"] = json!([{ "predicate": "true" }]);
    }
    let mut spec = if case.place == "bare" {
        rules
    } else {
        rules["strategy"] = json!(case.strategy);
        json!({ case.place: rules })
    };
    spec["targetRef"] =
        json!({ "group": "gateway.networking.k8s.io", "kind": case.kind, "name": "llm" });
    if let Some(section) = case.section {
        spec["targetRef"]["sectionName"] = json!(section);
    }
    fixtures::policy(case.name, &spec)
}

fn configuration(cases: &[Case]) -> Configuration {
    let policies: Vec<Value> = cases.iter().map(policy).collect();
    let route = fixtures::route(
        "llm",
        &json!({
            "parentRefs": [{ "name": "llm" }],
            "hostnames": ["llm.example.com"],
            "rules": [
                { "name": "chat", "matches": [{ "path": { "value": "/v1/chat" } }] },
                { "matches": [{ "path": { "value": "/v1" } }] }
            ]
        }),
    );
    fixtures::read(&json!({ "policies": policies, "routes": [route] }))
}

/// The effective limits of a request, as `policy/limit`, and the policy of the `when`.
fn effective(cases: &[Case], path: &str) -> String {
    let configuration = configuration(cases);
    let effective = configuration.effective(|name| match name {
        ":path" => Some(path.to_owned().into()),
        ":authority" => Some("llm.example.com".into()),
        _ => None,
    });
    let effective = effective.unwrap();
    let name = |policy: usize| &configuration.policies[policy].name["default/".len()..];
    let [effective] = effective else {
        return format!("{} policies", effective.len());
    };
    let mut limits: Vec<String> = effective
        .limits
        .iter()
        .map(|index| {
            let limit = &configuration.policies[index.policy].limits[index.limit];
            format!("{}/{}", name(index.policy), limit.name)
        })
        .collect();
    limits.sort();
    let when = effective
        .when
        .map(|policy| format!(" when {}", name(policy)));
    limits.join(" ") + &when.unwrap_or_default()
}

#[test]
fn gateway_policy_decides_between_it_and_the_route() {
    for (place, strategy, expected) in [
        ("bare", "", "route/b route/c"),
        ("defaults", "atomic", "route/b route/c"),
        ("defaults", "merge", "gateway/a route/b route/c"),
        ("overrides", "atomic", "gateway/a gateway/b"),
        ("overrides", "merge", "gateway/a gateway/b route/c"),
    ] {
        let gateway = Case {
            place,
            strategy,
            ..GATEWAY
        };
        // The section and the strategy of the more specific policy only matter to even more specific ones.
        for route in ["bare", "defaults", "overrides"] {
            for strategy in ["atomic", "merge"] {
                let route = Case {
                    place: route,
                    strategy,
                    ..ROUTE
                };
                let found = effective(&[gateway.clone(), route.clone()], "/v1/x");
                assert_eq!(found, expected, "{gateway:?} {route:?}");
                let found = effective(&[route, gateway.clone()], "/v1/x");
                assert_eq!(found, expected, "in another order");
            }
        }
    }
}

#[test]
fn when_predicates_are_merged() {
    for (place, strategy, whens, expected) in [
        (
            "defaults",
            "merge",
            [true, false],
            "gateway/a route/b route/c when gateway",
        ),
        (
            "defaults",
            "merge",
            [true, true],
            "gateway/a route/b route/c when route",
        ),
        ("defaults", "atomic", [true, false], "route/b route/c"),
        (
            "overrides",
            "merge",
            [true, true],
            "gateway/a gateway/b route/c when gateway",
        ),
        (
            "overrides",
            "merge",
            [false, true],
            "gateway/a gateway/b route/c when route",
        ),
        ("overrides", "atomic", [false, true], "gateway/a gateway/b"),
    ] {
        let gateway = Case {
            place,
            strategy,
            when: whens[0],
            ..GATEWAY
        };
        let route = Case {
            when: whens[1],
            ..ROUTE
        };
        assert_eq!(
            effective(&[gateway, route], "/v1"),
            expected,
            "{place} {strategy} {whens:?}"
        );
    }
}

#[test]
fn single_policy_applies_below_its_target() {
    assert_eq!(effective(&[GATEWAY], "/v1"), "gateway/a gateway/b");
    assert_eq!(effective(&[GATEWAY], "/elsewhere"), "gateway/a gateway/b");
    assert_eq!(effective(&[ROUTE], "/v1"), "route/b route/c");
    assert_eq!(effective(&[ROUTE], "/elsewhere"), "0 policies");
    let rule = Case {
        section: Some("chat"),
        ..ROUTE
    };
    assert_eq!(
        effective(std::slice::from_ref(&rule), "/v1/chat/completions"),
        "route/b route/c"
    );
    assert_eq!(effective(&[rule], "/v1/models"), "0 policies");
}

#[test]
fn sections_are_more_specific_than_their_resource() {
    let merge = |case: Case, name, section, place, limits| Case {
        name,
        section,
        place,
        strategy: "merge",
        limits,
        ..case
    };
    let gateway = merge(GATEWAY, "gateway", None, "defaults", &["a", "b", "c", "d"]);
    let listener = merge(
        GATEWAY,
        "listener",
        Some("https"),
        "defaults",
        &["b", "c", "d"],
    );
    let route = merge(ROUTE, "route", None, "defaults", &["c", "d"]);
    let rule = merge(ROUTE, "rule", Some("chat"), "defaults", &["d", "e"]);
    let all = [gateway, rule, listener, route];
    assert_eq!(
        effective(&all, "/v1/chat"),
        "gateway/a listener/b route/c rule/d rule/e"
    );
    assert_eq!(
        effective(&all, "/v1/models"),
        "gateway/a listener/b route/c route/d"
    );
    assert_eq!(
        effective(&all, "/"),
        "gateway/a listener/b listener/c listener/d"
    );

    let overrides = |case: &Case| Case {
        place: "overrides",
        ..case.clone()
    };
    let all = all.map(|case| overrides(&case));
    assert_eq!(
        effective(&all, "/v1/chat"),
        "gateway/a gateway/b gateway/c gateway/d rule/e"
    );
}

proptest! {
    #[test]
    fn order_of_policies_has_no_effect(
        forms in proptest::collection::vec((0_usize..5, 0_usize..4, any::<bool>()), 4),
        order in Just([0_usize, 1, 2, 3]).prop_shuffle(),
        path in prop_oneof![Just("/v1/chat"), Just("/v1"), Just("/")],
    ) {
        let targets = [
            ("gateway", "Gateway", None),
            ("listener", "Gateway", Some("https")),
            ("route", "HTTPRoute", None),
            ("rule", "HTTPRoute", Some("chat")),
        ];
        let forms = forms.into_iter().zip(targets);
        let cases: Vec<Case> = forms
            .map(|((form, limits, when), (name, kind, section))| {
                let (place, strategy) = [
                    ("bare", ""),
                    ("defaults", "atomic"),
                    ("defaults", "merge"),
                    ("overrides", "atomic"),
                    ("overrides", "merge"),
                ][form];
                let limits: &[&str] = [&["a"][..], &["a", "b"], &["b", "c"], &["c", "a"]][limits];
                Case { name, kind, section, place, strategy, limits, when }
            })
            .collect();
        let shuffled: Vec<Case> = order.iter().map(|index| cases[*index].clone()).collect();
        prop_assert_eq!(effective(&cases, path), effective(&shuffled, path));
    }
}
