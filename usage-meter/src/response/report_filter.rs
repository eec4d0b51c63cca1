//! The filter that removes a usage report from a stream.

use std::mem;
use std::sync::LazyLock;

use memchr::memmem::Finder;
use memchr::{memchr2, memrchr2};

mod cuts;
mod finish;
mod nulls;

use self::cuts::Cuts;
use self::finish::Finish;
use crate::json::Members;

#[cfg(test)]
mod tests;

/// The minimum length in bytes of a piece that may pass without a search for a report.
const MIN_SKIMMED_BYTES: usize = 4096;

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
#[derive(Clone, Debug, Default)]
pub struct ReportFilter {
    /// The bytes that are held in the caller's buffer.
    held: Vec<u8>,
    /// Whether the current event is not a report, so that its rest passes.
    is_passing: bool,
    /// Where a choice has finished; the report comes after that.
    finish: Finish,
    /// Whether the chunks have `"usage":null`.
    nulls: Nulls,
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
    pub fn push(
        &mut self,
        bytes: impl Into<Vec<u8>>,
        reported: bool,
        end_of_stream: bool,
    ) -> Passage {
        self.push_searched(bytes.into(), 0, reported, end_of_stream)
    }

    /// Reads the next bytes as [`Self::push`] does. So many at their beginning have no report, as
    /// [`Meter::push_tail`](crate::Meter::push_tail) says, and are not searched for one.
    pub fn push_searched(
        &mut self,
        bytes: Vec<u8>,
        searched: usize,
        reported: bool,
        end_of_stream: bool,
    ) -> Passage {
        self.finish.push(&bytes);
        let mut input = mem::take(&mut self.held);
        let was_held = !input.is_empty();
        if was_held {
            input.extend_from_slice(&bytes);
        } else {
            input = bytes;
        }
        self.find_nulls(&input, end_of_stream);
        let may_have_nulls = self.nulls != Nulls::Absent;
        let searched = if was_held || may_have_nulls {
            0
        } else {
            searched
        };
        // Where the last event begins, if the input has a whole one before it.
        let last = last_event_start(&input, end_of_stream);
        let was_passing = self.is_passing;
        let is_passing = was_passing && last.is_none();
        let rest = input.get(last.unwrap_or(0)..).unwrap_or_default();
        let is_held = !end_of_stream
            && ((!is_passing && self.holds(rest, input.len()))
                || (may_have_nulls && ends_within_null(&input)));
        // What is held begins where the first event of the input does.
        if !is_held {
            self.is_passing = !is_whole(rest);
        }
        let may_have_report = reported
            || was_held
            || end_of_stream
            || input.len() < MIN_SKIMMED_BYTES
            || self.finish.distance().is_some();
        // From what is held, they are removed once it passes.
        let removes_nulls = may_have_nulls && !is_held;
        let has_changed = (removes_nulls || may_have_report)
            && remove(
                &mut input,
                searched,
                !was_passing,
                removes_nulls,
                end_of_stream,
            );
        if is_held {
            self.held.clone_from(&input);
        }
        Passage {
            replacement: has_changed.then_some(input),
            is_held,
        }
    }

    /// Passes a long piece of which only the `head`, which may be empty, and the `tail` are at hand: there is no report
    /// between them, as [`Meter::push_tail`](crate::Meter::push_tail) says.
    ///
    /// Returns `false`, and has read nothing, if some of the piece may have to be held or removed. The whole piece is
    /// then to be read by [`Self::push`].
    pub fn push_ends(&mut self, head: &[u8], tail: &[u8], reported: bool) -> bool {
        if head.is_empty() {
            return self.push_tail(tail, reported);
        }
        let mut read = self.clone();
        let passes = read.push(head, reported, false) == Passage::default()
            && read.push_tail(tail, reported);
        if passes {
            *self = read;
        }
        passes
    }

    /// Passes a long piece of which only the `tail` is at hand, as [`Self::push_ends`] does.
    fn push_tail(&mut self, tail: &[u8], reported: bool) -> bool {
        let start = last_event_start(tail, false).unwrap_or(0);
        let rest = tail.get(start..).unwrap_or_default();
        let passes = !reported
            && self.held.is_empty()
            && self.nulls == Nulls::Absent
            && !is_report(rest)
            && self.finish.passes(tail);
        if passes {
            self.is_passing = !is_whole(rest);
        }
        passes
    }

    /// Returns the number of bytes that are held in the caller's buffer.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        self.held.len()
    }

    /// Finds out from the first whole event with a choice whether chunks have `"usage":null`.
    fn find_nulls(&mut self, input: &[u8], end_of_stream: bool) {
        let mut rest = input;
        let mut is_passing = self.is_passing;
        while self.nulls == Nulls::Unknown
            && let Some(length) = first_event_length(rest, end_of_stream)
        {
            let (event, others) = rest.split_at_checked(length).unwrap_or((rest, &[]));
            if !is_passing && !may_be_report(event) {
                self.nulls = if nulls::has_any(event) {
                    Nulls::Present
                } else {
                    Nulls::Absent
                };
            }
            is_passing = false;
            rest = others;
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
        length <= SMALL_BYTES || self.finish.distance().is_some_and(is_near) || is_report(rest)
    }
}

/// Removes reports, and the member `"usage":null` if `removes_nulls`. Returns whether there were any. The first event
/// may be a report if the input `begins_event`; there is nothing to remove in the bytes that are `searched`.
///
/// Reports and nulls both have the key `usage`, so that one search finds them.
fn remove(
    input: &mut Vec<u8>,
    searched: usize,
    begins_event: bool,
    removes_nulls: bool,
    end_of_stream: bool,
) -> bool {
    let mut cuts = Cuts::of(input);
    // What precedes `from` has been searched; whether an event begins there.
    let (mut from, mut begins_event) = (0_usize, begins_event);
    let mut at = searched;
    while let Some(key) = nulls::find_key(cuts.bytes(), at) {
        at = key.end;
        let bytes = cuts.bytes();
        if let Some(null) = nulls::member(bytes, from, &key) {
            if removes_nulls {
                (from, begins_event) = (null.end, false);
                at = null.end;
                cuts.remove(null);
            }
            continue;
        }
        let before = bytes.get(from..key.start).unwrap_or_default();
        let start = match last_event_start(before, true) {
            Some(start) => from.saturating_add(start),
            None if begins_event => from,
            None => continue,
        };
        let event = bytes.get(start..).unwrap_or_default();
        let length = first_event_length(event, end_of_stream);
        let Some(length) = length.or(end_of_stream.then_some(event.len())) else {
            break;
        };
        let end = start.saturating_add(length);
        if is_report(event.get(..length).unwrap_or_default()) {
            (from, begins_event) = (end, true);
            at = end;
            cuts.remove(start..end);
        }
    }
    cuts.finish()
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

/// Returns whether no event has begun, or it is complete but for the second half of its last line ending.
fn is_whole(rest: &[u8]) -> bool {
    rest.is_empty() || first_event_length(rest, true) == Some(rest.len())
}

/// Returns where the last event begins, after a blank line; `None` if there is no such line. A CR at the end may be
/// half of a line ending, unless the stream ends.
fn last_event_start(bytes: &[u8], end_of_stream: bool) -> Option<usize> {
    let mut before = bytes;
    while let Some(index) = memrchr2(b'\n', b'\r', before) {
        let is_half = !end_of_stream && before.len() == bytes.len() && before.ends_with(b"\r");
        let (line, ending) = before.split_at_checked(index)?;
        let line = match ending {
            [b'\n', ..] => line.strip_suffix(b"\r").unwrap_or(line),
            _ => line,
        };
        if !is_half && matches!(line, [] | [.., b'\n' | b'\r']) {
            return index.checked_add(1);
        }
        before = line;
    }
    None
}

/// Returns whether an event with this beginning may be a report: not if it has choices.
fn may_be_report(begun: &[u8]) -> bool {
    static CHOICES: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(b"\"choices\""));
    let Some(at) = CHOICES.find(begun) else {
        return true;
    };
    let value = begun
        .get(at.saturating_add(CHOICES.needle().len())..)
        .unwrap_or_default();
    let value = value.trim_ascii_start();
    let value = value.strip_prefix(b":").unwrap_or(value).trim_ascii_start();
    match value.strip_prefix(b"[") {
        Some(inside) => matches!(inside.trim_ascii_start().first(), None | Some(b']')),
        None => value.is_empty(),
    }
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
