//! Infers the type that an expression yields, and checks that its role can use it, so that an unusable expression is
//! rejected with the configuration instead of at every request.
//!
//! Only the root is checked, and only types that are certain. The types in `auth`, metadata, filter state and the
//! request's body are only known at a request.

#[cfg(test)]
mod tests;

use cel::common::ast::{
    CallExpr, ComprehensionExpr, EntryExpr, Expr, IdedExpr, LiteralValue, operators,
};

use super::attribute;
use super::error::ExpressionError;
use super::role::Role;

/// The type of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Type {
    Boolean,
    Bytes,
    Duration,
    List,
    Map,
    /// A negative number literal.
    Negative,
    Null,
    /// An `int`, a `uint` or a `double`.
    Number,
    Optional,
    String,
    Timestamp,
    /// The result of `type()`.
    Kind,
}

/// Returns the error of an expression whose values, if it has any, its role can never use, or that negates what is
/// never a boolean.
pub(super) fn check(root: &IdedExpr, role: Role) -> Option<ExpressionError> {
    if let Some(found) = negated(root, role) {
        let (found, expected) = (found.name(), "a boolean");
        return Some(ExpressionError::Type { found, expected });
    }
    let found = of(root, role)?;
    let is_literal = matches!(root.expr, Expr::Literal(_));
    let expected = match (role, found) {
        (Role::Predicate, Type::Boolean)
        | (Role::Counter, Type::Boolean | Type::Negative | Type::Number | Type::String)
        | (Role::Amount | Role::Limit | Role::Cost | Role::Window | Role::Ttl, Type::Number)
        | (Role::Window | Role::Ttl, Type::Duration) => return None,
        // A duration as text, which is only known if it is a literal.
        (Role::Window | Role::Ttl, Type::String) if !is_literal => return None,
        (Role::Predicate, _) => "a boolean",
        (Role::Counter, _) => "a string, a number or a boolean",
        (Role::Amount, _) => "a number of tokens",
        (Role::Limit | Role::Cost, _) => "a number",
        (Role::Window | Role::Ttl, _) => "a duration or a number of seconds",
    };
    let found = found.name();
    Some(ExpressionError::Type { found, expected })
}

/// Returns the type of what a `!` negates, if that is never a boolean. It recurses as deep as the text is nested.
fn negated(expr: &IdedExpr, role: Role) -> Option<Type> {
    let Expr::Call(call) = &expr.expr else {
        return None;
    };
    match (call.func_name.as_str(), call.args.as_slice()) {
        (operators::LOGICAL_NOT, [operand]) => match of(operand, role) {
            None | Some(Type::Boolean | Type::Null) => negated(operand, role),
            found => found,
        },
        (operators::LOGICAL_AND | operators::LOGICAL_OR | operators::CONDITIONAL, operands) => {
            operands.iter().find_map(|operand| negated(operand, role))
        }
        _ => None,
    }
}

/// Returns the type of the values of an expression, or `None` if it is not certain. It recurses as deep as the text is
/// nested, which is bounded.
pub(super) fn of(expr: &IdedExpr, role: Role) -> Option<Type> {
    match &expr.expr {
        Expr::Literal(literal) => Some(of_literal(literal)),
        Expr::List(_) => Some(Type::List),
        Expr::Map(_) => Some(Type::Map),
        Expr::Select(select) if select.test => Some(Type::Boolean),
        Expr::Ident(_) | Expr::Select(_) => of_variable(expr, role),
        Expr::Call(call) => of_call(expr, call, role),
        Expr::Comprehension(comprehension) => of_macro(comprehension, role),
        Expr::Struct(_) | Expr::Unspecified => None,
    }
}

fn of_literal(literal: &LiteralValue) -> Type {
    match literal {
        LiteralValue::Boolean(_) => Type::Boolean,
        LiteralValue::Bytes(_) => Type::Bytes,
        LiteralValue::Int(value) if *value.inner() < 0 => Type::Negative,
        LiteralValue::Double(value) if *value.inner() < 0.0 => Type::Negative,
        LiteralValue::Double(_) | LiteralValue::Int(_) | LiteralValue::UInt(_) => Type::Number,
        LiteralValue::Null => Type::Null,
        LiteralValue::String(_) => Type::String,
    }
}

/// Returns the type of a variable or of a header.
fn of_variable(expr: &IdedExpr, role: Role) -> Option<Type> {
    let name = name_of(expr)?;
    if let Some(found) = of_name(&name, role) {
        return Some(found);
    }
    let (headers, _) = name.rsplit_once('.')?;
    matches!(headers, "request.headers" | "response.headers").then_some(Type::String)
}

/// Returns the type of the variable of this name, from the tables of variables.
fn of_name(name: &str, role: Role) -> Option<Type> {
    let name = match attribute::aliased(name) {
        Some(variable) if role == Role::Cost => variable,
        _ => name,
    };
    if let Some(property) = attribute::find(name) {
        return Some(of_kind(property.kind));
    }
    if let Some((.., kind)) = attribute::LLM_FIELDS
        .iter()
        .find(|(known, ..)| *known == name)
    {
        return Some(of_kind(*kind));
    }
    let usage = attribute::USAGE_FIELDS
        .iter()
        .map(|(known, _, of)| (known, of));
    let response = attribute::RESPONSE_FIELDS
        .iter()
        .map(|(known, _, of)| (known, of));
    let (_, of) = usage.chain(response).find(|(known, _)| **known == name)?;
    Some(match *of {
        "int" | "double" => Type::Number,
        "bool" => Type::Boolean,
        _ => Type::Map,
    })
}

fn of_kind(kind: attribute::Kind) -> Type {
    use attribute::Kind;
    match kind {
        Kind::String => Type::String,
        Kind::Int => Type::Number,
        Kind::Bool => Type::Boolean,
        Kind::Timestamp => Type::Timestamp,
        Kind::Headers | Kind::Metadata => Type::Map,
    }
}

fn of_call(expr: &IdedExpr, call: &CallExpr, role: Role) -> Option<Type> {
    match (call.func_name.as_str(), call.args.as_slice()) {
        (operators::CONDITIONAL, [_, one, other]) => both(of(one, role), of(other, role)),
        (operators::INDEX, [of_what, _]) => match &of_what.expr {
            Expr::Map(map) => {
                let mut values = map.entries.iter().filter_map(|entry| match &entry.expr {
                    EntryExpr::MapEntry(entry) => Some(of(&entry.value, role)),
                    EntryExpr::StructField(_) => None,
                });
                let first = values.next()?;
                values.fold(first, both)
            }
            _ if is_headers(of_what) => Some(Type::String),
            _ => of_variable(expr, role),
        },
        (operators::ADD, [one, other]) => {
            let types = [of(one, role), of(other, role)].into_iter().flatten();
            // Additions of timestamps and durations yield either.
            let same = [Type::Number, Type::String, Type::List, Type::Bytes];
            types.map(Type::unsigned).find(|found| same.contains(found))
        }
        (operators::SUBSTRACT, [one, other]) => {
            let types = [of(one, role), of(other, role)].into_iter().flatten();
            types
                .map(Type::unsigned)
                .find(|found| *found == Type::Number)
        }
        ("orValue", [other]) => {
            let optional = call.target.as_deref()?;
            both(of_optional(optional, role), of(other, role))
        }
        ("value", []) => of_optional(call.target.as_deref()?, role),
        (name, _) => of_function(name),
    }
}

/// Returns the type in the optional value that an expression yields.
fn of_optional(expr: &IdedExpr, role: Role) -> Option<Type> {
    let Expr::Call(call) = &expr.expr else {
        return None;
    };
    match (call.func_name.as_str(), call.args.as_slice()) {
        (operators::OPT_INDEX | operators::OPT_SELECT, [of_what, _]) if is_headers(of_what) => {
            Some(Type::String)
        }
        (operators::OPT_INDEX | operators::OPT_SELECT, _) => of_variable(expr, role),
        _ => None,
    }
}

fn is_headers(expr: &IdedExpr) -> bool {
    name_of(expr)
        .is_some_and(|name| matches!(name.as_str(), "request.headers" | "response.headers"))
}

/// Returns the type that an operator or a function always yields.
fn of_function(name: &str) -> Option<Type> {
    Some(match name {
        operators::LOGICAL_AND
        | operators::LOGICAL_OR
        | operators::LOGICAL_NOT
        | operators::EQUALS
        | operators::NOT_EQUALS
        | operators::GREATER
        | operators::GREATER_EQUALS
        | operators::LESS
        | operators::LESS_EQUALS
        | operators::IN
        | "bool"
        | "contains"
        | "endsWith"
        | "hasValue"
        | "matches"
        | "startsWith" => Type::Boolean,
        operators::NEGATE
        | operators::MULTIPLY
        | operators::DIVIDE
        | operators::MODULO
        | "double"
        | "int"
        | "uint"
        | "size"
        | "indexOf"
        | "lastIndexOf"
        | "getDate"
        | "getDayOfMonth"
        | "getDayOfWeek"
        | "getDayOfYear"
        | "getFullYear"
        | "getHours"
        | "getMilliseconds"
        | "getMinutes"
        | "getMonth"
        | "getSeconds" => Type::Number,
        "charAt" | "format" | "join" | "lowerAscii" | "quote" | "replace" | "string"
        | "substring" | "trim" | "upperAscii" => Type::String,
        operators::OPT_INDEX | operators::OPT_SELECT | "none" | "of" | "ofNonZeroValue" => {
            Type::Optional
        }
        "bytes" => Type::Bytes,
        "duration" => Type::Duration,
        "split" => Type::List,
        "timestamp" => Type::Timestamp,
        "type" => Type::Kind,
        _ => return None,
    })
}

/// Returns the type of a macro such as `all` or `map`: that of its accumulator, or of the result that it computes from it.
fn of_macro(comprehension: &ComprehensionExpr, role: Role) -> Option<Type> {
    match &comprehension.result.expr {
        Expr::Ident(name) if *name == comprehension.accu_var => of(&comprehension.accu_init, role),
        _ => of(&comprehension.result, role),
    }
}

/// Returns the type of a value that is one of two.
fn both(one: Option<Type>, other: Option<Type>) -> Option<Type> {
    let (one, other) = (one?, other?);
    if one == other {
        return Some(one);
    }
    let is_number = one.unsigned() == Type::Number && other.unsigned() == Type::Number;
    is_number.then_some(Type::Number)
}

/// Returns the dotted name that an expression consists of, with literals in brackets as names.
pub(super) fn name_of(expr: &IdedExpr) -> Option<String> {
    match &expr.expr {
        Expr::Ident(name) => Some(name.strip_prefix('.').unwrap_or(name).to_owned()),
        Expr::Select(select) if !select.test => {
            Some([&name_of(&select.operand)?, ".", &select.field].concat())
        }
        Expr::Call(call) => match (call.func_name.as_str(), call.args.as_slice()) {
            (operators::INDEX | operators::OPT_INDEX | operators::OPT_SELECT, [of_what, key]) => {
                let Expr::Literal(LiteralValue::String(key)) = &key.expr else {
                    return None;
                };
                Some([&name_of(of_what)?, ".", key.inner()].concat())
            }
            _ => None,
        },
        _ => None,
    }
}

// === impl Type ===

impl Type {
    /// Returns the name of the type in messages.
    const fn name(self) -> &'static str {
        match self {
            Self::Boolean => "a boolean",
            Self::Bytes => "bytes",
            Self::Duration => "a duration",
            Self::List => "a list",
            Self::Map => "a map",
            Self::Negative => "a negative number",
            Self::Null => "null",
            Self::Number => "a number",
            Self::Optional => "an optional value",
            Self::String => "a string",
            Self::Timestamp => "a timestamp",
            Self::Kind => "a type",
        }
    }

    /// Returns whether this is the type of optional values.
    pub(super) fn is_optional(self) -> bool {
        self == Self::Optional
    }

    /// Returns the type regardless of a sign.
    const fn unsigned(self) -> Self {
        match self {
            Self::Negative => Self::Number,
            other => other,
        }
    }
}
