//! Signatures of AWS, version 4: a request that anything between client and provider has changed is rejected.
//!
//! <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html>

use std::fmt::Write;

use axum::http::{HeaderMap, request::Parts};
use sha2::{Digest, Sha256};

/// The secret of the credentials that clients use.
pub(super) const SECRET: &str = "secret-of-tests";

const ALGORITHM: &str = "AWS4-HMAC-SHA256";

/// The length of the blocks of SHA-256.
const BLOCK: usize = 64;

/// Verifies the signature of a request. Returns what is wrong with it.
pub(super) fn verify(head: &Parts, body: &[u8]) -> Result<(), String> {
    let authorization = text(&head.headers, "authorization");
    let fields = authorization
        .strip_prefix(ALGORITHM)
        .ok_or("the request is not signed")?;
    let field = |name: &str| {
        let mut fields = fields.split(',').map(str::trim);
        fields
            .find_map(|field| field.strip_prefix(name)?.strip_prefix('='))
            .ok_or_else(|| format!("the authorization has no {name}"))
    };
    let (_, scope) = field("Credential")?
        .split_once('/')
        .ok_or("the credential has no scope")?;
    let signed = field("SignedHeaders")?;
    let request = [
        head.method.as_str(),
        &encoded(head.uri.path(), b"/"),
        head.uri.query().unwrap_or_default(),
        &canonical(&head.headers, signed),
        signed,
        &hex(&Sha256::digest(body)),
    ]
    .join("\n");
    let time = text(&head.headers, "x-amz-date");
    let digest = hex(&Sha256::digest(request.as_bytes()));
    let to_sign = [ALGORITHM, &time, scope, &digest].join("\n");
    let key = scope
        .split('/')
        .fold(format!("AWS4{SECRET}").into_bytes(), |key, part| {
            hmac(&key, part.as_bytes()).to_vec()
        });
    let expected = hex(&hmac(&key, to_sign.as_bytes()));
    if field("Signature")? == expected {
        Ok(())
    } else {
        Err(format!(
            "the signature does not match the request that arrived:\n{request}"
        ))
    }
}

/// Returns the signed headers, each with a line end.
fn canonical(headers: &HeaderMap, signed: &str) -> String {
    let mut lines = String::new();
    for name in signed.split(';') {
        let value = text(headers, name);
        let value: Vec<_> = value.split_ascii_whitespace().collect();
        // Writing to a string does not fail.
        let _ = writeln!(lines, "{name}:{}", value.join(" "));
    }
    lines
}

/// Returns the values of a header, joined.
fn text(headers: &HeaderMap, name: &str) -> String {
    let values = headers.get_all(name).iter();
    let values: Vec<_> = values.filter_map(|value| value.to_str().ok()).collect();
    values.join(",")
}

/// Returns a text in percent-encoding, except unreserved characters and `safe` ones.
fn encoded(text: &str, safe: &[u8]) -> String {
    let mut encoded = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) || safe.contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            // Writing to a string does not fail.
            let _ = write!(encoded, "%{byte:02X}");
        }
    }
    encoded
}

/// Returns the HMAC (RFC 2104) of a message.
fn hmac(key: &[u8], message: &[u8]) -> [u8; 32] {
    let mut block = [0; BLOCK];
    if key.len() > BLOCK {
        block[..32].copy_from_slice(&Sha256::digest(key));
    } else {
        block[..key.len()].copy_from_slice(key);
    }
    let inner = Sha256::new()
        .chain_update(block.map(|byte| byte ^ 0x36))
        .chain_update(message)
        .finalize();
    Sha256::new()
        .chain_update(block.map(|byte| byte ^ 0x5c))
        .chain_update(inner)
        .finalize()
        .into()
}

fn hex(bytes: &[u8]) -> String {
    let mut text = String::new();
    for byte in bytes {
        // Writing to a string does not fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

#[cfg(test)]
mod tests;
