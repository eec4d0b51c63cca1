//! `export` and `hitsAddend`: costs that are reported under configured names.

use crate::bounds;
use crate::error::{ErrorKind, Invalid, ValidationErrors};
use crate::expression::{Expression, Role};
use crate::json::Json;
use crate::path::Path;
use crate::reader::{self, unexpected};
use crate::values;

/// A cost that access logs and other filters can read, whether or not a limit counts it.
#[derive(Debug)]
pub struct Export {
    /// The name, a word; the filter state is `wasm.tollgate.cost.<name>`.
    pub name: String,
    /// The cost.
    pub cost: Expression,
}

/// Reads `export`: costs by their names.
pub(crate) fn read(
    json: &Json,
    path: &Path<'_>,
    errors: &mut ValidationErrors,
) -> Result<Vec<Export>, Invalid> {
    let entries = reader::entries(json, path, errors)?;
    if entries.is_empty() {
        errors.push(path, ErrorKind::Empty);
    }
    reader::at_most(entries.len(), "costs", bounds::EXPORTS, path, errors)?;
    let mut exports = Vec::with_capacity(entries.len());
    for (name, json) in entries {
        let path = path.field(name);
        let is_word = !name.is_empty()
            && name
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-');
        if !is_word {
            let kind =
                ErrorKind::Malformed("invalid name, expected letters, digits, \"_\" and \"-\"");
            errors.push(&path, kind);
        }
        // The error of the name is enough; the cost is read for its own.
        let _ = reader::at_most(name.len(), "bytes", bounds::NAME_BYTES, &path, errors);
        let cost = values::expression(json, Role::Cost, &path, errors);
        exports.extend(cost.map(|cost| Export {
            name: name.clone(),
            cost,
        }));
    }
    Ok(exports)
}

/// Reads `hitsAddend`: the name of an exported cost, of which it returns the position.
pub(crate) fn hits_addend(
    json: &Json,
    exports: &[Export],
    path: &Path<'_>,
    errors: &mut ValidationErrors,
) -> Result<usize, Invalid> {
    let name = reader::text(json, bounds::NAME_BYTES, path, errors)?;
    let found = exports.iter().position(|export| export.name == name);
    found.ok_or_else(|| unexpected(json, "the name of a cost in \"export\"", path, errors))
}
