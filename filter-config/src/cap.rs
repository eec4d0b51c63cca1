//! `cap`: hard limits, past which no request goes.

use crate::bounds;
use crate::error::{ErrorKind, Invalid, ValidationErrors};
use crate::fields::Fields;
use crate::path::Path;
use crate::reader;

/// How the output of requests is bounded by what is left of a hard limit, in tokens for each choice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cap {
    /// The least output that is worth a request: with less left, it is rejected. Within [`bounds::CAP_TOKENS`].
    pub min: u64,
    /// The most output of a request that sets no bound of its own. Within [`bounds::CAP_TOKENS`], and at least `min`.
    pub max: u64,
    /// The most tokens of an image, a recording or a file. Without it, requests with such parts are rejected. Within
    /// [`bounds::CAP_TOKENS`].
    pub parts: Option<u64>,
}

// === impl Cap ===

impl Default for Cap {
    fn default() -> Self {
        Self {
            min: 16,
            max: 4096,
            parts: None,
        }
    }
}

/// Reads `cap`, `capMin`, `capMax` and `capParts` of a limit.
pub(crate) fn read(
    fields: Fields<'_>,
    path: &Path<'_>,
    errors: &mut ValidationErrors,
) -> Result<Option<Cap>, Invalid> {
    let is_hard = fields.read_or("cap", path, errors, || false, reader::boolean);
    let mut tokens = |field| {
        fields.read_optional(field, path, errors, |json, path, errors| {
            reader::whole(json, &bounds::CAP_TOKENS, path, errors)
        })
    };
    let (min, max, parts) = (tokens("capMin"), tokens("capMax"), tokens("capParts"));
    let (is_hard, min, max, parts) = (is_hard?, min?, max?, parts?);
    if !is_hard {
        for (field, value) in [("capMin", min), ("capMax", max), ("capParts", parts)] {
            if value.is_some() {
                let kind = ErrorKind::Malformed("has no effect without \"cap\": true");
                errors.push(&path.field(field), kind);
            }
        }
        return Ok(None);
    }
    let default = Cap::default();
    let min = min.unwrap_or(default.min.min(max.unwrap_or(default.max)));
    let max = max.unwrap_or(default.max.max(min));
    if min > max {
        let kind = ErrorKind::Malformed("must not be greater than \"capMax\"");
        errors.push(&path.field("capMin"), kind);
    }
    Ok(Some(Cap { min, max, parts }))
}
