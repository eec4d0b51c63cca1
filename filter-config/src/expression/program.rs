//! Programs: expressions in the form in which they are evaluated.
//!
//! A program is compiled from the tree of the parser once. Names are resolved to attributes, variables of macros,
//! operators and functions, so that an evaluation compares no names.

use cel::common::ast::LiteralValue;
use cel::common::types::CelType;

use super::arithmetic::Operator as Arithmetic;
use super::pattern::Pattern;

/// A part of a program.
#[derive(Debug)]
pub(super) enum Node {
    Literal(LiteralValue),
    Attribute(Box<Name>),
    /// A variable of an enclosing macro, by the number of macros between.
    Local(usize),
    Select(Box<Select>),
    Index(Box<Index>),
    And(Box<[Node; 2]>),
    Or(Box<[Node; 2]>),
    Not(Box<Node>),
    Negate(Box<Node>),
    Conditional(Box<[Node; 3]>),
    Binary(Binary, Box<[Node; 2]>),
    List(Vec<Element>),
    Map(Vec<Entry>),
    Loop(Box<Loop>),
    Matches(Box<Matches>),
    Function(Box<Function>),
    /// The first of several values that is neither missing nor null.
    FirstOf(Vec<Node>),
    Method(Box<MethodCall>),
}

/// The dotted name of an attribute.
#[derive(Debug)]
pub(super) struct Name {
    /// The name and those of what it is a part of, the longest first, each with the fields that remain.
    pub(super) prefixes: Vec<String>,
    /// All segments of the name.
    pub(super) segments: Vec<String>,
    /// The type of this name, if it is that of a type.
    pub(super) of_type: Option<CelType>,
}

/// `operand.field`, or `has(operand.field)`.
#[derive(Debug)]
pub(super) struct Select {
    pub(super) operand: Node,
    pub(super) field: String,
    pub(super) kind: SelectKind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SelectKind {
    /// `x.f`
    Value,
    /// `has(x.f)`
    Test,
    /// `x.?f`
    Optional,
}

/// `operand[index]`, or `operand[?index]`.
#[derive(Debug)]
pub(super) struct Index {
    pub(super) operand: Node,
    pub(super) key: Node,
    pub(super) is_optional: bool,
}

/// An operator with two operands that are always evaluated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Binary {
    Equals,
    Differs,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    In,
    /// Arithmetic as CEL has it.
    Strict(Arithmetic),
    /// Arithmetic of numbers of all types.
    Mixed(Arithmetic),
}

/// An element of a list.
#[derive(Debug)]
pub(super) struct Element {
    pub(super) value: Node,
    pub(super) is_optional: bool,
}

/// An entry of a map.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) key: Node,
    pub(super) value: Node,
    pub(super) is_optional: bool,
}

/// A macro that iterates.
#[derive(Debug)]
pub(super) struct Loop {
    pub(super) range: Node,
    pub(super) kind: LoopKind,
}

#[derive(Debug)]
pub(super) enum LoopKind {
    All(Node),
    Exists(Node),
    ExistsOne(Node),
    Map { filter: Option<Node>, value: Node },
}

/// A search for a regular expression.
#[derive(Debug)]
pub(super) struct Matches {
    pub(super) text: Node,
    pub(super) pattern: Node,
    /// The pattern, if it is a literal.
    pub(super) compiled: Option<Pattern>,
    /// Whether it is a call of the method, whose arguments are evaluated first.
    pub(super) is_method: bool,
}

/// A call of a function by its full name.
#[derive(Debug)]
pub(super) struct Function {
    pub(super) name: String,
    pub(super) args: Vec<Node>,
}

/// A call of a method.
#[derive(Debug)]
pub(super) struct MethodCall {
    pub(super) method: Method,
    pub(super) name: String,
    pub(super) target: Node,
    pub(super) args: Vec<Node>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Method {
    CharAt,
    Contains,
    EndsWith,
    Format,
    HasValue,
    IndexOf,
    Join,
    LastIndexOf,
    LowerAscii,
    Or,
    OrValue,
    /// `getHours` and the like.
    Part(Part),
    Replace,
    Reverse,
    Size,
    Split,
    StartsWith,
    Substring,
    Trim,
    UpperAscii,
    Value,
}

/// A part of a timestamp or of a duration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    Date,
    DayOfMonth,
    DayOfWeek,
    DayOfYear,
    FullYear,
    Hours,
    Milliseconds,
    Minutes,
    Month,
    Seconds,
}

// === impl Method ===

impl Method {
    /// Returns the method of this name.
    pub(super) fn of(name: &str) -> Option<Self> {
        Some(match name {
            "charAt" => Self::CharAt,
            "contains" => Self::Contains,
            "endsWith" => Self::EndsWith,
            "format" => Self::Format,
            "getDate" => Self::Part(Part::Date),
            "getDayOfMonth" => Self::Part(Part::DayOfMonth),
            "getDayOfWeek" => Self::Part(Part::DayOfWeek),
            "getDayOfYear" => Self::Part(Part::DayOfYear),
            "getFullYear" => Self::Part(Part::FullYear),
            "getHours" => Self::Part(Part::Hours),
            "getMilliseconds" => Self::Part(Part::Milliseconds),
            "getMinutes" => Self::Part(Part::Minutes),
            "getMonth" => Self::Part(Part::Month),
            "getSeconds" => Self::Part(Part::Seconds),
            "hasValue" => Self::HasValue,
            "indexOf" => Self::IndexOf,
            "join" => Self::Join,
            "lastIndexOf" => Self::LastIndexOf,
            "lowerAscii" => Self::LowerAscii,
            "or" => Self::Or,
            "orValue" => Self::OrValue,
            "replace" => Self::Replace,
            "reverse" => Self::Reverse,
            "size" => Self::Size,
            "split" => Self::Split,
            "startsWith" => Self::StartsWith,
            "substring" => Self::Substring,
            "trim" => Self::Trim,
            "upperAscii" => Self::UpperAscii,
            "value" => Self::Value,
            _ => return None,
        })
    }
}
