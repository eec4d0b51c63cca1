//! The meter of one response.

use super::codings::{DecodeError, Decoder, DecoderMemory};
use super::framings::Framing;
use super::head::ResponseHead;
use super::report::{BackgroundStatus, Report};
use super::text_body::TextBody;
use crate::dialects::UsagePaths;
use crate::usage::Usage;

/// Reads the usage of one response from the bytes of its body.
///
/// See the [crate](crate) for an example.
#[derive(Debug)]
pub struct Meter {
    /// Whether a response that says nothing about itself is a completion: it succeeded, on a path of completions.
    has_completion_path: bool,
    decoder: Option<Box<Decoder>>,
    framing: Framing,
    report: Report,
    text_body: TextBody,
    /// The number of bytes as they were received; they count if they cannot all be decoded.
    encoded_bytes: u64,
    is_finished: bool,
    is_cut_off: bool,
}

// === impl Meter ===

impl Meter {
    /// The number of bytes at the end of a long piece that suffice while [`Self::may_skip`] says so.
    pub const TAIL_BYTES: usize = 4096;

    /// The number of bytes at the beginning of a long piece after which [`Self::may_skip`] is likely to hold, if
    /// [`Self::may_skip_later`] does.
    pub const HEAD_BYTES: usize = 8192;

    /// Returns a meter for the body that follows these headers, with decoder memory of its own.
    #[must_use]
    pub fn new(response: &ResponseHead<'_>) -> Self {
        Self::with_paths(response, &UsagePaths::default(), &DecoderMemory::default())
    }

    /// Returns a meter that also finds the numbers at configured pointers, and decodes in memory that it shares
    /// with other meters.
    #[must_use]
    pub fn with_paths(
        response: &ResponseHead<'_>,
        paths: &UsagePaths,
        memory: &DecoderMemory,
    ) -> Self {
        let is_success = (200..300).contains(&response.status);
        let content_type = response.content_type.unwrap_or_default();
        let (framing, report) = if is_success {
            (
                Framing::of(content_type, paths),
                Report::new(response.header_counts.counts(), paths.formulas()),
            )
        } else {
            (Framing::Opaque, Report::default())
        };
        Self {
            has_completion_path: is_success && response.path.is_completion,
            decoder: response
                .content_encoding
                .filter(|_| is_success)
                .and_then(|codings| Decoder::new(codings, memory))
                .map(Box::new),
            framing,
            report,
            text_body: TextBody::of(content_type),
            encoded_bytes: 0,
            is_finished: false,
            is_cut_off: false,
        }
    }

    /// Does not keep the provider's usage objects as written: [`Self::raw_usage`] returns none.
    #[must_use]
    pub fn without_raw_usage(mut self) -> Self {
        self.report.discard_raw();
        self
    }

    /// Reads the next bytes of the body, as they were received.
    pub fn push(&mut self, bytes: &[u8]) {
        let Self {
            decoder,
            framing,
            report,
            text_body,
            ..
        } = self;
        let mut read = |decoded: &[u8]| {
            text_body.push(decoded);
            framing.push(decoded, report);
        };
        if let Some(decoder) = decoder {
            // An error is kept.
            let _ = decoder.push(bytes, &mut read);
            self.encoded_bytes = self.encoded_bytes.saturating_add(bytes.len() as u64);
        } else {
            read(bytes);
        }
    }

    /// Returns whether [`Self::push_tail`] may read the end of a long piece alone: the body is a long stream in a
    /// format in which the report follows the text, and has not reported yet.
    #[must_use]
    pub fn may_skip(&self) -> bool {
        self.decoder.is_none() && self.framing.may_skip(&self.report)
    }

    /// Returns whether [`Self::may_skip`] may hold once more of the body was read: it is, or may be, a stream of events
    /// of which few were read.
    #[must_use]
    pub fn may_skip_later(&self) -> bool {
        self.decoder.is_none() && self.framing.may_skip_later(&self.report)
    }

    /// Reads the next [`Self::TAIL_BYTES`] of the body, before which `skipped` bytes were not read. Their length stands
    /// for their text.
    ///
    /// Returns `false`, and has read nothing, unless the tail shows that there is no report in the bytes before it: it
    /// begins with text. The whole piece is then to be read by [`Self::push`].
    ///
    /// ```
    /// # use usage_meter::{Meter, ResponseHead};
    /// # fn read(meter: &mut Meter, piece: &[u8]) {
    /// let skipped = piece.len().saturating_sub(Meter::TAIL_BYTES);
    /// if skipped == 0 || !meter.push_tail(skipped, &piece[skipped..]) {
    ///     meter.push(piece);
    /// }
    /// # }
    /// ```
    pub fn push_tail(&mut self, skipped: usize, tail: &[u8]) -> bool {
        if !self.may_skip() || !self.framing.push_tail(skipped, tail, &mut self.report) {
            return false;
        }
        self.text_body.skip(skipped);
        self.text_body.push(tail);
        true
    }

    /// Ends the body. A document that is cut off counts as far as it was read.
    pub fn finish(&mut self) {
        if std::mem::replace(&mut self.is_finished, true) {
            return;
        }
        let Self {
            decoder,
            framing,
            report,
            text_body,
            is_cut_off,
            ..
        } = self;
        if let Some(decoder) = decoder {
            decoder.finish(&mut |decoded| {
                text_body.push(decoded);
                framing.push(decoded, report);
            });
            if !*is_cut_off {
                decoder.reject_unread();
            }
        }
        framing.finish(report);
    }

    /// Ends a body that is cut off. Before its first byte that can be read, it may be a completion.
    pub fn cut_off(&mut self) {
        self.is_cut_off = true;
        self.finish();
    }

    /// Returns the usage reported so far; `None` if there is no report.
    #[must_use]
    pub fn usage(&self) -> Option<Usage> {
        self.report.usage()
    }

    /// Returns whether the usage is unlikely to change any more: the body says that it has ended, or it has
    /// reported its usage after its text.
    ///
    /// The report can then be used before the body has ended. This is a hint: another report may follow, so
    /// push all bytes of the body.
    #[must_use]
    pub fn is_likely_final(&self) -> bool {
        self.framing.is_likely_final(&self.report)
    }

    /// Returns whether the usage is only the least that was used: the report has no input or no output
    /// although there is text, its output is the placeholder with which a stream starts, or it is out of date.
    /// What is missing is to be estimated. `false` without a report.
    #[must_use]
    pub fn is_partial(&self) -> bool {
        self.report.is_partial()
    }

    /// Returns whether numbers were reported that are not plausible, because they are negative or exceed 2^40
    /// tokens. A report with such a number does not count.
    #[must_use]
    pub fn has_unreadable_counts(&self) -> bool {
        self.report.has_unreadable_counts()
    }

    /// Returns the identifier of a response that the provider stores (OpenAI Responses, Gemini interactions),
    /// as written in JSON. `None` also if it exceeds 512 bytes.
    #[must_use]
    pub fn response_id(&self) -> Option<&str> {
        self.report.response_id()
    }

    /// Returns the status of a response that is generated in the background; `None` for all others.
    #[must_use]
    pub fn background(&self) -> Option<BackgroundStatus> {
        self.report.background()
    }

    /// Returns whether the body is a completion, or the beginning of one. A completion without a
    /// report has a cost that is to be estimated.
    #[must_use]
    pub fn is_completion(&self) -> bool {
        if self.report.is_completion() {
            return true;
        }
        if !self.has_completion_path || self.report.has_failed() {
            return false;
        }
        if self.report.documents() > 0 {
            return self.report.unknown_bytes() > 0;
        }
        self.framing.may_have_begun()
            || (self.framing.is_unknown() && self.is_cut_off)
            || self.decoding_error().is_some()
            || (self.framing.is_json() && self.text_body.has_content())
            || self.text_body.len() > 0
    }

    /// Returns the number of bytes of generated text in the body: content, reasoning and arguments of
    /// tool calls. Of a body of unknown kind, all text counts.
    ///
    /// It is extrapolated for events that were skipped, and includes the size of a body that cannot be decoded
    /// to its end.
    #[must_use]
    pub fn output_bytes(&self) -> u64 {
        let generated = self.framing.output_bytes(self.report.output_bytes());
        let bytes = if self.report.is_completion() {
            generated
        } else if self.report.documents() > 0 {
            generated.max(self.report.unknown_bytes())
        } else {
            let text = self.text_body.len().max(self.framing.text_bytes());
            generated.max(text)
        };
        match self.decoding_error() {
            Some(_) => bytes.saturating_add(self.encoded_bytes),
            None => bytes,
        }
    }

    /// Returns the model that the response names, truncated to 160 bytes.
    #[must_use]
    pub fn model(&self) -> Option<&str> {
        self.report.model()
    }

    /// Returns the last usage object of the provider, as written; `None` also if it exceeds 64 KiB, or
    /// [is not kept](Self::without_raw_usage).
    #[must_use]
    pub fn raw_usage(&self) -> Option<&[u8]> {
        self.report.raw()
    }

    /// Returns whether the rest of the body was not read although it may be valid: it takes more memory or work
    /// than decoders have. It may have a report that was not seen.
    #[must_use]
    pub fn is_unread(&self) -> bool {
        matches!(
            self.decoding_error(),
            Some(DecodeError::Memory | DecodeError::TooLarge | DecodeError::Window)
        )
    }

    /// Returns the reason why the rest of the body cannot be decoded, if it has a content coding. What
    /// was decoded before counts.
    #[must_use]
    pub fn decoding_error(&self) -> Option<DecodeError> {
        self.decoder.as_ref()?.error()
    }
}
