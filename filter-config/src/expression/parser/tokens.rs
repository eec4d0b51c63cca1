//! The tokens of an expression as the parser reads them.

use super::lexer::{Kind, Token};
use crate::expression::syntax::{Parsed, Reason, SyntaxError};

/// The tokens of a text, and which is the next.
pub(super) struct Tokens<'s> {
    source: &'s str,
    list: Vec<Token>,
    /// The index of the next token.
    pub(super) next: usize,
}

// === impl Tokens ===

impl<'s> Tokens<'s> {
    pub(super) fn new(source: &'s str, tokens: Vec<Token>) -> Self {
        Self {
            source,
            list: tokens,
            next: 0,
        }
    }

    /// Returns the number of names before a `{`, if only names with dots between are.
    pub(super) fn type_of_message(&self) -> Option<usize> {
        let kinds = self.list.get(self.next..).unwrap_or_default();
        let mut kinds = kinds.iter().map(|token| token.kind);
        let mut segments = 0_usize;
        loop {
            let Some(Kind::Name) = kinds.next() else {
                return None;
            };
            segments = segments.saturating_add(1);
            match kinds.next() {
                Some(Kind::Symbol(".")) => {}
                Some(Kind::Symbol("{")) => return Some(segments),
                _ => return None,
            }
        }
    }

    /// Reads a name.
    pub(super) fn name(&mut self) -> Parsed<&'s str> {
        let token = self.token();
        if token.kind != Kind::Name {
            return Err(self.unexpected());
        }
        self.advance();
        Ok(self.text(token))
    }

    /// Returns whether a minus sign and a number are next. A literal without a sign could not be the smallest integer.
    pub(super) fn is_negative_number(&self) -> bool {
        self.token().kind == Kind::Symbol("-")
            && matches!(self.after().kind, Kind::Int | Kind::Double)
    }

    /// Reads a symbol that has to be next.
    pub(super) fn expect(&mut self, symbol: &'static str) -> Parsed<()> {
        if self.take(symbol) {
            Ok(())
        } else if self.token().kind == Kind::End {
            Err(self.error(Reason::End(symbol)))
        } else {
            Err(self.unexpected())
        }
    }

    /// Reads a symbol, if it is next.
    pub(super) fn take(&mut self, symbol: &str) -> bool {
        let is_next = matches!(self.token().kind, Kind::Symbol(next) if next == symbol);
        if is_next {
            self.advance();
        }
        is_next
    }

    pub(super) fn advance(&mut self) {
        self.next = self.next.saturating_add(1);
    }

    /// Returns the next token.
    pub(super) fn token(&self) -> Token {
        self.nth(self.next)
    }

    /// Returns the token after the next.
    pub(super) fn after(&self) -> Token {
        self.nth(self.next.saturating_add(1))
    }

    fn nth(&self, index: usize) -> Token {
        let end = Token {
            kind: Kind::End,
            start: self.source.len(),
            end: self.source.len(),
        };
        self.list.get(index).copied().unwrap_or(end)
    }

    pub(super) fn text(&self, token: Token) -> &'s str {
        self.source.get(token.start..token.end).unwrap_or_default()
    }

    pub(super) fn unexpected(&self) -> SyntaxError {
        let token = self.token();
        let bytes = token.end.saturating_sub(token.start);
        self.error(match token.kind {
            Kind::IllFormed => Reason::IllFormed,
            _ => Reason::Unexpected(bytes),
        })
    }

    /// Returns an error at the next token.
    pub(super) fn error(&self, reason: Reason) -> SyntaxError {
        SyntaxError {
            at: self.token().start,
            reason,
        }
    }
}
