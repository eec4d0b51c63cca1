//! Tests of conditions.

use cel::common::types::CelString;
use cel::common::value::CowVal;
use cel::context::VariableResolver;

use crate::expression::testing::UNLIMITED;
use crate::expression::{Compared, Condition, Expression, Fuel, Role};

/// A request whose plan is gold.
struct Gold;

impl VariableResolver for Gold {
    fn resolve<'b>(&'b self, name: &str) -> Option<CowVal<'b, 'b>> {
        (name == "auth.plan").then(|| CowVal::owned(CelString::from("gold,new")))
    }
}

fn predicate(source: &str) -> Expression {
    Expression::compile(source, Role::Predicate)
        .unwrap_or_else(|error| panic!("{source}: {error:?}"))
}

/// The last condition of a predicate.
fn last(source: &str) -> Option<Condition> {
    predicate(source).conditions().pop()
}

#[test]
fn predicates_that_differ_in_texts_share_form() {
    let forms = [
        [
            "auth.plan == \"a\"",
            "\"b\" == auth.plan",
            "auth.plan in [\"a\", \"c\"]",
        ],
        [
            "\"a\" in auth.plan.split(\",\")",
            "auth.plan.split(\",\").exists(p, p == \"b\")",
            "auth.plan.split(',').exists(p, p in ['a'] || 'c' == p)",
        ],
        [
            "has(auth.x) && auth.plan == \"a\"",
            "has(auth.x) && (auth.plan == \"a\" || auth.plan == \"b\")",
            "has(auth.x) && auth.plan in [\"x\"] && auth.y",
        ],
    ];
    let form = |source: &&str| last(source).unwrap().form;
    for sources in &forms {
        for source in sources {
            assert_eq!(form(source), form(&sources[0]), "{source}");
        }
    }
    assert_ne!(form(&forms[0][0]), form(&forms[1][0]));
    assert_ne!(form(&forms[0][0]), form(&forms[2][0]));
    assert_eq!(last(forms[1][2]).unwrap().texts, ["a", "c"]);
}

#[test]
fn other_predicates_have_no_condition() {
    for source in [
        "auth.plan != \"a\"",
        "!(auth.plan == \"a\")",
        "auth.plan == \"a\" || auth.other == \"a\"",
        "auth.plan in [\"a\", auth.other]",
        "auth.plan in {\"a\": 1}",
        "auth.level == 1",
        "auth.plans.exists(p, p.name == \"a\")",
        "auth.plans.all(p, p == \"a\")",
        "auth.plan.matches(\"a\")",
    ] {
        assert_eq!(last(source), None, "{source}");
    }
}

#[test]
fn value_is_found_once_for_all_predicates() {
    let texts = |texts: &[&str]| {
        let texts = texts.iter().map(|text| (*text).to_owned());
        Some(Compared::Texts(texts.collect()))
    };
    for (source, expected) in [
        ("auth.plan == \"a\"", texts(&["gold,new"])),
        ("\"a\" in auth.plan.split(\",\")", texts(&["gold", "new"])),
        (
            "auth.plan.size() > 1 && auth.plan == \"a\"",
            texts(&["gold,new"]),
        ),
        ("1 / 0 == 1 && auth.plan == \"a\"", texts(&["gold,new"])),
        (
            "auth.plan == \"b\" && auth.plan == \"a\"",
            Some(Compared::False),
        ),
        (
            "auth.other == \"b\" && auth.plan == \"a\"",
            Some(Compared::Missing),
        ),
        ("auth.other == \"a\"", Some(Compared::Missing)),
        ("auth.other.exists(o, o == \"a\")", Some(Compared::Missing)),
        ("auth.plan.split(\",\") == \"a\"", Some(Compared::False)),
        // Each of these predicates is an error.
        ("auth.plan.exists(p, p == \"a\")", None),
        ("auth.plan.charAt(20) == \"a\"", None),
    ] {
        let predicate = predicate(source);
        let condition = last(source).unwrap();
        let fuel = Fuel::new(UNLIMITED);
        let compared = predicate.compared(condition.position, &Gold, &fuel);
        assert_eq!(compared, expected, "{source}");
    }
}
