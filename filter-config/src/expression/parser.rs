//! The parser of expressions: CEL's grammar by recursive descent, with its macros expanded.
//!
//! The trees are those of the `cel` crate, whose own parser would make the module a fifth larger. Property tests hold
//! them against that parser. Quoted names, which no attribute needs, are rejected.

mod lexer;
mod literal;
mod macros;
mod nesting;
#[cfg(test)]
mod tests;
mod tokens;
mod tree;

use cel::common::ast::{
    EntryExpr, Expr, IdedExpr, ListExpr, LiteralValue, MapEntryExpr, MapExpr, SelectExpr,
    StructExpr, StructFieldExpr, operators,
};

use super::error::ExpressionError;
use super::syntax::{self, Parsed, Reason, SyntaxError};
use lexer::{Kind, Lexer, Token};
use tokens::Tokens;
use tree::{Arguments, balanced, call, entry, node};

/// The maximum number of nested conditions `a ? b : c`, which includes those in brackets.
const MAX_CONDITIONS: usize = 96;

/// Operators with two operands, the loosest first; those of a level have the same precedence.
const LEVELS: [&[(&str, &str)]; 3] = [
    &[
        ("==", operators::EQUALS),
        ("!=", operators::NOT_EQUALS),
        ("<", operators::LESS),
        ("<=", operators::LESS_EQUALS),
        (">", operators::GREATER),
        (">=", operators::GREATER_EQUALS),
        ("in", operators::IN),
    ],
    &[("+", operators::ADD), ("-", operators::SUBSTRACT)],
    &[
        ("*", operators::MULTIPLY),
        ("/", operators::DIVIDE),
        ("%", operators::MODULO),
    ],
];

/// Words that cannot name variables or functions. They can name fields.
const RESERVED: [&str; 17] = [
    "as",
    "break",
    "const",
    "continue",
    "else",
    "for",
    "function",
    "if",
    "import",
    "let",
    "loop",
    "namespace",
    "package",
    "return",
    "var",
    "void",
    "while",
];

/// Parses an expression.
///
/// # Errors
///
/// The first reason to reject it.
pub(super) fn parse(source: &str) -> Result<IdedExpr, ExpressionError> {
    let tokens: Vec<Token> = Lexer::new(source).collect();
    nesting::check(&tokens)?;
    let mut parser = Parser {
        tokens: Tokens::new(source, tokens),
        conditions: 0,
    };
    parser.root().map_err(|error| syntax::error(source, error))
}

struct Parser<'s> {
    tokens: Tokens<'s>,
    /// The conditions around the next token.
    conditions: usize,
}

// === impl Parser ===

impl Parser<'_> {
    fn root(&mut self) -> Parsed {
        let root = self.expr()?;
        match self.tokens.token().kind {
            Kind::End => Ok(root),
            _ => Err(self.tokens.unexpected()),
        }
    }

    /// Parses `a`, or `a ? b : c`.
    fn expr(&mut self) -> Parsed {
        self.conditions = self.conditions.saturating_add(1);
        if self.conditions > MAX_CONDITIONS {
            return Err(self.tokens.error(Reason::Conditions));
        }
        let condition = self.or()?;
        let expr = if self.tokens.take("?") {
            let then = self.or()?;
            self.tokens.expect(":")?;
            let otherwise = self.expr()?;
            call(operators::CONDITIONAL, [condition, then, otherwise])
        } else {
            condition
        };
        self.conditions = self.conditions.saturating_sub(1);
        Ok(expr)
    }

    fn or(&mut self) -> Parsed {
        let mut terms = vec![self.and()?];
        while self.tokens.take("||") {
            terms.push(self.and()?);
        }
        Ok(balanced(operators::LOGICAL_OR, terms))
    }

    fn and(&mut self) -> Parsed {
        let mut terms = vec![self.binary(0)?];
        while self.tokens.take("&&") {
            terms.push(self.binary(0)?);
        }
        Ok(balanced(operators::LOGICAL_AND, terms))
    }

    /// Parses operators of a level, and of those that bind more tightly.
    fn binary(&mut self, level: usize) -> Parsed {
        let Some(known) = LEVELS.get(level) else {
            return self.unary();
        };
        let tighter = level.saturating_add(1);
        let mut left = self.binary(tighter)?;
        while let Kind::Symbol(symbol) = self.tokens.token().kind
            && let Some((_, function)) = known.iter().find(|(known, _)| *known == symbol)
        {
            self.tokens.advance();
            let right = self.binary(tighter)?;
            left = call(function, [left, right]);
        }
        Ok(left)
    }

    /// Parses a value with signs. An even number of them is none.
    fn unary(&mut self) -> Parsed {
        for (symbol, function) in [("!", operators::LOGICAL_NOT), ("-", operators::NEGATE)] {
            if self.tokens.is_negative_number() {
                break;
            }
            let mut is_odd = false;
            let first = self.tokens.next;
            while self.tokens.take(symbol) {
                is_odd = !is_odd;
            }
            if self.tokens.next != first {
                let operand = self.member()?;
                return Ok(if is_odd {
                    call(function, [operand])
                } else {
                    operand
                });
            }
        }
        self.member()
    }

    /// Parses a value with the fields, methods and indices after it.
    fn member(&mut self) -> Parsed {
        let mut operand = self.primary()?;
        loop {
            if self.tokens.take(".") {
                let is_optional = self.tokens.take("?");
                let name = self.tokens.name()?.to_owned();
                operand = if is_optional {
                    let field = node(Expr::Literal(LiteralValue::String(name.into())));
                    call(operators::OPT_SELECT, [operand, field])
                } else if self.tokens.take("(") {
                    let args = self.arguments()?;
                    macros::call(name, Some(operand), args)?
                } else {
                    node(Expr::Select(SelectExpr {
                        operand: Box::new(operand),
                        field: name,
                        test: false,
                    }))
                };
            } else if self.tokens.take("[") {
                let function = if self.tokens.take("?") {
                    operators::OPT_INDEX
                } else {
                    operators::INDEX
                };
                let index = self.expr()?;
                self.tokens.expect("]")?;
                operand = call(function, [operand, index]);
            } else {
                return Ok(operand);
            }
        }
    }

    fn primary(&mut self) -> Parsed {
        if self.tokens.is_negative_number() {
            self.tokens.advance();
            return self.literal(true);
        }
        match self.tokens.token().kind {
            Kind::Name => self.named(false),
            Kind::Symbol(".") => {
                self.tokens.advance();
                self.named(true)
            }
            Kind::Symbol("(") => {
                self.tokens.advance();
                let expr = self.expr()?;
                self.tokens.expect(")")?;
                Ok(expr)
            }
            Kind::Symbol("[") => {
                self.tokens.advance();
                let mut list = ListExpr::default();
                self.items("]", |parser| {
                    if parser.tokens.take("?") {
                        list.optional_indices.push(list.elements.len());
                    }
                    list.elements.push(parser.expr()?);
                    Ok(())
                })?;
                Ok(node(Expr::List(list)))
            }
            Kind::Symbol("{") => {
                self.tokens.advance();
                let mut map = MapExpr::default();
                self.items("}", |parser| {
                    let optional = parser.tokens.take("?");
                    let key = parser.expr()?;
                    parser.tokens.expect(":")?;
                    let value = parser.expr()?;
                    map.entries.push(entry(EntryExpr::MapEntry(MapEntryExpr {
                        key,
                        value,
                        optional,
                    })));
                    Ok(())
                })?;
                Ok(node(Expr::Map(map)))
            }
            _ => self.literal(false),
        }
    }

    /// Parses what begins with a name: a message, a call or a variable.
    fn named(&mut self, is_absolute: bool) -> Parsed {
        let dot = if is_absolute { "." } else { "" };
        if let Some(segments) = self.tokens.type_of_message() {
            let mut type_name = dot.to_owned();
            for segment in 0..segments {
                if segment > 0 {
                    self.tokens.expect(".")?;
                    type_name.push('.');
                }
                type_name.push_str(self.tokens.name()?);
            }
            self.tokens.expect("{")?;
            return self.message(type_name);
        }
        let token = self.tokens.token();
        let name = self.tokens.name()?;
        if RESERVED.contains(&name) {
            return Err(SyntaxError {
                at: token.start,
                reason: Reason::Reserved(name.len()),
            });
        }
        let name = [dot, name].concat();
        if self.tokens.take("(") {
            let args = self.arguments()?;
            return macros::call(name, None, args);
        }
        Ok(node(Expr::Ident(name)))
    }

    fn message(&mut self, type_name: String) -> Parsed {
        let mut entries = Vec::new();
        self.items("}", |parser| {
            let optional = parser.tokens.take("?");
            let field = parser.tokens.name()?.to_owned();
            parser.tokens.expect(":")?;
            let value = parser.expr()?;
            entries.push(entry(EntryExpr::StructField(StructFieldExpr {
                field,
                value,
                optional,
            })));
            Ok(())
        })?;
        Ok(node(Expr::Struct(StructExpr { type_name, entries })))
    }

    /// Parses items to a closing bracket. A comma can be after the last.
    fn items(
        &mut self,
        close: &'static str,
        mut item: impl FnMut(&mut Self) -> Parsed<()>,
    ) -> Parsed<()> {
        while !matches!(self.tokens.token().kind, Kind::Symbol(symbol) if symbol == close || symbol == ",")
        {
            item(self)?;
            if !matches!(self.tokens.token().kind, Kind::Symbol(",")) {
                break;
            }
            if matches!(self.tokens.after().kind, Kind::Symbol(symbol) if symbol == close) {
                break;
            }
            self.tokens.advance();
            if matches!(self.tokens.token().kind, Kind::Symbol(",")) {
                return Err(self.tokens.unexpected());
            }
        }
        self.tokens.take(",");
        self.tokens.expect(close)
    }

    /// Parses the arguments of a call, whose bracket has been read.
    fn arguments(&mut self) -> Parsed<Arguments> {
        let mut args = Vec::new();
        if self.tokens.take(")") {
            return Ok(args);
        }
        loop {
            let start = self.tokens.token().start;
            args.push((start, self.expr()?));
            if !self.tokens.take(",") {
                self.tokens.expect(")")?;
                return Ok(args);
            }
        }
    }

    fn literal(&mut self, is_negative: bool) -> Parsed {
        let token = self.tokens.token();
        let text = self.tokens.text(token);
        let value = match literal::value(token.kind, text, is_negative) {
            None => return Err(self.tokens.unexpected()),
            Some(value) => value.map_err(|problem| self.tokens.error(Reason::Literal(problem)))?,
        };
        self.tokens.advance();
        Ok(node(Expr::Literal(value)))
    }
}
