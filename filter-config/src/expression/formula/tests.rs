//! Tests of formulas, against the evaluator.

use cel::Value;
use cel::common::types::{CelDouble, CelInt};
use cel::common::value::CowVal;
use cel::context::VariableResolver;
use proptest::prelude::*;

use super::super::testing::evaluate;
use super::super::{Expression, Role};
use super::{Formula, Number, UsageField};

/// The usage of an exchange.
#[derive(Clone, Copy)]
struct Used {
    input: u64,
    output: u64,
    usd: f64,
}

impl Used {
    fn number(self, field: UsageField) -> Option<Number> {
        Some(match field {
            UsageField::InputTokens => Number::Whole(self.input.into()),
            UsageField::OutputTokens => Number::Whole(self.output.into()),
            UsageField::Usd => Number::Fraction(self.usd),
            _ => return None,
        })
    }
}

impl VariableResolver for Used {
    fn resolve<'b>(&'b self, name: &str) -> Option<CowVal<'b, 'b>> {
        let int = |tokens: u64| CowVal::owned(CelInt::from(i64::try_from(tokens).unwrap()));
        match name {
            "usage.input_tokens" | "prompt_tokens" => Some(int(self.input)),
            "usage.output_tokens" => Some(int(self.output)),
            "usage.usd" => Some(CowVal::owned(CelDouble::from(self.usd))),
            _ => None,
        }
    }
}

fn compile(source: &str) -> Expression {
    Expression::compile(source, Role::Cost).unwrap_or_else(|errors| panic!("{source}: {errors:?}"))
}

fn formula(source: &str) -> Option<Formula> {
    compile(source).formula().cloned()
}

/// The value that the evaluator finds.
fn evaluated(expression: &Expression, used: Used) -> Option<Number> {
    match evaluate(expression, &used) {
        Ok(Value::Int(int)) => Some(Number::Whole(int.into())),
        Ok(Value::UInt(uint)) => Some(Number::Whole(uint.into())),
        Ok(Value::Float(double)) => Some(Number::Fraction(double)),
        Ok(other) => panic!("{}: {other:?}", expression.source()),
        Err(_) => None,
    }
}

#[test]
fn arithmetic_over_usage_is_a_formula() {
    for source in [
        "usage.total_tokens",
        "prompt_tokens + 2 * usage.output_tokens",
        "(usage.input_tokens - usage.cached_tokens) * 0.25 + 1u",
        "usage.usd * 1000000.0 / 3",
        "completion_tokens % 7",
        "5",
    ] {
        assert!(formula(source).is_some(), "{source}");
    }
}

#[test]
fn other_expressions_are_not_formulas() {
    for source in [
        "usage.estimated ? 1 : 2",
        "size(llm.model)",
        "llm.max_output_tokens + 1",
        "has(usage.input_tokens) ? 1 : 0",
        "usage.raw.total + 1",
        "usage['input_tokens']",
        "-usage.input_tokens",
        "int(usage.usd)",
    ] {
        assert_eq!(formula(source), None, "{source}");
    }
    let predicate = Expression::compile("1 + 1 == 2", Role::Predicate).unwrap();
    assert_eq!(predicate.formula(), None);
}

#[test]
fn division_by_zero_has_no_value() {
    let used = Used {
        input: 1,
        output: 0,
        usd: 0.0,
    };
    for source in [
        "usage.input_tokens / usage.output_tokens",
        "1 % usage.output_tokens",
    ] {
        let formula = formula(source).unwrap();
        assert_eq!(formula.value(|field| used.number(field)), None, "{source}");
    }
}

/// Texts of arithmetic expressions.
fn arithmetic() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        Just("usage.input_tokens".to_owned()),
        Just("prompt_tokens".to_owned()),
        Just("usage.output_tokens".to_owned()),
        Just("usage.usd".to_owned()),
        any::<i64>().prop_map(|number| number.unsigned_abs().min(i64::MAX as u64).to_string()),
        any::<u32>().prop_map(|number| format!("{number}u")),
        (0_u32..1000).prop_map(|number| format!("{number}.25")),
    ];
    leaf.prop_recursive(4, 16, 2, |inner| {
        (inner.clone(), "[-+*/%]", inner).prop_map(|(a, sign, b)| format!("({a} {sign} {b})"))
    })
}

proptest! {
    #[test]
    fn formulas_have_the_evaluators_value(
        source in arithmetic(),
        input in 0_u64..=i64::MAX as u64,
        output in 0_u64..10,
        usd in 0.0_f64..10.0,
    ) {
        let used = Used { input, output, usd };
        let expression = compile(&source);
        let formula = expression.formula().unwrap();
        let value = formula.value(|field| used.number(field));
        let evaluated = evaluated(&expression, used);
        let same = match (value, evaluated) {
            (Some(Number::Fraction(a)), Some(Number::Fraction(b))) => a.to_bits() == b.to_bits(),
            (a, b) => a == b,
        };
        prop_assert!(same, "{source}: {value:?} for {evaluated:?}");
    }
}
