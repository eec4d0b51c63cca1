//! What the documents of one response add up to.

use std::sync::Arc;

use self::configured::ConfiguredNumbers;
use self::document::Document;
use crate::dialects::{Counts, Field, Formula, Source};
use crate::json::{GeneratedKey, Scalar, Visitor, number};
use crate::usage::Usage;

mod configured;
mod document;

/// The maximum length in bytes of a usage object that is kept as written.
pub(crate) const MAX_RAW_BYTES: usize = 64 * 1024;

/// What a response has reported so far, over all its documents.
#[derive(Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "independent facts")]
pub(crate) struct Report {
    document: Document,
    /// A document that has ended but does not count yet, with whether it is complete.
    deferred: Option<(Document, bool)>,
    defers_documents: bool,
    reports: Reports,
    configured: ConfiguredNumbers,
    raw: Vec<u8>,
    raw_source: Option<Source>,
    /// The usage object that is being read; it becomes `raw` if it reports any number.
    recording: Vec<u8>,
    recording_is_too_large: bool,
    model: Option<String>,
    is_completion: bool,
    has_failed: bool,
    is_last: bool,
    documents: u64,
    is_continued: bool,
    is_skippable: bool,
    output_bytes: u64,
    documents_with_output: u64,
}

/// The reports of a response, by source.
#[derive(Clone, Copy, Debug, Default)]
struct Reports([Counts; Source::COUNT]);

// === impl Reports ===

impl Reports {
    fn get(&self, source: Source) -> Counts {
        self.0.get(source as usize).copied().unwrap_or_default()
    }

    /// Adds what a later document reports.
    fn add(&mut self, source: Source, counts: &Counts) {
        if let Some(slot) = self.0.get_mut(source as usize) {
            match source {
                // Each document has the sum of all before it, or 0.
                Source::Inline => slot.raise(counts),
                Source::UsageObject | Source::Metadata | Source::Platform | Source::Headers => {
                    slot.overlay(counts);
                }
            }
        }
    }
}

// === impl Report ===

impl Report {
    /// Returns a report that begins with the counts of the response headers, and has the numbers at
    /// configured pointers.
    pub(crate) fn new(counts: Counts, formulas: Arc<[Formula]>) -> Self {
        let mut report = Self {
            configured: ConfiguredNumbers::new(formulas),
            ..Self::default()
        };
        report.reports.add(Source::Headers, &counts);
        report
    }

    /// Returns the usage reported so far.
    pub(crate) fn usage(&self) -> Option<Usage> {
        let reported = self.reports.0.iter().find(|counts| !counts.is_empty());
        self.configured.apply(reported.map(Counts::normalize))
    }

    /// Returns the model that the response names.
    pub(crate) fn model(&self) -> Option<&str> {
        self.model.as_deref()
    }

    /// Returns the last usage object as written, unless it exceeds [`MAX_RAW_BYTES`].
    pub(crate) fn raw(&self) -> Option<&[u8]> {
        let counts = self.reports.get(self.raw_source?);
        (!counts.is_empty() && !self.raw.is_empty()).then_some(&self.raw)
    }

    /// Returns whether a document, or the beginning of one, is a completion.
    pub(crate) fn is_completion(&self) -> bool {
        self.is_completion || self.document.is_valid_completion()
    }

    /// Returns whether a document says that it is the last.
    pub(crate) fn is_last(&self) -> bool {
        self.is_last
    }

    /// Returns whether a document is an error.
    pub(crate) fn has_failed(&self) -> bool {
        self.has_failed
    }

    /// Returns the number of complete documents.
    pub(crate) fn documents(&self) -> u64 {
        self.documents
    }

    /// Returns whether the last document says that more follow.
    pub(crate) fn is_continued(&self) -> bool {
        self.is_continued
    }

    /// Returns whether documents may be skipped: the dialect reports usage under keys that contain
    /// `usage`, and its documents are so many and so alike that a sample represents them.
    pub(crate) fn is_skippable(&self) -> bool {
        self.is_skippable
    }

    /// Returns the number of bytes of generated text that were read.
    pub(crate) fn output_bytes(&self) -> u64 {
        self.output_bytes
            .saturating_add(self.document.output_bytes())
    }

    /// Returns the number of documents with generated text.
    pub(crate) fn documents_with_output(&self) -> u64 {
        self.documents_with_output
    }

    /// Marks the response as a completion, as its framing says.
    pub(crate) fn set_completion(&mut self) {
        self.is_completion = true;
    }

    /// Marks the response as ended, as its framing says.
    pub(crate) fn set_last(&mut self) {
        self.is_last = true;
    }

    /// Marks the response as failed, as its framing says.
    pub(crate) fn set_failed(&mut self) {
        self.has_failed = true;
    }

    /// Defers every document from now on until [`Self::resolve_deferred`].
    pub(crate) fn defer_documents(&mut self) {
        self.defers_documents = true;
    }

    /// Adds the deferred document if it arrived `intact`, or else drops it.
    pub(crate) fn resolve_deferred(&mut self, intact: bool) {
        if let Some((document, complete)) = self.deferred.take()
            && intact
        {
            self.add(&document, complete);
        }
    }

    fn add(&mut self, document: &Document, complete: bool) {
        for (source, counts) in document.reports() {
            self.reports.add(source, counts);
        }
        self.is_completion |= document.is_valid_completion();
        self.is_skippable = document.has_choices && !document.is_error;
        let output_bytes = document.output_bytes();
        self.output_bytes = self.output_bytes.saturating_add(output_bytes);
        self.documents_with_output = self
            .documents_with_output
            .saturating_add(u64::from(output_bytes > 0));
        self.has_failed |= document.is_error;
        self.is_last |= document.is_last
            || document.has_report(Source::Platform)
            || (document.has_empty_choices && document.reports_output());
        self.is_continued = document.is_continued;
        self.documents = self.documents.saturating_add(u64::from(complete));
    }

    fn set_model(&mut self, value: &Scalar<'_>) {
        let known = self.model.as_deref().map(str::as_bytes);
        if let Scalar::Text(text) = value
            && !text.is_empty()
            && known != Some(text)
        {
            self.model = Some(String::from_utf8_lossy(text).into_owned());
        }
    }
}

impl Visitor<Field> for Report {
    fn begin_document(&mut self) {
        self.document = Document::default();
    }

    fn open(&mut self, field: Field) {
        let document = &mut self.document;
        match field {
            Field::Report(source) => {
                document.begin_report(source);
                self.recording.clear();
                self.recording_is_too_large = false;
            }
            Field::Choices => {
                document.has_choices = true;
                document.is_completion = true;
            }
            Field::Completion => document.is_completion = true,
            Field::Error => document.is_error = true,
            Field::Count(_)
            | Field::InlineCount(_)
            | Field::NoInlineReport
            | Field::Model
            | Field::Kind
            | Field::Done
            | Field::Configured(_) => {}
        }
    }

    fn close(&mut self, field: Field, empty: bool) {
        match field {
            Field::Report(source) => {
                let has_counts = self.document.end_report();
                if has_counts && self.raw_source.is_none_or(|first| source <= first) {
                    std::mem::swap(&mut self.raw, &mut self.recording);
                    self.raw_source = Some(source);
                }
            }
            Field::Choices => self.document.has_empty_choices = empty,
            _ => {}
        }
    }

    fn scalar(&mut self, field: Field, value: &Scalar<'_>) {
        let text = match value {
            Scalar::Text(text) => text.as_ref(),
            Scalar::Literal(literal) => literal,
        };
        let is_null = *value == Scalar::Literal(b"null");
        let document = &mut self.document;
        match field {
            Field::Count(count) => document.set_count(count, number::tokens(text)),
            Field::InlineCount(count) => {
                document.inline_counts.add(count, number::tokens(text));
            }
            Field::NoInlineReport => document.no_inline_report = true,
            // `"usage": null` after a report: the last of duplicate keys wins.
            Field::Report(source) => document.remove_report(source),
            Field::Model => self.set_model(value),
            Field::Kind => document.set_kind(text),
            Field::Done => {
                document.is_completion = true;
                document.is_continued = text == b"false";
                document.is_last |= text == b"true";
            }
            Field::Error => document.is_error |= !is_null && text != b"false",
            Field::Completion => document.is_completion |= !is_null,
            Field::Choices => {}
            Field::Configured(pointer) => self.configured.set(pointer, number::tokens(text)),
        }
    }

    fn wants_bytes(&self, field: Field) -> bool {
        matches!(field, Field::Report(_))
    }

    fn bytes(&mut self, bytes: &[u8]) {
        let free = MAX_RAW_BYTES.saturating_sub(self.recording.len());
        if self.recording_is_too_large || bytes.len() > free {
            self.recording_is_too_large = true;
            self.recording.clear();
        } else {
            self.recording.extend_from_slice(bytes);
        }
    }

    fn generated(&mut self, key: GeneratedKey, bytes: u64) {
        let counter = match key {
            GeneratedKey::Delta => &mut self.document.delta_bytes,
            GeneratedKey::Arguments | GeneratedKey::Other => &mut self.document.other_bytes,
        };
        *counter = counter.saturating_add(bytes);
    }

    fn end_document(&mut self, complete: bool) {
        let document = std::mem::take(&mut self.document);
        if self.defers_documents {
            self.deferred = Some((document, complete));
        } else {
            self.add(&document, complete);
        }
    }
}
