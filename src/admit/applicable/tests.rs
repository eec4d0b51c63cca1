//! The index of limits: it changes no result.

use super::{Applicable, applicable, applicable_of_all};
use crate::admit::{AdmissionError, Misses};
use crate::attributes::{Attributes, Body};
use crate::host::HostError;
use crate::host::double::Call;
use crate::testing::{Filter, policy};
use limits::Nanos;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::{Map, Value, json};

/// JSON pointers that the predicates of the tests read.
const POINTERS: [&str; 1] = ["/model"];

/// What a request has.
#[derive(Clone, Debug)]
struct Request {
    auth: Value,
    path: &'static str,
    tier: Option<&'static str>,
    body: &'static str,
    /// Whether Envoy fails to return properties.
    fails: bool,
}

/// What is seen of a search for limits.
#[derive(Debug, PartialEq)]
struct Seen {
    result: Result<String, String>,
    missing_values: i64,
    evaluation_errors: i64,
    lines: Vec<String>,
}

/// How limits are found.
type Find = fn(
    &crate::policies::Policies,
    &crate::telemetry::Telemetry,
    &mut Attributes,
    bool,
) -> Result<Applicable, AdmissionError>;

fn text() -> impl Strategy<Value = &'static str> {
    select(vec!["a", "b", "c", "d", "e", ""])
}

/// A part of a predicate: most are comparisons, others can have an error.
fn part() -> impl Strategy<Value = String> {
    let forms = select(vec![
        "auth.plan == \"X\"",
        "\"X\" == auth.plan",
        "auth.plan != \"X\"",
        "auth.plan == \"X\" || auth.plan == \"Y\"",
        "auth.plan in [\"X\", \"Y\"]",
        "!(auth.plan in [\"X\", \"Y\"])",
        "auth.groups.split(\",\").exists(g, g == \"X\")",
        "auth.groups.split(\",\").exists(g, g == \"X\" || \"Y\" == g)",
        "\"X\" in auth.groups.split(\",\")",
        "\"X\" in auth.roles",
        "auth.roles.exists(r, r in [\"X\", \"Y\"])",
        "auth.roles.all(r, r != \"X\")",
        "auth.plan.lowerAscii() == \"X\"",
        "auth.plan.startsWith(\"X\")",
        "request.headers[\"x-tier\"] == \"X\"",
        "request.headers[\"x-tier\"] in [\"X\"]",
        "request.path == \"/X\"",
        "request.path.startsWith(\"/X\")",
        "requestBodyJSON(\"/model\") == \"X\"",
        "requestBodyJSON(\"/model\") != \"X\"",
        "has(auth.plan)",
        "auth.admin",
        "auth.level > 1",
        "int(auth.plan) > 1",
        "10 / auth.level == 2",
        "source.address == \"X\"",
        "auth.?plan.orValue(\"a\") == \"X\"",
        "true",
    ]);
    (forms, text(), text()).prop_map(|(form, x, y)| form.replace('X', x).replace('Y', y))
}

/// A predicate: parts that are joined.
fn predicate() -> impl Strategy<Value = String> {
    prop_oneof![
        5 => part(),
        3 => (part(), part()).prop_map(|(a, b)| format!("({a}) && ({b})")),
        1 => (part(), part(), part()).prop_map(|(a, b, c)| format!("({a}) && (({b}) && ({c}))")),
        1 => (part(), part(), part()).prop_map(|(a, b, c)| format!("({a}) && ({b}) && ({c})")),
        1 => (part(), part()).prop_map(|(a, b)| format!("({a}) || ({b})")),
    ]
}

/// Predicates, of which many lists have the first.
fn when(max: usize) -> impl Strategy<Value = Value> {
    let common = select(vec![
        None,
        Some("request.path == \"/a\""),
        Some("auth.level > 0"),
        Some("auth.admin"),
        Some("requestBodyJSON(\"/model\") != \"b\""),
    ]);
    (common, vec(predicate(), 0..=max)).prop_map(|(common, predicates)| {
        let common = common.map(str::to_owned).into_iter();
        let all = common.chain(predicates);
        all.map(|predicate| json!({ "predicate": predicate }))
            .collect()
    })
}

fn limit() -> impl Strategy<Value = Value> {
    let counter = select(vec![None, Some("auth.user"), Some("request.path")]);
    let setting = select(vec![
        json!({}),
        json!({ "shadow": true }),
        json!({ "whenMissing": "skip" }),
        json!({ "whenMissing": "reject" }),
        json!({ "onExceeded": "allow" }),
    ]);
    (when(3), counter, setting).prop_map(|(when, counter, setting)| {
        let mut limit = setting;
        limit["rates"] = json!([{ "limit": 100, "window": "1m" }]);
        limit["when"] = when;
        if let Some(counter) = counter {
            limit["counters"] = json!([{ "expression": counter }]);
        } else if let Some(limit) = limit.as_object_mut() {
            limit.remove("whenMissing");
        }
        limit
    })
}

fn limits() -> impl Strategy<Value = Value> {
    vec(limit(), 1..60).prop_map(|limits| {
        let named = limits.into_iter().enumerate();
        let named = named.map(|(index, limit)| (format!("limit-{index}"), limit));
        Value::Object(named.collect::<Map<_, _>>())
    })
}

/// The settings of a configuration: its policies, and its failure mode.
fn settings() -> impl Strategy<Value = Value> {
    let when = prop_oneof![Just(json!([])), when(2)];
    let policies = vec((limits(), when), 1..8);
    let mode = select(vec!["allow", "allow", "allow", "deny"]);
    (policies, mode).prop_map(|(policies, mode)| {
        let policies = policies.into_iter().enumerate();
        let policies = policies.map(|(index, (limits, when))| {
            let mut policy = policy(&limits);
            policy["metadata"]["name"] = json!(format!("policy-{index}"));
            policy["spec"]["when"] = when;
            policy
        });
        json!({
            "policies": policies.collect::<Vec<_>>(),
            "failureMode": mode,
            "auth": [{ "filterState": "auth" }],
            "expressions": { "steps": 1_000_000 }
        })
    })
}

fn request() -> impl Strategy<Value = Request> {
    let texts = || vec(text(), 0..4);
    let plan = prop_oneof![
        text().prop_map(|text| json!(text)),
        text().prop_map(|text| json!(text)),
        Just(json!(null)),
        Just(json!(7)),
    ];
    let groups = prop_oneof![
        texts().prop_map(|texts| json!(texts.join(","))),
        Just(json!(null)),
        Just(json!(["a"])),
    ];
    let roles = prop_oneof![
        texts().prop_map(|texts| json!(texts)),
        Just(json!([1, null, "a"])),
        Just(json!({ "a": 1 })),
        Just(json!(null)),
        Just(json!("a")),
    ];
    let admin = select(vec![json!(true), json!(true), json!(false), json!("a")]);
    let level = select(vec![json!(0), json!(5), json!(5), json!("a")]);
    let claims = (plan, groups, roles, admin, level, Just(json!("alice")));
    let kept = vec(prop::bool::weighted(0.85), 6);
    let auth = (claims, kept).prop_map(|((plan, groups, roles, admin, level, user), kept)| {
        let claims = [plan, groups, roles, admin, level, user];
        let names = ["plan", "groups", "roles", "admin", "level", "user"];
        let all = names.into_iter().zip(claims).zip(kept);
        let kept = all.filter(|(_, is_kept)| *is_kept);
        Value::Object(
            kept.map(|((name, claim), _)| (name.to_owned(), claim))
                .collect(),
        )
    });
    let body = select(vec![
        "pending",
        "opaque",
        "malformed",
        r#"{"model":"a"}"#,
        r#"{"model":1}"#,
        "{}",
    ]);
    (
        auth,
        select(vec!["/a", "/b", "/"]),
        select(vec![None, Some("a"), Some("b")]),
        body,
        prop::bool::weighted(0.05),
    )
        .prop_map(|(auth, path, tier, body, fails)| Request {
            auth,
            path,
            tier,
            body,
            fails,
        })
}

/// Finds the limits that apply to a request.
fn see(filter: &Filter, request: &Request, find: Find) -> Seen {
    let count = |name| filter.host.metric(name);
    let before = [
        count("tollgate.missing_values"),
        count("tollgate.evaluation_errors"),
    ];
    let lines = filter.lines().len();
    // A line is logged once a minute.
    filter.wait(Nanos::HOUR);
    let headers = request.tier.map(|tier| ("x-tier", tier));
    let headers: Vec<_> = headers
        .into_iter()
        .chain([(":path", request.path)])
        .collect();
    let mut attributes = filter.attributes("", &[]);
    filter
        .host
        .set_headers(crate::host::HeaderMap::Request, &headers);
    if let Ok(headers) = crate::host::Host::headers(&*filter.host, crate::host::HeaderMap::Request)
    {
        attributes = Attributes::new(headers);
    }
    attributes.body = match request.body {
        "pending" => Body::Pending,
        "opaque" => Body::Opaque,
        "malformed" => Body::Malformed,
        json => Body::parse(json.as_bytes(), true, &POINTERS),
    };
    let auth = request.auth.to_string();
    filter
        .host
        .set_property(&["filter_state", "auth"], auth.as_bytes());
    if request.fails {
        filter
            .host
            .fail(Call::Property, u32::MAX, HostError::InternalFailure);
    }
    let found = find(&filter.policies, &filter.telemetry, &mut attributes, true);
    filter.host.recover();
    Seen {
        result: found
            .map(|found| {
                // The index finds the same limits, and others that do not apply first.
                let misses = Misses::default();
                format!("{:?}", Applicable { misses, ..found })
            })
            .map_err(|error| error.to_string()),
        missing_values: count("tollgate.missing_values") - before[0],
        evaluation_errors: count("tollgate.evaluation_errors") - before[1],
        lines: filter.lines().split_off(lines),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn index_changes_no_result(settings in settings(), requests in vec(request(), 1..8)) {
        let filter = Filter::new(&json!({}), &settings);
        for request in &requests {
            let expected = see(&filter, request, applicable_of_all);
            prop_assert_eq!(see(&filter, request, applicable), expected, "{:?}", request);
        }
    }
}

/// Returns a filter with a limit for each of many texts, by a predicate of which `X` is the text.
fn with_many(predicate: &str) -> Filter {
    let limits = (0..500).map(|index| {
        let predicate = predicate.replace('X', &format!("text-{index}"));
        let limit = json!({
            "rates": [{ "limit": 100, "window": "1m" }],
            "when": [{ "predicate": predicate }]
        });
        (format!("limit-{index}"), limit)
    });
    let limits = Value::Object(limits.collect());
    let settings =
        json!({ "auth": [{ "filterState": "auth" }], "expressions": { "steps": 1_000 } });
    Filter::new(&limits, &settings)
}

#[test]
fn fuel_suffices_for_any_number_of_limits() {
    for predicate in [
        "auth.plan.lowerAscii() == \"X\"",
        "auth.plan == \"X\" && auth.plan.size() > 1",
        "auth.plan in [\"X\", \"other\"]",
        "auth.plan == \"X\" || auth.plan == \"other\"",
        "auth.groups.exists(g, g in [\"X\"])",
        "request.path.startsWith(\"/\") && auth.plan == \"X\" && true",
        "requestBodyJSON(\"/model\") == \"X\"",
        "request.headers[\"x-tier\"] in [\"X\"]",
    ] {
        let filter = with_many(predicate);
        let request = Request {
            auth: json!({ "plan": "text-7", "groups": ["other", "text-7"] }),
            path: "/v1",
            tier: Some("text-7"),
            body: r#"{"model":"text-7"}"#,
            fails: false,
        };
        let seen = see(
            &filter,
            &request,
            |policies, telemetry, attributes, values| {
                let found = applicable(policies, telemetry, attributes, values)?;
                assert_eq!(found.charges.len(), 1);
                Ok(found)
            },
        );
        assert_eq!(
            (seen.missing_values, seen.evaluation_errors),
            (0, 0),
            "{predicate}"
        );
    }
}
