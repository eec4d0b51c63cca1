//! Hashes of counter values.

use crate::host::Host;
use limits::{CREATE, SharedDataError};
use siphasher::sip128::{Hasher128, SipHasher13};
use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};

/// The shared data under which the workers keep the secret of the counter hash.
const SECRET: &[u8] = b"tollgate/1/secret";

/// A hasher of a sequence of values. The boundaries between values are part of the hash.
#[derive(Clone, Copy, Debug)]
pub(crate) struct KeyHasher(SipHasher13);

// === impl KeyHasher ===

impl KeyHasher {
    /// Returns a hasher with a secret key.
    #[must_use]
    pub(crate) fn new(secret: &[u8; 16]) -> Self {
        Self(SipHasher13::new_with_key(secret))
    }

    /// Returns a hasher without a secret, for values of the configuration.
    #[must_use]
    pub(crate) fn unkeyed() -> Self {
        Self(SipHasher13::new())
    }

    /// Adds a value.
    pub(crate) fn value(&mut self, value: &[u8]) {
        self.0.write_usize(value.len());
        self.0.write(value);
    }

    /// Returns the hash of all values.
    #[must_use]
    pub(crate) fn finish(&self) -> u128 {
        self.0.finish128().as_u128()
    }
}

/// Returns the secret of this VM's counter hash. The first worker creates it.
pub(super) fn secret(host: &dyn Host) -> Result<[u8; 16], SharedDataError> {
    let random = RandomState::new();
    let mut secret = [0; 16];
    for (half, number) in secret.chunks_mut(8).zip(0_u64..) {
        half.copy_from_slice(&random.hash_one(number).to_le_bytes());
    }
    match host.set_shared_data(SECRET, &secret, CREATE) {
        Ok(()) => return Ok(secret),
        Err(SharedDataError::CasMismatch) => {}
        Err(error) => return Err(error),
    }
    let known = host
        .shared_data(SECRET)?
        .and_then(|(known, _)| known.try_into().ok());
    known.ok_or_else(|| SharedDataError::Failed("the secret is not 16 bytes long".to_owned()))
}
