//! Hashes of counter values.

#[cfg(test)]
mod tests;

use crate::host::Host;
use filter_config::{Limit, Policy};
use limits::{CREATE, SharedDataError};
use siphasher::sip128::{Hasher128, SipHasher13};
use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};

/// The shared data under which the workers keep the secret of the counter hash.
const SECRET: &[u8] = b"tollgate/1/secret";

/// The number of keys that counters without values have. A counter's page follows from its key: with one key, all
/// such limits would lie on a page that every exchange reads and writes; with one each, an exchange to which many of
/// them apply would have to read and write as many pages.
const KEYS_WITHOUT_VALUES: u8 = 64;

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

/// Returns the key of the counters of a limit that counts by no values. It follows from names, as the identity of the
/// counters does, so that it stays the same while that does.
pub(super) fn without_values(secret: &[u8; 16], policy: &Policy, limit: &Limit) -> u128 {
    let mut names = KeyHasher::new(secret);
    names.value(policy.name.as_bytes());
    names.value(limit.name.as_bytes());
    let [share, ..] = names.finish().to_le_bytes();
    let mut hasher = KeyHasher::new(secret);
    hasher.value(&[share % KEYS_WITHOUT_VALUES]);
    hasher.finish()
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
