//! Entries of HAR files, as browsers save them.

use serde_json::Value;

use super::parts::{Error, Read, complete, field, scalar, split_url};
use crate::replay::{Request, Response};

/// Reads the entry of a HAR file, or a single entry.
pub(super) fn read(json: &Value, entry: usize) -> Result<Read, Error> {
    let Some(log) = json.get("log") else {
        return one(json);
    };
    let Some(entries) = log.get("entries").and_then(Value::as_array) else {
        return Err(field("log.entries", &log["entries"], "a list"));
    };
    let found = entry.checked_sub(1).and_then(|entry| entries.get(entry));
    let found = found.ok_or(Error::Entry {
        found: entry,
        entries: entries.len(),
    });
    one(found?)
}

fn one(entry: &Value) -> Result<Read, Error> {
    let request = &entry["request"];
    let text = |name: &str| {
        let value = request[name].as_str();
        value.ok_or_else(|| field(&format!("request.{name}"), &request[name], "a string"))
    };
    let (path, host) = split_url(text("url")?);
    let mut read = Request {
        method: text("method")?.to_owned(),
        path,
        headers: headers(&request["headers"]),
        ..Request::default()
    };
    if let Some(host) = host {
        read.default_header("host", host);
    }
    let body = request["postData"]["text"].as_str();
    read.body = body.map(|body| body.as_bytes().to_vec());
    complete(&mut read);
    let response = &entry["response"];
    let status = response["status"].as_u64();
    let status = status.and_then(|status| u16::try_from(status).ok());
    let content = response["content"]["text"].as_str();
    // What is encoded is not readable.
    let is_text = response["content"]["encoding"].is_null();
    let response = status.zip(content).filter(|_| is_text);
    let response = response.map(|(status, content)| {
        let guessed = Response::guessed(content.as_bytes().to_vec());
        let given = entry["response"]["content"]["mimeType"].as_str();
        let given = given.map(|kind| vec![("content-type".to_owned(), kind.to_owned())]);
        Response {
            status,
            headers: given.unwrap_or(guessed.headers),
            body: guessed.body,
        }
    });
    Ok(Read {
        request: read,
        response,
    })
}

/// Returns the headers of a list. Those of HTTP/2 that begin with a colon are the method and the URL.
fn headers(list: &Value) -> Vec<(String, String)> {
    let list = list.as_array().into_iter().flatten();
    let headers = list.filter_map(|header| {
        let name = header["name"].as_str()?.to_ascii_lowercase();
        let is_framing = name.starts_with(':')
            || ["content-length", "transfer-encoding", "connection"].contains(&name.as_str());
        (!is_framing).then_some((name, scalar(&header["value"])?))
    });
    headers.collect()
}
