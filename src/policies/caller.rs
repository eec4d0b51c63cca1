//! The values that a limit counts a caller by, as text for the log.

use super::Policies;
use crate::attributes::Attributes;
use filter_config::Limit;

/// Parts of an expression that may name a credential, in lower case.
const CREDENTIALS: [&str; 7] = [
    "authorization",
    "cookie",
    "key",
    "token",
    "secret",
    "password",
    "credential",
];

/// The most characters of one value.
const MAX_CHARS: usize = 64;

// === impl Policies ===

impl Policies {
    /// Returns the values of a limit's counter expressions, such as `auth.identity.userid = alice`:
    /// as much of each as distinguishes callers, and nothing of a value that an expression takes from
    /// where credentials are.
    #[must_use]
    pub(crate) fn describe_caller(&self, attributes: &mut Attributes, limit: &Limit) -> String {
        let mut caller = String::new();
        for counter in &limit.counters {
            let source = counter.source().to_ascii_lowercase();
            let value = if CREDENTIALS.iter().any(|part| source.contains(part)) {
                "[withheld]".to_owned()
            } else {
                let value = self.evaluator().text(attributes, counter);
                let value = value.unwrap_or_else(|error| error.to_string());
                value.chars().take(MAX_CHARS).collect()
            };
            if !caller.is_empty() {
                caller.push_str(", ");
            }
            caller.push_str(counter.source());
            caller.push_str(" = ");
            caller.push_str(&value);
        }
        caller
    }
}
