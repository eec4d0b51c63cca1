//! Envoy's properties as CEL values.

use super::error::AttributeError;
use super::header_map;
use super::metadata::{DynamicMetadata, Metadata};
use super::value::{Value, string, text};
use crate::host::{Headers, Host};
use cel::common::types::{CelBool, CelInt, CelTimestamp};
use filter_config::{Kind, Property, REMOTE_ADDRESS};
use std::net::SocketAddr;
use std::sync::Arc;

/// Returns the value of a property; `None` where it is absent.
///
/// # Errors
/// [`AttributeError`] when Envoy fails.
pub(super) fn read(
    host: &dyn Host,
    property: &'static Property,
    headers: &Arc<Headers>,
    metadata: &mut DynamicMetadata,
) -> Result<Option<Value>, AttributeError> {
    if let FromHeaders::Value(value) = from_headers(property, headers) {
        return Ok(value);
    }
    if property.kind == Kind::Metadata && property.path == ["metadata"] {
        return Ok(Some(metadata.get(host)?.value()));
    }
    let bytes = host
        .property(property.path)
        .map_err(|error| AttributeError::Property(property.name, error))?;
    if property.name == REMOTE_ADDRESS {
        return Ok(bytes.map(|bytes| string(without_port(&text(&bytes)))));
    }
    bytes.map(|bytes| decode(property, &bytes)).transpose()
}

/// What the request's headers say of a property.
enum FromHeaders {
    /// Its value, if it is present.
    Value(Option<Value>),
    /// It is not in the headers.
    Elsewhere,
}

/// Reads a property in the request's headers, which need no call to the host.
fn from_headers(property: &Property, headers: &Arc<Headers>) -> FromHeaders {
    let header = |name: &str| headers.text(name).map(string);
    let path = || headers.text(":path");
    FromHeaders::Value(match property.name {
        "request.headers" => Some(header_map::value(headers)),
        "request.method" => header(":method"),
        "request.scheme" => header(":scheme"),
        "request.host" => header(":authority"),
        "request.path" => header(":path"),
        "request.url_path" => path().map(|path| string(split_query(&path).0)),
        "request.query" => path().map(|path| string(split_query(&path).1)),
        "request.id" => header("x-request-id"),
        "request.useragent" => header("user-agent"),
        "request.referer" => header("referer"),
        _ => return FromHeaders::Elsewhere,
    })
}

/// Splits a path from its query, which is without the `?`.
fn split_query(path: &str) -> (&str, &str) {
    path.split_once('?').unwrap_or((path, ""))
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
