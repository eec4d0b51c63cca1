//! What tests of expressions share.

use std::sync::{Arc, LazyLock};

use cel::common::ast::IdedExpr;
use cel::common::types::{CelBool, CelString, STRING_TYPE};
use cel::common::value::CowVal;
use cel::context::VariableResolver;
use cel::{Env, ExecutionError, Value};
use regex_lite::Regex;

use super::evaluate::Machine;
use super::missing::Missing;
use super::{Expression, Failure, Fuel, FuelLimits, assemble, environment};

/// Fuel for any evaluation of the tests.
pub(crate) const UNLIMITED: FuelLimits = FuelLimits {
    steps: u64::MAX,
    bytes: u64::MAX,
};

/// A request without attributes.
pub(crate) struct Nothing;

impl VariableResolver for Nothing {
    fn resolve<'b>(&'b self, _: &str) -> Option<CowVal<'b, 'b>> {
        None
    }
}

/// Returns the value of an expression.
pub(crate) fn evaluate(
    expression: &Expression,
    attributes: &dyn VariableResolver,
) -> Result<Value, Failure> {
    let fuel = Fuel::new(UNLIMITED);
    let value = expression.evaluate(attributes, &fuel)?;
    Ok(value.as_ref().try_into().unwrap())
}

/// Returns the value of a tree.
pub(super) fn run(root: &IdedExpr, attributes: &dyn VariableResolver) -> Result<Value, Failure> {
    let program = assemble::assemble(root).unwrap();
    let fuel = &Fuel::new(UNLIMITED);
    let missing = Missing::Fails;
    let machine = Machine {
        attributes,
        fuel,
        missing,
    };
    let value = machine.evaluate(&program, None);
    let value = value.map_err(Failure::Execution)?;
    Ok(value.as_ref().try_into().unwrap())
}

/// Returns the environment in which the evaluator of the `cel` crate has all functions.
pub(super) fn reference_environment() -> Arc<Env> {
    static ENVIRONMENT: LazyLock<Arc<Env>> = LazyLock::new(|| {
        let mut env = environment::declare().unwrap();
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
        Arc::new(env)
    });
    Arc::clone(&ENVIRONMENT)
}

#[expect(
    clippy::needless_pass_by_value,
    reason = "the signature of a CEL function"
)]
fn matches<'b, 'v>(args: Vec<CowVal<'b, 'v>>) -> Result<CowVal<'b, 'v>, ExecutionError> {
    let [text, pattern] = [0, 1].map(|index| args[index].downcast_ref::<CelString>().unwrap());
    let regex = Regex::new(pattern.inner());
    let regex = regex.map_err(|error| ExecutionError::function_error("matches", error))?;
    Ok(CowVal::owned(CelBool::from(regex.is_match(text.inner()))))
}
