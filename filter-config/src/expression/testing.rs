//! The evaluator of the `cel` crate as a reference for tests of expressions, and generated expressions to compare.
#![expect(clippy::unwrap_used, reason = "never part of the module")]

use std::sync::{Arc, LazyLock};

use cel::common::ast::{CallExpr, Expr, IdedExpr, LiteralValue};
use cel::common::types::{CelBool, CelString, DYN_TYPE, STRING_TYPE};
use cel::common::value::CowVal;
use cel::context::VariableResolver;
use cel::parser::Macro;
use cel::{Context, Env, ExecutionError, Value, extensions};
use regex_lite::Regex;

use super::compile::compile;
use super::environment::{JSON_POINTER, REQUEST_BODY, REQUEST_BODY_JSON};
use super::evaluate::Machine;
use super::missing::{Missing, is_missing};
#[cfg(test)]
use super::{Expression, Failure};
use super::{Fuel, FuelLimits, Role, assemble, parser, pointer};

mod forms;

pub use forms::generated;

/// Whether an evaluation failed because a value is missing, or otherwise.
pub type Outcome = Result<Value, bool>;

/// Fuel for any evaluation of the tests.
pub const UNLIMITED: FuelLimits = FuelLimits {
    steps: u64::MAX,
    bytes: u64::MAX,
};

/// A request without attributes.
#[cfg(test)]
pub(crate) struct Nothing;

#[cfg(test)]
impl VariableResolver for Nothing {
    fn resolve<'b>(&'b self, _: &str) -> Option<CowVal<'b, 'b>> {
        None
    }
}

/// Returns the value of an expression.
#[cfg(test)]
pub(crate) fn evaluate(
    expression: &Expression,
    attributes: &dyn VariableResolver,
) -> Result<Value, Failure> {
    let fuel = Fuel::new(UNLIMITED);
    let value = expression.evaluate(attributes, &fuel)?;
    Ok(value.as_ref().try_into().unwrap())
}

/// Returns the value of a tree.
#[cfg(test)]
pub(super) fn run(root: &IdedExpr, attributes: &dyn VariableResolver) -> Result<Value, Failure> {
    value_of(root, attributes, &Fuel::new(UNLIMITED))
        .unwrap()
        .map_err(Failure::Execution)
}

/// Returns the value of a tree, in which a missing value is an error; `None` if it is not supported.
fn value_of(
    root: &IdedExpr,
    attributes: &dyn VariableResolver,
    fuel: &Fuel,
) -> Option<Result<Value, ExecutionError>> {
    let program = assemble::assemble(root)?;
    let missing = Missing::Fails;
    let machine = Machine {
        attributes,
        fuel,
        missing,
    };
    let value = machine.evaluate(&program, None);
    Some(value.map(|value| value.as_ref().try_into().unwrap()))
}

/// Returns the environment in which the evaluator of the `cel` crate has all functions.
pub(super) fn reference_environment() -> Arc<Env> {
    static ENVIRONMENT: LazyLock<Arc<Env>> = LazyLock::new(|| {
        let mut env = Env::stdlib();
        env.add_extension(extensions::strings).unwrap();
        let pointer = vec![DYN_TYPE, STRING_TYPE];
        env.add_overload(JSON_POINTER, "json_pointer", pointer, pointer::walk)
            .unwrap();
        let strings = vec![STRING_TYPE, STRING_TYPE];
        env.add_overload("matches", "matches", strings, matches)
            .unwrap();
        env.add_member_overload(
            "matches",
            "matches_string",
            STRING_TYPE,
            vec![STRING_TYPE],
            matches,
        )
        .unwrap();
        let request_body = Macro::global(REQUEST_BODY_JSON, 1, |helper, _, args| {
            let pointer = args.pop().unwrap();
            let mut args = vec![helper.next_expr(Expr::Ident(REQUEST_BODY.to_owned()))];
            match pointer.expr {
                Expr::List(list)
                    if (1..=16).contains(&list.elements.len())
                        && list.optional_indices.is_empty()
                        && list.elements.iter().all(|element| {
                            matches!(element.expr, Expr::Literal(LiteralValue::String(_)))
                        }) =>
                {
                    args.extend(list.elements);
                }
                _ => args.push(pointer),
            }
            Ok(Some(helper.next_expr(Expr::Call(CallExpr {
                func_name: JSON_POINTER.to_owned(),
                target: None,
                args,
            }))))
        });
        env.add_macro(request_body).unwrap();
        Arc::new(env)
    });
    Arc::clone(&ENVIRONMENT)
}

#[expect(
    clippy::needless_pass_by_value,
    reason = "the signature of a CEL function"
)]
fn matches<'b, 'v>(args: Vec<CowVal<'b, 'v>>) -> Result<CowVal<'b, 'v>, ExecutionError> {
    let texts = args.iter().map(|arg| arg.downcast_ref::<CelString>());
    let texts: Vec<_> = texts.map(Option::unwrap).collect();
    let [text, pattern] = texts.try_into().unwrap();
    let regex = Regex::new(pattern.inner());
    let regex = regex.map_err(|error| ExecutionError::function_error("matches", error))?;
    Ok(CowVal::owned(CelBool::from(regex.is_match(text.inner()))))
}

/// Returns the trees of a text by the parser of this crate and by that of the `cel` crate, without the numbers of
/// their nodes; `None` instead of a tree that one of them rejects.
#[must_use]
pub fn parsed(source: &str) -> [Option<String>; 2] {
    let numbers = Regex::new(r"\bid: [0-9]+").unwrap();
    let tree = |root: &IdedExpr| numbers.replace_all(&format!("{root:?}"), "").into_owned();
    let found = parser::parse(source).ok();
    let expected = reference_environment().compile(source).ok();
    [
        found.map(|root| tree(&root)),
        expected.map(|program| tree(program.expression())),
    ]
}

/// Returns the value of an expression by the evaluator of the `cel` crate; `None` if it is invalid, or may have
/// `getMilliseconds` of a duration, for which the crate differs from the specification.
#[must_use]
pub fn reference(source: &str, attributes: &dyn VariableResolver) -> Option<Outcome> {
    if source.contains("getMilliseconds") {
        return None;
    }
    compile(source, Role::Counter).ok()?;
    let program = reference_environment().compile(source).unwrap();
    let mut context = Context::with_env(reference_environment());
    context.set_variable_resolver(attributes);
    let value = Value::resolve(program.expression(), &context);
    Some(value.map_err(|error| is_missing(&error)))
}

/// Returns the value of an expression; `None` if it is invalid, or its fuel is exhausted.
#[must_use]
pub fn evaluated(
    source: &str,
    attributes: &dyn VariableResolver,
    limits: FuelLimits,
) -> Option<Outcome> {
    let (root, _) = compile(source, Role::Counter).ok()?;
    let fuel = Fuel::new(limits);
    let value = value_of(&root, attributes, &fuel)?;
    if fuel.exhausted().is_some() {
        return None;
    }
    Some(value.map_err(|error| is_missing(&error)))
}

/// Returns whether outcomes are the same, where numbers that are not equal to themselves are.
#[must_use]
pub fn are_same(outcome: &Outcome, other: &Outcome) -> bool {
    outcome == other || printed(outcome) == printed(other)
}

/// Returns values in a form in which numbers that are not equal to themselves are.
fn printed(outcome: &Outcome) -> String {
    match outcome {
        Ok(Value::Map(map)) => {
            let entries = map.map.iter();
            let mut entries: Vec<_> = entries
                .map(|(key, value)| format!("{key:?}: {}", printed(&Ok(value.clone()))))
                .collect();
            entries.sort();
            format!("{entries:?}")
        }
        Ok(Value::List(list)) => {
            let elements = list.iter().map(|value| printed(&Ok(value.clone())));
            format!("{:?}", elements.collect::<Vec<_>>())
        }
        other => format!("{other:?}"),
    }
}
