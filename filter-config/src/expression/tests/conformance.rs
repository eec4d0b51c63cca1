//! Conformance with CEL: expressions with the values that its specification gives them.
//!
//! Each line of a table is `expression => value`; the notation of values is that of [`printed`]. Nothing may have
//! another value. What is not supported is rejected when the configuration is read, for a reason that the reference
//! lists.

use cel::Value;
use cel::common::types::{
    CelBool, CelBytes, CelDouble, CelDuration, CelInt, CelList, CelMap, CelMapKey, CelNull,
    CelOptional, CelString, CelTimestamp, CelType, CelUInt,
};
use cel::common::value::{CowVal, Val};
use cel::context::VariableResolver;

use super::documentation::part;
use crate::expression::assemble::assemble;
use crate::expression::compile::compile;
use crate::expression::evaluate::Machine;
use crate::expression::missing::Missing;
use crate::expression::testing::{Nothing, UNLIMITED, run};
use crate::expression::{Expression, Fuel, Role};

const TABLES: [(&str, &str); 11] = [
    ("literals", include_str!("conformance/literals.txt")),
    ("comparisons", include_str!("conformance/comparisons.txt")),
    ("arithmetic", include_str!("conformance/arithmetic.txt")),
    ("logic", include_str!("conformance/logic.txt")),
    ("conversions", include_str!("conformance/conversions.txt")),
    ("collections", include_str!("conformance/collections.txt")),
    ("macros", include_str!("conformance/macros.txt")),
    ("strings", include_str!("conformance/strings.txt")),
    ("timestamps", include_str!("conformance/timestamps.txt")),
    ("optionals", include_str!("conformance/optionals.txt")),
    ("syntax", include_str!("conformance/syntax.txt")),
];

const REJECTED: &str = include_str!("conformance/rejected.txt");

/// The title of the rejected expressions that are none in any implementation of CEL.
const INVALID: &str = "What CEL rejects as well";

/// The value of `auth` in the tables.
const AUTH: &str = "{'i': 5, 'u': 2u, 'd': 1.5, 's': 'text', 'b': true, 'n': null, 'l': [1, 2, 3], \
    'm': {'a': 1, 'b': {'c': 'x'}}}";

struct Claims(Value);

impl VariableResolver for Claims {
    fn resolve<'b>(&'b self, variable: &str) -> Option<CowVal<'b, 'b>> {
        let value = (variable == "auth").then(|| self.0.clone())?;
        value.try_into().ok().map(CowVal::Owned)
    }
}

/// Returns a value as the tables write it: a literal of CEL, `type(int)`, `timestamp(...)`, `optional(1)`.
fn printed(value: &dyn Val) -> String {
    if let Some(value) = value.downcast_ref::<CelBool>() {
        value.inner().to_string()
    } else if let Some(value) = value.downcast_ref::<CelInt>() {
        value.inner().to_string()
    } else if let Some(value) = value.downcast_ref::<CelUInt>() {
        format!("{}u", value.inner())
    } else if let Some(value) = value.downcast_ref::<CelDouble>() {
        format!("{:?}", value.inner())
    } else if let Some(value) = value.downcast_ref::<CelString>() {
        format!("{:?}", value.inner())
    } else if let Some(value) = value.downcast_ref::<CelBytes>() {
        format!("b\"{}\"", value.inner().escape_ascii())
    } else if value.downcast_ref::<CelNull>().is_some() {
        "null".to_owned()
    } else if let Some(list) = value.downcast_ref::<CelList>() {
        let elements = list.inner().iter().map(|element| printed(&**element));
        format!("[{}]", elements.collect::<Vec<_>>().join(", "))
    } else if let Some(map) = value.downcast_ref::<CelMap>() {
        let entries = map.inner().iter().map(|(key, value)| {
            let key = match key {
                CelMapKey::Bool(key) => printed(key),
                CelMapKey::Int(key) => printed(key),
                CelMapKey::String(key) => printed(key),
                CelMapKey::UInt(key) => printed(key),
            };
            format!("{key}: {}", printed(&**value))
        });
        let mut entries: Vec<_> = entries.collect();
        entries.sort();
        format!("{{{}}}", entries.join(", "))
    } else if let Some(value) = value.downcast_ref::<CelTimestamp>() {
        format!("timestamp({})", value.inner().to_rfc3339())
    } else if let Some(value) = value.downcast_ref::<CelDuration>() {
        format!("duration({}ns)", value.inner().num_nanoseconds().unwrap())
    } else if let Some(value) = value.downcast_ref::<CelType>() {
        format!("type({})", value.name())
    } else if let Some(value) = value.downcast_ref::<CelOptional>() {
        let value = value.option().map(printed);
        value.map_or_else(
            || "optional.none".to_owned(),
            |value| format!("optional({value})"),
        )
    } else {
        panic!("{:?}", value.get_type())
    }
}

/// Returns the value of an expression as the tables write it.
fn evaluated(source: &str, claims: &Claims) -> String {
    let (root, _) = match compile(source, Role::Counter) {
        Ok(compiled) => compiled,
        Err(errors) => return format!("rejected: {errors:?}"),
    };
    let Some(program) = assemble(&root) else {
        return "rejected: not supported".to_owned();
    };
    let machine = Machine {
        attributes: claims,
        fuel: &Fuel::new(UNLIMITED),
        missing: Missing::Fails,
    };
    let value = machine.evaluate(&program, None);
    value.map_or_else(|_| "error".to_owned(), |value| printed(value.as_ref()))
}

/// Returns the lines of a table that are cases.
fn cases(table: &str) -> impl Iterator<Item = &str> {
    let lines = table.lines();
    lines.filter(|line| !line.is_empty() && !line.starts_with('#'))
}

#[test]
fn values_are_those_of_the_specification() {
    let (root, _) = compile(AUTH, Role::Counter).unwrap();
    let claims = Claims(run(&root, &Nothing).unwrap());
    let mut count = 0;
    let mut wrong = Vec::new();
    for (name, table) in TABLES {
        for line in cases(table) {
            let (source, expected) = line.rsplit_once(" => ").expect(line);
            let found = evaluated(source, &claims);
            count += 1;
            if found != expected {
                wrong.push(format!("{name}: {source} => {expected}, found {found}"));
            }
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
    assert!(count > 800, "{count} cases");
}

#[test]
fn unsupported_expressions_are_rejected() {
    let mut accepted = Vec::new();
    for source in cases(REJECTED) {
        let is_accepted = [Role::Counter, Role::Predicate]
            .iter()
            .any(|role| Expression::compile(source, *role).is_ok());
        if is_accepted {
            accepted.push(source);
        }
    }
    assert!(accepted.is_empty(), "\n{}", accepted.join("\n"));
}

#[test]
fn reference_lists_what_is_unsupported() {
    let titles = REJECTED.lines().filter_map(|line| line.strip_prefix("# "));
    let titles: Vec<&str> = titles.filter(|title| *title != INVALID).collect();
    let rows = part("unsupported").lines().skip(2);
    let rows: Vec<(&str, &str)> = rows
        .filter_map(|row| row.strip_prefix("| ")?.split_once(" | "))
        .collect();
    let documented: Vec<&str> = rows.iter().map(|(title, _)| *title).collect();
    assert_eq!(documented, titles);
}
