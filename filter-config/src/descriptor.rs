//! The names by which a rate limit service knows the limits of a policy.
//!
//! They are those that Kuadrant's operator gives them, so that limits which it has written into a
//! limitador, those that `tollgate limits` prints, and what the filter asks for are the same.

use std::fmt::Write;

use sha2::{Digest, Sha256};

/// What is counted of a limit. A service counts each apart, under a key of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counted {
    /// Tokens, or what else the limit's cost makes of an exchange.
    Tokens,
    /// Requests.
    Requests,
    /// Billionths of a dollar.
    Usd,
}

/// Bytes of the hash that tells limits apart whose names read the same.
const HASH_BYTES: usize = 4;

/// The key of the descriptor entry that stands for a limit, such as `tokenlimit.free__887761d3`. Its
/// value is `1`.
///
/// Keys of limits on tokens begin with `tokenlimit.`, on requests with `limit.`, as Kuadrant's operator
/// has them for a `TokenRateLimitPolicy` and a `RateLimitPolicy`; of budgets with `budget.`. `policy` is the policy's `namespace/name`. Whatever is no letter, digit or underscore in the name
/// of the limit becomes an underscore. The hash is the start of the SHA-256 of `namespace/name/limit`.
///
/// ```
/// use filter_config::descriptor::{Counted, limit_key};
///
/// let key = limit_key(Counted::Tokens, "default/llm", "per-user");
/// assert_eq!(key, "tokenlimit.per_user__820519f1");
/// ```
#[must_use]
pub fn limit_key(counted: Counted, policy: &str, limit: &str) -> String {
    let prefix = match counted {
        Counted::Tokens => "tokenlimit.",
        Counted::Requests => "limit.",
        Counted::Usd => "budget.",
    };
    let mut key =
        String::with_capacity(prefix.len().saturating_add(limit.len()).saturating_add(10));
    key.push_str(prefix);
    key.extend(limit.chars().map(|character| {
        if character.is_alphanumeric() || character == '_' {
            character
        } else {
            '_'
        }
    }));
    key.push_str("__");
    let mut hash = Sha256::new();
    hash.update(policy);
    hash.update("/");
    hash.update(limit);
    for byte in hash.finalize().iter().take(HASH_BYTES) {
        // Writing to a string does not fail.
        let _ = write!(key, "{byte:02x}");
    }
    key
}

#[cfg(test)]
mod tests;
