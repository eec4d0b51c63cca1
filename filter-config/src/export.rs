//! What an exchange is told to have cost, under names of the configuration's own.

use crate::bounds;
use crate::expression::{Expression, Role};
use crate::fault::{FaultKind, Faults};
use crate::fields;
use crate::json::Json;
use crate::limit;
use crate::path::Path;

/// A cost that access logs and other filters are told of, whether or not a limit counts it.
#[derive(Debug)]
pub struct Export {
    /// The name, a word; the filter state is `wasm.tollgate.cost.<name>`.
    pub name: String,
    /// The cost.
    pub cost: Expression,
}

/// Reads `export`: costs by their names.
pub(crate) fn read(json: &Json, path: &Path<'_>, faults: &mut Faults) -> Option<Vec<Export>> {
    let entries = fields::entries(json, path, faults)?;
    if entries.is_empty() {
        faults.push(path, FaultKind::MustNotBeEmpty);
    }
    if !fields::at_most(entries.len(), "costs", bounds::EXPORTS, path, faults) {
        return None;
    }
    let mut exports = Vec::with_capacity(entries.len());
    for (name, json) in entries {
        let path = path.field(name);
        let is_word = !name.is_empty()
            && name
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-');
        if !is_word {
            let kind = FaultKind::Malformed("a cost must have a name of letters, digits, _ and -");
            faults.push(&path, kind);
        }
        fields::at_most(name.len(), "bytes", bounds::NAME_BYTES, &path, faults);
        let cost = limit::expression(json, Role::Cost, &path, faults);
        exports.extend(cost.map(|cost| Export {
            name: name.clone(),
            cost,
        }));
    }
    Some(exports)
}

/// Finds the cost of `hitsAddend` by its name.
pub(crate) fn named(
    json: &Json,
    exports: &[Export],
    path: &Path<'_>,
    faults: &mut Faults,
) -> Option<usize> {
    let name = fields::text(json, bounds::NAME_BYTES, path, faults)?;
    let found = exports.iter().position(|export| export.name == name);
    if found.is_none() {
        fields::expected(json, "the name of a cost in \"export\"", path, faults);
    }
    found
}
