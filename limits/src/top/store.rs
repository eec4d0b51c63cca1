//! Sketches that several workers share: each adds its own now and then.

use super::{TopCounters, encoding::VERSION};
use crate::local::{ATTEMPTS, StoreError, shared_key};
use crate::rate::Rate;
use crate::shared_data::{CREATE, SharedData, SharedDataError};

/// The bits of a rate's identity that fit into a key beside the version.
const TAG_BITS: u64 = u64::MAX >> 8;

// === impl TopCounters ===

impl TopCounters {
    /// Adds what was counted for a rate to what the workers share, and empties this sketch.
    ///
    /// # Memory
    /// The value has at most `capacity` counters for each of two windows: 34 bytes and the text of each.
    ///
    /// # Errors
    /// [`StoreError`]; this sketch is as before then.
    pub fn publish(&mut self, shared: &dyn SharedData, rate: Rate) -> Result<(), StoreError> {
        let key = key(rate);
        for _ in 0..ATTEMPTS {
            let (mut all, version) = self.read(shared, &key)?;
            all.merge(self);
            match shared.set_shared_data(&key, &all.encode(), version) {
                Ok(()) => {
                    *self = Self {
                        window: self.window,
                        ..Self::new(self.capacity)
                    };
                    return Ok(());
                }
                Err(SharedDataError::CasMismatch) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(StoreError::Contended)
    }

    /// Returns what the workers share for a rate, with what this sketch has counted.
    ///
    /// # Errors
    /// [`StoreError::SharedData`].
    pub fn with_shared(&self, shared: &dyn SharedData, rate: Rate) -> Result<Self, StoreError> {
        let (mut all, _) = self.read(shared, &key(rate))?;
        all.merge(self);
        Ok(all)
    }

    /// Returns what the workers share, as of this sketch's window, and its version.
    fn read(&self, shared: &dyn SharedData, key: &[u8]) -> Result<(Self, u32), StoreError> {
        let (bytes, version) = shared.shared_data(key)?.unwrap_or((Vec::new(), CREATE));
        let all = Self::decode(&bytes, self.capacity);
        let mut all = all.unwrap_or_else(|| Self::new(self.capacity));
        all.advance(self.window);
        Ok((all, version))
    }
}

fn key(rate: Rate) -> [u8; 16] {
    shared_key(*b"tolltops", VERSION, rate.tag() & TAG_BITS)
}
