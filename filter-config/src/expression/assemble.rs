//! Compiles the tree of the parser into a program.

use cel::common::ast::{
    CallExpr, ComprehensionExpr, EntryExpr, Expr, IdedExpr, LiteralValue, SelectExpr, operators,
};
use cel::common::types::CelType;

use super::arithmetic::Operator as Arithmetic;
use super::environment::{self, JSON_POINTER};
use super::functions::{self, Style};
use super::pattern::Pattern;
use super::program::{
    Binary, Element, Entry, Function, Index, Loop, LoopKind, Matches, Method, MethodCall, Name,
    Node, Select, SelectKind,
};

/// The operators that are always evaluated with both operands.
const BINARY: [(&str, Binary); 12] = [
    (operators::EQUALS, Binary::Equals),
    (operators::NOT_EQUALS, Binary::Differs),
    (operators::LESS, Binary::Less),
    (operators::LESS_EQUALS, Binary::LessOrEqual),
    (operators::GREATER, Binary::Greater),
    (operators::GREATER_EQUALS, Binary::GreaterOrEqual),
    (operators::IN, Binary::In),
    (operators::ADD, Binary::Strict(Arithmetic::Add)),
    (operators::SUBSTRACT, Binary::Strict(Arithmetic::Subtract)),
    (operators::MULTIPLY, Binary::Strict(Arithmetic::Multiply)),
    (operators::DIVIDE, Binary::Strict(Arithmetic::Divide)),
    (operators::MODULO, Binary::Strict(Arithmetic::Remainder)),
];

/// Compiles an expression. Returns `None` for a form that no expression of the
/// [`environment`](crate::environment) has. It recurses as deep as the text is nested, which is bounded.
pub(super) fn assemble(root: &IdedExpr) -> Option<Node> {
    let mut compiler = Compiler { scope: Vec::new() };
    compiler.node(root)
}

struct Compiler<'e> {
    /// The variables of the enclosing macros.
    scope: Vec<&'e str>,
}

// === impl Compiler ===

impl<'e> Compiler<'e> {
    fn node(&mut self, expr: &'e IdedExpr) -> Option<Node> {
        Some(match &expr.expr {
            Expr::Literal(literal) => Node::Literal(literal.clone()),
            Expr::Ident(_) => self.name(&expr.expr)?,
            Expr::Select(select) => self.select(&expr.expr, select)?,
            Expr::Call(call) => self.call(call)?,
            Expr::Comprehension(comprehension) => self.comprehension(comprehension)?,
            Expr::List(list) => {
                let elements = list.elements.iter().enumerate();
                let elements = elements.map(|(index, element)| {
                    Some(Element {
                        value: self.node(element)?,
                        is_optional: list.optional_indices.contains(&index),
                    })
                });
                Node::List(elements.collect::<Option<_>>()?)
            }
            Expr::Map(map) => {
                let entries = map.entries.iter().map(|entry| match &entry.expr {
                    EntryExpr::MapEntry(entry) => Some(Entry {
                        key: self.node(&entry.key)?,
                        value: self.node(&entry.value)?,
                        is_optional: entry.optional,
                    }),
                    EntryExpr::StructField(_) => None,
                });
                Node::Map(entries.collect::<Option<_>>()?)
            }
            Expr::Struct(_) | Expr::Unspecified => return None,
        })
    }

    fn nodes(&mut self, exprs: &'e [IdedExpr]) -> Option<Vec<Node>> {
        exprs.iter().map(|expr| self.node(expr)).collect()
    }

    fn pair(&mut self, [one, other]: &'e [IdedExpr; 2]) -> Option<Box<[Node; 2]>> {
        Some(Box::new([self.node(one)?, self.node(other)?]))
    }

    /// Compiles an identifier or a selection of fields of one.
    fn name(&mut self, expr: &'e Expr) -> Option<Node> {
        let segments = segments(expr)?;
        let (root, fields) = segments.split_first()?;
        // A leading dot names an attribute even if an enclosing macro has a variable of that name.
        let local = self
            .scope
            .iter()
            .rev()
            .position(|variable| variable == root);
        if let Some(local) = local {
            return Some(fields.iter().fold(Node::Local(local), |operand, field| {
                Node::Select(Box::new(Select {
                    operand,
                    field: (*field).to_owned(),
                    kind: SelectKind::Value,
                }))
            }));
        }
        let absolute = root.strip_prefix('.').unwrap_or(root);
        let mut name = absolute.to_owned();
        let mut prefixes = vec![name.clone()];
        for field in fields {
            name = [&name, ".", field].concat();
            prefixes.push(name.clone());
        }
        prefixes.reverse();
        Some(Node::Attribute(Box::new(Name {
            prefixes,
            segments: segments
                .iter()
                .map(|segment| (*segment).to_owned())
                .collect(),
            of_type: environment::find_type(&name).map(CelType::from),
        })))
    }

    fn select(&mut self, expr: &'e Expr, select: &'e SelectExpr) -> Option<Node> {
        if !select.test
            && let Some(name) = self.name(expr)
        {
            return Some(name);
        }
        Some(Node::Select(Box::new(Select {
            operand: self.node(&select.operand)?,
            field: select.field.clone(),
            kind: if select.test {
                SelectKind::Test
            } else {
                SelectKind::Value
            },
        })))
    }

    fn call(&mut self, call: &'e CallExpr) -> Option<Node> {
        let name = call.func_name.as_str();
        if call.target.is_none() {
            match (name, call.args.as_slice()) {
                (operators::CONDITIONAL, [which, one, other]) => {
                    let nodes = [self.node(which)?, self.node(one)?, self.node(other)?];
                    return Some(Node::Conditional(Box::new(nodes)));
                }
                (operators::LOGICAL_NOT, [of]) => {
                    return Some(Node::Not(Box::new(self.node(of)?)));
                }
                (operators::NEGATE, [of]) => {
                    return Some(Node::Negate(Box::new(self.node(of)?)));
                }
                _ => {}
            }
            if let Some(pair) = <&[IdedExpr; 2]>::try_from(call.args.as_slice()).ok()
                && let Some(node) = self.operator(name, pair)
            {
                return Some(node);
            }
        }
        self.function(call, name)
    }

    /// Compiles an operator with two operands, if it is one.
    fn operator(&mut self, name: &str, pair: &'e [IdedExpr; 2]) -> Option<Node> {
        let known = BINARY.iter().find(|(known, _)| *known == name);
        let binary = known.map(|(_, binary)| *binary);
        let binary = binary.or_else(|| Arithmetic::of(name).map(Binary::Mixed));
        if let Some(binary) = binary {
            return self.pair(pair).map(|pair| Node::Binary(binary, pair));
        }
        match name {
            operators::LOGICAL_AND => self.pair(pair).map(Node::And),
            operators::LOGICAL_OR => self.pair(pair).map(Node::Or),
            operators::INDEX | operators::OPT_INDEX => {
                self.index(pair, name == operators::OPT_INDEX)
            }
            operators::OPT_SELECT => self.opt_select(pair),
            "matches" => {
                let [subject, pattern] = pair;
                self.matches(subject, pattern, false)
            }
            _ => None,
        }
    }

    fn index(&mut self, [operand, index]: &'e [IdedExpr; 2], is_optional: bool) -> Option<Node> {
        Some(Node::Index(Box::new(Index {
            operand: self.node(operand)?,
            key: self.node(index)?,
            is_optional,
        })))
    }

    fn opt_select(&mut self, [operand, field]: &'e [IdedExpr; 2]) -> Option<Node> {
        Some(Node::Select(Box::new(Select {
            operand: self.node(operand)?,
            field: text(field)?.to_owned(),
            kind: SelectKind::Optional,
        })))
    }

    fn matches(
        &mut self,
        subject: &'e IdedExpr,
        pattern: &'e IdedExpr,
        is_method: bool,
    ) -> Option<Node> {
        Some(Node::Matches(Box::new(Matches {
            text: self.node(subject)?,
            compiled: text(pattern).and_then(|pattern| Pattern::new(pattern).ok()),
            pattern: self.node(pattern)?,
            is_method,
        })))
    }

    fn function(&mut self, call: &'e CallExpr, name: &str) -> Option<Node> {
        if let (JSON_POINTER, [body, pointers @ ..]) = (name, call.args.as_slice())
            && pointers.len() > 1
        {
            let values = pointers.iter().map(|pointer| {
                let args = vec![self.node(body)?, self.node(pointer)?];
                let name = name.to_owned();
                Some(Node::Function(Box::new(Function { name, args })))
            });
            return values.collect::<Option<_>>().map(Node::FirstOf);
        }
        let Some(target) = call.target.as_deref() else {
            return Some(Node::Function(Box::new(Function {
                name: name.to_owned(),
                args: self.nodes(&call.args)?,
            })));
        };
        // `strings.quote(x)` parses as a call of `quote` on the variable `strings`.
        if let Some(namespace) = segments(&target.expr) {
            let name = format!("{}.{name}", namespace.join("."));
            if functions::find(&name, Style::Global).is_some() {
                let args = self.nodes(&call.args)?;
                return Some(Node::Function(Box::new(Function { name, args })));
            }
        }
        if let ("matches", [pattern]) = (name, call.args.as_slice()) {
            return self.matches(target, pattern, true);
        }
        let args = self.nodes(&call.args)?;
        let target = self.node(target)?;
        Some(Node::Method(Box::new(MethodCall {
            method: Method::of(name)?,
            name: name.to_owned(),
            target,
            args,
        })))
    }

    /// Compiles a macro, by the form into which the parser expands it.
    fn comprehension(&mut self, of: &'e ComprehensionExpr) -> Option<Node> {
        let range = self.node(&of.iter_range)?;
        let Expr::Call(step) = &of.loop_step.expr else {
            return None;
        };
        if of.iter_var2.is_some() || step.target.is_some() {
            return None;
        }
        self.scope.push(&of.iter_var);
        let kind = match (step.func_name.as_str(), step.args.as_slice()) {
            (operators::LOGICAL_AND, [_, predicate]) => self.node(predicate).map(LoopKind::All),
            (operators::LOGICAL_OR, [_, predicate]) => self.node(predicate).map(LoopKind::Exists),
            (operators::ADD, [_, items]) => self.items(None, items),
            (operators::CONDITIONAL, [condition, then, _]) => match &then.expr {
                Expr::Call(add) => match add.args.as_slice() {
                    [_, one] if matches!(one.expr, Expr::Literal(_)) => {
                        self.node(condition).map(LoopKind::ExistsOne)
                    }
                    [_, items] => {
                        let filter = self.node(condition);
                        filter.and_then(|filter| self.items(Some(filter), items))
                    }
                    _ => None,
                },
                _ => None,
            },
            _ => None,
        };
        self.scope.pop();
        Some(Node::Loop(Box::new(Loop { range, kind: kind? })))
    }

    /// Compiles the list of one element that `map` and `filter` add in each iteration.
    fn items(&mut self, filter: Option<Node>, items: &'e IdedExpr) -> Option<LoopKind> {
        let Expr::List(list) = &items.expr else {
            return None;
        };
        let [value] = list.elements.as_slice() else {
            return None;
        };
        let value = self.node(value)?;
        Some(LoopKind::Map { filter, value })
    }
}

/// Returns the segments of the dotted name that an expression consists of, if it does.
fn segments(expr: &Expr) -> Option<Vec<&str>> {
    match expr {
        Expr::Ident(name) => Some(vec![name]),
        Expr::Select(select) if !select.test => {
            let mut segments = segments(&select.operand.expr)?;
            segments.push(&select.field);
            Some(segments)
        }
        _ => None,
    }
}

/// Returns the text of a string literal.
fn text(expr: &IdedExpr) -> Option<&str> {
    match &expr.expr {
        Expr::Literal(LiteralValue::String(text)) => Some(text.inner()),
        _ => None,
    }
}
