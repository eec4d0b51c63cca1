//! The names of limits in requests to a rate limit service.
//!
//! They are those of Kuadrant's operator, so that the limits that it writes into limitador, those that `tollgate limits`
//! prints, and those that the filter requests are the same.

mod go;

use std::fmt::Write;

use sha2::{Digest, Sha256};

/// What a limit counts. A service has a separate key for each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counted {
    /// Tokens, or the cost of the limit.
    Tokens,
    /// Requests.
    Requests,
    /// Billionths of a US dollar.
    Usd,
}

/// Bytes of the hash, which distinguishes limits whose names are equal once normalized.
const HASH_BYTES: usize = 4;

/// Returns the key of the descriptor entry of a limit, such as `tokenlimit.free__887761d3`. The value of the entry is
/// `1`.
///
/// Keys of limits on tokens begin with `tokenlimit.` and on requests with `limit.`, as those of Kuadrant's operator for
/// a `TokenRateLimitPolicy` and a `RateLimitPolicy`; those of budgets begin with `budget.`. `policy` is the policy's
/// `namespace/name`. In the name of the limit, other characters than letters, digits and underscores, as Go has them,
/// become underscores. The hash is the beginning of the SHA-256 of `namespace/name/limit`.
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
        if go::is_letter_or_digit(character) || character == '_' {
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
        // Writing to a string cannot fail.
        let _ = write!(key, "{byte:02x}");
    }
    key
}

#[cfg(test)]
mod tests;
