//! AWS event streams (`application/vnd.amazon.eventstream`), as Bedrock answers with.
//!
//! A message is a prelude (total length, length of the headers, CRC of these eight bytes), headers, a
//! payload and the CRC of everything before, all numbers big-endian. The payload is a document; that of a
//! `chunk` (InvokeModelWithResponseStream) wraps one, in Base64. What is read of a message counts once its
//! CRC has been checked. A message that is not intact ends the reading.

use std::sync::{Arc, LazyLock};

use super::{
    dialect::Field,
    paths::Paths,
    report::Report,
    scanner::{ContentKey, Scalar, Scanner, Visitor},
};

mod base64;

#[cfg(test)]
mod tests;

use base64::Decoder;

/// Two lengths and a CRC.
const PRELUDE: usize = 12;
/// The CRC at the end.
const TRAILER: u32 = 4;
/// The longest headers that are read; longer ones are skipped. Bedrock's have some hundred bytes.
const LONGEST_HEADERS: u32 = 4096;

/// What the headers of a message say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Message {
    /// The payload wraps a document.
    Chunk,
    /// The payload reports usage, and is the last.
    Metadata,
    /// A piece of a completion.
    Completion,
    /// The service failed.
    Exception,
    /// Something else.
    #[default]
    Other,
}

/// The part of a message that the next byte is in, with how many bytes it still has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    Prelude,
    Headers { left: u32, payload: u32 },
    Payload { left: u32 },
    Trailer,
    Broken,
}

/// A stream, read up to some byte.
#[derive(Debug)]
pub struct Messages {
    scanner: Scanner<Field>,
    wrapper: Scanner<()>,
    base64: Decoder,
    part: Part,
    message: Message,
    /// The prelude, headers or trailer as far as they have come.
    buffer: Vec<u8>,
    crc: crc32fast::Hasher,
}

impl Messages {
    /// A stream before its first byte.
    #[must_use]
    pub fn new(scanner: Scanner<Field>) -> Self {
        static WRAPPER: LazyLock<Arc<Paths<()>>> = LazyLock::new(|| {
            let mut paths = Paths::new();
            paths.insert("bytes", ());
            Arc::new(paths)
        });
        Self {
            scanner,
            wrapper: Scanner::new(Arc::clone(&WRAPPER)),
            base64: Decoder::new(),
            part: Part::Prelude,
            message: Message::Other,
            buffer: Vec::new(),
            crc: crc32fast::Hasher::new(),
        }
    }

    /// Takes the next bytes.
    pub fn push(&mut self, bytes: &[u8], report: &mut Report) {
        report.withhold();
        let mut rest = bytes;
        while !rest.is_empty() {
            rest = match self.part {
                Part::Prelude => self.prelude(rest),
                Part::Headers { left, payload } => self.headers(rest, left, payload, report),
                Part::Payload { left } => self.payload(rest, left, report),
                Part::Trailer => self.trailer(rest, report),
                Part::Broken => return,
            };
        }
    }

    /// Ends the stream. A message that is cut off counts as far as it was read: its sender did not choose
    /// where.
    pub fn finish(&mut self, report: &mut Report) {
        self.end_payload(report);
        report.accept(self.part != Part::Broken);
    }

    /// Whether a message was not intact.
    #[must_use]
    pub fn is_broken(&self) -> bool {
        self.part == Part::Broken
    }

    /// Collects up to `length` bytes; `true` once they are there.
    fn collect<'a>(&mut self, bytes: &'a [u8], length: usize) -> (bool, &'a [u8]) {
        let missing = length.saturating_sub(self.buffer.len());
        let (piece, rest) = bytes
            .split_at_checked(missing)
            .unwrap_or((bytes, Default::default()));
        self.buffer.extend_from_slice(piece);
        (self.buffer.len() >= length, rest)
    }

    fn prelude<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        let (complete, rest) = self.collect(bytes, PRELUDE);
        if complete {
            self.part = self.read_prelude().unwrap_or(Part::Broken);
            self.buffer.clear();
            self.message = Message::Other;
        }
        rest
    }

    /// The part that follows the prelude; `None` if that is not intact.
    fn read_prelude(&mut self) -> Option<Part> {
        let (lengths, _) = self.buffer.split_first_chunk::<8>()?;
        let mut numbers = self.buffer.chunks_exact(4).filter_map(number);
        let (total, headers, crc) = (numbers.next()?, numbers.next()?, numbers.next()?);
        if crc32fast::hash(lengths) != crc {
            return None;
        }
        self.crc.reset();
        self.crc.update(&self.buffer);
        let prelude = u32::try_from(PRELUDE).ok()?;
        let payload = total.checked_sub(headers.checked_add(prelude)?.checked_add(TRAILER)?)?;
        Some(if headers == 0 {
            after_headers(payload)
        } else {
            Part::Headers {
                left: headers,
                payload,
            }
        })
    }

    fn headers<'a>(
        &mut self,
        bytes: &'a [u8],
        left: u32,
        payload: u32,
        report: &mut Report,
    ) -> &'a [u8] {
        let (piece, rest) = split(bytes, left);
        self.crc.update(piece);
        let left = left.saturating_sub(length(piece));
        let collected = length(&self.buffer);
        if collected.saturating_add(length(piece)).saturating_add(left) <= LONGEST_HEADERS {
            self.buffer.extend_from_slice(piece);
        }
        self.part = Part::Headers { left, payload };
        if left == 0 {
            self.part = after_headers(payload);
            self.message = read_headers(&self.buffer);
            self.buffer.clear();
            match self.message {
                Message::Chunk | Message::Completion => report.begin_completion(),
                Message::Metadata | Message::Exception | Message::Other => {}
            }
        }
        rest
    }

    fn payload<'a>(&mut self, bytes: &'a [u8], left: u32, report: &mut Report) -> &'a [u8] {
        let (piece, rest) = split(bytes, left);
        self.crc.update(piece);
        match self.message {
            Message::Chunk => self.wrapper.push(
                piece,
                &mut Unwrap {
                    scanner: &mut self.scanner,
                    base64: &mut self.base64,
                    report,
                },
            ),
            Message::Exception => {}
            Message::Metadata | Message::Completion | Message::Other => {
                self.scanner.push(piece, report);
            }
        }
        let left = left.saturating_sub(length(piece));
        self.part = if left == 0 {
            Part::Trailer
        } else {
            Part::Payload { left }
        };
        rest
    }

    fn trailer<'a>(&mut self, bytes: &'a [u8], report: &mut Report) -> &'a [u8] {
        let (complete, rest) = self.collect(bytes, 4);
        if complete {
            let crc = std::mem::take(&mut self.crc).finalize();
            let intact = number(&self.buffer) == Some(crc);
            self.buffer.clear();
            self.end_payload(report);
            report.accept(intact);
            self.part = if intact { Part::Prelude } else { Part::Broken };
            match self.message {
                Message::Metadata if intact => report.done(),
                Message::Exception if intact => report.fail(),
                _ => {}
            }
        }
        rest
    }

    fn end_payload(&mut self, report: &mut Report) {
        self.wrapper.finish(&mut Unwrap {
            scanner: &mut self.scanner,
            base64: &mut self.base64,
            report,
        });
        self.base64 = Decoder::new();
        self.scanner.finish(report);
    }
}

/// The part that follows the headers.
fn after_headers(payload: u32) -> Part {
    if payload == 0 {
        Part::Trailer
    } else {
        Part::Payload { left: payload }
    }
}

fn number(bytes: &[u8]) -> Option<u32> {
    Some(u32::from_be_bytes(*bytes.first_chunk::<4>()?))
}

/// The length of something that is shorter than a `u32` says.
fn length(bytes: &[u8]) -> u32 {
    u32::try_from(bytes.len()).unwrap_or(u32::MAX)
}

/// Splits off at most `length` bytes.
fn split(bytes: &[u8], length: u32) -> (&[u8], &[u8]) {
    usize::try_from(length)
        .ok()
        .and_then(|length| bytes.split_at_checked(length))
        .unwrap_or((bytes, &[]))
}

/// What kind of message the headers announce.
fn read_headers(headers: &[u8]) -> Message {
    let mut message = Message::Other;
    let mut rest = headers;
    while let Some((name, value, tail)) = header(rest) {
        match (name, value) {
            (b":message-type", b"exception" | b"error") => return Message::Exception,
            (b":event-type", b"chunk") => message = Message::Chunk,
            (b":event-type", b"metadata") => message = Message::Metadata,
            (
                b":event-type",
                b"messageStart" | b"contentBlockStart" | b"contentBlockDelta" | b"messageStop",
            ) => message = Message::Completion,
            _ => {}
        }
        rest = tail;
    }
    message
}

/// The name and value of the first header, and what follows.
fn header(bytes: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let (&name_length, rest) = bytes.split_first()?;
    let (name, rest) = rest.split_at_checked(usize::from(name_length))?;
    let (&kind, rest) = rest.split_first()?;
    let (length, rest) = match kind {
        // Booleans; integers of growing size; bytes and strings; a timestamp; a UUID.
        0 | 1 => (0, rest),
        2 => (1, rest),
        3 => (2, rest),
        4 => (4, rest),
        5 | 8 => (8, rest),
        6 | 7 => {
            let (length, rest) = rest.split_first_chunk::<2>()?;
            (usize::from(u16::from_be_bytes(*length)), rest)
        }
        9 => (16, rest),
        _ => return None,
    };
    let (value, rest) = rest.split_at_checked(length)?;
    Some((name, value, rest))
}

/// Takes the document out of a chunk's payload.
struct Unwrap<'a> {
    scanner: &'a mut Scanner<Field>,
    base64: &'a mut Decoder,
    report: &'a mut Report,
}

impl Visitor<()> for Unwrap<'_> {
    fn begin(&mut self) {}
    fn open(&mut self, (): ()) {}
    fn close(&mut self, (): (), _: bool) {}
    fn scalar(&mut self, (): (), _: &Scalar<'_>) {}
    fn content(&mut self, _: ContentKey, _: u64) {}
    fn end(&mut self, _: bool) {}

    fn wants_bytes(&self, (): ()) -> bool {
        true
    }

    fn bytes(&mut self, bytes: &[u8]) {
        let Self {
            scanner,
            base64,
            report,
        } = self;
        base64.push(bytes, |decoded| scanner.push(decoded, *report));
    }
}
