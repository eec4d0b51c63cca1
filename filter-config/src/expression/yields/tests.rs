//! Tests of inferred types, against the evaluator.

use cel::{Context, Value};
use proptest::prelude::*;

use super::{Type, check, of};
use crate::expression::Role;
use crate::expression::compile::compile;
use crate::expression::error::ExpressionError;
use crate::expression::testing::reference_environment;

fn inferred(source: &str, role: Role) -> Option<Type> {
    let (root, _) = compile(source, role).unwrap_or_else(|errors| panic!("{source}: {errors:?}"));
    of(&root, role).map(Type::unsigned)
}

/// The type of the value of an expression without variables; none if it is an error.
fn evaluated(source: &str) -> Option<Type> {
    let env = reference_environment();
    let program = env.compile(source).unwrap();
    Some(match program.execute(&Context::with_env(env)).ok()? {
        Value::Bool(_) => Type::Boolean,
        Value::Bytes(_) => Type::Bytes,
        Value::Duration(_) => Type::Duration,
        Value::List(_) => Type::List,
        Value::Map(_) => Type::Map,
        Value::Null => Type::Null,
        Value::Int(_) | Value::UInt(_) | Value::Float(_) => Type::Number,
        Value::String(_) => Type::String,
        Value::Timestamp(_) => Type::Timestamp,
        other => panic!("{source}: {other:?}"),
    })
}

#[test]
fn attributes_have_their_type() {
    for (source, expected) in [
        ("request.path", Some(Type::String)),
        ("request['path']", Some(Type::String)),
        (".request.path", Some(Type::String)),
        ("request.size", Some(Type::Number)),
        ("request.time", Some(Type::Timestamp)),
        ("request.headers", Some(Type::Map)),
        ("request.headers['x.y']", Some(Type::String)),
        ("request.headers[request.path]", Some(Type::String)),
        ("request.headers.cookie", Some(Type::String)),
        ("request.headers[?'x']", Some(Type::Optional)),
        ("request.headers[?'x'].orValue('')", Some(Type::String)),
        ("request.headers[?'x'].value()", Some(Type::String)),
        ("request.?path.orValue('')", Some(Type::String)),
        ("request.headers[?'x'].orValue(1)", None),
        ("has(request.referer)", Some(Type::Boolean)),
        ("connection.mtls", Some(Type::Boolean)),
        ("llm.model", Some(Type::String)),
        ("llm.stream", Some(Type::Boolean)),
        ("metadata", Some(Type::Map)),
        ("auth.tier + 'x'", Some(Type::String)),
        (
            "auth.groups.split(',').exists(g, g == 'free')",
            Some(Type::Boolean),
        ),
        (
            "auth.groups.exists_one(g, g == 'free')",
            Some(Type::Boolean),
        ),
        ("auth.groups.map(g, g == 'free')", Some(Type::List)),
        ("{'a': 1, 'b': 2}[auth.tier]", Some(Type::Number)),
        ("auth.is_free ? 1 : 2.5", Some(Type::Number)),
        // Known only at a request.
        ("auth", None),
        ("auth.identity.userid", None),
        ("metadata.filter_metadata.a.b", None),
        ("filter_state['a']", None),
        ("requestBodyJSON('/model')", None),
        ("dyn('a')", None),
        ("auth.is_free ? 1 : auth.limit", None),
        ("{'a': 1, 'b': auth.limit}[auth.tier]", None),
        ("[1, 2][auth.index]", None),
    ] {
        assert_eq!(inferred(source, Role::Predicate), expected, "{source}");
    }
    for (source, expected) in [
        ("usage.total_tokens", Some(Type::Number)),
        ("usage.usd * 1000000.0", Some(Type::Number)),
        ("input_tokens", Some(Type::Number)),
        ("model", Some(Type::String)),
        ("usage.estimated", Some(Type::Boolean)),
        ("usage.raw", Some(Type::Map)),
        ("usage.raw.units", None),
        ("response.headers['x-units']", Some(Type::String)),
        ("response.code", Some(Type::Number)),
    ] {
        assert_eq!(inferred(source, Role::Cost), expected, "{source}");
    }
}

#[test]
fn what_is_never_a_boolean_is_not_negated() {
    let error = |source: &str| {
        let (root, _) = compile(source, Role::Predicate).unwrap();
        check(&root, Role::Predicate)
    };
    for (source, found) in [
        ("!request.method", "a string"),
        ("!request.headers['x-admin']", "a string"),
        ("llm.stream || !(!request.headers['x-admin'])", "a string"),
        ("llm.stream && !request.size", "a number"),
        ("llm.stream ? !request.headers : true", "a map"),
    ] {
        let expected = "a boolean";
        assert_eq!(
            error(source),
            Some(ExpressionError::Type { found, expected }),
            "{source}"
        );
    }
    for source in [
        "!llm.stream",
        "!auth.identity.is_admin",
        "!(request.method == 'GET')",
        "!request.headers['x-admin'].startsWith('a')",
        "!('a' in auth.identity.roles)",
    ] {
        assert_eq!(error(source), None, "{source}");
    }
}

/// Expressions without variables, of all types. Many of them fail.
fn source() -> impl Strategy<Value = String> {
    let literals = [
        "true",
        "1",
        "-1",
        "2u",
        "1.5",
        "'a'",
        "b'a'",
        "null",
        "[1, 2]",
        "['a']",
        "{'a': 1}",
        "duration('1m')",
        "timestamp(0)",
        "'a,b'.split(',')",
    ];
    let literal = prop::sample::select(literals.to_vec()).prop_map(str::to_owned);
    literal.prop_recursive(3, 12, 3, |inner| {
        let operators = ["+", "-", "*", "/", "%", "==", "<", "&&", "||", "in"];
        let calls = [
            "size",
            "int",
            "uint",
            "double",
            "string",
            "bytes",
            "bool",
            "duration",
            "timestamp",
            "dyn",
            "!",
            "-",
        ];
        let methods = [
            ".size()",
            ".trim()",
            ".contains('a')",
            ".map(x, x)",
            ".filter(x, true)",
            ".all(x, true)",
            ".exists(x, false)",
            ".exists_one(x, true)",
            ".getHours()",
            ".join('')",
            ".substring(0)",
            "[0]",
            "['a']",
            ".matches('a')",
            ".charAt(0)",
            ".indexOf('a')",
            ".replace('a', 'b')",
            ".format([1])",
            ".reverse()",
        ];
        prop_oneof![
            (
                inner.clone(),
                prop::sample::select(operators.to_vec()),
                inner.clone()
            )
                .prop_map(|(one, operator, other)| format!("({one}) {operator} ({other})")),
            (inner.clone(), inner.clone(), inner.clone())
                .prop_map(|(which, one, other)| format!("({which}) ? ({one}) : ({other})")),
            (prop::sample::select(calls.to_vec()), inner.clone())
                .prop_map(|(call, of)| format!("{call}({of})")),
            (inner, prop::sample::select(methods.to_vec()))
                .prop_map(|(of, method)| format!("({of}){method}")),
        ]
    })
}

proptest! {
    #[test]
    fn inferred_types_match_evaluated_values(source in source()) {
        if let (Some(found), Some(evaluated)) = (inferred(&source, Role::Predicate), evaluated(&source)) {
            prop_assert_eq!(found, evaluated, "{}", source);
        }
    }
}
