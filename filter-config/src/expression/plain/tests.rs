//! Tests of plain expressions, against the evaluator.

use cel::Value;
use cel::common::types::CelString;
use cel::common::value::CowVal;
use cel::context::VariableResolver;
use proptest::prelude::*;

use super::super::testing::evaluate;
use super::super::{Expression, Role};
use super::{Plain, Question, Subject};

fn plain(source: &str) -> Option<Plain> {
    Plain::of(source)
}

/// A request with one attribute.
struct One(CelString<'static>);

impl VariableResolver for One {
    fn resolve<'b>(&'b self, name: &str) -> Option<CowVal<'b, 'b>> {
        (name == "request.path").then_some(CowVal::Borrowed(&self.0))
    }
}

fn evaluated(source: &str, path: &str) -> Value {
    let expression = Expression::compile(source, Role::Counter).unwrap();
    let request = One(CelString::from(path.to_owned()));
    evaluate(&expression, &request).unwrap()
}

#[test]
fn usual_forms_are_plain() {
    for source in [
        "request.path == \"/v1\"",
        "  '/v1'==request.path",
        "request.path != \"/v1\"",
        "request.path.startsWith(\"/v1\")",
        "auth.identity.userid",
        "request.headers[\"X-Tier\"]",
        "request.headers['x-tier'] == \"gold\"",
        "auth.identity.groups.split(\",\").exists(g, g == \"free\")",
        "\"free\" in auth.identity.groups.split(',')",
    ] {
        assert!(plain(source).is_some(), "{source}");
    }
    assert_eq!(
        plain("request.headers[\"X-Tier\"]").unwrap(),
        Plain {
            subject: Subject::Header("x-tier".to_owned()),
            question: Question::Value,
        }
    );
}

#[test]
fn other_expressions_are_not_plain() {
    for source in [
        "request.path == r\"/v1\"",
        "request.path == \"\\\"\"",
        "request.path == \"\"\"a\"\"\"",
        "request.path == \"a\" // why",
        "!(request.path == \"a\")",
        ".request.path",
        "request.path.split(\"\").exists(p, p == \"a\")",
        "request.path.split(\",\").exists(p, p == \"a\" || p == \"b\")",
        "request.path.split(\",\").exists(p, q == \"a\")",
        "request.path.split(\",\").all(p, p == \"a\")",
        "request.path.endsWith(\"a\")",
        "auth.identity[\"userid\"]",
        "1 == 1",
        "",
    ] {
        assert_eq!(plain(source), None, "{source}");
    }
}

proptest! {
    #[test]
    fn plain_expressions_have_the_evaluators_value(
        path in "[ab,/é ]{0,6}",
        text in "[ab/é ]{0,2}",
        separator in "[,/ab]{1,2}",
    ) {
        for source in [
            format!("request.path == \"{text}\""),
            format!("'{text}' != request.path"),
            format!("request.path.startsWith(\"{text}\")"),
            format!("request.path.split(\"{separator}\").exists(p, p == \"{text}\")"),
            format!("\"{text}\" in request.path.split(\"{separator}\")"),
        ] {
            let plain = Plain::of(&source).unwrap();
            let answer = plain.question.answer(&path).unwrap();
            prop_assert_eq!(Value::Bool(answer), evaluated(&source, &path), "{}", source);
        }
        prop_assert_eq!(Value::String(path.clone().into()), evaluated("request.path", &path));
    }
}
