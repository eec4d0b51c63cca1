//! `memory`: the budget of what callers and peers make a worker keep.

use crate::bounds;
use crate::error::{ErrorKind, Invalid, ValidationErrors};
use crate::fields::{Fields, Schema};
use crate::json::Json;
use crate::path::Path;
use crate::values;

/// The fields of `memory`.
pub(crate) const MEMORY: Schema = Schema {
    known: &["perWorker"],
    ignored: &[],
};

/// The default of `memory.perWorker`: half of the memory that a VM has.
const DEFAULT_BYTES: usize = 512 * 1024 * 1024;

/// Of a worker's memory, one part in this number is for held request bodies, unless the configuration says
/// otherwise.
const BODIES_DIVISOR: usize = 2;

/// The memory of a worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Memory {
    /// Bytes that the module may have allocated in a worker, within [`bounds::WORKER_BYTES`].
    pub per_worker: usize,
}

// === impl Memory ===

impl Default for Memory {
    fn default() -> Self {
        Self {
            per_worker: DEFAULT_BYTES,
        }
    }
}

impl Memory {
    /// Returns the default of `requestBody.workerBytes`.
    pub(crate) const fn default_for_bodies(self) -> usize {
        self.per_worker / BODIES_DIVISOR
    }

    /// Checks that the bodies that a worker may hold fit into its memory.
    pub(crate) fn check_bodies(
        self,
        worker_bytes: usize,
        path: &Path<'_>,
        errors: &mut ValidationErrors,
    ) -> Result<usize, Invalid> {
        if worker_bytes > self.per_worker {
            return Err(errors.push(path, ErrorKind::AboveWorkerMemory));
        }
        Ok(worker_bytes)
    }
}

/// Reads `memory`.
pub(crate) fn read(
    json: &Json,
    path: &Path<'_>,
    errors: &mut ValidationErrors,
) -> Result<Memory, Invalid> {
    let fields = Fields::read(json, path, &MEMORY, errors)?;
    let default = || DEFAULT_BYTES;
    let per_worker = fields.read_or("perWorker", path, errors, default, |json, path, errors| {
        values::size(json, &bounds::WORKER_BYTES, path, errors)
    })?;
    Ok(Memory { per_worker })
}
