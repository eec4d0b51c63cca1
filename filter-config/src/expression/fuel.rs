//! Fuel: what bounds the work of one evaluation, whatever the values of a request are.
//!
//! Work is paid for before it is done, or at once after it where it is no more than linear in values that exist
//! already. An evaluation whose fuel is exhausted has no value.

#[cfg(test)]
mod tests;

use std::cell::Cell;

use cel::ExecutionError;
use thiserror::Error;

/// Bytes of text or data that are compared or copied in one step.
const COPIED_BYTES_OF_STEP: u64 = 64;

/// Bytes of text that are searched, counted or changed by characters in one step.
const SCANNED_BYTES_OF_STEP: u64 = 16;

/// Entries that are searched in one step.
const SEARCHED_ENTRIES_OF_STEP: u64 = 16;

/// Bytes that an element of a list or map takes beside its text.
const BYTES_OF_ELEMENT: u64 = 32;

/// The work that an evaluation may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FuelLimits {
    /// Steps.
    pub steps: u64,
    /// Bytes of the values that it produces, temporary ones included.
    pub bytes: u64,
}

/// What an evaluation has exhausted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Exhausted {
    /// Steps.
    #[error("more steps than `expressions.steps` allows")]
    Steps,
    /// Bytes of produced values.
    #[error("more bytes produced than `expressions.bytes` allows")]
    Bytes,
}

/// The fuel of one evaluation.
#[derive(Debug)]
pub struct Fuel {
    steps: Cell<u64>,
    bytes: Cell<u64>,
    exhausted: Cell<Option<Exhausted>>,
    /// The entries among which the resolver searches a name.
    entries: u64,
}

// === impl FuelLimits ===

impl Default for FuelLimits {
    fn default() -> Self {
        Self {
            steps: 50_000,
            bytes: 1024 * 1024,
        }
    }
}

// === impl Fuel ===

impl Fuel {
    /// Returns the fuel of an evaluation.
    #[must_use]
    pub const fn new(limits: FuelLimits) -> Self {
        Self {
            steps: Cell::new(limits.steps),
            bytes: Cell::new(limits.bytes),
            exhausted: Cell::new(None),
            entries: 0,
        }
    }

    /// Returns the fuel of an evaluation whose resolver searches names among so many entries, such as headers.
    #[must_use]
    pub const fn searching(self, entries: usize) -> Self {
        Self {
            entries: whole(entries),
            ..self
        }
    }

    /// Returns the steps that are left.
    #[must_use]
    pub fn steps(&self) -> u64 {
        self.steps.get()
    }

    /// Returns what was exhausted, if anything was.
    #[must_use]
    pub fn exhausted(&self) -> Option<Exhausted> {
        self.exhausted.get()
    }

    /// Pays for steps.
    ///
    /// # Errors
    ///
    /// An error that is reported as [`Fuel::exhausted`], when fewer are left.
    pub(super) fn step(&self, steps: u64) -> Result<(), ExecutionError> {
        match self.steps.get().checked_sub(steps) {
            Some(rest) => {
                self.steps.set(rest);
                Ok(())
            }
            None => self.exhaust(Exhausted::Steps),
        }
    }

    /// Pays for comparing this many bytes.
    ///
    /// # Errors
    ///
    /// As [`Fuel::step`].
    pub(super) fn compare(&self, bytes: usize) -> Result<(), ExecutionError> {
        self.step(whole(bytes) / COPIED_BYTES_OF_STEP)
    }

    /// Pays for reading the characters of a text of this many bytes.
    ///
    /// # Errors
    ///
    /// As [`Fuel::step`].
    pub(super) fn scan(&self, bytes: usize) -> Result<(), ExecutionError> {
        self.step(whole(bytes) / SCANNED_BYTES_OF_STEP)
    }

    /// Pays for a search of the resolver.
    ///
    /// # Errors
    ///
    /// As [`Fuel::step`].
    pub(super) fn search(&self) -> Result<(), ExecutionError> {
        self.step(self.entries / SEARCHED_ENTRIES_OF_STEP)
    }

    /// Pays for a list of all names of the resolver.
    ///
    /// # Errors
    ///
    /// As [`Fuel::step`].
    pub(super) fn list_names(&self) -> Result<(), ExecutionError> {
        self.step(self.entries)
    }

    /// Pays for producing a value of these elements, with this many bytes of text.
    ///
    /// # Errors
    ///
    /// As [`Fuel::step`].
    pub(super) fn produce(&self, elements: usize, bytes: usize) -> Result<(), ExecutionError> {
        let copied = whole(bytes) / COPIED_BYTES_OF_STEP;
        self.step(copied.saturating_add(whole(elements)))?;
        let produced = whole(elements)
            .saturating_mul(BYTES_OF_ELEMENT)
            .saturating_add(whole(bytes));
        match self.bytes.get().checked_sub(produced) {
            Some(rest) => {
                self.bytes.set(rest);
                Ok(())
            }
            None => self.exhaust(Exhausted::Bytes),
        }
    }

    /// Ends the evaluation: whatever comes after it fails as well.
    #[cold]
    fn exhaust(&self, exhausted: Exhausted) -> Result<(), ExecutionError> {
        self.steps.set(0);
        if self.exhausted.get().is_none() {
            self.exhausted.set(Some(exhausted));
        }
        Err(ExecutionError::MissingArgumentOrTarget)
    }
}

const fn whole(number: usize) -> u64 {
    number as u64
}
