//! The filter that removes a usage report from a stream.

use memchr::{memchr2, memmem};

mod nulls;

use super::framings::sse::boundaries::after_last_blank_line;
use crate::json::Members;

#[cfg(test)]
mod tests;

/// The beginnings of a finish reason: the chunk that has one is the last of its choice.
const FINISH_REASONS: [&[u8]; 2] = [b"finish_reason\":\"", b"finish_reason\": \""];

/// The minimum length in bytes of a piece that may pass without a search for its events.
const MIN_SKIMMED_BYTES: usize = 4096;

/// The number of bytes before the end of a piece in which a choice finishes whose report begins there.
const FINISH_DISTANCE_BYTES: usize = 2048;

/// The length of the longest of [`FINISH_REASONS`] without its last byte.
const MAX_REASON_BYTES: usize = 16;

/// The number of bytes that are held although no choice has finished.
const SMALL_BYTES: usize = 1024;

/// Removes the usage report from a stream of OpenAI's chat completions, for a client that did not ask
/// for one, and the `"usage":null` that every other chunk has where one is requested.
///
/// The report is a server-sent event of its own: a chunk with `usage` and without `choices`. Complete
/// events pass at once. Bytes that end within an event that may be a report are held: they stay in the
/// caller's buffer until more bytes or the end of the stream follow, so that none are lost however it ends.
///
/// ```
/// use usage_meter::{Passage, ReportFilter};
///
/// let mut filter = ReportFilter::default();
/// let chunk = b"data: {\"choices\":[{}]}\n\n";
/// assert_eq!(filter.push(chunk, false, false), Passage::default());
/// let report = br#"data: {"choices":[],"usage":{"total_tokens":9}}"#;
/// assert!(filter.push(report, true, false).is_held);
/// let passage = filter.push(b"\n\n", true, true);
/// assert_eq!(passage.replacement, Some(Vec::new()));
/// ```
#[derive(Debug, Default)]
pub struct ReportFilter {
    /// The bytes that are held in the caller's buffer.
    held: Vec<u8>,
    /// Whether the current event is not a report, so that its rest passes.
    is_passing: bool,
    /// The number of bytes since a choice has finished; the report comes after that.
    since_finish: Option<usize>,
    /// Whether the chunks have `"usage":null`.
    nulls: Nulls,
    /// The last bytes that passed, in which a finish reason may begin.
    passed_end: Vec<u8>,
}

/// Whether the chunks of a stream have `"usage":null`. They are alike: the first with a choice shows it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Nulls {
    #[default]
    Unknown,
    Present,
    Absent,
}

/// What passes of the bytes at hand: those that are held, and the next ones.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Passage {
    /// The bytes that replace them, or `None` if they are unchanged.
    pub replacement: Option<Vec<u8>>,
    /// Whether they are to be held until more follow.
    pub is_held: bool,
}

// === impl ReportFilter ===

impl ReportFilter {
    /// The maximum length of a report in bytes. Longer events pass. No more bytes than this are held.
    pub const MAX_REPORT_BYTES: usize = 16 * 1024;

    /// Reads the next bytes of the stream. Returns what becomes of them and of those that are held.
    ///
    /// `reported` says whether a usage report has come in these bytes or before, as
    /// [`Meter::usage`](crate::Meter::usage) returns it. `end_of_stream` says whether they are the last.
    pub fn push(&mut self, bytes: &[u8], reported: bool, end_of_stream: bool) -> Passage {
        self.find_finish(bytes);
        let is_searched = match self.nulls {
            Nulls::Unknown => true,
            Nulls::Present => end_of_stream || ends_within_null(bytes),
            Nulls::Absent => end_of_stream,
        };
        if !is_searched && self.passes_unsearched(bytes, reported) {
            let has_nulls = self.nulls == Nulls::Present;
            return Passage {
                replacement: has_nulls.then(|| nulls::without(bytes)).flatten(),
                is_held: false,
            };
        }
        self.filter_events(bytes, end_of_stream)
    }

    /// Returns the number of bytes that are held in the caller's buffer.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        self.held.len()
    }

    /// Finds where a choice has finished.
    fn find_finish(&mut self, bytes: &[u8]) {
        // Of a large piece, only a finish near its end matters.
        let near_end = bytes.len().saturating_sub(FINISH_DISTANCE_BYTES);
        let near_end = match bytes.len() {
            ..MIN_SKIMMED_BYTES => bytes,
            _ => bytes.get(near_end..).unwrap_or_default(),
        };
        let found = distance_of_finish(near_end).or_else(|| {
            // One may begin in the bytes that passed before.
            let (first, rest) = near_end
                .split_at_checked(MAX_REASON_BYTES)
                .unwrap_or((near_end, &[]));
            let both = [&self.passed_end, first].concat();
            distance_of_finish(&both).map(|distance| distance.saturating_add(rest.len()))
        });
        self.since_finish = found.or_else(|| {
            self.since_finish
                .map(|bytes_before| bytes_before.saturating_add(bytes.len()))
        });
        if near_end.len() >= MAX_REASON_BYTES {
            self.passed_end.clear();
        }
        let start = near_end.len().saturating_sub(MAX_REASON_BYTES);
        let end = near_end.get(start..).unwrap_or_default();
        self.passed_end.extend_from_slice(end);
        let excess = self.passed_end.len().saturating_sub(MAX_REASON_BYTES);
        self.passed_end.drain(..excess);
    }

    /// Returns whether the bytes pass without a search for their events: there is no report in them,
    /// and none can begin at their end, because no choice has finished.
    fn passes_unsearched(&mut self, bytes: &[u8], reported: bool) -> bool {
        if reported
            || !self.held.is_empty()
            || bytes.len() < MIN_SKIMMED_BYTES
            || self.since_finish.is_some()
        {
            return false;
        }
        // The beginning of an event passes, and so must its rest in the next piece.
        self.is_passing = !after_last_blank_line(bytes).is_empty();
        true
    }

    /// Removes complete events that are reports, and holds the beginning of one.
    fn filter_events(&mut self, bytes: &[u8], end_of_stream: bool) -> Passage {
        let held = std::mem::take(&mut self.held);
        let joined;
        let input = if held.is_empty() {
            bytes
        } else {
            joined = [&held, bytes].concat();
            joined.as_slice()
        };
        let was_passing = self.is_passing;
        let may_have_nulls = self.nulls != Nulls::Absent;
        let mut changed = false;
        let mut passed = Vec::new();
        // `from..at` is the part of the input that passes but is not in `passed` yet.
        let (mut from, mut at) = (0_usize, 0_usize);
        while let Some(length) =
            first_event_length(input.get(at..).unwrap_or_default(), end_of_stream)
        {
            let next = at.saturating_add(length);
            let event = input.get(at..next).unwrap_or_default();
            let is_removed = !self.is_passing && is_report(event);
            if !self.is_passing {
                self.find_null(event);
            }
            self.is_passing = false;
            if is_removed {
                passed.extend_from_slice(input.get(from..at).unwrap_or_default());
                from = next;
                changed = true;
            }
            at = next;
        }
        let rest = input.get(at..).unwrap_or_default();
        let is_held = !end_of_stream
            && ((!self.is_passing && self.holds(rest, input.len()))
                || (may_have_nulls && ends_within_null(input)));
        if end_of_stream && !rest.is_empty() && !self.is_passing && is_report(rest) {
            changed = true;
        } else {
            at = input.len();
        }
        passed.extend_from_slice(input.get(from..at).unwrap_or_default());
        if is_held {
            // What is held begins where the first event of the input does.
            self.is_passing = was_passing;
            self.held = if changed {
                passed.clone()
            } else {
                input.to_vec()
            };
        } else {
            // The event is complete if only the second half of its last line ending is missing.
            self.is_passing =
                !rest.is_empty() && first_event_length(rest, true) != Some(rest.len());
        }
        if may_have_nulls
            && !is_held
            && let Some(without) = nulls::without(&passed)
        {
            passed = without;
            changed = true;
        }
        Passage {
            replacement: changed.then_some(passed),
            is_held,
        }
    }

    /// Finds out from a whole event whether chunks have `"usage":null`.
    fn find_null(&mut self, event: &[u8]) {
        if self.nulls == Nulls::Unknown && !may_be_report(event) {
            self.nulls = if nulls::has_any(event) {
                Nulls::Present
            } else {
                Nulls::Absent
            };
        }
    }

    /// Returns whether bytes of this length, whose last event has begun with `rest`, are held.
    ///
    /// The buffer that they are in may have a bound beyond which the stream fails. More than [`SMALL_BYTES`] are
    /// held only where a report is likely to follow.
    fn holds(&self, rest: &[u8], length: usize) -> bool {
        if rest.is_empty() || length > Self::MAX_REPORT_BYTES {
            return false;
        }
        // The first chunk has to be known as a whole before any of it passes.
        if self.nulls == Nulls::Unknown && length <= SMALL_BYTES {
            return true;
        }
        if !may_be_report(rest) {
            return false;
        }
        let is_near = |bytes: usize| bytes <= Self::MAX_REPORT_BYTES;
        length <= SMALL_BYTES || self.since_finish.is_some_and(is_near) || is_report(rest)
    }
}

/// Returns whether bytes end within what may be `"usage":null`, and are few enough to be held.
fn ends_within_null(bytes: &[u8]) -> bool {
    bytes.len() <= ReportFilter::MAX_REPORT_BYTES && nulls::ends_within(bytes)
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

/// Returns how far from the end the last finish reason begins.
fn distance_of_finish(bytes: &[u8]) -> Option<usize> {
    let reasons = FINISH_REASONS.iter();
    let last = reasons
        .filter_map(|reason| last_position(bytes, reason))
        .max()?;
    bytes.len().checked_sub(last)
}

/// Returns where the last occurrence of a text begins.
fn last_position(bytes: &[u8], text: &[u8]) -> Option<usize> {
    let mut last = None;
    let mut from = 0_usize;
    while let Some(at) = memmem::find(bytes.get(from..)?, text) {
        last = from.checked_add(at);
        from = last?.checked_add(1)?;
    }
    last
}

/// Returns whether an event is a usage report and nothing else.
#[cold]
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
    let value = |key: &str| {
        let place = Members::of(&data)?.find(key).ok()??;
        data.get(place)
    };
    let is_empty = |choices: &[u8]| {
        let inside = choices.strip_prefix(b"[").unwrap_or_default();
        inside.trim_ascii_start() == b"]"
    };
    value("choices").is_some_and(is_empty) && value("usage").is_some_and(|it| it.starts_with(b"{"))
}
