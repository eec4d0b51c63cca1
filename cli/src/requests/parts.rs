//! What the forms of requests have in common.

use serde_json::Value;

use crate::replay::{Request, Response};

/// A request, with the response that a HAR file has of it.
#[derive(Debug, Default, PartialEq)]
pub struct Read {
    /// The request.
    pub request: Request,
    /// The response.
    pub response: Option<Response>,
}

/// Why a request cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The text is not JSON, and no `curl` command line.
    #[error("invalid JSON: {0}; expected a request in JSON, a HAR file or a curl command line")]
    Json(#[from] serde_json::Error),
    /// A field has the wrong type or value.
    #[error("{path}: found {found}, expected {expected}")]
    Field {
        /// The path to it.
        path: String,
        /// What is there.
        found: String,
        /// What should be.
        expected: &'static str,
    },
    /// A `curl` command line has something that is not read.
    #[error("curl: {0}")]
    Curl(String),
    /// There is no entry of this number.
    #[error(
        "--entry: found {found}, expected a number from 1 to {entries}, the entries of the HAR file"
    )]
    Entry {
        /// The number.
        found: usize,
        /// How many entries there are.
        entries: usize,
    },
}

/// Adds what a client would: the method, and the type of the body.
pub(super) fn complete(request: &mut Request) {
    if request.method.is_empty() {
        let method = if request.body.is_some() {
            "POST"
        } else {
            "GET"
        };
        method.clone_into(&mut request.method);
    }
    if request.body.is_some() {
        request.default_header("content-type", "application/json");
    }
}

/// Returns the path and the host of a URL.
pub(super) fn split_url(url: &str) -> (String, Option<String>) {
    let url = url.split('#').next().unwrap_or_default();
    let Some((_, rest)) = url.split_once("://") else {
        if url.starts_with('/') {
            return (url.to_owned(), None);
        }
        // As curl reads it, without a scheme.
        return split_authority(url);
    };
    split_authority(rest)
}

fn split_authority(rest: &str) -> (String, Option<String>) {
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    let host = authority
        .rsplit_once('@')
        .map_or(authority, |(_, host)| host);
    let path = match path.chars().next() {
        None => "/".to_owned(),
        Some('?') => format!("/{path}"),
        Some(_) => path.to_owned(),
    };
    (path, (!host.is_empty()).then(|| host.to_owned()))
}

pub(super) fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(bool) => Some(bool.to_string()),
        _ => None,
    }
}

pub(super) fn field(path: &str, found: &Value, expected: &'static str) -> Error {
    let found = match found {
        Value::Null => "nothing",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    };
    Error::Field {
        path: path.to_owned(),
        found: found.to_owned(),
        expected,
    }
}
