//! The matches of a route's rules: conditions on requests.

use std::borrow::Cow;
use std::cmp::Reverse;

use regex_lite::Regex;

use crate::bounds;
use crate::error::{ErrorKind, Invalid, ValidationErrors};
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
    Pattern(Regex),
}

/// A condition on the value of a header or a query parameter.
#[derive(Debug)]
enum Text {
    Exact(String),
    Pattern(Regex),
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

// === impl RouteMatch ===

impl RouteMatch {
    /// Returns whether a request matches, by its headers and by the path and the query of its target.
    pub(crate) fn matches<'h>(
        &self,
        path: &str,
        query: &str,
        header: &impl Fn(&str) -> Option<Cow<'h, str>>,
    ) -> bool {
        let path = match &self.path {
            PathMatch::Exact(exact) => path == exact,
            PathMatch::Prefix(prefix) => path
                .strip_prefix(prefix.as_str())
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('/')),
            PathMatch::Pattern(pattern) => pattern.is_match(path),
        };
        let is = |text: &Text, value: Option<&str>| value.is_some_and(|value| text.matches(value));
        path && self
            .method
            .as_ref()
            .is_none_or(|method| header(":method").is_some_and(|found| found == *method))
            && self
                .headers
                .iter()
                .all(|(name, text)| is(text, header(name).as_deref()))
            && self
                .query
                .iter()
                .all(|(name, text)| is(text, parameter(query, name)))
    }

    /// Returns the sort key that puts the more specific first, as in the Gateway API: exact paths, then longer
    /// prefixes; of equal paths those with a method, then with more headers, then with more parameters. It leaves the
    /// place of regular expressions open; as in Envoy Gateway, they precede prefixes.
    pub(crate) fn generality(&self) -> impl Ord + use<> {
        let (kind, length) = match &self.path {
            PathMatch::Exact(path) => (0, path.len()),
            PathMatch::Pattern(pattern) => (1, pattern.as_str().len()),
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
    fn matches(&self, value: &str) -> bool {
        match self {
            Self::Exact(text) => text == value,
            Self::Pattern(pattern) => pattern.is_match(value),
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
fn pattern(source: &str, path: &Path<'_>, errors: &mut ValidationErrors) -> Result<Regex, Invalid> {
    // By itself first, as `a)|(b` would be valid within the group.
    Regex::new(source)
        .and_then(|_| Regex::new(&format!("^(?:{source})$")))
        .map_err(|error| errors.push(path, error))
}
