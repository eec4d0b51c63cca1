//! Mistral's API, which has the paths of `OpenAI`'s: its clients and models are known by their names.
//!
//! It reports the usage of every stream, and rejects requests with `stream_options`.

#[cfg(test)]
mod tests;

use memchr::memmem;

/// How the user agents of Mistral's own SDKs begin.
const SDKS: &[u8] = b"mistral-client";

/// What the user agent of Vercel's package for Mistral contains.
const VERCEL: &[u8] = b"ai-sdk/mistral/";

/// How the names of its families end: mistral, ministral, codestral, devstral, magistral; mixtral, pixtral, voxtral.
const FAMILIES: [&str; 2] = ["stral", "xtral"];

/// Returns whether a request with this `user-agent` is written for Mistral's API.
#[must_use]
pub fn is_client(user_agent: &[u8]) -> bool {
    user_agent.starts_with(SDKS) || memmem::find(user_agent, VERCEL).is_some()
}

/// Returns whether a model is one of Mistral's.
#[must_use]
pub fn is_model(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    FAMILIES.iter().any(|family| name.contains(family))
}
