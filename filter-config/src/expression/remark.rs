//! Remarks on expressions that are valid and may mean something else than they seem to.

#[cfg(test)]
mod tests;

use cel::common::ast::{CallExpr, EntryExpr, Expr, IdedExpr, LiteralValue, operators};

use super::environment::JSON_POINTER;
use super::parser;
use super::role::Role;
use usage_meter::request::{APIS, PROVIDERS};

/// Methods and operators that have no value for null.
const STRICT_METHODS: [&str; 4] = ["startsWith", "endsWith", "contains", "matches"];
const STRICT_OPERATORS: [&str; 4] = [
    operators::LESS,
    operators::LESS_EQUALS,
    operators::GREATER,
    operators::GREATER_EQUALS,
];

/// The roots of what may be missing.
const MISSING_ROOTS: [&str; 5] = [
    "auth.",
    "request.headers.",
    "metadata.",
    "filter_state.",
    "requestBodyJSON",
];

/// A remark on a part of an expression.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Remark {
    /// A comparison that is true of some spellings of a path or of a host only.
    Bypassable {
        /// The attribute.
        name: &'static str,
        /// The text that it is compared with, if it is one.
        literal: Option<String>,
        /// Whether the text can be preceded by others in what is compared.
        is_end: bool,
    },
    /// A negation that does not hold where this is missing.
    NegatedMissing {
        /// What may be missing, as an expression.
        name: String,
        /// What of it is negated.
        form: Negated,
    },
    /// `!=` or `==` that fails where this is missing.
    MissingInComparison(String),
    /// A comparison with a text that an attribute never has.
    UnknownValue {
        /// The attribute.
        name: &'static str,
        /// The text.
        value: String,
        /// All texts that it has.
        known: &'static [&'static str],
    },
    /// A namespace of the dynamic metadata that is read.
    Namespace(String),
}

/// What is negated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Negated {
    /// A value.
    Value,
    /// A value that is an operand of `&&` or `||`, which is negated.
    Operand,
    /// A call or a comparison of a value.
    Call,
}

/// A walk over an expression. It recurses as deep as the text is nested, which is bounded.
struct Walk {
    role: Role,
    /// What the expression itself tests for being there.
    guarded: Vec<String>,
    remarks: Vec<Remark>,
}

/// Returns the remarks on a valid expression, each once.
pub(crate) fn remarks(source: &str, role: Role) -> Vec<Remark> {
    let Ok(root) = parser::parse(source) else {
        return Vec::new();
    };
    let mut walk = Walk {
        role,
        guarded: Vec::new(),
        remarks: Vec::new(),
    };
    walk.guards(&root);
    walk.visit(&root, false);
    walk.remarks
}

// === impl Walk ===

impl Walk {
    /// Notes what is tested for being there.
    fn guards(&mut self, expr: &IdedExpr) {
        match &expr.expr {
            Expr::Select(select) if select.test => {
                let name = name(&select.operand.expr);
                self.guarded
                    .extend(name.map(|name| format!("{name}.{}", select.field)));
            }
            Expr::Call(call)
                if matches!(
                    call.func_name.as_str(),
                    operators::EQUALS | operators::NOT_EQUALS
                ) =>
            {
                if let [one, other] = call.args.as_slice() {
                    for (value, null) in [(one, other), (other, one)] {
                        if matches!(null.expr, Expr::Literal(LiteralValue::Null)) {
                            self.guarded.extend(name(&value.expr));
                        }
                    }
                }
            }
            _ => {}
        }
        each_part(expr, &mut |part| self.guards(part));
    }

    /// Visits an expression. A limit applies where one that `is_negated` is false.
    fn visit(&mut self, expr: &IdedExpr, is_negated: bool) {
        let Expr::Call(call) = &expr.expr else {
            self.namespace(&expr.expr);
            return each_part(expr, &mut |part| self.visit(part, false));
        };
        self.compared(call);
        match (call.func_name.as_str(), call.args.as_slice()) {
            (operators::LOGICAL_NOT, [operand]) => {
                self.negated(operand);
                return self.visit(operand, !is_negated);
            }
            (operators::LOGICAL_AND | operators::LOGICAL_OR, operands) => {
                for operand in operands {
                    self.visit(operand, is_negated);
                }
                return;
            }
            (operators::NOT_EQUALS, [one, other]) if !self.role.reads_null() => {
                self.missing_in_comparison(one, other);
            }
            // A request fails where its limit or window does.
            (operators::EQUALS, [one, other])
                if matches!(self.role, Role::Limit | Role::Window) =>
            {
                self.missing_in_comparison(one, other);
                if !is_negated {
                    self.bypassable(call);
                }
            }
            (operators::EQUALS | operators::IN, _) if !is_negated => self.bypassable(call),
            (method, _) if STRICT_METHODS.contains(&method) && !is_negated => self.bypassable(call),
            _ => {}
        }
        self.namespace(&expr.expr);
        each_part(expr, &mut |part| self.visit(part, false));
    }

    /// Adds a remark on what is negated, if the negation does not hold where a value is missing.
    fn negated(&mut self, operand: &IdedExpr) {
        if !self.role.reads_null() {
            return;
        }
        let missing = match &operand.expr {
            Expr::Call(call) if is_logical(call) => return self.operands(call),
            Expr::Call(call) if call.func_name != JSON_POINTER => {
                let is_strict = STRICT_METHODS.contains(&call.func_name.as_str())
                    || STRICT_OPERATORS.contains(&call.func_name.as_str());
                let mut parts = call.target.as_deref().into_iter().chain(&call.args);
                let missing = parts.find_map(|part| self.may_be_missing(&part.expr));
                let missing = missing.filter(|_| is_strict);
                missing.map(|name| (name, Negated::Call))
            }
            expr => self.may_be_missing(expr).map(|name| (name, Negated::Value)),
        };
        self.add(missing.map(|(name, form)| Remark::NegatedMissing { name, form }));
    }

    /// Adds remarks on the operands of a negated `&&` or `||` that may be missing. It recurses as deep as the text is
    /// nested.
    fn operands(&mut self, call: &CallExpr) {
        for operand in &call.args {
            match &operand.expr {
                Expr::Call(call) if is_logical(call) => self.operands(call),
                expr => {
                    let missing = self.may_be_missing(expr);
                    let form = Negated::Operand;
                    self.add(missing.map(|name| Remark::NegatedMissing { name, form }));
                }
            }
        }
    }

    /// Adds what may be missing of two compared values.
    fn missing_in_comparison(&mut self, one: &IdedExpr, other: &IdedExpr) {
        for (value, to) in [(one, other), (other, one)] {
            if !matches!(to.expr, Expr::Literal(LiteralValue::Null)) {
                let missing = self.may_be_missing(&value.expr);
                self.add(missing.map(Remark::MissingInComparison));
            }
        }
    }

    /// Adds the texts that what they are compared with never is.
    fn compared(&mut self, call: &CallExpr) {
        let [one, other] = call.args.as_slice() else {
            return;
        };
        let is_comparison = matches!(
            call.func_name.as_str(),
            operators::EQUALS | operators::NOT_EQUALS | operators::IN
        );
        let pairs = [(one, other), (other, one)];
        for (attribute, values) in pairs.into_iter().filter(|_| is_comparison) {
            let values = match &values.expr {
                Expr::List(list) => list.elements.as_slice(),
                _ => std::slice::from_ref(values),
            };
            let Some((name, known)) = enumerated(&attribute.expr) else {
                continue;
            };
            let texts = values.iter().filter_map(|value| text(&value.expr));
            for value in texts.filter(|value| !known.contains(value) && !value.is_empty()) {
                self.add(Some(Remark::UnknownValue {
                    name,
                    value: value.to_owned(),
                    known,
                }));
            }
        }
    }

    fn bypassable(&mut self, call: &CallExpr) {
        let parts = call.target.as_deref().into_iter().chain(&call.args);
        let parts: Vec<&Expr> = parts.map(|part| &part.expr).collect();
        let compared = parts.iter().find_map(|part| match name(part).as_deref() {
            _ if is_of_path(part) => Some("request.path"),
            Some("request.host" | "request.headers.host" | "request.headers.:authority") => {
                Some("request.host")
            }
            _ => None,
        });
        let literal = parts.iter().find_map(|part| text(part));
        let is_end = matches!(call.func_name.as_str(), "endsWith" | "contains" | "matches");
        self.add(compared.map(|name| Remark::Bypassable {
            name,
            literal: literal.map(str::to_owned),
            is_end,
        }));
    }

    /// Adds the namespace that is read of the metadata.
    fn namespace(&mut self, expr: &Expr) {
        let name = name(expr);
        let namespace = name.as_deref().and_then(|name| {
            let (_, namespace) = name.split_once("metadata.filter_metadata.")?;
            name.starts_with("metadata.").then_some(namespace)
        });
        // The whole name has the fields within the namespace too; the part without them is visited as well.
        let direct = match expr {
            Expr::Select(select) => Some(select.field.as_str()),
            Expr::Call(call) => call.args.last().and_then(|key| text(&key.expr)),
            _ => None,
        };
        if let (Some(namespace), Some(direct)) = (namespace, direct)
            && namespace == direct
        {
            self.add(Some(Remark::Namespace(direct.to_owned())));
        }
    }

    /// Returns what an expression reads, as it can be written, if that may be missing and is not tested for it.
    fn may_be_missing(&self, expr: &Expr) -> Option<String> {
        let name = name(expr)?;
        let is_root = MISSING_ROOTS.iter().any(|root| name.starts_with(root));
        let is_missing = is_root && !self.guarded.contains(&name);
        is_missing.then(|| spelled(expr))?
    }

    fn add(&mut self, remark: Option<Remark>) {
        self.remarks
            .extend(remark.filter(|remark| !self.remarks.contains(remark)));
    }
}

fn is_logical(call: &CallExpr) -> bool {
    matches!(
        call.func_name.as_str(),
        operators::LOGICAL_AND | operators::LOGICAL_OR
    )
}

/// Returns whether an expression is the path, or a text that methods make of it: `request.path.split("?")[0]`.
fn is_of_path(mut expr: &Expr) -> bool {
    loop {
        if let Some(name) = name(expr) {
            return matches!(name.as_str(), "request.path" | "request.headers.:path");
        }
        let Expr::Call(call) = expr else {
            return false;
        };
        expr = match (call.func_name.as_str(), &call.target, call.args.as_slice()) {
            (operators::INDEX, _, [of_what, _]) => &of_what.expr,
            (
                "lowerAscii" | "upperAscii" | "trim" | "replace" | "split" | "substring",
                Some(target),
                _,
            ) => &target.expr,
            _ => return false,
        };
    }
}

/// Returns the attribute of few texts that an expression is, also with a default, and these texts.
fn enumerated(expr: &Expr) -> Option<(&'static str, &'static [&'static str])> {
    let name = match expr {
        Expr::Call(call) if call.func_name == "orValue" => match &call.target.as_deref()?.expr {
            Expr::Call(select) => match select.args.as_slice() {
                [of, field] if select.func_name == operators::OPT_SELECT => {
                    format!("{}.{}", name(&of.expr)?, text(&field.expr)?)
                }
                _ => return None,
            },
            _ => return None,
        },
        expr => name(expr)?,
    };
    match name.as_str() {
        "llm.api" => Some(("llm.api", &APIS)),
        "llm.provider" => Some(("llm.provider", &PROVIDERS)),
        _ => None,
    }
}

/// Calls a function with each part of an expression.
fn each_part(expr: &IdedExpr, visit: &mut dyn FnMut(&IdedExpr)) {
    match &expr.expr {
        Expr::Select(select) => visit(&select.operand),
        Expr::List(list) => list.elements.iter().for_each(visit),
        Expr::Map(map) => {
            for entry in &map.entries {
                if let EntryExpr::MapEntry(entry) = &entry.expr {
                    visit(&entry.key);
                    visit(&entry.value);
                }
            }
        }
        Expr::Call(call) => {
            let parts = call.target.as_deref().into_iter().chain(&call.args);
            parts.for_each(visit);
        }
        Expr::Comprehension(comprehension) => {
            visit(&comprehension.iter_range);
            visit(&comprehension.loop_step);
            visit(&comprehension.result);
        }
        Expr::Ident(_) | Expr::Literal(_) | Expr::Struct(_) | Expr::Unspecified => {}
    }
}

/// Returns the name that an expression spells, with names and literal keys joined with dots.
fn name(expr: &Expr) -> Option<String> {
    match expr {
        Expr::Ident(name) => Some(name.strip_prefix('.').unwrap_or(name).to_owned()),
        Expr::Select(select) if !select.test => {
            Some(format!("{}.{}", name(&select.operand.expr)?, select.field))
        }
        Expr::Call(call) => match (call.func_name.as_str(), call.args.as_slice()) {
            (operators::INDEX, [value, key]) => {
                Some(format!("{}.{}", name(&value.expr)?, text(&key.expr)?))
            }
            (JSON_POINTER, [_, pointer]) => {
                Some(format!("requestBodyJSON({:?})", text(&pointer.expr)?))
            }
            (JSON_POINTER, [_, pointers @ ..]) => {
                let pointers = pointers.iter().map(|pointer| text(&pointer.expr));
                let pointers = pointers.collect::<Option<Vec<_>>>()?;
                Some(format!("requestBodyJSON({pointers:?})"))
            }
            _ => None,
        },
        _ => None,
    }
}

/// Returns an expression that [`name`] has a name for as it can be written, with literal keys in brackets.
fn spelled(expr: &Expr) -> Option<String> {
    match expr {
        Expr::Select(select) if !select.test => Some(format!(
            "{}.{}",
            spelled(&select.operand.expr)?,
            select.field
        )),
        Expr::Call(call) => match (call.func_name.as_str(), call.args.as_slice()) {
            (operators::INDEX, [value, key]) => {
                Some(format!("{}[{:?}]", spelled(&value.expr)?, text(&key.expr)?))
            }
            _ => name(expr),
        },
        expr => name(expr),
    }
}

/// Returns the text of a string literal.
fn text(expr: &Expr) -> Option<&str> {
    match expr {
        Expr::Literal(LiteralValue::String(text)) => Some(text.inner()),
        _ => None,
    }
}
