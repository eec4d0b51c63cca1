//! Tests of calls on optional values, against the evaluator.

use cel::Context;
use proptest::prelude::*;

use crate::expression::compile::compile;
use crate::expression::testing::reference_environment;
use crate::expression::{Expression, Role};

fn error(source: &str, role: Role) -> String {
    let errors = Expression::compile(source, role)
        .map(|_| ())
        .expect_err(source);
    let errors: Vec<String> = errors.iter().map(ToString::to_string).collect();
    errors.join("\n")
}

#[test]
fn optional_methods_need_optional_values() {
    for (source, expected) in [
        (
            r#"requestBodyJSON("/max_tokens").orValue(500)"#,
            "found `orValue` on a value that is not optional, expected a field of `llm`, as in `llm.?max_output_tokens.orValue(500)` for the bound on the output, or a key of an object, as in `requestBodyJSON(\"\").?user.orValue(\"\")`: `requestBodyJSON` is not optional",
        ),
        (
            "llm.max_output_tokens.orValue(500)",
            "found `orValue` on a value that is not optional, expected `llm.?max_output_tokens`",
        ),
        (
            "int(request.headers['x-n'].orValue('5'))",
            "found `orValue` on a value that is not optional, expected `request.headers[?\"x-n\"]`",
        ),
        (
            "int(auth.tier.n.value())",
            "found `value` on a value that is not optional, expected `auth.tier.?n`",
        ),
        (
            "size('a').orValue(5)",
            "found `orValue` on a value that is not optional, expected one such as `x.?field` or `x[?\"key\"]`",
        ),
        (
            "llm.?max_output_tokens.orValue(5).orValue(6)",
            "found `orValue` on a value that is not optional, expected one such as `x.?field` or `x[?\"key\"]`",
        ),
    ] {
        assert_eq!(error(source, Role::Amount), expected, "{source}");
    }
}

#[test]
fn other_calls_need_the_value() {
    for (source, name) in [
        ("llm.?model.startsWith('gpt')", "startsWith"),
        ("request.headers[?'x'].matches('a')", "matches"),
        ("matches(request.headers[?'x'], 'a')", "matches"),
        ("int(request.headers[?'x']) == 1", "int"),
        ("llm.?max_output_tokens > 5", ">"),
        ("request.path.contains(llm.?model)", "contains"),
        ("(llm.stream ? llm.?model : llm.?api).size() > 1", "size"),
    ] {
        let expected = format!(
            "found an optional value in a call of `{name}`, expected its value; add `.orValue(...)` to it"
        );
        assert_eq!(error(source, Role::Predicate), expected, "{source}");
    }
}

#[test]
fn calls_that_can_succeed_are_accepted() {
    for source in [
        "llm.?model.orValue('').startsWith('gpt')",
        "requestBodyJSON('').?user.orValue('') == 'a'",
        "requestBodyJSON('/a').?b.hasValue()",
        "requestBodyJSON('/a').startsWith('b')",
        "auth.?org.name.orValue('') == 'a'",
        "auth.?org.?name.or(auth.?name).orValue('') == 'a'",
        "request.?headers.x.orValue('') == 'a'",
        "request.?headers['x'].orValue('') == 'a'",
        "llm.?model == optional.of('a')",
        "dyn(llm.?model).orValue('') == 'a'",
        "dyn(llm.model).orValue('') == 'a'",
        "[optional.of('a')].exists(llm, llm.orValue('') == 'a')",
        "[optional.of('a')].exists(x, x.orValue('') == 'a')",
        "auth.groups.exists(x, x.startsWith('a'))",
        "(llm.stream ? dyn(llm.?model) : dyn('a')).size() > 1",
        "optional.of(optional.of('a')).value().value() == 'a'",
        "optional.of(optional.of('a')).orValue('b').hasValue()",
        "type(llm.?model) == string",
    ] {
        assert!(compile(source, Role::Predicate).is_ok(), "{source}");
    }
}

proptest! {
    #[test]
    fn rejected_calls_never_succeed(
        receiver in prop::sample::select(vec![
            "optional.of('a')", "optional.none()", "{'a': 'b'}.?a", "{'a': 'b'}.?c", "['a'][?0]", "{'a': {'b': 'c'}}.?a.b",
            "'a'", "1", "['a']", "{'a': 'b'}", "{'a': optional.of('b')}.a", "[optional.of('a')][0]", "dyn('a')",
            "(true ? optional.of('a') : 'b')", "(true ? optional.of('a') : optional.none())", "(false ? 'a' : 'b')",
            "optional.of('a').or(optional.of('b'))", "optional.of(optional.of('a'))", "optional.of(optional.of('a')).value()",
            "optional.of(optional.of('a')).orValue('b')", "optional.of('a').orValue('b')", "optional.none().orValue(optional.of('a'))",
            "['a'].map(x, optional.of(x))[0]", "has({'a': 1}.a)", "('a' + 'b')", "type('a')",
        ]),
        call in prop::sample::select(vec![
            ".orValue('a')", ".value()", ".hasValue()", ".or(optional.of('a'))", ".size()", ".startsWith('a')", ".trim()",
            ".contains('a')", ".matches('a')", ".orValue('a').size()", ".value().hasValue()", " + 'a'", " < 'b'", ".split('')",
        ]),
    ) {
        let source = format!("{receiver}{call}");
        if compile(&source, Role::Predicate).is_err() {
            let env = reference_environment();
            let program = env.compile(&source).unwrap();
            prop_assert!(program.execute(&Context::with_env(env)).is_err(), "{}", source);
        }
    }
}
