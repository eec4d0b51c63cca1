//! Server-sent events: passes the `data` of each event to the scanner, without buffering a line.
//!
//! The framing is that of the WHATWG HTML standard, section 9.2.6: lines end with CR, LF or CRLF, a
//! byte order mark may come first, a line that starts with a colon is a comment, the `data` lines of
//! an event are joined by a newline, and a blank line ends it. Other fields are ignored. Unlike in the
//! standard, an event that the end of the stream cuts off counts as far as it has come, and a line that
//! starts with a brace is data.
//!
//! Most events of a long OpenAI stream need not be scanned. [`Events::push`] scans the incomplete
//! events at both ends of a piece, the first events of the stream, one event every
//! [`SAMPLE_EVERY_BYTES`], the last complete event of each piece, and each event that mentions
//! `usage`. It skips the others: complete events without a report. The one thing it misses there is a
//! key `usage` that is written with escapes. [`Events::scan`] reads every event; tests compare the two.
//!
//! Of a long piece of such a stream, [`Events::push_tail`] reads only the end, once its first events were read. It misses a report that
//! text follows in the same piece, if it is the first.

use std::mem;
use std::sync::LazyLock;

use memchr::{memchr2, memmem};

use self::boundaries::{after_last_blank_line, first_event_length, split_last_event};
use self::template::Template;
use crate::dialects::Field;
use crate::json::{BYTE_ORDER_MARK, Scanner};
use crate::response::report::Report;

mod boundaries;
mod template;

/// A string in every event that reports usage, in streams that are [`Report::is_skippable`].
const NEEDLE: &[u8] = b"usage";

/// The number of events with generated text that are scanned before any event is skipped.
const SCANNED_FIRST: u64 = 16;

/// The number of skipped bytes after which an event is scanned as a sample.
const SAMPLE_EVERY_BYTES: usize = 16 * 1024;

/// The data of the event that ends an OpenAI stream.
const DONE: &[u8] = b"[DONE]";

/// A reader of server-sent events. See the [module](self).
#[derive(Debug)]
pub(crate) struct Events {
    scanner: Scanner<Field>,
    line: Line,
    /// Whether the last byte was a CR, to which an LF that follows belongs.
    is_after_return: bool,
    /// The part of a byte order mark that may still come.
    mark: &'static [u8],
    /// Whether the current event has data.
    has_data: bool,
    /// The number of bytes of its data, as long as they agree with [`DONE`].
    done_prefix: Option<usize>,
    /// The number of events that have ended.
    ended: u64,
    /// The number of bytes of the current event that have been scanned.
    event_bytes: u64,
    documents_with_output: u64,
    /// The total length of the scanned events with generated text.
    output_event_bytes: u64,
    /// The length of the data of all scanned events, except that of the last.
    data_bytes: u64,
    /// The total length of the events that were skipped.
    skipped_bytes: u64,
    /// Whether an event that does not mention [`NEEDLE`] cannot report usage.
    may_skip: bool,
    /// The last event that was scanned to its end, if it was at hand as a whole.
    template: Template,
    /// The length of the data of the template without its text.
    template_data_bytes: u64,
}

/// The position of the next byte in its line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Line {
    /// At the start.
    Start,
    /// In the name of a field, of which this number of bytes agrees with `data`.
    Name(usize),
    /// After `data:`, where a space is not part of the value.
    Space,
    /// In the value of `data`.
    Data,
    /// In a part that is ignored.
    Ignored,
}

// === impl Events ===

impl Events {
    /// Returns a reader before its first byte. `below_usage` says whether all paths to usage have a
    /// key that contains `usage`.
    pub(crate) fn new(scanner: Scanner<Field>, below_usage: bool) -> Self {
        Self {
            scanner,
            line: Line::Start,
            is_after_return: false,
            mark: BYTE_ORDER_MARK,
            has_data: false,
            done_prefix: Some(0),
            ended: 0,
            event_bytes: 0,
            documents_with_output: 0,
            output_event_bytes: 0,
            data_bytes: 0,
            skipped_bytes: 0,
            may_skip: below_usage,
            template: Template::default(),
            template_data_bytes: 0,
        }
    }

    /// Reads the next bytes, and skips events that cannot report usage.
    pub(crate) fn push(&mut self, bytes: &[u8], report: &mut Report) {
        let mut rest = bytes;
        while !rest.is_empty() && (self.event_bytes > 0 || !self.may_skip || !may_skip(report)) {
            rest = self.scan_event(rest, report);
        }
        // Most pieces are one event.
        rest = self.pass_alike(rest, report);
        let Some((complete, tail)) = split_last_event(rest) else {
            return self.scan(rest, report);
        };
        self.skim(complete, report);
        self.scan(tail, report);
    }

    /// Returns whether [`Self::push_tail`] may read the end of a long piece alone.
    pub(crate) fn may_skip(&self, report: &Report) -> bool {
        self.may_skip && may_skip(report) && report.usage().is_none()
    }

    /// Returns whether [`Self::may_skip`] may hold once more events were read.
    pub(crate) fn may_skip_later(&self, report: &Report) -> bool {
        self.may_skip && report.documents_with_output() < SCANNED_FIRST && report.usage().is_none()
    }

    /// Reads the end of a piece without the bytes before it. Returns `false`, and has read nothing, unless its first
    /// whole event has text: the report comes after all text, so it is not in what comes before that event.
    pub(crate) fn push_tail(&mut self, skipped: usize, tail: &[u8], report: &mut Report) -> bool {
        let begun = first_event_length(tail);
        let (begun, events) = tail.split_at_checked(begun).unwrap_or((tail, &[]));
        let first = first_event_length(events);
        if first == events.len() || !self.has_text(events.get(..first).unwrap_or_default()) {
            return false;
        }
        let skipped = skipped.saturating_add(begun.len()) as u64;
        // The event that was being read is skipped with the rest of it.
        let skipped = skipped.saturating_add(mem::take(&mut self.event_bytes));
        self.skipped_bytes = self.skipped_bytes.saturating_add(skipped);
        report.drop_document();
        self.scanner.reset();
        self.begin_event();
        self.line = Line::Start;
        self.is_after_return = false;
        self.push(events, report);
        true
    }

    /// Returns whether an event has text and no report.
    fn has_text(&mut self, event: &[u8]) -> bool {
        if self.template.find(event).is_some() {
            return true;
        }
        let mut report = Report::default();
        let mut events = Self::new(self.scanner.another(), false);
        events.scan(event, &mut report);
        report.documents_with_output() > 0 && report.usage().is_none()
    }

    /// Reads the next bytes, and scans every event.
    pub(crate) fn scan(&mut self, bytes: &[u8], report: &mut Report) {
        let mut rest = bytes;
        while !rest.is_empty() {
            rest = self.scan_event(rest, report);
        }
    }

    /// Ends the stream.
    pub(crate) fn finish(&mut self, report: &mut Report) {
        self.end_event(report);
    }

    /// Returns the number of bytes of generated text: those `counted` in scanned events, extrapolated
    /// to the events that were skipped.
    pub(crate) fn output_bytes(&self, counted: u64) -> u64 {
        let skipped = u128::from(counted)
            .saturating_mul(u128::from(self.skipped_bytes))
            .checked_div(u128::from(self.output_event_bytes))
            .unwrap_or(0);
        counted.saturating_add(u64::try_from(skipped).unwrap_or(u64::MAX))
    }

    /// Returns the length of the data of events that were scanned.
    pub(crate) fn data_bytes(&self) -> u64 {
        self.data_bytes
    }

    /// Reads complete events, and scans samples of them, from which the text of the others is extrapolated.
    /// Short pieces need no samples: the events at both their ends are scanned.
    fn skim(&mut self, events: &[u8], report: &mut Report) {
        let mut rest = events;
        while let Some((near, far)) = rest.split_at_checked(SAMPLE_EVERY_BYTES) {
            let end = near.len().saturating_add(first_event_length(far));
            let (skipped, others) = rest.split_at_checked(end).unwrap_or((rest, &[]));
            self.skip(skipped, report);
            let sample = first_event_length(others);
            let (event, others) = others.split_at_checked(sample).unwrap_or((others, &[]));
            self.scan(event, report);
            rest = others;
        }
        self.skip(rest, report);
    }

    /// Reads complete events, and scans those that may report usage.
    fn skip(&mut self, events: &[u8], report: &mut Report) {
        static FINDER: LazyLock<memmem::Finder<'static>> =
            LazyLock::new(|| memmem::Finder::new(NEEDLE));
        let mut skipped = events.len();
        // The start of the part that has not been searched.
        let mut from = 0_usize;
        while let Some(unsearched) = events.get(from..)
            && let Some(index) = FINDER.find(unsearched)
        {
            let after = from.saturating_add(index).saturating_add(NEEDLE.len());
            let (before, behind) = events.split_at_checked(after).unwrap_or((events, &[]));
            from = after;
            if !is_null(behind) {
                let start = after.saturating_sub(after_last_blank_line(before).len());
                from = after.saturating_add(first_event_length(behind));
                let event = events.get(start..from).unwrap_or_default();
                self.scan(event, report);
                skipped = skipped.saturating_sub(event.len());
            }
        }
        self.skipped_bytes = self.skipped_bytes.saturating_add(skipped as u64);
    }

    /// Reads an event that is like the last one that was scanned, and returns what follows; all bytes if it is not alike.
    fn pass_alike<'a>(&mut self, bytes: &'a [u8], report: &mut Report) -> &'a [u8] {
        if self.event_bytes > 0 || self.is_after_return {
            return bytes;
        }
        let Some(alike) = self.template.find(bytes) else {
            return bytes;
        };
        let text_bytes = alike.text_bytes as u64;
        report.repeat_document(text_bytes);
        self.documents_with_output = report.documents_with_output();
        self.output_event_bytes = self.output_event_bytes.saturating_add(alike.bytes as u64);
        let data_bytes = self.template_data_bytes.saturating_add(text_bytes);
        self.data_bytes = self.data_bytes.saturating_add(data_bytes);
        self.ended = self.ended.saturating_add(1);
        bytes.get(alike.bytes..).unwrap_or_default()
    }

    /// Scans the current event up to its end, and returns what follows.
    fn scan_event<'a>(&mut self, bytes: &'a [u8], report: &mut Report) -> &'a [u8] {
        let others = self.pass_alike(bytes, report);
        if others.len() < bytes.len() {
            return others;
        }
        let is_whole = self.event_bytes == 0 && !self.is_after_return;
        let before = (report.documents(), report.output_bytes(), self.data_bytes);
        let mut rest = bytes;
        let ended = self.ended;
        while ended == self.ended
            && let Some((&byte, tail)) = rest.split_first()
        {
            if self.is_after_return {
                self.is_after_return = false;
                if byte == b'\n' {
                    rest = tail;
                    continue;
                }
            }
            if let Some((&next, marks)) = self.mark.split_first() {
                if byte == next {
                    self.mark = marks;
                    rest = tail;
                    continue;
                }
                if marks.len() < 2 {
                    self.line = Line::Ignored;
                }
                self.mark = &[];
            }
            // The fast path of nearly all lines with data.
            if self.line == Line::Start
                && let Some(value) = rest.strip_prefix(b"data: ")
            {
                self.begin_data(report);
                rest = value;
                continue;
            }
            rest = match (self.line, byte) {
                (Line::Data | Line::Ignored, _) => self.rest_of_line(rest, report),
                (_, b'\r' | b'\n') => {
                    self.end_line(byte, report);
                    tail
                }
                // JSON without the name of a field, as some servers send it under this content type.
                (Line::Start, b'{') => {
                    self.begin_data(report);
                    rest
                }
                (Line::Start, b'd') => self.continue_in(Line::Name(1), tail),
                (Line::Name(4), b':') => self.continue_in(Line::Space, tail),
                (Line::Name(known), _) if b"data".get(known) == Some(&byte) => {
                    self.continue_in(Line::Name(known.saturating_add(1)), tail)
                }
                (Line::Start | Line::Name(_), _) => self.continue_in(Line::Ignored, tail),
                (Line::Space, b' ') => {
                    self.begin_data(report);
                    tail
                }
                (Line::Space, _) => {
                    self.begin_data(report);
                    rest
                }
            };
        }
        // The LF of a CRLF that ended the event is not part of the next event.
        if self.is_after_return
            && let Some(tail) = rest.strip_prefix(b"\n")
        {
            self.is_after_return = false;
            rest = tail;
        }
        let read = bytes.len().saturating_sub(rest.len());
        self.event_bytes = self.event_bytes.saturating_add(read as u64);
        if ended != self.ended {
            let documents = report.documents_with_output();
            if documents != self.documents_with_output {
                self.output_event_bytes = self.output_event_bytes.saturating_add(self.event_bytes);
            }
            self.documents_with_output = documents;
            self.event_bytes = 0;
            let event = bytes.get(..read).filter(|_| is_whole);
            self.keep_template(event.unwrap_or_default(), before, report);
        }
        rest
    }

    /// Keeps the event that was scanned, if it is whole and one that differs from it in its text alone reports the same.
    fn keep_template(
        &mut self,
        event: &[u8],
        (documents, output_bytes, data_bytes): (u64, u64, u64),
        report: &Report,
    ) {
        let text_bytes = report.output_bytes().saturating_sub(output_bytes);
        let is_one = report.documents() == documents.saturating_add(1);
        let is_chunk = report.is_skippable() && !report.is_last() && report.usage().is_none();
        self.template.clear();
        if !event.is_empty() && text_bytes > 0 && is_one && is_chunk {
            self.template.keep(event, text_bytes);
            let data_bytes = self.data_bytes.saturating_sub(data_bytes);
            self.template_data_bytes = data_bytes.saturating_sub(text_bytes);
        }
    }

    fn continue_in<'a>(&mut self, line: Line, rest: &'a [u8]) -> &'a [u8] {
        self.line = line;
        rest
    }

    /// Reads the rest of a line, as far as it has come.
    fn rest_of_line<'a>(&mut self, bytes: &'a [u8], report: &mut Report) -> &'a [u8] {
        let end = memchr2(b'\r', b'\n', bytes);
        let (run, rest) = bytes
            .split_at_checked(end.unwrap_or(bytes.len()))
            .unwrap_or((bytes, &[]));
        if self.line == Line::Data {
            self.data(run, report);
        }
        match rest.split_first() {
            Some((&byte, tail)) => {
                self.end_line(byte, report);
                tail
            }
            None => rest,
        }
    }

    fn begin_data(&mut self, report: &mut Report) {
        self.line = Line::Data;
        if mem::replace(&mut self.has_data, true) {
            self.data(b"\n", report);
        }
    }

    fn data(&mut self, bytes: &[u8], report: &mut Report) {
        if let Some(known) = self.done_prefix {
            let agrees = DONE
                .get(known..)
                .is_some_and(|missing| missing.starts_with(bytes));
            self.done_prefix = agrees.then_some(known.saturating_add(bytes.len()));
        }
        self.data_bytes = self.data_bytes.saturating_add(bytes.len() as u64);
        self.scanner.push(bytes, report);
    }

    fn end_line(&mut self, byte: u8, report: &mut Report) {
        self.is_after_return = byte == b'\r';
        match self.line {
            Line::Start => self.end_event(report),
            // A line of `data` or `data:` is empty data.
            Line::Name(4) | Line::Space => self.begin_data(report),
            Line::Name(_) | Line::Data | Line::Ignored => {}
        }
        self.line = Line::Start;
    }

    fn end_event(&mut self, report: &mut Report) {
        self.scanner.finish(report);
        if self.done_prefix == Some(DONE.len()) {
            report.set_last();
            self.data_bytes = self.data_bytes.saturating_sub(DONE.len() as u64);
        }
        self.begin_event();
        self.ended = self.ended.saturating_add(1);
    }

    fn begin_event(&mut self) {
        self.has_data = false;
        self.done_prefix = Some(0);
    }
}

/// Returns whether events may be skipped from now on.
fn may_skip(report: &Report) -> bool {
    report.documents_with_output() >= SCANNED_FIRST && report.is_skippable()
}

/// Returns whether `null` is the value of the key whose closing quote `bytes` start with.
fn is_null(bytes: &[u8]) -> bool {
    let Some(bytes) = bytes.strip_prefix(b"\"") else {
        return false;
    };
    bytes
        .trim_ascii_start()
        .strip_prefix(b":")
        .is_some_and(|value| value.trim_ascii_start().starts_with(b"null"))
}
