//! The interface of one coding.

use super::error::DecodeError;
use super::output::Output;

/// A content coding.
pub(super) trait Coding: std::fmt::Debug {
    /// Decodes bytes from the beginning of `input`, and removes them, until there are none left or the output
    /// is [full](Output::is_full). What was decoded before an error counts.
    fn decode(&mut self, input: &mut &[u8], output: &mut Output) -> Result<(), DecodeError>;

    /// Returns whether the input has ended according to the coding.
    fn has_ended(&self) -> bool;
}
