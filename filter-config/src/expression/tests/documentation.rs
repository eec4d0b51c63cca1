//! Tests of the documentation, which lists every variable and every function.

use std::fmt::Write as _;

use crate::expression::attribute::Kind;
use crate::expression::functions::{FUNCTIONS, Style};
use crate::expression::{COST_ALIASES, LLM_FIELDS, PROPERTIES, RESPONSE_FIELDS, USAGE_FIELDS};

const REFERENCE: &str = include_str!("../../../../docs/expressions.md");

/// The text between the two marks of a part of the reference.
pub(super) fn part(name: &str) -> &'static str {
    let start = format!("<!-- {name} -->\n");
    let end = format!("<!-- end of {name} -->");
    REFERENCE
        .split_once(&start)
        .and_then(|(_, rest)| rest.split_once(&end))
        .map_or("", |(part, _)| part)
}

#[test]
fn reference_lists_every_variable() {
    let mut table = "| variable | type | property of Envoy |\n|---|---|---|\n".to_owned();
    for property in &PROPERTIES {
        let path = property.path.join(".");
        let kind = words(property.kind);
        writeln!(table, "| `{}` | {kind} | `{path}` |", property.name).unwrap();
    }
    assert_eq!(part("variables"), table, "the table should be\n{table}");
}

/// The rows of a table without their last cell.
fn rows(part: &str) -> Vec<String> {
    part.lines()
        .skip(2)
        .filter_map(|row| row.rsplit_once(" | ").map(|(cells, _)| cells.to_owned()))
        .collect()
}

#[test]
fn reference_lists_usage_and_response_fields() {
    let usage = USAGE_FIELDS.iter().map(|(name, _, kind)| (name, kind));
    let response = RESPONSE_FIELDS.iter().map(|(name, _, kind)| (name, kind));
    let expected: Vec<String> = usage
        .chain(response)
        .map(|(name, kind)| format!("| `{name}` | {kind}"))
        .collect();
    assert_eq!(rows(part("usage")), expected);
}

#[test]
fn cost_guide_lists_every_alias() {
    let guide = include_str!("../../../../docs/costs.md");
    for (alias, variable) in COST_ALIASES {
        let row = format!("| `{variable}` |");
        let names = guide.lines().find(|line| line.starts_with(&row));
        let names = names.unwrap_or_else(|| panic!("no row of {variable}"));
        assert!(names.contains(&format!("`{alias}`")), "{alias} in {names}");
    }
}

#[test]
fn reference_lists_every_llm_field() {
    let rows = rows(part("llm"));
    let expected: Vec<String> = LLM_FIELDS
        .iter()
        .map(|(name, _, kind)| format!("| `{name}` | {}", words(*kind)))
        .collect();
    assert_eq!(rows, expected);
}

fn words(kind: Kind) -> &'static str {
    match kind {
        Kind::String => "string",
        Kind::Int => "int",
        Kind::Bool => "bool",
        Kind::Timestamp => "timestamp",
        Kind::Headers => "map(string, string)",
        Kind::Metadata => "map, with the one field `filter_metadata`",
    }
}

#[test]
fn reference_lists_every_function() {
    let mut list = String::new();
    for function in &FUNCTIONS {
        for arguments in function.arguments {
            let names = ["a", "b", "c"]
                .get(..*arguments)
                .unwrap_or_default()
                .join(", ");
            let receiver = if function.style == Style::Member {
                "x."
            } else {
                ""
            };
            let separator = if list.is_empty() { "" } else { ",\n" };
            write!(list, "{separator}`{receiver}{}({names})`", function.name).unwrap();
        }
    }
    list.push('\n');
    assert_eq!(part("functions"), list, "the list should be\n{list}");
}
