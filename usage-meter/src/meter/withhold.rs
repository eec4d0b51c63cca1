//! Takes the usage report that the filter asked for out of a stream, so that the client sees what
//! he asked for himself.
//!
//! The report is a server-sent event of its own: a chunk with `usage` and no `choices`. Whole events
//! pass at once; of one that breaks off at the end of the bytes at hand, the beginning waits for the
//! rest if it may be a report. An event longer than [`LONGEST`] is no such report and does not wait.

use memchr::{memchr2, memmem};
use serde::Deserialize;
use serde::de::IgnoredAny;

use super::sse::last_event_part;

/// The longest report that is taken out, in bytes of the event.
pub const LONGEST: usize = 16 * 1024;

/// How the chunk in which a choice finishes says so.
const FINISHES: [&[u8]; 2] = [b"finish_reason\":\"", b"finish_reason\": \""];

/// Fewer bytes are looked at event by event: what they are the end of is not worth telling.
const MANY: usize = 4096;

/// How far before the end of the bytes at hand a choice finishes whose report begins there.
const NEAR: usize = 2048;

/// See the [module](self).
#[derive(Debug, Default)]
pub struct Withhold {
    /// The beginning of an event whose end has not come.
    begun: Vec<u8>,
    /// Whether the event at hand is no report, and passes.
    passing: bool,
    /// Whether a choice has finished: the report comes after that.
    finished: bool,
}

/// What a chunk of a stream has.
#[derive(Deserialize)]
struct Chunk {
    choices: Vec<IgnoredAny>,
    usage: IgnoredUsage,
}

/// An object; anything else is no report.
struct IgnoredUsage;

impl<'de> Deserialize<'de> for IgnoredUsage {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        std::collections::HashMap::<String, IgnoredAny>::deserialize(deserializer).map(|_| Self)
    }
}

// === impl Withhold ===

impl Withhold {
    /// Takes the next bytes of the stream, of which it is known whether a report has come with them
    /// or before. Returns those that go on in their place, or `None` if they go on as they are.
    pub fn push(&mut self, bytes: &[u8], reported: bool, end: bool) -> Option<Vec<u8>> {
        if self.passes_whole(bytes, reported) && !end {
            return None;
        }
        self.sift(bytes, end)
    }

    /// Whether nothing has to be looked at event by event: no report is in the bytes, and none can
    /// begin at their end, because no choice has finished.
    fn passes_whole(&mut self, bytes: &[u8], reported: bool) -> bool {
        if reported || !self.begun.is_empty() || bytes.len() < MANY {
            return false;
        }
        let begun = last_event_part(bytes);
        let whole = bytes.len().saturating_sub(begun.len());
        let whole = bytes.get(..whole).unwrap_or_default();
        let near = whole.len().saturating_sub(NEAR);
        let near = whole.get(near..).unwrap_or_default();
        self.finished |= FINISHES
            .iter()
            .any(|sign| memmem::find(near, sign).is_some());
        if self.finished {
            return false;
        }
        // What begins here passes, and with it the rest that the next bytes begin with.
        self.passing = if whole.is_empty() {
            self.passing || !begun.is_empty()
        } else {
            !begun.is_empty()
        };
        true
    }

    /// Takes whole events that are reports out, and keeps the beginning of one.
    fn sift(&mut self, bytes: &[u8], end: bool) -> Option<Vec<u8>> {
        let waited = std::mem::take(&mut self.begun);
        let joined;
        let (input, mut changed) = if waited.is_empty() {
            (bytes, false)
        } else {
            joined = [&waited, bytes].concat();
            (joined.as_slice(), true)
        };
        let mut passed = Vec::new();
        // The part of the input that passes and is not in `passed` yet is `from..at`.
        let (mut from, mut at) = (0_usize, 0_usize);
        while let Some(length) = event(input.get(at..).unwrap_or_default(), end) {
            let next = at.saturating_add(length);
            let taken_out = !self.passing && is_report(input.get(at..next).unwrap_or_default());
            self.passing = false;
            if taken_out {
                passed.extend_from_slice(input.get(from..at).unwrap_or_default());
                from = next;
                changed = true;
            }
            at = next;
        }
        let rest = input.get(at..).unwrap_or_default();
        if end || self.passing || rest.len() > LONGEST || !may_be_report(rest) {
            // It may be whole, but for the half of a line's end that nothing depends on.
            self.passing = !rest.is_empty() && event(rest, true) != Some(rest.len());
            if end && !rest.is_empty() && is_report(rest) {
                changed = true;
            } else {
                at = input.len();
            }
        } else if !rest.is_empty() {
            self.begun = rest.to_vec();
            changed = true;
        }
        passed.extend_from_slice(input.get(from..at).unwrap_or_default());
        changed.then_some(passed)
    }
}

/// The length of the first event, the blank line that ends it included; `None` if there is no such
/// line. A carriage return at the very end may be half of a line's end, unless the stream ends.
fn event(bytes: &[u8], end: bool) -> Option<usize> {
    let mut line = 0_usize;
    loop {
        let length = memchr2(b'\n', b'\r', bytes.get(line..)?)?;
        let terminator = line.checked_add(length)?;
        let next = terminator.checked_add(1)?;
        let next = match (bytes.get(terminator)?, bytes.get(next)) {
            (b'\r', Some(b'\n')) => next.checked_add(1)?,
            (b'\r', None) if !end => return None,
            _ => next,
        };
        if length == 0 {
            return Some(next);
        }
        line = next;
    }
}

/// Whether an event that begins like this may be a report: not if it has choices.
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

/// Whether an event is a report of usage and nothing else.
fn is_report(event: &[u8]) -> bool {
    // Most chunks have choices: nothing but white space between the brackets is rare.
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

#[cfg(test)]
mod tests;
