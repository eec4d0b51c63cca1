//! `requestBody`: how much of request bodies is held until the decision.

use crate::bounds;
use crate::error::{Invalid, ValidationErrors};
use crate::fields::{Fields, Schema};
use crate::json::Json;
use crate::memory::Memory;
use crate::path::Path;
use crate::values;

/// The fields of `requestBody`.
pub(crate) const REQUEST_BODY: Schema = Schema {
    known: &["maxBytes", "workerBytes"],
    ignored: &[],
};

/// The inspection of request bodies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestBody {
    /// Bytes of a request body that are held until the decision, within [`bounds::REQUEST_BODY_BYTES`].
    pub max_bytes: usize,
    /// Bytes of all request bodies together that a worker holds, within [`bounds::REQUEST_BODIES_BYTES`] and at
    /// most [`Memory::per_worker`].
    pub worker_bytes: usize,
}

// === impl RequestBody ===

impl Default for RequestBody {
    fn default() -> Self {
        RequestBody {
            max_bytes: 8 * 1024 * 1024,
            worker_bytes: Memory::default().default_for_bodies(),
        }
    }
}

/// Reads `requestBody` of the long form, of a worker with this memory.
pub(crate) fn of_long_form(
    fields: Fields<'_>,
    memory: Memory,
    path: &Path<'_>,
    errors: &mut ValidationErrors,
) -> Result<RequestBody, Invalid> {
    let default = || RequestBody {
        worker_bytes: memory.default_for_bodies(),
        ..RequestBody::default()
    };
    fields.read_or(
        "requestBody",
        path,
        errors,
        default,
        |json, path, errors| read(json, memory, path, errors),
    )
}

fn read(
    json: &Json,
    memory: Memory,
    path: &Path<'_>,
    errors: &mut ValidationErrors,
) -> Result<RequestBody, Invalid> {
    let fields = Fields::read(json, path, &REQUEST_BODY, errors)?;
    let default = || RequestBody::default().max_bytes;
    let max_bytes = fields.read_or("maxBytes", path, errors, default, |json, path, errors| {
        values::size(json, &bounds::REQUEST_BODY_BYTES, path, errors)
    });
    let default = || memory.default_for_bodies();
    let worker_bytes = fields.read_or(
        "workerBytes",
        path,
        errors,
        default,
        |json, path, errors| {
            let bytes = values::size(json, &bounds::REQUEST_BODIES_BYTES, path, errors)?;
            memory.check_bodies(bytes, path, errors)
        },
    );
    Ok(RequestBody {
        max_bytes: max_bytes?,
        worker_bytes: worker_bytes?,
    })
}
