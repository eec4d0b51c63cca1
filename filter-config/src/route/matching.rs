//! The matches of a route's rules: which requests they are for.

use std::borrow::Cow;
use std::cmp::Reverse;

use regex_lite::Regex;

use crate::bounds;
use crate::fault::{FaultKind, Faults};
use crate::fields::{self, Fields, Schema};
use crate::json::Json;
use crate::path::Path;

/// A request matches if all of this does.
#[derive(Debug)]
pub(crate) struct RouteMatch {
    path: PathMatch,
    method: Option<String>,
    /// By their names in lower case.
    headers: Vec<(String, Text)>,
    query: Vec<(String, Text)>,
}

/// Which paths match.
#[derive(Debug)]
enum PathMatch {
    /// This one.
    Exact(String),
    /// This one and all below it. Without the slash at its end.
    Prefix(String),
    /// Those that the expression matches as a whole.
    Pattern(Regex),
}

/// Which values match.
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
    /// Whether a request matches, by its headers and the two halves of its path.
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

    /// What sorts the more specific in front, as the Gateway API has it: exact paths, then the longer
    /// prefixes; of the same paths those with a method, then with more headers, then with more
    /// parameters. Where expressions come, it leaves open: as in Envoy Gateway, before prefixes.
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
    /// All requests.
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

/// The first value of a parameter in a query.
fn parameter<'a>(query: &'a str, name: &str) -> Option<&'a str> {
    query.split('&').find_map(|parameter| {
        let (key, value) = parameter.split_once('=').unwrap_or((parameter, ""));
        (key == name).then_some(value)
    })
}

/// Reads a match.
pub(super) fn read(json: &Json, path: &Path<'_>, faults: &mut Faults) -> Option<RouteMatch> {
    let fields = Fields::read(json, path, &MATCH, faults)?;
    let all = || PathMatch::Prefix(String::new());
    let of_path = fields.read_or("path", path, faults, all, path_match);
    let method = fields.read_optional("method", path, faults, method);
    let headers = fields.read_or("headers", path, faults, Vec::new, named);
    let query = fields.read_or("queryParams", path, faults, Vec::new, named);
    let mut headers = headers?;
    for (name, _) in &mut headers {
        name.make_ascii_lowercase();
    }
    Some(RouteMatch {
        path: of_path?,
        method: method?,
        headers,
        query: query?,
    })
}

fn path_match(json: &Json, path: &Path<'_>, faults: &mut Faults) -> Option<PathMatch> {
    #[derive(Clone, Copy)]
    enum Kind {
        Exact,
        Prefix,
        Pattern,
    }
    let fields = Fields::read(json, path, &PATH, faults)?;
    let kinds = [
        ("Exact", Kind::Exact),
        ("PathPrefix", Kind::Prefix),
        ("RegularExpression", Kind::Pattern),
    ];
    let prefix = || Kind::Prefix;
    let kind = fields.read_or("type", path, faults, prefix, |json, path, faults| {
        fields::choice(json, &kinds, path, faults)
    });
    let value = match fields.get("value") {
        None => "/",
        Some(json) => fields::text(
            json,
            bounds::ROUTE_VALUE_BYTES,
            &path.field("value"),
            faults,
        )?,
    };
    let path = path.field("value");
    match kind? {
        Kind::Pattern => pattern(value, &path, faults).map(PathMatch::Pattern),
        _ if !value.starts_with('/') => {
            faults.push(&path, FaultKind::Malformed("a path begins with \"/\""));
            None
        }
        Kind::Exact => Some(PathMatch::Exact(value.to_owned())),
        Kind::Prefix => {
            let value = value.strip_suffix('/').unwrap_or(value);
            Some(PathMatch::Prefix(value.to_owned()))
        }
    }
}

fn method(json: &Json, path: &Path<'_>, faults: &mut Faults) -> Option<String> {
    fields::name(json, bounds::HEADER_NAME_BYTES, path, faults)
}

/// Reads matches of headers or parameters.
fn named(json: &Json, path: &Path<'_>, faults: &mut Faults) -> Option<Vec<(String, Text)>> {
    let items = fields::list(json, "matches", bounds::ROUTE_NAMED, path, faults)?;
    let mut named = Vec::with_capacity(items.len());
    for (position, json) in items.iter().enumerate() {
        let path = path.item(position);
        let fields = Fields::read(json, &path, &NAMED, faults)?;
        let exact = || true;
        let is_exact = fields.read_or("type", &path, faults, exact, |json, path, faults| {
            let kinds = [("Exact", true), ("RegularExpression", false)];
            fields::choice(json, &kinds, path, faults)
        });
        let name = fields
            .require("name", &path, faults)
            .and_then(|json| fields::name(json, bounds::NAME_BYTES, &path.field("name"), faults));
        let at = path.field("value");
        let value = fields
            .require("value", &path, faults)
            .and_then(|json| fields::text(json, bounds::ROUTE_VALUE_BYTES, &at, faults));
        let value = value.and_then(|value| {
            if is_exact? {
                Some(Text::Exact(value.to_owned()))
            } else {
                pattern(value, &at, faults).map(Text::Pattern)
            }
        });
        named.extend(name.zip(value));
    }
    Some(named)
}

/// Compiles an expression that has to match as a whole, as Envoy has it.
fn pattern(source: &str, path: &Path<'_>, faults: &mut Faults) -> Option<Regex> {
    let pattern = Regex::new(&format!("^(?:{source})$"));
    if pattern.is_err() || Regex::new(source).is_err() {
        faults.push(path, FaultKind::Malformed("not a regular expression"));
        return None;
    }
    pattern.ok()
}
