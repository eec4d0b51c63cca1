//! The reports of a response over all its documents, and the one that counts.

use crate::dialects::{Count, Counts, Source};
use crate::usage::Usage;

/// The reports of a response, by source.
#[derive(Debug, Default)]
pub(super) struct Reports {
    /// A slot for each source that has reported, in order of precedence.
    slots: Vec<Slot>,
    has_unreadable_counts: bool,
}

/// The report of a source, as far as it has come.
#[derive(Debug)]
struct Slot {
    source: Source,
    counts: Counts,
    /// Whether a later report could not be read, so that this one is out of date.
    is_outdated: bool,
}

/// The usage that counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Reported {
    pub(super) usage: Usage,
    /// Whether it is only the least that was used.
    pub(super) is_partial: bool,
}

// === impl Reports ===

impl Reports {
    /// Returns whether a report had numbers that are not plausible.
    pub(super) fn have_unreadable_counts(&self) -> bool {
        self.has_unreadable_counts
    }

    /// Marks a number outside the reports as not plausible.
    pub(super) fn set_unreadable_counts(&mut self) {
        self.has_unreadable_counts = true;
    }

    /// Returns whether a source has reported any number.
    pub(super) fn has(&self, source: Source) -> bool {
        self.slot(source)
            .is_some_and(|slot| !slot.counts.is_empty())
    }

    /// Adds what one of several results reports.
    pub(super) fn add_result(&mut self, source: Source, counts: &Counts) {
        self.has_unreadable_counts |= counts.is_unreadable();
        let Some(slot) = self.slot_mut(source) else {
            return;
        };
        if counts.is_unreadable() {
            slot.is_outdated = true;
        } else {
            slot.counts.add_all(counts);
        }
    }

    /// Adds what a document reports.
    pub(super) fn add(&mut self, source: Source, counts: &Counts) {
        self.has_unreadable_counts |= counts.is_unreadable();
        let mut counts = *counts;
        if source == Source::StreamStart {
            counts.demote_output();
        }
        let Some(slot) = self.slot_mut(source) else {
            return;
        };
        slot.is_outdated = counts.is_unreadable();
        if counts.is_unreadable() {
            return;
        }
        match source {
            // Each document has the sum of all before it, or 0.
            Source::Inline => slot.counts.raise(&counts),
            _ => slot.counts.overlay(&counts),
        }
    }

    /// Returns the usage that counts: that of the first source which is not partial, or else of the first,
    /// with what server-side tools used. `has_text` says whether the response has generated text.
    pub(super) fn usage(&self, has_text: bool) -> Option<Reported> {
        let mut reports = self
            .slots
            .iter()
            .filter(|slot| slot.source != Source::Tools && !slot.counts.is_empty())
            .map(|slot| slot.reported(has_text));
        let first = reports.next();
        let counting = match first {
            Some(first) if first.is_partial => {
                Some(reports.find(|other| !other.is_partial).unwrap_or(first))
            }
            other => other,
        };
        let tools = self
            .slot(Source::Tools)
            .filter(|slot| !slot.counts.is_empty());
        let Some(tools) = tools else {
            return counting;
        };
        let tools = tools.counts.normalize();
        Some(match counting {
            Some(Reported { usage, is_partial }) => Reported {
                usage: usage.plus(&tools),
                is_partial,
            },
            None => Reported {
                usage: tools,
                is_partial: true,
            },
        })
    }

    /// Marks the report of a source as out of date.
    pub(super) fn set_outdated(&mut self, source: Source) {
        if let Some(slot) = self.slot_mut(source) {
            slot.is_outdated = true;
        }
    }

    fn slot(&self, source: Source) -> Option<&Slot> {
        let source = source.of_response();
        self.slots.iter().find(|slot| slot.source == source)
    }

    /// Returns the slot of a source, and adds it if it is missing.
    fn slot_mut(&mut self, source: Source) -> Option<&mut Slot> {
        let source = source.of_response();
        let index = self.slots.partition_point(|slot| slot.source < source);
        let is_known = self
            .slots
            .get(index)
            .is_some_and(|slot| slot.source == source);
        if !is_known {
            let slot = Slot {
                source,
                counts: Counts::default(),
                is_outdated: false,
            };
            self.slots.reserve_exact(1);
            self.slots.insert(index, slot);
        }
        self.slots.get_mut(index)
    }
}

// === impl Slot ===

impl Slot {
    /// Normalizes the report. It is partial if
    ///
    /// * output, apart from reasoning beside it, or input is 0 or absent although there is text, or output;
    /// * its output is the placeholder of a stream's start;
    /// * a later report could not be read.
    fn reported(&self, has_text: bool) -> Reported {
        let usage = self.counts.normalize();
        let reasoning = self.counts.get(Count::ReasoningExtra).unwrap_or(0);
        let lacks_output = has_text && usage.output_tokens <= reasoning;
        let lacks_input = usage.input_tokens == 0 && (has_text || usage.output_tokens > 0);
        let is_at_start = self.counts.get(Count::Output).is_none()
            && self.counts.get(Count::OutputAtStart).is_some();
        Reported {
            usage,
            is_partial: lacks_output || lacks_input || is_at_start || self.is_outdated,
        }
    }
}
