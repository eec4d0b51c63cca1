//! The framing of a body, found by its first byte.

use super::event_stream::Messages;
use super::sse::Events;
use crate::dialects::{Field, UsagePaths};
use crate::json::{BYTE_ORDER_MARK, Scanner};
use crate::response::report::Report;

/// The framing of a body.
///
/// The first byte decides rather than the content type, which is often wrong.
#[derive(Debug)]
pub(in crate::response) enum Framing {
    /// Not known before the first byte that is not white space.
    Unknown {
        media_type: MediaType,
        /// The number of bytes of a byte order mark so far.
        mark: u8,
        /// The last byte of the white space so far.
        space: Option<u8>,
        paths: UsagePaths,
    },
    /// JSON values.
    Json {
        scanner: Box<Scanner<Field>>,
        /// Whether more values may follow the first.
        is_sequence: bool,
        /// Whether the end of the body cut a value off.
        is_cut_off: bool,
    },
    /// Server-sent events.
    Events(Box<Events>),
    /// An AWS event stream.
    Messages(Box<Messages>),
    /// Anything that does not report usage.
    Opaque,
}

/// A content type, as far as it matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::response) enum MediaType {
    EventStream,
    JsonSequence,
    Other,
}

// === impl MediaType ===

impl MediaType {
    fn of(content_type: &[u8]) -> Self {
        let media_type = content_type
            .split(|byte| *byte == b';')
            .next()
            .unwrap_or_default()
            .trim_ascii()
            .to_ascii_lowercase();
        match media_type.as_slice() {
            b"text/event-stream" => Self::EventStream,
            b"application/x-ndjson"
            | b"application/ndjson"
            | b"application/jsonl"
            | b"application/x-jsonl"
            | b"application/jsonlines"
            | b"application/json-lines"
            | b"application/json-seq"
            | b"application/stream+json" => Self::JsonSequence,
            _ => Self::Other,
        }
    }
}

// === impl Framing ===

impl Framing {
    /// Returns the framing of a body with this content type before its first byte.
    pub(in crate::response) fn of(content_type: &[u8], paths: &UsagePaths) -> Self {
        Self::Unknown {
            media_type: MediaType::of(content_type),
            mark: 0,
            space: None,
            paths: paths.clone(),
        }
    }

    /// Reads the next bytes of the decoded body.
    pub(in crate::response) fn push(&mut self, bytes: &[u8], report: &mut Report) {
        let mut bytes = bytes;
        if let Self::Unknown {
            media_type,
            mark,
            space,
            paths,
        } = self
        {
            while let Some((&byte, tail)) = bytes.split_first() {
                if space.is_none() && BYTE_ORDER_MARK.get(usize::from(*mark)) == Some(&byte) {
                    *mark = mark.saturating_add(1);
                } else if byte.is_ascii_whitespace() {
                    *space = Some(byte);
                } else {
                    break;
                }
                bytes = tail;
            }
            let Some(first) = bytes.first() else {
                return;
            };
            let space = *space;
            *self = Self::of_first_byte(*first, *media_type, paths);
            // A space before the first line of events is a part of that line.
            if let (Self::Events(events), Some(space)) = (&mut *self, space) {
                events.push(&[space], report);
            }
        }
        match self {
            Self::Json { scanner, .. } => scanner.push(bytes, report),
            Self::Events(events) => events.push(bytes, report),
            Self::Messages(messages) => messages.push(bytes, report),
            Self::Unknown { .. } | Self::Opaque => {}
        }
    }

    /// Returns whether [`Self::push_tail`] may read the end of a long piece alone.
    pub(in crate::response) fn may_skip(&self, report: &Report) -> bool {
        match self {
            Self::Events(events) => events.may_skip(report),
            _ => false,
        }
    }

    /// Returns whether [`Self::may_skip`] may hold once more was read.
    pub(in crate::response) fn may_skip_later(&self, report: &Report) -> bool {
        match self {
            Self::Unknown {
                media_type, paths, ..
            } => *media_type == MediaType::EventStream && paths.are_below_usage(),
            Self::Events(events) => events.may_skip_later(report),
            _ => false,
        }
    }

    /// Reads the end of a piece without the bytes before it. Returns `false`, and has read nothing, unless the end
    /// shows that the bytes before it have no report.
    pub(in crate::response) fn push_tail(
        &mut self,
        skipped: usize,
        tail: &[u8],
        report: &mut Report,
    ) -> bool {
        match self {
            Self::Events(events) => events.push_tail(skipped, tail, report),
            _ => false,
        }
    }

    /// Ends the body.
    pub(in crate::response) fn finish(&mut self, report: &mut Report) {
        match self {
            Self::Json {
                scanner,
                is_cut_off,
                ..
            } => {
                *is_cut_off = !scanner.is_at_root();
                scanner.finish(report);
            }
            Self::Events(events) => events.finish(report),
            Self::Messages(messages) => messages.finish(report),
            Self::Unknown { .. } | Self::Opaque => {}
        }
    }

    /// Returns whether the usage in the `report` is unlikely to change any more.
    pub(in crate::response) fn is_likely_final(&self, report: &Report) -> bool {
        let has_ended = match self {
            Self::Json {
                scanner,
                is_sequence: false,
                ..
            } => scanner.is_at_root() && report.documents() > 0 && !report.is_continued(),
            Self::Json { .. } | Self::Events(_) | Self::Messages(_) => report.has_failed(),
            Self::Unknown { .. } | Self::Opaque => false,
        };
        report.is_last() || (has_ended && report.usage().is_some() && !report.is_partial())
    }

    /// Returns whether a document may have begun of which the scanner knows nothing yet.
    pub(in crate::response) fn may_have_begun(&self) -> bool {
        match self {
            Self::Json {
                scanner,
                is_cut_off,
                ..
            } => *is_cut_off || !scanner.is_at_root(),
            Self::Events(_) | Self::Messages(_) => true,
            Self::Unknown { .. } | Self::Opaque => false,
        }
    }

    /// Returns the length of the text of events whose data is not JSON.
    pub(in crate::response) fn text_bytes(&self) -> u64 {
        match self {
            Self::Events(events) => events.data_bytes(),
            _ => 0,
        }
    }

    /// Returns whether the body is JSON.
    pub(in crate::response) fn is_json(&self) -> bool {
        matches!(self, Self::Json { .. })
    }

    /// Returns whether the framing is not known yet.
    pub(in crate::response) fn is_unknown(&self) -> bool {
        matches!(self, Self::Unknown { .. })
    }

    /// Returns the number of bytes of generated text: those `counted` in documents that were scanned,
    /// extrapolated to documents that were skipped.
    pub(in crate::response) fn output_bytes(&self, counted: u64) -> u64 {
        match self {
            Self::Events(events) => events.output_bytes(counted),
            _ => counted,
        }
    }

    /// Returns the framing of a body by its first byte that is not white space.
    fn of_first_byte(first: u8, media_type: MediaType, paths: &UsagePaths) -> Self {
        let scanner = Scanner::new(paths.tree());
        let below_usage = paths.are_below_usage();
        match first {
            // An object, an array, or a record of a JSON text sequence (RFC 7464).
            b'{' | b'[' | 0x1e => Self::Json {
                scanner: Box::new(scanner),
                is_sequence: media_type == MediaType::JsonSequence || first == 0x1e,
                is_cut_off: false,
            },
            // `data`, `event`, `id`, `retry`, a comment, a second byte order mark.
            b'd' | b'e' | b'i' | b'r' | b':' | 0xef => {
                Self::Events(Box::new(Events::new(scanner, below_usage)))
            }
            _ if media_type == MediaType::EventStream => {
                Self::Events(Box::new(Events::new(scanner, below_usage)))
            }
            // The length of a message below 16 MiB, the maximum of AWS.
            0 => Self::Messages(Box::new(Messages::new(scanner))),
            _ => Self::Opaque,
        }
    }
}
