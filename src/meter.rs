//! Reads the tokens that a response used, as its bytes pass.
//!
//! ```text
//! bytes ──► framing ──► scanner ──► report ──► usage
//!           (sse)       (paths)     (dialect)
//! ```
//!
//! * The **framing** splits the body into documents: an event stream has one an event ([`sse`]); anything
//!   else that begins like JSON is a sequence of values, and of an array at the root each object is one.
//!   The first bytes decide rather than the content type, which is often wrong.
//! * The **[`scanner`]** finds the values on a few [`paths`] and skips the rest. Nothing is buffered: not
//!   a body, nor an event, nor a line. What it keeps is bounded by [`report::LARGEST_RAW`].
//! * The **[`dialect`]** table says which paths, and what is there; a **[`report`]** adds up what the
//!   documents say.
//! * **[`usage`]** puts the provider's counts on one footing.
//!
//! All of it is total: any bytes, in any pieces, give a result, the same for every split.

// The names of providers are no code.
#![allow(clippy::doc_markdown)]

pub mod dialect;
pub mod number;
pub mod paths;
pub mod report;
pub mod scanner;
pub mod sse;
pub mod usage;

#[cfg(test)]
mod tests;

pub use usage::Usage;

use report::Report;
use scanner::Scanner;
use sse::Events;

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
}

/// How the body is framed.
#[derive(Debug)]
enum Framing {
    /// Not known before the first byte that is no white space.
    Unknown { event_stream: bool },
    /// JSON values.
    Json(Box<Scanner<dialect::Field>>),
    /// Server-sent events.
    Events(Box<Events>),
    /// Something that has no usage in it.
    Opaque,
}

/// Reads the usage of one response.
#[derive(Debug)]
pub struct Meter {
    completion_path: bool,
    framing: Framing,
    report: Report,
    finished: bool,
    broken_off: bool,
}

impl Meter {
    /// A meter for the body that follows these headers.
    #[must_use]
    pub fn new(response: &ResponseHead<'_>) -> Self {
        let success = (200..300).contains(&response.status);
        let media_type = response.content_type.unwrap_or_default();
        let coded = response
            .content_encoding
            .is_some_and(|coding| !coding.trim_ascii().eq_ignore_ascii_case(b"identity"));
        let framing = if success && !coded {
            Framing::Unknown {
                event_stream: is_media_type(media_type, b"text/event-stream"),
            }
        } else {
            Framing::Opaque
        };
        Self {
            completion_path: dialect::is_completion_path(response.path),
            framing,
            report: Report::default(),
            finished: false,
            broken_off: false,
        }
    }

    /// Takes the next bytes of the body.
    pub fn push(&mut self, bytes: &[u8]) {
        if let Framing::Unknown { event_stream } = self.framing {
            let Some(first) = bytes.iter().find(|byte| !byte.is_ascii_whitespace()) else {
                return;
            };
            self.framing = framing(*first, event_stream);
        }
        match &mut self.framing {
            Framing::Json(scanner) => scanner.push(bytes, &mut self.report),
            Framing::Events(events) => events.push(bytes, &mut self.report),
            Framing::Unknown { .. } | Framing::Opaque => {}
        }
    }

    /// Ends the body. What was cut off counts as far as it was read.
    pub fn finish(&mut self) {
        if std::mem::replace(&mut self.finished, true) {
            return;
        }
        match &mut self.framing {
            Framing::Json(scanner) => {
                self.broken_off = !scanner.is_at_root();
                scanner.finish(&mut self.report);
            }
            Framing::Events(events) => events.finish(&mut self.report),
            Framing::Unknown { .. } | Framing::Opaque => {}
        }
    }

    /// Whether nothing that may follow can change the usage.
    #[must_use]
    pub fn is_final(&self) -> bool {
        match &self.framing {
            Framing::Json(scanner) => {
                self.report.is_last()
                    || (scanner.is_at_root()
                        && self.report.documents() > 0
                        && !self.report.is_unfinished())
            }
            Framing::Events(_) => self.report.is_last() || self.report.has_failed(),
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
            Framing::Json(scanner) => self.broken_off || !scanner.is_at_root(),
            Framing::Events(_) => true,
            Framing::Unknown { .. } | Framing::Opaque => false,
        };
        self.report.is_completion()
            || (self.completion_path
                && undecided
                && self.report.documents() == 0
                && !self.report.has_failed())
    }

    /// Bytes of generated text that passed: content, reasoning and arguments of tool calls. Of what was
    /// skipped it is extrapolated.
    #[must_use]
    pub fn output_bytes(&self) -> u64 {
        let counted = self.report.output_bytes();
        match &self.framing {
            Framing::Events(events) => events.output_bytes(counted),
            _ => counted,
        }
    }

    /// The provider's own usage object, the last one, as it was written. `None` also where it is larger
    /// than [`report::LARGEST_RAW`].
    #[must_use]
    pub fn raw_usage(&self) -> Option<&[u8]> {
        self.report.raw()
    }
}

/// The framing of a body by its first byte that is no white space.
fn framing(first: u8, event_stream: bool) -> Framing {
    let scanner = || Scanner::new(dialect::paths());
    match first {
        b'{' | b'[' => Framing::Json(Box::new(scanner())),
        // `data`, `event`, `id`, `retry`, a comment, a byte order mark.
        b'd' | b'e' | b'i' | b'r' | b':' | 0xef => {
            Framing::Events(Box::new(Events::new(scanner())))
        }
        _ if event_stream => Framing::Events(Box::new(Events::new(scanner()))),
        _ => Framing::Opaque,
    }
}

/// Whether a content type is of this media type, whatever its parameters.
fn is_media_type(content_type: &[u8], media_type: &[u8]) -> bool {
    content_type
        .split(|byte| *byte == b';')
        .next()
        .is_some_and(|value| value.trim_ascii().eq_ignore_ascii_case(media_type))
}
