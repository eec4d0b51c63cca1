//! Memory that several workers share.

/// A map from keys to values that several workers share. Each value has a version, which changes with
/// every write. Keys are never removed.
pub trait SharedData {
    /// Returns the value of a key and its version, which [`SharedData::set_shared_data`] takes; `None`
    /// if nothing was ever written.
    ///
    /// # Errors
    /// [`SharedDataError::Failed`].
    fn shared_data(&self, key: &[u8]) -> Result<Option<(Vec<u8>, u32)>, SharedDataError>;

    /// Writes a value if its version is still `expected`. [`CREATE`] writes only if the key has no value
    /// yet.
    ///
    /// # Errors
    /// [`SharedDataError::CasMismatch`] if another worker has written the value meanwhile;
    /// [`SharedDataError::Failed`].
    fn set_shared_data(
        &self,
        key: &[u8],
        value: &[u8],
        expected: u32,
    ) -> Result<(), SharedDataError>;
}

/// The version of a key without a value. No value ever has it.
pub const CREATE: u32 = u32::MAX;

/// Why shared data could not be read or written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SharedDataError {
    /// The value was written since it was read.
    #[error("compare-and-swap mismatch")]
    CasMismatch,
    /// The host failed, in its own words.
    #[error("{0}")]
    Failed(String),
}
