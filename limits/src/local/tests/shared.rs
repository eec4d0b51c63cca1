//! Shared data in memory, whose calls are counted and can be made to fail.

use crate::shared_data::{SharedData, SharedDataError};
use std::cell::{Cell, RefCell};
use std::collections::HashMap;

/// Values with their versions.
pub(super) type Values = HashMap<Vec<u8>, (Vec<u8>, u32)>;

/// Shared data of one thread.
#[derive(Default)]
pub(super) struct Shared {
    pub(super) values: RefCell<Values>,
    pub(super) reads: Calls,
    pub(super) writes: Calls,
}

/// The calls of one kind.
#[derive(Default)]
pub(super) struct Calls {
    count: Cell<usize>,
    failures: RefCell<Vec<SharedDataError>>,
}

// === impl Calls ===

impl Calls {
    /// Returns how many there were.
    pub(super) fn count(&self) -> usize {
        self.count.get()
    }

    /// Makes the next `times` calls fail.
    pub(super) fn fail(&self, times: usize, error: &SharedDataError) {
        *self.failures.borrow_mut() = vec![error.clone(); times];
    }

    fn call(&self) -> Result<(), SharedDataError> {
        self.count.set(self.count.get() + 1);
        self.failures.borrow_mut().pop().map_or(Ok(()), Err)
    }
}

// === impl Shared ===

impl SharedData for Shared {
    fn shared_data(&self, key: &[u8]) -> Result<Option<(Vec<u8>, u32)>, SharedDataError> {
        self.reads.call()?;
        Ok(self.values.borrow().get(key).cloned())
    }

    fn set_shared_data(
        &self,
        key: &[u8],
        value: &[u8],
        expected: u32,
    ) -> Result<(), SharedDataError> {
        self.writes.call()?;
        let mut values = self.values.borrow_mut();
        let version = values.get(key).map(|(_, version)| *version);
        if version.is_some_and(|version| version != expected) {
            return Err(SharedDataError::CasMismatch);
        }
        let next = version.unwrap_or(0) + 1;
        values.insert(key.to_vec(), (value.to_vec(), next));
        Ok(())
    }
}
