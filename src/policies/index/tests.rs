//! Which lists of predicates an index leaves out.

use crate::testing::Filter;
use serde_json::{Value, json};

/// Returns the positions of the limits that are evaluated for a request of a gold plan, of as many limits as there are
/// lists of predicates.
fn evaluated(predicates: &[Vec<String>]) -> Vec<usize> {
    let limits = predicates.iter().enumerate().map(|(index, predicates)| {
        let when = predicates.iter();
        let when: Value = when.map(|it| json!({ "predicate": it })).collect();
        let limit = json!({ "rates": [{ "limit": 100, "window": "1m" }], "when": when });
        (format!("limit-{index:02}"), limit)
    });
    let auth = json!([{ "header": { "plan": "x-plan", "groups": "x-groups" } }]);
    let filter = Filter::new(&Value::Object(limits.collect()), &json!({ "auth": auth }));
    let headers = [("x-plan", "gold"), ("x-groups", "red,blue,gold")];
    let mut attributes = filter.attributes("", &headers);
    let limits = filter.policies.limit_list(attributes.headers());
    let selection = limits.unwrap().unwrap();
    let selection = selection.select(filter.policies.evaluator(), &mut attributes);
    selection.lists
}

/// Returns lists of predicates that differ in the text `X`.
fn for_each_plan(predicates: &[&str]) -> Vec<Vec<String>> {
    let plans = ["free", "bronze", "silver", "gold", "black"].into_iter();
    let of_plan = |plan| predicates.iter().map(|it| it.replace('X', plan)).collect();
    plans.map(of_plan).collect()
}

#[test]
fn only_limits_with_text_are_evaluated() {
    for predicates in [
        &["auth.plan == \"X\""][..],
        &["\"X\" == auth.plan"],
        &["auth.plan in [\"X\", \"other\"]"],
        &["auth.plan == \"X\" || auth.plan == \"other\""],
        &["auth.plan.lowerAscii() == \"X\""],
        &["request.headers[\"x-plan\"] == \"X\""],
        &["auth.groups.split(\",\").exists(g, g == \"X\")"],
        &["\"X\" in auth.groups.split(\",\")"],
        &["request.method == \"POST\" && auth.plan == \"X\" && auth.plan.size() > 1"],
        &["request.method == \"POST\"", "auth.plan == \"X\""],
        &[
            "request.path.matches(\"v1\")",
            "auth.plan == \"X\"",
            "auth.plan.size() > 1",
        ],
        &["auth.plan == \"X\"", "1 / auth.plan.size() == 0"],
    ] {
        assert_eq!(evaluated(&for_each_plan(predicates)), [3], "{predicates:?}");
    }
}

#[test]
fn limits_of_failing_predicates_are_evaluated() {
    for predicates in [
        &["1 / (auth.plan.size() - 4) == 1", "auth.plan == \"X\""][..],
        &["int(auth.plan) == 1", "auth.plan == \"X\""],
        &["auth.plan.split(\",\")[0].exists(g, g == \"X\")"],
    ] {
        let all = [0, 1, 2, 3, 4];
        assert_eq!(evaluated(&for_each_plan(predicates)), all, "{predicates:?}");
    }
}

#[test]
fn condition_that_fewest_share_is_indexed() {
    let mut predicates = Vec::new();
    for (method, plan) in [
        ("GET", "gold"),
        ("POST", "free"),
        ("POST", "gold"),
        ("POST", "black"),
    ] {
        for group in ["red", "green"] {
            predicates.push(vec![
                format!("request.method == \"{method}\""),
                format!("auth.plan == \"{plan}\" && auth.groups.split(\",\").exists(g, g == \"{group}\")"),
            ]);
        }
    }
    assert_eq!(evaluated(&predicates), [4, 5]);
}

#[test]
fn false_predicate_leaves_out_limits_that_share_it() {
    let predicates = for_each_plan(&[
        "request.method == \"GET\"",
        "auth.plan != \"X\"",
        "auth.groups == \"X\"",
    ]);
    assert_eq!(evaluated(&predicates), [0_usize; 0]);
}
