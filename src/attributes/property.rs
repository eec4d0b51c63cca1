//! Envoy's properties as CEL values.

use super::error::AttributeError;
use super::header_map;
use super::metadata::{DynamicMetadata, Metadata};
use super::value::{Value, borrowed, string, text};
use crate::host::{Headers, Host};
use cel::common::types::{CelBool, CelInt, CelString, CelTimestamp};
use cel::common::value::CowVal;
use filter_config::{Kind, Property, REMOTE_ADDRESS};
use std::borrow::Cow;
use std::net::SocketAddr;
use std::sync::Arc;

/// A property that is resolved.
#[derive(Debug)]
pub(super) enum Resolved {
    /// It is read in the request's headers, which are the only copy of it.
    InHeaders(Part),
    /// What the host has returned; `None` where it is absent.
    Value(Option<Value>),
}

/// A part of the request's headers that is a property.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// All headers, as a map.
    All,
    /// The value of a header.
    Header(&'static str),
    /// The bytes of the path from a position to another: the path without its query, or the query without the `?`.
    /// They are found once, as a path is long where an expression reads it often.
    OfPath(usize, usize),
}

// === impl Resolved ===

impl Resolved {
    /// Returns the value of a property, for the evaluator; `None` where it is absent.
    pub(super) fn value(&self, headers: &Arc<Headers>) -> Option<CowVal<'_, '_>> {
        match self {
            Self::InHeaders(Part::All) => Some(CowVal::Owned(header_map::value(headers))),
            Self::InHeaders(part) => part.text(headers).map(|text| CowVal::Owned(string(text))),
            Self::Value(value) => borrowed(value.as_ref()),
        }
    }

    /// Returns a property that is a string.
    pub(super) fn text<'a>(&'a self, headers: &'a Headers) -> Option<Cow<'a, str>> {
        match self {
            Self::InHeaders(part) => part.text(headers),
            Self::Value(value) => {
                let string = value.as_ref()?.downcast_ref::<CelString>()?;
                Some(Cow::Borrowed(string.inner()))
            }
        }
    }
}

// === impl Part ===

impl Part {
    /// Returns the part of the headers that a property is, which needs no call to the host.
    pub(super) fn of(property: &Property, headers: &Headers) -> Option<Self> {
        Some(match property.name {
            "request.headers" => Self::All,
            "request.method" => Self::Header(":method"),
            "request.scheme" => Self::Header(":scheme"),
            "request.host" => Self::Header(":authority"),
            "request.path" => Self::Header(":path"),
            "request.url_path" => {
                let (path, _) = split_query(path(headers));
                Self::OfPath(0, path.len())
            }
            "request.query" => {
                let path = path(headers);
                let (_, query) = split_query(path);
                Self::OfPath(path.len().saturating_sub(query.len()), path.len())
            }
            "request.id" => Self::Header("x-request-id"),
            "request.useragent" => Self::Header("user-agent"),
            "request.referer" => Self::Header("referer"),
            _ => return None,
        })
    }

    fn text(self, headers: &Headers) -> Option<Cow<'_, str>> {
        match self {
            Self::All => None,
            Self::Header(name) => headers.text(name),
            Self::OfPath(start, end) => headers.get(":path")?.get(start..end).map(text),
        }
    }
}

/// Returns the path with its query; empty where there is none.
fn path(headers: &Headers) -> &[u8] {
    headers.get(":path").unwrap_or_default()
}

/// Resolves a property. `kept` is raised by the bytes that are kept of it.
///
/// # Errors
/// [`AttributeError`] when Envoy fails.
pub(super) fn resolve(
    host: &dyn Host,
    headers: &Headers,
    property: &'static Property,
    metadata: &mut DynamicMetadata,
    kept: &mut usize,
) -> Result<Resolved, AttributeError> {
    if let Some(part) = Part::of(property, headers) {
        return Ok(Resolved::InHeaders(part));
    }
    if property.kind == Kind::Metadata && property.path == ["metadata"] {
        return Ok(Resolved::Value(Some(metadata.get(host)?.value())));
    }
    let bytes = host
        .property(property.path)
        .map_err(|error| AttributeError::Property(property.name, error))?;
    *kept = kept.saturating_add(bytes.as_ref().map_or(0, Vec::len));
    if property.name == REMOTE_ADDRESS {
        let address = bytes.map(|bytes| string(without_port(&text(&bytes))));
        return Ok(Resolved::Value(address));
    }
    let value = bytes.map(|bytes| decode(property, &bytes)).transpose()?;
    Ok(Resolved::Value(value))
}

/// Splits a path from its query, which is without the `?`.
fn split_query(path: &[u8]) -> (&[u8], &[u8]) {
    let mut parts = path.splitn(2, |byte| *byte == b'?');
    let path = parts.next().unwrap_or_default();
    (path, parts.next().unwrap_or_default())
}

/// Returns the address in `1.2.3.4:5` or `[::1]:5`; anything else, such as the path of a socket, is
/// the address itself.
fn without_port(address: &str) -> &str {
    match address.parse::<SocketAddr>() {
        Ok(_) => {
            let ip = address.rsplit_once(':').map_or(address, |(ip, _)| ip);
            ip.trim_start_matches('[').trim_end_matches(']')
        }
        Err(_) => address,
    }
}

/// Returns a property's value from Envoy's encoding of it.
fn decode(property: &'static Property, bytes: &[u8]) -> Result<Value, AttributeError> {
    let wrong = |expected| AttributeError::Encoding(property.name, bytes.len(), expected);
    let integer = || {
        let bytes = <[u8; 8]>::try_from(bytes).map_err(|_| wrong("an integer"))?;
        Ok::<_, AttributeError>(i64::from_le_bytes(bytes))
    };
    Ok(match property.kind {
        Kind::String => string(text(bytes)),
        Kind::Int => Box::new(CelInt::from(integer()?)),
        Kind::Bool => match bytes {
            [value] => Box::new(CelBool::from(*value != 0)),
            _ => return Err(wrong("a boolean")),
        },
        Kind::Timestamp => {
            let time = chrono::DateTime::from_timestamp_nanos(integer()?);
            Box::new(CelTimestamp::from(time.fixed_offset()))
        }
        Kind::Metadata => Metadata::parse(bytes)?.value(),
        Kind::Headers => return Err(wrong("headers")),
    })
}
