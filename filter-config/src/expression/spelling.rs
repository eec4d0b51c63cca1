//! Spellings of parts of programs: two parts with one spelling have the same value in an evaluation.

use std::fmt::Write as _;

use cel::common::ast::LiteralValue;

use super::program::{Binary, LoopKind, Node, SelectKind};

/// Returns the spelling of a part of a program; `None` for forms that conditions seldom have. It recurses as deep as the
/// text is nested, which is bounded.
pub(super) fn spelled(node: &Node) -> Option<String> {
    let mut spelling = String::new();
    spell(node, &mut spelling)?;
    Some(spelling)
}

fn spell(node: &Node, spelling: &mut String) -> Option<()> {
    match node {
        Node::Literal(literal) => spell_literal(literal, spelling),
        Node::Attribute(name) => {
            if name.of_type.is_some() {
                return None;
            }
            spelling.push_str(&name.segments.join("."));
            Some(())
        }
        Node::Local(depth) => write!(spelling, "@{depth}").ok(),
        Node::Select(select) => {
            let kind = match select.kind {
                SelectKind::Value => ".",
                SelectKind::Test => "has",
                SelectKind::Optional => ".?",
            };
            spell_call(kind, [&select.operand], spelling)?;
            spell_text(&select.field, spelling);
            Some(())
        }
        Node::Index(index) => {
            let name = if index.is_optional { "[?]" } else { "[]" };
            spell_call(name, [&index.operand, &index.key], spelling)
        }
        Node::And(pair) => spell_call("&&", pair.iter(), spelling),
        Node::Or(pair) => spell_call("||", pair.iter(), spelling),
        Node::Not(of) => spell_call("!", [&**of], spelling),
        Node::Binary(operator, pair) => {
            let name = match operator {
                Binary::Equals => "==",
                Binary::Differs => "!=",
                Binary::Less => "<",
                Binary::LessOrEqual => "<=",
                Binary::Greater => ">",
                Binary::GreaterOrEqual => ">=",
                Binary::In => "in",
                Binary::Strict(operator) => operator.name(),
                Binary::Mixed(_) => return None,
            };
            spell_call(name, pair.iter(), spelling)
        }
        Node::List(elements) => {
            if elements.iter().any(|element| element.is_optional) {
                return None;
            }
            let values = elements.iter().map(|element| &element.value);
            spell_call("list", values, spelling)
        }
        Node::Loop(of) => match &of.kind {
            LoopKind::All(predicate) => spell_call("all", [&of.range, predicate], spelling),
            LoopKind::Exists(predicate) => spell_call("exists", [&of.range, predicate], spelling),
            LoopKind::ExistsOne(_) | LoopKind::Map { .. } => None,
        },
        Node::Method(call) => {
            let operands = std::iter::once(&call.target).chain(&call.args);
            spell_call(&call.name, operands, spelling)
        }
        Node::Function(call) => {
            spelling.push(':');
            spell_call(&call.name, &call.args, spelling)
        }
        Node::FirstOf(nodes) => spell_call("first", nodes, spelling),
        Node::Negate(of) => spell_call("-", [&**of], spelling),
        Node::Conditional(nodes) => spell_call("?", nodes.iter(), spelling),
        Node::Matches(matches) => {
            let name = if matches.is_method {
                ".matches"
            } else {
                "matches"
            };
            spell_call(name, [&matches.text, &matches.pattern], spelling)
        }
        Node::Map(_) => None,
    }
}

fn spell_call<'n>(
    name: &str,
    operands: impl IntoIterator<Item = &'n Node>,
    spelling: &mut String,
) -> Option<()> {
    spelling.push('(');
    spelling.push_str(name);
    for operand in operands {
        spelling.push(' ');
        spell(operand, spelling)?;
    }
    spelling.push(')');
    Some(())
}

fn spell_literal(literal: &LiteralValue, spelling: &mut String) -> Option<()> {
    match literal {
        LiteralValue::String(text) => spell_text(text.inner(), spelling),
        LiteralValue::Boolean(truth) => {
            let truth = if *truth.inner() { "true()" } else { "false()" };
            spelling.push_str(truth);
        }
        LiteralValue::Int(number) => write!(spelling, "{}i", number.inner()).ok()?,
        LiteralValue::UInt(number) => write!(spelling, "{}u", number.inner()).ok()?,
        LiteralValue::Null => spelling.push_str("null()"),
        LiteralValue::Bytes(_) | LiteralValue::Double(_) => return None,
    }
    Some(())
}

/// Spells a text with its length before it: whatever it has in it, it is not mistaken for anything else.
fn spell_text(text: &str, spelling: &mut String) {
    // Writing to a text does not fail.
    let _ = write!(spelling, "{}\"{text}\"", text.len());
}
