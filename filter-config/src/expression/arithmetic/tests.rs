//! Tests of arithmetic.

use cel::Value;

use crate::expression::testing::{Nothing, evaluate as evaluate_with};
use crate::expression::{Expression, Failure, Role};

fn evaluate(source: &str) -> Result<Value, Failure> {
    let expression = Expression::compile(source, Role::Cost)
        .unwrap_or_else(|errors| panic!("{source}: {errors:?}"));
    evaluate_with(&expression, &Nothing)
}

#[test]
fn arithmetic_mixes_number_types() {
    for (source, expected) in [
        ("2 * 1.5", Value::Float(3.0)),
        ("1.5 * 2u", Value::Float(3.0)),
        ("3 * uint(2)", Value::Int(6)),
        ("1u - 2u", Value::Int(-1)),
        ("7 / 2", Value::Int(3)),
        ("7 / 2.0", Value::Float(3.5)),
        ("7 % 4u", Value::Int(3)),
        ("-(2 * 3) + 1", Value::Int(-5)),
        ("size('a' + 'bc')", Value::Int(3)),
        ("{'gold': 2 * 0.5}['gold']", Value::Float(1.0)),
        ("true ? 1 + 1.0 : 0", Value::Float(2.0)),
        ("size([1, 2].map(n, n * 2))", Value::Int(2)),
    ] {
        assert_eq!(evaluate(source), Ok(expected), "{source}");
    }
}

#[test]
fn overflow_saturates() {
    let most = "9223372036854775807";
    for (source, expected) in [
        (format!("{most} + 1"), i64::MAX),
        (format!("{most} * {most}"), i64::MAX),
        (format!("-{most} * {most}"), i64::MIN),
        (format!("-{most} - 10"), i64::MIN),
        ("18446744073709551615u + 0".to_owned(), i64::MAX),
    ] {
        assert_eq!(evaluate(&source), Ok(Value::Int(expected)), "{source}");
    }
}

#[test]
fn invalid_operations_are_errors() {
    for source in ["1 / 0", "1u % 0", "1 * 'a'", "'a' - 'b'", "true + 1"] {
        assert!(evaluate(source).is_err(), "{source}");
    }
    assert_eq!(evaluate("1.0 / 0"), Ok(Value::Float(f64::INFINITY)));
}
