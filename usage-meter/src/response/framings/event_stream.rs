//! AWS event streams (`application/vnd.amazon.eventstream`), the streams of Bedrock.
//!
//! A message is a prelude (total length, length of the headers, CRC of these eight bytes), headers, a
//! payload, and the CRC of everything before it; all numbers are big-endian. The payload is a document.
//! That of a `chunk` (`InvokeModelWithResponseStream`) wraps a document in Base64. A document counts
//! once the CRC of its message has been checked. Reading stops at a corrupt message.

use std::sync::{Arc, LazyLock};

use self::base64::Decoder;
use self::headers::{MessageKind, message_kind};
use crate::dialects::Field;
use crate::json::{GeneratedKey, Paths, Scalar, Scanner, Visitor};
use crate::response::report::Report;

mod base64;
mod headers;
#[cfg(test)]
mod tests;

/// The length of the prelude in bytes: two lengths and a CRC.
const PRELUDE_BYTES: usize = 12;
/// The length of the CRC at the end in bytes.
const TRAILER_BYTES: u32 = 4;
/// The maximum length of headers in bytes; longer ones are skipped. Those of Bedrock have some hundred
/// bytes.
const MAX_HEADER_BYTES: u32 = 4096;

/// A reader of an AWS event stream. See the [module](self).
#[derive(Debug)]
pub(crate) struct Messages {
    scanner: Scanner<Field>,
    wrapper: Scanner<()>,
    base64: Decoder,
    part: Part,
    kind: MessageKind,
    /// The prelude, headers or trailer, as far as they have come.
    buffer: Vec<u8>,
    crc: crc32fast::Hasher,
}

/// The part of a message that the next byte is in, with the number of bytes it still has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    Prelude,
    Headers {
        left: u32,
        payload: u32,
    },
    Payload {
        left: u32,
    },
    Trailer,
    /// A corrupt message.
    Corrupt,
}

/// The visitor that unwraps the document in the payload of a chunk.
struct Unwrap<'a> {
    scanner: &'a mut Scanner<Field>,
    base64: &'a mut Decoder,
    report: &'a mut Report,
}

// === impl Messages ===

impl Messages {
    /// Returns a reader before its first byte.
    pub(crate) fn new(scanner: Scanner<Field>) -> Self {
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
            kind: MessageKind::Other,
            buffer: Vec::new(),
            crc: crc32fast::Hasher::new(),
        }
    }

    /// Reads the next bytes.
    pub(crate) fn push(&mut self, bytes: &[u8], report: &mut Report) {
        report.defer_documents();
        let mut rest = bytes;
        while !rest.is_empty() {
            rest = match self.part {
                Part::Prelude => self.prelude(rest),
                Part::Headers { left, payload } => self.headers(rest, left, payload, report),
                Part::Payload { left } => self.payload(rest, left, report),
                Part::Trailer => self.trailer(rest, report),
                Part::Corrupt => return,
            };
        }
    }

    /// Ends the stream. A message that is cut off counts as far as it has come: it has no CRC that could
    /// be wrong.
    pub(crate) fn finish(&mut self, report: &mut Report) {
        self.end_payload(report);
        report.resolve_deferred(self.part != Part::Corrupt);
    }

    /// Buffers bytes of a part. Returns whether all `length` bytes have come, and what follows.
    fn collect<'a>(&mut self, bytes: &'a [u8], length: usize) -> (bool, &'a [u8]) {
        let missing = length.saturating_sub(self.buffer.len());
        let (piece, rest) = bytes
            .split_at_checked(missing)
            .unwrap_or((bytes, Default::default()));
        self.buffer.extend_from_slice(piece);
        (self.buffer.len() >= length, rest)
    }

    fn prelude<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        let (complete, rest) = self.collect(bytes, PRELUDE_BYTES);
        if complete {
            self.part = self.read_prelude().unwrap_or(Part::Corrupt);
            self.buffer.clear();
            self.kind = MessageKind::Other;
        }
        rest
    }

    /// Parses the prelude and returns the part after it; `None` if the prelude is corrupt.
    fn read_prelude(&mut self) -> Option<Part> {
        let (lengths, _) = self.buffer.split_first_chunk::<8>()?;
        let mut numbers = self.buffer.chunks_exact(4).filter_map(number);
        let (total, headers, crc) = (numbers.next()?, numbers.next()?, numbers.next()?);
        if crc32fast::hash(lengths) != crc {
            return None;
        }
        self.crc.reset();
        self.crc.update(&self.buffer);
        let prelude = u32::try_from(PRELUDE_BYTES).ok()?;
        let payload =
            total.checked_sub(headers.checked_add(prelude)?.checked_add(TRAILER_BYTES)?)?;
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
        if collected.saturating_add(length(piece)).saturating_add(left) <= MAX_HEADER_BYTES {
            self.buffer.extend_from_slice(piece);
        }
        self.part = Part::Headers { left, payload };
        if left == 0 {
            self.part = after_headers(payload);
            self.kind = message_kind(&self.buffer);
            self.buffer.clear();
            match self.kind {
                MessageKind::Chunk | MessageKind::Completion => report.set_completion(),
                MessageKind::Metadata | MessageKind::Exception | MessageKind::Other => {}
            }
        }
        rest
    }

    fn payload<'a>(&mut self, bytes: &'a [u8], left: u32, report: &mut Report) -> &'a [u8] {
        let (piece, rest) = split(bytes, left);
        self.crc.update(piece);
        match self.kind {
            MessageKind::Chunk => self.wrapper.push(
                piece,
                &mut Unwrap {
                    scanner: &mut self.scanner,
                    base64: &mut self.base64,
                    report,
                },
            ),
            MessageKind::Exception => {}
            MessageKind::Metadata | MessageKind::Completion | MessageKind::Other => {
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
            report.resolve_deferred(intact);
            self.part = if intact { Part::Prelude } else { Part::Corrupt };
            match self.kind {
                MessageKind::Metadata if intact => report.set_last(),
                MessageKind::Exception if intact => report.set_failed(),
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

// === impl Unwrap ===

impl Visitor<()> for Unwrap<'_> {
    fn begin_document(&mut self) {}
    fn open(&mut self, (): ()) {}
    fn close(&mut self, (): (), _: bool) {}
    fn scalar(&mut self, (): (), _: &Scalar<'_>) {}
    fn generated(&mut self, _: GeneratedKey, _: u64) {}
    fn end_document(&mut self, _: bool) {}

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

/// Returns the part after the headers.
fn after_headers(payload: u32) -> Part {
    if payload == 0 {
        Part::Trailer
    } else {
        Part::Payload { left: payload }
    }
}

/// Parses the first four bytes as a number.
fn number(bytes: &[u8]) -> Option<u32> {
    Some(u32::from_be_bytes(*bytes.first_chunk::<4>()?))
}

/// Returns the length of bytes that are fewer than `u32::MAX`.
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
