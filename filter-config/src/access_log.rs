//! `accessLog`: the form in which access logs have an exchange.

use crate::error::{Invalid, ValidationErrors};
use crate::json::Json;
use crate::path::Path;
use crate::reader;

/// The form in which filter state has an exchange, for access logs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AccessLog {
    /// A string for each value, below keys of its own: `wasm.tollgate.total_tokens`.
    #[default]
    Keys,
    /// One `google.protobuf.Struct`, `wasm.tollgate`: a single call to Envoy.
    Record,
    /// Both.
    Both,
}

// === impl AccessLog ===

impl AccessLog {
    /// Returns whether each value has a key of its own.
    #[must_use]
    pub const fn has_keys(self) -> bool {
        matches!(self, Self::Keys | Self::Both)
    }

    /// Returns whether there is a record.
    #[must_use]
    pub const fn has_record(self) -> bool {
        matches!(self, Self::Record | Self::Both)
    }
}

/// Reads `accessLog`.
pub(crate) fn read(
    json: &Json,
    path: &Path<'_>,
    errors: &mut ValidationErrors,
) -> Result<AccessLog, Invalid> {
    let choices = [
        ("keys", AccessLog::Keys),
        ("record", AccessLog::Record),
        ("both", AccessLog::Both),
    ];
    reader::choice(json, &choices, path, errors)
}
