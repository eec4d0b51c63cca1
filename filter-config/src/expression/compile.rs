//! Compiles an expression and checks every name in it.

use std::collections::BTreeSet;

use cel::common::ast::{
    CallExpr, ComprehensionExpr, EntryExpr, Expr, IdedExpr, LiteralValue, operators,
};

use super::attribute::{self, Attribute, Kind};
use super::environment::{self, JSON_POINTER, REQUEST_BODY};
use super::error::ExpressionError;
use super::functions::{self, Style};
use super::optional::{self, Scope};
use super::role::Role;
use super::{literal, parser};
use crate::suggestion::{self, did_you_mean};

/// Errors that are kept of one expression.
const MAX_ERRORS: usize = 8;

/// Compiles an expression. Returns the tree to evaluate and the attributes that it reads.
pub(super) fn compile(
    source: &str,
    role: Role,
) -> Result<(IdedExpr, Vec<Attribute>), Vec<ExpressionError>> {
    let root = parser::parse(source).map_err(|error| vec![error])?;
    let uses = check(&root, role)?;
    Ok((root, uses))
}

fn check(root: &IdedExpr, role: Role) -> Result<Vec<Attribute>, Vec<ExpressionError>> {
    let mut check = Check {
        role,
        scope: Vec::new(),
        uses: BTreeSet::new(),
        errors: Vec::new(),
    };
    check.visit(root);
    if check.errors.is_empty() {
        Ok(check.uses.into_iter().collect())
    } else {
        Err(check.errors)
    }
}

/// A walk over an expression. It recurses as deep as the text is nested, which is bounded.
struct Check<'e> {
    role: Role,
    /// The variables of the enclosing macros.
    scope: Vec<&'e str>,
    uses: BTreeSet<Attribute>,
    errors: Vec<ExpressionError>,
}

/// The thing that a part of an expression refers to.
enum Place {
    /// A value, whose fields are not known.
    Value,
    /// A prefix of names, such as `request`, which has no value of its own.
    Prefix(String),
    /// A value with the one field `filter_metadata`.
    Metadata(String),
    /// `auth`, or what is at this path below it.
    Auth(String),
}

// === impl Check ===

impl<'e> Check<'e> {
    fn error(&mut self, error: ExpressionError) {
        if self.errors.len() < MAX_ERRORS && !self.errors.contains(&error) {
            self.errors.push(error);
        }
    }

    /// Checks an expression that is used as a value.
    fn visit(&mut self, expr: &'e IdedExpr) {
        if let Place::Prefix(name) = self.place(expr) {
            let example = attribute::fields_of(&name).next().unwrap_or("key");
            let example = example.to_owned();
            self.error(ExpressionError::Whole { name, example });
        }
    }

    /// Checks an expression, and returns what it refers to.
    fn place(&mut self, expr: &'e IdedExpr) -> Place {
        match &expr.expr {
            Expr::Ident(name) => return self.variable(name),
            Expr::Select(select) => {
                if qualified(&expr.expr).is_some_and(|name| environment::find_type(&name).is_some())
                {
                    return Place::Value;
                }
                let place = self.place(&select.operand);
                return self.descend(&place, Some(&select.field));
            }
            Expr::Call(call) => return self.call(call),
            Expr::Comprehension(comprehension) => self.comprehension(comprehension),
            Expr::List(list) => list.elements.iter().for_each(|item| self.visit(item)),
            Expr::Map(map) => map.entries.iter().for_each(|entry| self.entry(&entry.expr)),
            Expr::Struct(message) => {
                self.error(ExpressionError::Message(message.type_name.clone()));
                message
                    .entries
                    .iter()
                    .for_each(|entry| self.entry(&entry.expr));
            }
            Expr::Literal(_) => {}
            Expr::Unspecified => self.error(ExpressionError::Syntax {
                line: 1,
                column: 1,
                message: "incomplete".to_owned(),
            }),
        }
        Place::Value
    }

    fn entry(&mut self, entry: &'e EntryExpr) {
        match entry {
            EntryExpr::StructField(field) => self.visit(&field.value),
            EntryExpr::MapEntry(entry) => {
                self.visit(&entry.key);
                self.visit(&entry.value);
            }
        }
    }

    fn comprehension(&mut self, comprehension: &'e ComprehensionExpr) {
        self.visit(&comprehension.iter_range);
        self.visit(&comprehension.accu_init);
        let outside = self.scope.len();
        self.scope.push(&comprehension.iter_var);
        self.scope.extend(comprehension.iter_var2.as_deref());
        self.scope.push(&comprehension.accu_var);
        self.visit(&comprehension.loop_cond);
        self.visit(&comprehension.loop_step);
        self.visit(&comprehension.result);
        self.scope.truncate(outside);
    }

    fn variable(&mut self, name: &str) -> Place {
        // A leading dot names an attribute even if an enclosing macro has a variable of that name.
        let (name, absolute) = match name.strip_prefix('.') {
            Some(name) => (name, true),
            None => (name, false),
        };
        if !absolute && self.scope.contains(&name) {
            return Place::Value;
        }
        if name == REQUEST_BODY {
            self.uses.insert(Attribute::RequestBody(String::new()));
            return Place::Value;
        }
        if name == attribute::AUTH {
            return self.auth(String::new());
        }
        if let Some(property) = attribute::find(name) {
            return self.property(property);
        }
        if matches!(name, "usage" | "response") && self.role != Role::Cost {
            self.after_response(name);
            return Place::Value;
        }
        if let (Role::Cost, Some(variable)) = (self.role, attribute::aliased(name)) {
            return self.named(variable).unwrap_or(Place::Value);
        }
        if name == attribute::FILTER_STATE || attribute::fields_of(name).next().is_some() {
            return Place::Prefix(name.to_owned());
        }
        if environment::find_type(name).is_some() {
            return Place::Value;
        }
        let is_cost = self.role == Role::Cost;
        let mut known: Vec<&str> = attribute::roots()
            .filter(|root| is_cost || !matches!(*root, "usage" | "response"))
            .collect();
        known.extend(&self.scope);
        known.sort_unstable();
        known.dedup();
        self.error(ExpressionError::UnknownVariable {
            name: name.to_owned(),
            instead: suggestion::instead(name, &known),
        });
        Place::Value
    }

    fn auth(&mut self, path: String) -> Place {
        self.uses.insert(Attribute::Auth(path.clone()));
        Place::Auth(path)
    }

    /// Returns the place of a full name such as `request.path`, if there is one.
    fn named(&mut self, name: &str) -> Option<Place> {
        if let Some(property) = attribute::find(name) {
            return Some(self.property(property));
        }
        let llm = attribute::find_llm(name).map(Attribute::Llm);
        let usage = attribute::find_usage(name).map(Attribute::Usage);
        let response = attribute::find_response(name).map(Attribute::Response);
        self.uses.insert(llm.or(usage).or(response)?);
        Some(Place::Value)
    }

    fn property(&mut self, property: &'static attribute::Property) -> Place {
        self.uses.insert(Attribute::Property(property));
        match property.kind {
            Kind::Metadata => Place::Metadata(property.name.to_owned()),
            _ => Place::Value,
        }
    }

    /// Returns the place of a field of a place. The field is `None` if only a request determines it.
    fn descend(&mut self, place: &Place, field: Option<&str>) -> Place {
        let variable = match place {
            Place::Prefix(variable) | Place::Metadata(variable) => variable,
            Place::Auth(path) => {
                return match field {
                    Some(field) if path.is_empty() => self.auth(field.to_owned()),
                    Some(field) => self.auth(format!("{path}.{field}")),
                    None => Place::Value,
                };
            }
            Place::Value => return Place::Value,
        };
        let Some(field) = field else {
            self.error(ExpressionError::DynamicField(variable.clone()));
            return Place::Value;
        };
        if matches!(place, Place::Metadata(_)) {
            if field != attribute::FILTER_METADATA {
                self.unknown_field(variable, field, [attribute::FILTER_METADATA]);
            }
            return Place::Value;
        }
        if variable == attribute::FILTER_STATE {
            self.uses.insert(Attribute::FilterState(field.to_owned()));
            return Place::Value;
        }
        let name = format!("{variable}.{field}");
        if let Some(place) = self.named(&name) {
            return place;
        }
        if attribute::fields_of(&name).next().is_some() {
            return Place::Prefix(name);
        }
        self.unknown_field(variable, field, attribute::fields_of(variable));
        Place::Value
    }

    fn unknown_field(
        &mut self,
        variable: &str,
        field: &str,
        known: impl IntoIterator<Item = &'static str>,
    ) {
        let mut known: Vec<&str> = known.into_iter().collect();
        known.sort_unstable();
        known.dedup();
        // Istio's conditions and some policies have the claims there.
        let instead = if (variable, field) == ("request", attribute::AUTH) {
            "the identity of the caller is `auth.identity`".to_owned()
        } else {
            suggestion::instead(field, &known)
        };
        self.error(ExpressionError::UnknownField {
            variable: variable.to_owned(),
            field: field.to_owned(),
            instead,
        });
    }

    fn after_response(&mut self, name: &str) {
        self.error(ExpressionError::AfterResponse {
            name: name.to_owned(),
            role: self.role.name(),
        });
    }

    fn call(&mut self, call: &'e CallExpr) -> Place {
        let name = call.func_name.as_str();
        if let Some(instead) = self.dashed(call) {
            self.error(ExpressionError::Dashes(instead));
            return Place::Value;
        }
        if let (operators::INDEX | operators::OPT_INDEX | operators::OPT_SELECT, [value, key]) =
            (name, call.args.as_slice())
        {
            let place = self.place(value);
            self.visit(key);
            return self.descend(&place, text(&key.expr));
        }
        let texts = match (name, call.args.as_slice()) {
            (JSON_POINTER, [_, pointers @ ..]) => pointers,
            (_, args) => args.last().map_or(&[][..], std::slice::from_ref),
        };
        let texts = texts.iter().filter_map(|argument| text(&argument.expr));
        let texts: Vec<&str> = texts.collect();
        for text in &texts {
            if name == JSON_POINTER {
                self.uses.insert(Attribute::RequestBody((*text).to_owned()));
            }
            if let Some(error) = literal::check(name, text) {
                self.error(error);
            }
        }
        if let (JSON_POINTER, [_, pointer]) = (name, call.args.as_slice())
            && matches!(pointer.expr, Expr::List(_))
        {
            self.error(ExpressionError::Pointers);
            return Place::Value;
        }
        let style = call
            .target
            .as_ref()
            .map_or(Style::Global, |_| Style::Member);
        if optional::is_strict(name) || functions::find(name, style).is_some() {
            let scope = Scope {
                variables: &self.scope,
                role: self.role,
            };
            if let Some(error) = optional::check(call, scope) {
                self.error(error);
            }
        }
        if !functions::is_operator(name) {
            // `strings.quote(x)` parses as a call of `quote` on the variable `strings`.
            let namespaced = call
                .target
                .as_ref()
                .and_then(|target| qualified(&target.expr))
                .map(|namespace| format!("{namespace}.{name}"))
                .filter(|name| functions::find(name, Style::Global).is_some());
            match (&namespaced, &call.target) {
                (Some(name), _) => self.function(name, Style::Global, call.args.len()),
                (None, Some(_)) => self.function(name, Style::Member, call.args.len()),
                (None, None) => self.function(name, Style::Global, call.args.len()),
            }
            if namespaced.is_some() {
                call.args.iter().for_each(|arg| self.visit(arg));
                return Place::Value;
            }
        }
        if let Some(target) = &call.target {
            self.visit(target);
        }
        if name == JSON_POINTER && !texts.is_empty() {
            // Of the body, only the values at these pointers are read.
            return Place::Value;
        }
        call.args.iter().for_each(|arg| self.visit(arg));
        Place::Value
    }

    /// Returns what to write for a subtraction that was meant as a name with dashes: `request.headers["x-tier"]` for
    /// `request.headers.x-tier`.
    fn dashed(&self, call: &CallExpr) -> Option<String> {
        let (of, key) = self.dashed_key(call)?;
        Some(format!("{of}[{key:?}]"))
    }

    fn dashed_key(&self, call: &CallExpr) -> Option<(String, String)> {
        let [left, right] = call.args.as_slice() else {
            return None;
        };
        let Expr::Ident(end) = &right.expr else {
            return None;
        };
        let is_known = self.scope.contains(&end.as_str())
            || attribute::roots().any(|root| root == end.as_str());
        if call.func_name != operators::SUBSTRACT || is_known {
            return None;
        }
        let (of, start) = match &left.expr {
            Expr::Select(select) if !select.test => {
                (qualified(&select.operand.expr)?, select.field.clone())
            }
            Expr::Call(inner) => self.dashed_key(inner)?,
            _ => return None,
        };
        let has_any_keys = of == "request.headers"
            || ["auth", "metadata.filter_metadata", "filter_state"]
                .iter()
                .any(|root| {
                    of == *root || of.strip_prefix(root).is_some_and(|it| it.starts_with('.'))
                });
        has_any_keys.then(|| (of, format!("{start}-{end}")))
    }

    fn function(&mut self, name: &str, style: Style, found: usize) {
        if let Some(function) = functions::find(name, style) {
            if !function.arguments.contains(&found) {
                self.error(ExpressionError::Arguments {
                    name: name.to_owned(),
                    found: counted(&[found]),
                    expected: counted(function.arguments),
                });
            }
            return;
        }
        let (other, other_style) = match style {
            Style::Global => (Style::Member, "method, as in `x.f()`"),
            Style::Member => (Style::Global, "function, as in `f(x)`"),
        };
        if functions::find(name, other).is_some() {
            self.error(ExpressionError::CallStyle {
                name: name.to_owned(),
                style: other_style,
            });
        } else if name == "responseBodyJSON" && self.role == Role::Cost {
            self.error(ExpressionError::ResponseBody);
        } else if name == "responseBodyJSON" {
            self.after_response(name);
        } else {
            let known = functions::FUNCTIONS.iter().map(|function| function.name);
            self.error(ExpressionError::UnknownFunction {
                name: name.to_owned(),
                suggestion: functions::elsewhere(name).map_or_else(
                    || did_you_mean(name, known),
                    |known| format!(", did you mean {known:?}?"),
                ),
            });
        }
    }
}

/// Returns the text of a string literal.
fn text(expr: &Expr) -> Option<&str> {
    match expr {
        Expr::Literal(LiteralValue::String(text)) => Some(text.inner()),
        _ => None,
    }
}

/// Returns the dotted name that an expression consists of, if it does.
fn qualified(expr: &Expr) -> Option<String> {
    let mut segments = Vec::new();
    let mut expr = expr;
    loop {
        match expr {
            Expr::Ident(name) => {
                segments.push(name.as_str());
                segments.reverse();
                return Some(segments.join("."));
            }
            Expr::Select(select) if !select.test => {
                segments.push(select.field.as_str());
                expr = &select.operand.expr;
            }
            _ => return None,
        }
    }
}

/// Returns numbers of arguments in words: `1 or 2 arguments`.
fn counted(numbers: &[usize]) -> String {
    let words: Vec<String> = numbers.iter().map(usize::to_string).collect();
    let unit = if numbers == [1] {
        "argument"
    } else {
        "arguments"
    };
    format!("{} {unit}", words.join(" or "))
}
