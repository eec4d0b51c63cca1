//! Requests as people have them: JSON, a `curl` command line, or an entry of a HAR file.

mod curl;
mod har;
mod parts;
#[cfg(test)]
mod tests;

use serde::Deserialize;
use serde_json::{Map, Value};

pub use self::parts::{Error, Read};
use self::parts::{complete, field, scalar};
use crate::replay::Request;

/// The fields of a request in JSON.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
struct Fields {
    method: Option<String>,
    path: Option<String>,
    headers: Map<String, Value>,
    body: Option<Value>,
    auth: Option<Value>,
    metadata: Map<String, Value>,
    filter_state: Map<String, Value>,
    source: Option<String>,
}

/// Reads a request in one of the forms. `entry` is the number of the entry of a HAR file, from 1 on.
///
/// # Errors
/// [`Error`].
pub fn read(text: &[u8], entry: usize) -> Result<Read, Error> {
    let text = String::from_utf8_lossy(text);
    let text = text.trim_start_matches('\u{feff}').trim();
    if let Some(rest) = curl::command(text) {
        let request = curl::read(rest)?;
        return Ok(Read {
            request,
            response: None,
        });
    }
    let json: Value = serde_json::from_str(text)?;
    if json.get("log").is_some() || json.get("request").is_some_and(Value::is_object) {
        return har::read(&json, entry);
    }
    let fields = Fields::deserialize(&json)?;
    let mut headers = Vec::new();
    for (name, value) in fields.headers {
        let Some(text) = scalar(&value) else {
            return Err(field(&format!("headers.{name}"), &value, "a string"));
        };
        headers.push((name.to_ascii_lowercase(), text));
    }
    let body = fields.body.map(|body| match body {
        Value::String(text) => text.into_bytes(),
        json => json.to_string().into_bytes(),
    });
    let mut request = Request {
        method: fields.method.unwrap_or_default(),
        path: fields.path.unwrap_or_else(|| "/".to_owned()),
        headers,
        body,
        auth: fields.auth,
        metadata: fields.metadata,
        filter_state: fields.filter_state,
        source: fields.source,
    };
    complete(&mut request);
    let response = None;
    Ok(Read { request, response })
}
