//! Reads the tokens that a response used, as its bytes pass.
//!
//! ```text
//! bytes ──► coding ──► framing ────────► scanner ──► report ──► usage
//!                      (sse,             (paths)     (dialect)
//!                       event_stream)
//! ```
//!
//! * The **[`coding`]** is undone beside the response, which goes on as it came.
//! * The **framing** splits the body into documents: server-sent events have one an event ([`sse`]), AWS
//!   event streams one a message ([`event_stream`]); anything else that begins like JSON is a sequence of
//!   values (JSON, NDJSON), and of an array at the root each object is one. The first byte decides rather
//!   than the content type, which is often wrong.
//! * The **[`scanner`]** finds the values on a few [`paths`] and skips the rest. Nothing is buffered: not
//!   a body, nor an event, nor a line. What it keeps is bounded by [`report::LARGEST_RAW`].
//! * The **[`dialect`]** table says which paths, and what is there; a **[`report`]** adds up what the
//!   documents say.
//! * **[`usage`]** puts the provider's counts on one footing.
//!
//! All of it is total: any bytes, in any pieces, give a result, the same for every split.

// The names of providers are no code.
#![allow(clippy::doc_markdown)]

pub mod coding;
pub mod dialect;
pub mod event_stream;
pub mod number;
pub mod paths;
pub mod report;
pub mod scanner;
pub mod sse;
pub mod usage;
pub mod withhold;

#[cfg(test)]
mod tests;

pub use dialect::{UsagePathError, UsagePaths};
pub use usage::Usage;

use coding::{DecodeError, Decoder};
use event_stream::Messages;
use report::Report;
use scanner::Scanner;
use sse::Events;
use usage::{Count, Counts};

/// What is known of a response before its body.
#[derive(Clone, Copy, Debug, Default)]
pub struct ResponseHead<'a> {
    /// The status code.
    pub status: u16,
    /// The value of `content-type`.
    pub content_type: Option<&'a [u8]>,
    /// The value of `content-encoding`; several codings are separated by commas.
    pub content_encoding: Option<&'a [u8]>,
    /// The path of the request. It only tells whether a body that breaks off before it says anything is
    /// a completion.
    pub path: &'a [u8],
    /// The numbers that Bedrock gives in headers.
    pub bedrock_counts: BedrockCounts<'a>,
}

/// The values of Bedrock's headers `x-amzn-bedrock-*-token-count`. They count where the body has no report.
#[derive(Clone, Copy, Debug, Default)]
pub struct BedrockCounts<'a> {
    /// `x-amzn-bedrock-input-token-count`
    pub input: Option<&'a [u8]>,
    /// `x-amzn-bedrock-output-token-count`
    pub output: Option<&'a [u8]>,
    /// `x-amzn-bedrock-cache-read-input-token-count`
    pub cache_read_input: Option<&'a [u8]>,
    /// `x-amzn-bedrock-cache-write-input-token-count`
    pub cache_write_input: Option<&'a [u8]>,
}

impl BedrockCounts<'_> {
    fn counts(&self) -> Counts {
        let mut counts = Counts::default();
        for (count, value) in [
            (Count::Input, self.input),
            (Count::Output, self.output),
            (Count::CacheRead, self.cache_read_input),
            (Count::CacheWrite, self.cache_write_input),
        ] {
            counts.set(count, value.and_then(number::tokens));
        }
        counts
    }
}

/// How the body is framed.
#[derive(Debug)]
enum Framing {
    /// Not known before the first byte that is no white space.
    Unknown {
        declared: Declared,
        /// The last byte of white space.
        space: Option<u8>,
        paths: UsagePaths,
    },
    /// JSON values; several of them if they are a `sequence`.
    Json {
        scanner: Box<Scanner<dialect::Field>>,
        sequence: bool,
    },
    /// Server-sent events.
    Events(Box<Events>),
    /// An AWS event stream.
    Messages(Box<Messages>),
    /// Something that has no usage in it.
    Opaque,
}

/// What the content type says, as far as it matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Declared {
    Events,
    Sequence,
    Other,
}

impl Declared {
    fn of(content_type: &[u8]) -> Self {
        let media_type = content_type
            .split(|byte| *byte == b';')
            .next()
            .unwrap_or_default()
            .trim_ascii()
            .to_ascii_lowercase();
        match media_type.as_slice() {
            b"text/event-stream" => Self::Events,
            b"application/x-ndjson"
            | b"application/ndjson"
            | b"application/jsonl"
            | b"application/x-jsonl"
            | b"application/jsonlines"
            | b"application/json-lines"
            | b"application/json-seq"
            | b"application/stream+json" => Self::Sequence,
            _ => Self::Other,
        }
    }
}

/// Reads the usage of one response.
#[derive(Debug)]
pub struct Meter {
    completion_path: bool,
    decoder: Option<Decoder>,
    framing: Framing,
    report: Report,
    /// How many bytes came that could not be decoded.
    undecoded: u64,
    finished: bool,
    broken_off: bool,
}

impl Meter {
    /// A meter for the body that follows these headers.
    #[must_use]
    pub fn new(response: &ResponseHead<'_>) -> Self {
        Self::with_paths(response, &UsagePaths::default())
    }

    /// The same, which also looks for the total where a policy says.
    #[must_use]
    pub fn with_paths(response: &ResponseHead<'_>, paths: &UsagePaths) -> Self {
        let success = (200..300).contains(&response.status);
        let framing = if success {
            Framing::Unknown {
                declared: Declared::of(response.content_type.unwrap_or_default()),
                space: None,
                paths: paths.clone(),
            }
        } else {
            Framing::Opaque
        };
        let report = if success {
            Report::with_headers(response.bedrock_counts.counts())
        } else {
            Report::default()
        };
        Self {
            completion_path: dialect::is_completion_path(response.path),
            decoder: response
                .content_encoding
                .filter(|_| success)
                .and_then(Decoder::new),
            framing,
            report,
            undecoded: 0,
            finished: false,
            broken_off: false,
        }
    }

    /// Takes the next bytes of the body.
    pub fn push(&mut self, bytes: &[u8]) {
        let Self {
            decoder,
            framing,
            report,
            ..
        } = self;
        let result = if let Some(decoder) = decoder {
            decoder.push(bytes, &mut |decoded| framing.push(decoded, report))
        } else {
            framing.push(bytes, report);
            Ok(())
        };
        if result.is_err() {
            self.undecoded = self.undecoded.saturating_add(bytes.len() as u64);
        }
    }

    /// Why the body cannot be read any further, if it is in a coding. What came before counts.
    #[must_use]
    pub fn decoding_error(&self) -> Option<DecodeError> {
        self.decoder.as_ref()?.error()
    }

    /// Ends the body. What was cut off counts as far as it was read.
    pub fn finish(&mut self) {
        if std::mem::replace(&mut self.finished, true) {
            return;
        }
        match &mut self.framing {
            Framing::Json { scanner, .. } => {
                self.broken_off = !scanner.is_at_root();
                scanner.finish(&mut self.report);
            }
            Framing::Events(events) => events.finish(&mut self.report),
            Framing::Messages(messages) => messages.finish(&mut self.report),
            Framing::Unknown { .. } | Framing::Opaque => {}
        }
    }

    /// Whether nothing that may follow can change the usage.
    #[must_use]
    pub fn is_final(&self) -> bool {
        match &self.framing {
            Framing::Json {
                scanner,
                sequence: false,
            } => {
                self.report.is_last()
                    || (scanner.is_at_root()
                        && self.report.documents() > 0
                        && !self.report.is_unfinished())
            }
            Framing::Json { .. } | Framing::Events(_) | Framing::Messages(_) => {
                self.report.is_last() || self.report.has_failed()
            }
            Framing::Unknown { .. } | Framing::Opaque => false,
        }
    }

    /// The usage reported so far; `None` if there is no report.
    #[must_use]
    pub fn usage(&self) -> Option<Usage> {
        self.report.usage()
    }

    /// The model that the response names, cut off after [`scanner::LONGEST`] bytes.
    #[must_use]
    pub fn model(&self) -> Option<&str> {
        self.report.model()
    }

    /// Whether the body is a completion, or the beginning of one: something that costs, so that a report
    /// that is missing is to be estimated.
    #[must_use]
    pub fn is_completion(&self) -> bool {
        let undecided = match &self.framing {
            Framing::Json { scanner, .. } => self.broken_off || !scanner.is_at_root(),
            Framing::Events(_) | Framing::Messages(_) => true,
            Framing::Unknown { .. } => self.undecoded > 0,
            Framing::Opaque => false,
        };
        self.report.is_completion()
            || (self.completion_path
                && undecided
                && self.report.documents() == 0
                && !self.report.has_failed())
    }

    /// Bytes of generated text that passed: content, reasoning and arguments of tool calls. Of what was
    /// skipped it is extrapolated; of what could not be decoded it is the length.
    #[must_use]
    pub fn output_bytes(&self) -> u64 {
        let counted = self.report.output_bytes();
        let passed = match &self.framing {
            Framing::Events(events) => events.output_bytes(counted),
            _ => counted,
        };
        passed.saturating_add(self.undecoded)
    }

    /// The provider's own usage object, the last one, as it was written. `None` also where it is larger
    /// than [`report::LARGEST_RAW`].
    #[must_use]
    pub fn raw_usage(&self) -> Option<&[u8]> {
        self.report.raw()
    }
}

impl Framing {
    /// Takes the next bytes of the body, decoded.
    fn push(&mut self, bytes: &[u8], report: &mut Report) {
        if let Self::Unknown {
            declared,
            space,
            paths,
        } = self
        {
            let found = bytes.iter().position(|byte| !byte.is_ascii_whitespace());
            let Some(first) = found.and_then(|at| bytes.get(at)) else {
                *space = bytes.last().copied().or(*space);
                return;
            };
            let space = *space;
            *self = framing(*first, *declared, paths);
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
}

/// The framing of a body by its first byte that is no white space.
fn framing(first: u8, declared: Declared, paths: &UsagePaths) -> Framing {
    let scanner = Scanner::new(paths.paths());
    let below_usage = paths.are_below_usage();
    match first {
        // An object or array, or a record of a JSON text sequence.
        b'{' | b'[' | 0x1e => Framing::Json {
            scanner: Box::new(scanner),
            sequence: declared == Declared::Sequence || first == 0x1e,
        },
        // `data`, `event`, `id`, `retry`, a comment, a byte order mark.
        b'd' | b'e' | b'i' | b'r' | b':' | 0xef => {
            Framing::Events(Box::new(Events::new(scanner, below_usage)))
        }
        _ if declared == Declared::Events => {
            Framing::Events(Box::new(Events::new(scanner, below_usage)))
        }
        // The length of a message of less than 16 MiB, which is the most that AWS sends.
        0 => Framing::Messages(Box::new(Messages::new(scanner))),
        _ => Framing::Opaque,
    }
}
