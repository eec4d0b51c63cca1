//! The matches of a route's rules: conditions on requests.

use std::borrow::Cow;
use std::cmp::Reverse;

use thiserror::Error;

use crate::bounds;
use crate::error::{ErrorKind, Invalid, ValidationErrors};
use crate::expression::Pattern;
use crate::fields::{Fields, Schema};
use crate::json::Json;
use crate::path::Path;
use crate::reader;

/// A condition on requests, which holds if all of its parts do.
#[derive(Debug)]
pub(crate) struct RouteMatch {
    path: PathMatch,
    method: Option<String>,
    /// Conditions on headers, with their names in lower case.
    headers: Vec<(String, Text)>,
    query: Vec<(String, Text)>,
}

/// A condition on the path.
#[derive(Debug)]
enum PathMatch {
    /// This path.
    Exact(String),
    /// This path, which has no slash at its end, and all paths below it.
    Prefix(String),
    /// Paths that the regular expression matches as a whole.
    Pattern(Pattern),
}

/// A condition on the value of a header or a query parameter.
#[derive(Debug)]
enum Text {
    Exact(String),
    Pattern(Pattern),
}

pub(crate) const MATCH: Schema = Schema {
    known: &["path", "method", "headers", "queryParams"],
    ignored: &[],
};

pub(crate) const PATH: Schema = Schema {
    known: &["type", "value"],
    ignored: &[],
};

pub(crate) const NAMED: Schema = Schema {
    known: &["type", "name", "value"],
    ignored: &[],
};

/// The steps that the regular expressions of all routes together may take for one request: about twice as many as an
/// evaluation of an expression may by default.
const MAX_ROUTE_STEPS: u64 = 100_000;

/// The route of a request cannot be found: its path, a header or a parameter is too long for the regular expressions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("value too long for the regular expressions of `routes`")]
pub struct UnknownRoute;

/// The work that is left for the regular expressions of routes.
pub(crate) struct RouteFuel(u64);

// === impl RouteFuel ===

impl Default for RouteFuel {
    fn default() -> Self {
        Self(MAX_ROUTE_STEPS)
    }
}

impl RouteFuel {
    fn search(&mut self, pattern: &Pattern, text: &str) -> Result<bool, UnknownRoute> {
        let rest = self.0.checked_sub(pattern.steps(text));
        self.0 = rest.ok_or(UnknownRoute)?;
        pattern.is_match(text).ok_or(UnknownRoute)
    }
}

// === impl RouteMatch ===

impl RouteMatch {
    /// Returns whether a request matches, by its headers and by the path and the query of its target.
    ///
    /// # Errors
    ///
    /// [`UnknownRoute`] if the fuel does not pay for a regular expression.
    pub(crate) fn matches<'h>(
        &self,
        path: &str,
        query: &str,
        header: &impl Fn(&str) -> Option<Cow<'h, str>>,
        fuel: &mut RouteFuel,
    ) -> Result<bool, UnknownRoute> {
        let path = match &self.path {
            PathMatch::Exact(exact) => path == exact,
            PathMatch::Prefix(prefix) => path
                .strip_prefix(prefix.as_str())
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('/')),
            PathMatch::Pattern(pattern) => fuel.search(pattern, path)?,
        };
        if !path {
            return Ok(false);
        }
        if let Some(method) = &self.method
            && header(":method").is_none_or(|found| found != *method)
        {
            return Ok(false);
        }
        for (name, text) in &self.headers {
            if !text.matches(header(name).as_deref(), fuel)? {
                return Ok(false);
            }
        }
        for (name, text) in &self.query {
            if !text.matches(parameter(query, name), fuel)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Returns the sort key that puts the more specific first, as in the Gateway API: exact paths, then longer
    /// prefixes; of equal paths those with a method, then with more headers, then with more parameters. It leaves the
    /// place of regular expressions open; as in Envoy Gateway, they precede prefixes.
    pub(crate) fn generality(&self) -> impl Ord + use<> {
        let (kind, length) = match &self.path {
            PathMatch::Exact(path) => (0, path.len()),
            PathMatch::Pattern(pattern) => (1, pattern.length()),
            PathMatch::Prefix(path) => (2, path.len()),
        };
        (
            kind,
            Reverse(length),
            self.method.is_none(),
            Reverse(self.headers.len()),
            Reverse(self.query.len()),
        )
    }
}

impl Default for RouteMatch {
    /// Returns the match of all requests.
    fn default() -> Self {
        Self {
            path: PathMatch::Prefix(String::new()),
            method: None,
            headers: Vec::new(),
            query: Vec::new(),
        }
    }
}

impl Text {
    fn matches(&self, value: Option<&str>, fuel: &mut RouteFuel) -> Result<bool, UnknownRoute> {
        match (self, value) {
            (_, None) => Ok(false),
            (Self::Exact(text), Some(value)) => Ok(text == value),
            (Self::Pattern(pattern), Some(value)) => fuel.search(pattern, value),
        }
    }
}

/// Returns the first value of a parameter in a query.
fn parameter<'a>(query: &'a str, name: &str) -> Option<&'a str> {
    query.split('&').find_map(|parameter| {
        let (key, value) = parameter.split_once('=').unwrap_or((parameter, ""));
        (key == name).then_some(value)
    })
}

/// Reads a match.
pub(super) fn read(
    json: &Json,
    path: &Path<'_>,
    errors: &mut ValidationErrors,
) -> Result<RouteMatch, Invalid> {
    let fields = Fields::read(json, path, &MATCH, errors)?;
    let all = || PathMatch::Prefix(String::new());
    let of_path = fields.read_or("path", path, errors, all, path_match);
    let method = fields.read_optional("method", path, errors, method);
    let headers = fields.read_or("headers", path, errors, Vec::new, named);
    let query = fields.read_or("queryParams", path, errors, Vec::new, named);
    let mut headers = headers?;
    for (name, _) in &mut headers {
        name.make_ascii_lowercase();
    }
    Ok(RouteMatch {
        path: of_path?,
        method: method?,
        headers,
        query: query?,
    })
}

fn path_match(
    json: &Json,
    path: &Path<'_>,
    errors: &mut ValidationErrors,
) -> Result<PathMatch, Invalid> {
    #[derive(Clone, Copy)]
    enum Kind {
        Exact,
        Prefix,
        Pattern,
    }
    let fields = Fields::read(json, path, &PATH, errors)?;
    let kinds = [
        ("Exact", Kind::Exact),
        ("PathPrefix", Kind::Prefix),
        ("RegularExpression", Kind::Pattern),
    ];
    let prefix = || Kind::Prefix;
    let kind = fields.read_or("type", path, errors, prefix, |json, path, errors| {
        reader::choice(json, &kinds, path, errors)
    });
    let value = match fields.get("value") {
        None => "/",
        Some(json) => reader::text(
            json,
            bounds::ROUTE_VALUE_BYTES,
            &path.field("value"),
            errors,
        )?,
    };
    let path = path.field("value");
    match kind? {
        Kind::Pattern => pattern(value, &path, errors).map(PathMatch::Pattern),
        _ if !value.starts_with('/') => {
            let message = "invalid path, expected one that begins with \"/\"";
            Err(errors.push(&path, ErrorKind::Malformed(message)))
        }
        Kind::Exact => Ok(PathMatch::Exact(value.to_owned())),
        Kind::Prefix => {
            let value = value.strip_suffix('/').unwrap_or(value);
            Ok(PathMatch::Prefix(value.to_owned()))
        }
    }
}

fn method(json: &Json, path: &Path<'_>, errors: &mut ValidationErrors) -> Result<String, Invalid> {
    reader::name(json, bounds::HEADER_NAME_BYTES, path, errors)
}

/// Reads the matches of headers or of parameters.
fn named(
    json: &Json,
    path: &Path<'_>,
    errors: &mut ValidationErrors,
) -> Result<Vec<(String, Text)>, Invalid> {
    let items = reader::list(json, "matches", bounds::ROUTE_NAMED, path, errors)?;
    let mut named = Vec::with_capacity(items.len());
    for (position, json) in items.iter().enumerate() {
        let path = path.item(position);
        let fields = Fields::read(json, &path, &NAMED, errors)?;
        let exact = || true;
        let is_exact = fields.read_or("type", &path, errors, exact, |json, path, errors| {
            let kinds = [("Exact", true), ("RegularExpression", false)];
            reader::choice(json, &kinds, path, errors)
        });
        let name = fields.require("name", &path, errors, |json, path, errors| {
            reader::name(json, bounds::NAME_BYTES, path, errors)
        });
        let value = fields.require("value", &path, errors, |json, path, errors| {
            let value = reader::text(json, bounds::ROUTE_VALUE_BYTES, path, errors)?;
            if is_exact? {
                Ok(Text::Exact(value.to_owned()))
            } else {
                pattern(value, path, errors).map(Text::Pattern)
            }
        });
        if let (Ok(name), Ok(value)) = (name, value) {
            named.push((name, value));
        }
    }
    Ok(named)
}

/// Compiles a regular expression that has to match as a whole, as in Envoy.
fn pattern(
    source: &str,
    path: &Path<'_>,
    errors: &mut ValidationErrors,
) -> Result<Pattern, Invalid> {
    Pattern::whole(source).map_err(|error| errors.push(path, error))
}
