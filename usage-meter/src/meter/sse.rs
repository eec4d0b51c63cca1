//! Server-sent events: takes the `data` of each event to the scanner, without keeping a line.
//!
//! Framing is that of the WHATWG HTML standard, section 9.2.6: lines end with CR, LF or CRLF; a byte
//! order mark may come first; a line that starts with a colon is a comment; the `data` lines of an event
//! are joined by a newline, and a blank line ends it. Other fields are ignored. Unlike there, an event
//! that the end of the stream cuts off counts as far as it goes.
//!
//! Most of a long stream of OpenAI's kind need not be scanned. [`Events::push`] scans what is cut off at
//! both ends of a chunk, the first events of the stream, one now and then and the last whole one of each
//! chunk, and those that mention `usage`; it skips the rest, which is whole events without a report. The
//! one thing that goes unseen there is a key `usage` spelled with escapes. [`Events::scan`] reads
//! everything; tests hold the one against the other.

use std::sync::LazyLock;

use memchr::{memchr, memchr2, memmem, memrchr};

use super::{dialect::Field, report::Report, scanner::Scanner};

/// What every event contains that reports usage under the names that [`Report::is_skippable`] streams use.
const NEEDLE: &[u8] = b"usage";

/// How many events with generated text are read before any event is skipped.
const READ_FIRST: u64 = 16;

/// After how many bytes that are skipped an event is read.
const SAMPLE_EVERY: usize = 16 * 1024;

/// The data of the event that OpenAI ends a stream with.
const DONE: &[u8] = b"[DONE]";

/// Where in a line the next byte is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Line {
    /// At its start.
    Start,
    /// In the field's name, of which so much agrees with `data`.
    Name(usize),
    /// Directly behind the colon after `data`: a space is not part of the value.
    Space,
    /// In the value of `data`.
    Data,
    /// In what does not matter.
    Other,
}

/// An event stream, read up to some byte.
#[derive(Debug)]
pub struct Events {
    scanner: Scanner<Field>,
    line: Line,
    /// The last byte was a CR: an LF now belongs to it.
    after_return: bool,
    /// How much of a byte order mark may still come.
    mark: &'static [u8],
    /// Whether the event at hand has data, and how much of it agrees with [`DONE`].
    has_data: bool,
    done: Option<usize>,
    /// How many events have ended.
    ended: u64,
    /// How much of the event at hand has been read.
    length: u64,
    documents_with_output: u64,
    /// The length of all events that had generated text, and of those that were skipped.
    with_output: u64,
    skipped: u64,
    /// Whether an event that does not mention [`NEEDLE`] cannot matter.
    may_skip: bool,
}

impl Events {
    /// A stream before its first byte, whose usage is `below_usage` if all of it is below keys that contain
    /// `usage`.
    #[must_use]
    pub fn new(scanner: Scanner<Field>, below_usage: bool) -> Self {
        Self {
            scanner,
            line: Line::Start,
            after_return: false,
            mark: b"\xef\xbb\xbf",
            has_data: false,
            done: Some(0),
            ended: 0,
            length: 0,
            documents_with_output: 0,
            with_output: 0,
            skipped: 0,
            may_skip: below_usage,
        }
    }

    /// Takes the next bytes, and skips the events among them that cannot matter.
    pub fn push(&mut self, bytes: &[u8], report: &mut Report) {
        let mut rest = bytes;
        while !rest.is_empty() && (self.length > 0 || !self.may_skip || !may_skip(report)) {
            rest = self.scan_event(rest, report);
        }
        let Some((whole, tail)) = last_event(rest) else {
            return self.scan(rest, report);
        };
        self.skim(whole, report);
        self.scan(tail, report);
    }

    /// Takes the next bytes and scans them all.
    pub fn scan(&mut self, bytes: &[u8], report: &mut Report) {
        let mut rest = bytes;
        while !rest.is_empty() {
            rest = self.scan_event(rest, report);
        }
    }

    /// Ends the stream.
    pub fn finish(&mut self, report: &mut Report) {
        self.end_event(report);
    }

    /// How many bytes of generated text passed: what was counted, and as much again in proportion for
    /// the events that were skipped.
    #[must_use]
    pub fn output_bytes(&self, counted: u64) -> u64 {
        let skipped = u128::from(counted)
            .saturating_mul(u128::from(self.skipped))
            .checked_div(u128::from(self.with_output))
            .unwrap_or(0);
        counted.saturating_add(u64::try_from(skipped).unwrap_or(u64::MAX))
    }

    /// Takes whole events; scans one now and then, to know how much text is in them. What is scanned at
    /// both ends of each chunk tells it already where chunks are short.
    fn skim(&mut self, events: &[u8], report: &mut Report) {
        let mut rest = events;
        while let Some((near, far)) = rest.split_at_checked(SAMPLE_EVERY) {
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

    /// Takes whole events; scans those that may report usage.
    fn skip(&mut self, events: &[u8], report: &mut Report) {
        static FINDER: LazyLock<memmem::Finder<'static>> =
            LazyLock::new(|| memmem::Finder::new(NEEDLE));
        let mut skipped = events.len();
        // Where the part begins that has not been looked at.
        let mut from = 0_usize;
        while let Some(unread) = events.get(from..)
            && let Some(at) = FINDER.find(unread)
        {
            let after = from.saturating_add(at).saturating_add(NEEDLE.len());
            let (before, behind) = events.split_at_checked(after).unwrap_or((events, &[]));
            from = after;
            if !is_null(behind) {
                let start = after.saturating_sub(last_event_part(before).len());
                from = after.saturating_add(first_event_length(behind));
                let event = events.get(start..from).unwrap_or_default();
                self.scan(event, report);
                skipped = skipped.saturating_sub(event.len());
            }
        }
        self.skipped = self.skipped.saturating_add(skipped as u64);
    }

    /// Scans up to the end of the event at hand, and returns what follows.
    fn scan_event<'a>(&mut self, bytes: &'a [u8], report: &mut Report) -> &'a [u8] {
        let mut rest = bytes;
        let ended = self.ended;
        while ended == self.ended
            && let Some((&byte, tail)) = rest.split_first()
        {
            if self.after_return {
                self.after_return = false;
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
                    self.line = Line::Other;
                }
                self.mark = &[];
            }
            // How nearly all lines that matter begin.
            if self.line == Line::Start
                && let Some(value) = rest.strip_prefix(b"data: ")
            {
                self.begin_data(report);
                rest = value;
                continue;
            }
            rest = match (self.line, byte) {
                (Line::Data | Line::Other, _) => self.run(rest, report),
                (_, b'\r' | b'\n') => {
                    self.end_line(byte, report);
                    tail
                }
                (Line::Start, b'd') => self.go_on(Line::Name(1), tail),
                (Line::Name(4), b':') => self.go_on(Line::Space, tail),
                (Line::Name(known), _) if b"data".get(known) == Some(&byte) => {
                    self.go_on(Line::Name(known.saturating_add(1)), tail)
                }
                (Line::Start | Line::Name(_), _) => self.go_on(Line::Other, tail),
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
        let read = bytes.len().saturating_sub(rest.len());
        self.length = self.length.saturating_add(read as u64);
        if ended != self.ended {
            let documents = report.documents_with_output();
            if documents != self.documents_with_output {
                self.with_output = self.with_output.saturating_add(self.length);
            }
            self.documents_with_output = documents;
            self.length = 0;
        }
        // The LF of a CRLF that ended the event is no part of the next.
        match rest.split_first() {
            Some((b'\n', tail)) if self.after_return && ended != self.ended => {
                self.after_return = false;
                tail
            }
            _ => rest,
        }
    }

    fn go_on<'a>(&mut self, line: Line, rest: &'a [u8]) -> &'a [u8] {
        self.line = line;
        rest
    }

    /// Takes the rest of a line as far as it is there.
    fn run<'a>(&mut self, bytes: &'a [u8], report: &mut Report) -> &'a [u8] {
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
        if std::mem::replace(&mut self.has_data, true) {
            self.data(b"\n", report);
        }
    }

    fn data(&mut self, bytes: &[u8], report: &mut Report) {
        if let Some(known) = self.done {
            let agrees = DONE
                .get(known..)
                .is_some_and(|missing| missing.starts_with(bytes));
            self.done = agrees.then_some(known.saturating_add(bytes.len()));
        }
        self.scanner.push(bytes, report);
    }

    fn end_line(&mut self, byte: u8, report: &mut Report) {
        self.after_return = byte == b'\r';
        match self.line {
            Line::Start => self.end_event(report),
            // `data` or `data:` and nothing else: an empty line of data.
            Line::Name(4) | Line::Space => self.begin_data(report),
            Line::Name(_) | Line::Data | Line::Other => {}
        }
        self.line = Line::Start;
    }

    fn end_event(&mut self, report: &mut Report) {
        self.scanner.finish(report);
        if self.done == Some(DONE.len()) {
            report.done();
        }
        self.has_data = false;
        self.done = Some(0);
        self.ended = self.ended.saturating_add(1);
    }
}

/// Whether events may be skipped from now on.
fn may_skip(report: &Report) -> bool {
    report.documents_with_output() >= READ_FIRST && report.is_skippable()
}

/// Whether `null` is the value of the key that ended before `bytes`.
fn is_null(bytes: &[u8]) -> bool {
    let Some(bytes) = bytes.strip_prefix(b"\"") else {
        return false;
    };
    bytes
        .trim_ascii_start()
        .strip_prefix(b":")
        .is_some_and(|value| value.trim_ascii_start().starts_with(b"null"))
}

/// Splits off the last whole event, and the beginning of another behind it.
fn last_event(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let cut_off = last_event_part(bytes).len();
    let whole = bytes.get(..bytes.len().checked_sub(cut_off)?)?;
    // Without the blank lines that end it.
    let end = whole
        .iter()
        .rposition(|byte| !matches!(byte, b'\r' | b'\n'))?;
    let last = last_event_part(whole.get(..=end)?).len();
    bytes.split_at_checked(end.saturating_add(1).checked_sub(last)?)
}

/// What follows the last blank line.
pub(super) fn last_event_part(bytes: &[u8]) -> &[u8] {
    let mut before = bytes;
    while let Some(at) = memrchr(b'\n', before) {
        before = before.get(..at).unwrap_or_default();
        let end = match before {
            [.., b'\n'] | [.., b'\n', b'\r'] => at.saturating_add(1),
            _ => continue,
        };
        return bytes.get(end..).unwrap_or_default();
    }
    bytes
}

/// How many bytes there are up to the end of the first blank line, or at all.
fn first_event_length(bytes: &[u8]) -> usize {
    let mut from = 0_usize;
    while let Some(rest) = bytes.get(from..)
        && let Some(at) = memchr(b'\n', rest)
    {
        from = from.saturating_add(at).saturating_add(1);
        match bytes.get(from..) {
            Some([b'\n', ..]) => return from.saturating_add(1),
            Some([b'\r', b'\n', ..]) => return from.saturating_add(2),
            _ => {}
        }
    }
    bytes.len()
}
