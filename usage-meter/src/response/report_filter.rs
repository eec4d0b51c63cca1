//! The filter that removes a usage report from a stream.

use memchr::{memchr2, memmem};
use serde::Deserialize;
use serde::de::IgnoredAny;

use super::framings::sse::boundaries::after_last_blank_line;

#[cfg(test)]
mod tests;

/// The beginnings of a finish reason: the chunk that has one is the last of its choice.
const FINISH_REASONS: [&[u8]; 2] = [b"finish_reason\":\"", b"finish_reason\": \""];

/// The minimum length in bytes of a piece that may pass without a search for its events.
const MIN_SKIMMED_BYTES: usize = 4096;

/// The number of bytes before the end of a piece in which a choice finishes whose report begins there.
const FINISH_DISTANCE_BYTES: usize = 2048;

/// Removes the usage report from a stream of OpenAI's chat completions, for a client that did not ask
/// for one.
///
/// The report is a server-sent event of its own: a chunk with `usage` and without `choices`. Complete
/// events pass at once. The beginning of an event is held back until its end has come, if it may be a
/// report.
///
/// ```
/// use usage_meter::ReportFilter;
///
/// let report = br#"data: {"choices":[],"usage":{"total_tokens":9}}"#;
/// let mut filter = ReportFilter::default();
/// assert_eq!(filter.push(b"data: {\"choices\":[{}]}\n\n", false, false), None);
/// assert_eq!(filter.push(report, true, false), Some(Vec::new()));
/// assert_eq!(filter.push(b"\n\n", true, true), Some(Vec::new()));
/// ```
#[derive(Debug, Default)]
pub struct ReportFilter {
    /// The beginning of an event whose end has not come.
    held_back: Vec<u8>,
    /// Whether the current event is not a report, so that its rest passes.
    is_passing: bool,
    /// Whether a choice has finished; the report comes after that.
    has_finished: bool,
}

/// A chunk of a stream.
#[derive(Deserialize)]
struct Chunk {
    choices: Vec<IgnoredAny>,
    usage: IgnoredUsage,
}

/// An object; a chunk in which `usage` is anything else is not a report.
struct IgnoredUsage;

// === impl IgnoredUsage ===

impl<'de> Deserialize<'de> for IgnoredUsage {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        std::collections::HashMap::<String, IgnoredAny>::deserialize(deserializer).map(|_| Self)
    }
}

// === impl ReportFilter ===

impl ReportFilter {
    /// The maximum length of a report in bytes. Longer events pass.
    pub const MAX_REPORT_BYTES: usize = 16 * 1024;

    /// Reads the next bytes of the stream. Returns the bytes that replace them, or `None` if they pass
    /// unchanged.
    ///
    /// `reported` says whether a usage report has come in these bytes or before, as
    /// [`Meter::usage`](crate::Meter::usage) returns it. `end_of_stream` says whether they are the last.
    pub fn push(&mut self, bytes: &[u8], reported: bool, end_of_stream: bool) -> Option<Vec<u8>> {
        if self.passes_unsearched(bytes, reported) && !end_of_stream {
            return None;
        }
        self.filter_events(bytes, end_of_stream)
    }

    /// Returns whether the bytes pass without a search for their events: there is no report in them,
    /// and none can begin at their end, because no choice has finished.
    fn passes_unsearched(&mut self, bytes: &[u8], reported: bool) -> bool {
        if reported || !self.held_back.is_empty() || bytes.len() < MIN_SKIMMED_BYTES {
            return false;
        }
        let begun = after_last_blank_line(bytes);
        let complete = bytes.len().saturating_sub(begun.len());
        let complete = bytes.get(..complete).unwrap_or_default();
        let near_end = complete.len().saturating_sub(FINISH_DISTANCE_BYTES);
        let near_end = complete.get(near_end..).unwrap_or_default();
        self.has_finished |= FINISH_REASONS
            .iter()
            .any(|reason| memmem::find(near_end, reason).is_some());
        if self.has_finished {
            return false;
        }
        // The beginning of an event passes, and so must its rest in the next piece.
        self.is_passing = if complete.is_empty() {
            self.is_passing || !begun.is_empty()
        } else {
            !begun.is_empty()
        };
        true
    }

    /// Removes complete events that are reports, and holds back the beginning of one.
    fn filter_events(&mut self, bytes: &[u8], end_of_stream: bool) -> Option<Vec<u8>> {
        let held_back = std::mem::take(&mut self.held_back);
        let joined;
        let (input, mut changed) = if held_back.is_empty() {
            (bytes, false)
        } else {
            joined = [&held_back, bytes].concat();
            (joined.as_slice(), true)
        };
        let mut passed = Vec::new();
        // `from..at` is the part of the input that passes but is not in `passed` yet.
        let (mut from, mut at) = (0_usize, 0_usize);
        while let Some(length) =
            first_event_length(input.get(at..).unwrap_or_default(), end_of_stream)
        {
            let next = at.saturating_add(length);
            let is_removed = !self.is_passing && is_report(input.get(at..next).unwrap_or_default());
            self.is_passing = false;
            if is_removed {
                passed.extend_from_slice(input.get(from..at).unwrap_or_default());
                from = next;
                changed = true;
            }
            at = next;
        }
        let rest = input.get(at..).unwrap_or_default();
        let is_too_long = rest.len() > Self::MAX_REPORT_BYTES;
        if end_of_stream || self.is_passing || is_too_long || !may_be_report(rest) {
            // The event is complete if only the second half of its last line ending is missing.
            self.is_passing =
                !rest.is_empty() && first_event_length(rest, true) != Some(rest.len());
            if end_of_stream && !rest.is_empty() && is_report(rest) {
                changed = true;
            } else {
                at = input.len();
            }
        } else if !rest.is_empty() {
            self.held_back = rest.to_vec();
            changed = true;
        }
        passed.extend_from_slice(input.get(from..at).unwrap_or_default());
        changed.then_some(passed)
    }
}

/// Returns the length of the first event, including the blank line that ends it; `None` if there is no
/// such line. A CR at the end may be half of a line ending, unless the stream ends.
fn first_event_length(bytes: &[u8], end_of_stream: bool) -> Option<usize> {
    let mut line = 0_usize;
    loop {
        let length = memchr2(b'\n', b'\r', bytes.get(line..)?)?;
        let terminator = line.checked_add(length)?;
        let next = terminator.checked_add(1)?;
        let next = match (bytes.get(terminator)?, bytes.get(next)) {
            (b'\r', Some(b'\n')) => next.checked_add(1)?,
            (b'\r', None) if !end_of_stream => return None,
            _ => next,
        };
        if length == 0 {
            return Some(next);
        }
        line = next;
    }
}

/// Returns whether an event with this beginning may be a report: not if it has choices.
fn may_be_report(begun: &[u8]) -> bool {
    const CHOICES: &[u8] = b"\"choices\"";
    let Some(at) = memmem::find(begun, CHOICES) else {
        return true;
    };
    let value = begun
        .get(at.saturating_add(CHOICES.len())..)
        .unwrap_or_default();
    let value = value.trim_ascii_start();
    let value = value.strip_prefix(b":").unwrap_or(value).trim_ascii_start();
    match value.strip_prefix(b"[") {
        Some(inside) => matches!(inside.trim_ascii_start().first(), None | Some(b']')),
        None => value.is_empty(),
    }
}

/// Returns whether an event is a usage report and nothing else.
fn is_report(event: &[u8]) -> bool {
    // A fast check: a report has an empty array, which is rare in other chunks.
    let mut closes = memchr::memchr_iter(b']', event);
    let is_empty = |close| {
        let before = event.get(..close).unwrap_or_default();
        before.trim_ascii_end().ends_with(b"[")
    };
    if !closes.any(is_empty) {
        return false;
    }
    let mut data = Vec::new();
    for line in event.split(|byte| matches!(byte, b'\n' | b'\r')) {
        if let Some(value) = line.strip_prefix(b"data:") {
            data.extend_from_slice(value);
            data.push(b'\n');
        }
    }
    serde_json::from_slice::<Chunk>(&data).is_ok_and(|chunk| {
        let Chunk {
            choices,
            usage: IgnoredUsage,
        } = chunk;
        choices.is_empty()
    })
}
