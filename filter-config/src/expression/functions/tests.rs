//! Tests of the table of functions against the environment.

use cel::{Context, ExecutionError};

use super::{FUNCTIONS, Style};
use crate::expression::testing::reference_environment;

/// The macros, which the parser knows and the environment does not.
const MACROS: [&str; 8] = [
    "has",
    "all",
    "exists",
    "exists_one",
    "existsOne",
    "map",
    "filter",
    "requestBodyJSON",
];

#[test]
fn every_function_exists_in_its_style() {
    let env = reference_environment();
    for function in FUNCTIONS
        .iter()
        .filter(|function| !MACROS.contains(&function.name))
    {
        for arguments in function.arguments {
            let arguments = vec!["null"; *arguments].join(", ");
            let call = match function.style {
                Style::Global => format!("{}({arguments})", function.name),
                Style::Member => format!("null.{}({arguments})", function.name),
            };
            let program = env.compile(&call).unwrap();
            let result = program.execute(&Context::with_env(env.clone()));
            assert!(
                !matches!(result, Err(ExecutionError::UndeclaredReference(_))),
                "{call}: {result:?}"
            );
        }
    }
}

#[test]
fn every_macro_expands() {
    let env = reference_environment();
    for call in [
        "has(a.b)",
        "a.all(x, true)",
        "a.exists(x, true)",
        "a.exists_one(x, true)",
        "a.existsOne(x, true)",
        "a.map(x, 1)",
        "a.map(x, true, 1)",
        "a.filter(x, true)",
        "requestBodyJSON('/a')",
    ] {
        let program = env.compile(call).unwrap();
        let references = program.references();
        assert!(
            !MACROS.iter().any(|name| references.has_function(name)),
            "{call}"
        );
    }
}
