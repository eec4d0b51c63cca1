//! What the documents of one response add up to.

use std::sync::Arc;

use self::configured::ConfiguredNumbers;
use self::document::Document;
use self::reports::{Reported, Reports};
use self::response_object::ResponseObject;
use crate::dialects::{Count, Counts, Field, Formula, MAX_TOKENS, Source};
use crate::json::{GeneratedKey, Scalar, Visitor, number};
use crate::usage::Usage;

mod configured;
mod document;
mod reports;
mod response_object;

pub use response_object::BackgroundStatus;

/// The maximum length in bytes of a usage object that is kept as written.
pub(crate) const MAX_RAW_BYTES: usize = 64 * 1024;

/// What a response has reported so far, over all its documents.
#[derive(Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "independent facts")]
pub(crate) struct Report {
    document: Document,
    /// Whether `document` has ended but does not count yet, with whether it is complete.
    deferred: Option<bool>,
    defers_documents: bool,
    reports: Reports,
    configured: ConfiguredNumbers,
    /// The usage objects as written, if one was read.
    raw: Option<Box<Raw>>,
    /// Whether usage objects are not recorded.
    discards_raw: bool,
    model: Option<Box<str>>,
    response: ResponseObject,
    is_completion: bool,
    has_failed: bool,
    is_last: bool,
    documents: u64,
    is_continued: bool,
    is_skippable: bool,
    output_bytes: u64,
    documents_with_output: u64,
    /// The bytes of text in documents of unknown kind.
    unknown_bytes: u64,
}

/// Usage objects as written.
#[derive(Debug, Default)]
struct Raw {
    /// The last one that reports any number.
    last: Vec<u8>,
    source: Option<Source>,
    /// The one that is being read.
    recording: Vec<u8>,
    is_too_large: bool,
}

// === impl Raw ===

impl Raw {
    /// Begins a usage object.
    fn begin(&mut self) {
        self.recording.clear();
        self.is_too_large = false;
    }

    /// Reads the next bytes of it.
    fn push(&mut self, bytes: &[u8]) {
        let free = MAX_RAW_BYTES.saturating_sub(self.recording.len());
        if self.is_too_large || bytes.len() > free {
            self.is_too_large = true;
            self.recording.clear();
        } else {
            self.recording.extend_from_slice(bytes);
        }
    }

    /// Ends it. It is the last one unless one of a source of more precedence was read.
    fn end(&mut self, source: Source) {
        if self.source.is_none_or(|first| source <= first) {
            std::mem::swap(&mut self.last, &mut self.recording);
            self.source = Some(source);
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
        if !counts.is_empty() || counts.is_unreadable() {
            report.reports.add(Source::Headers, &counts);
        }
        report
    }

    /// Records no usage objects from now on.
    pub(crate) fn discard_raw(&mut self) {
        self.discards_raw = true;
    }

    /// Returns the usage reported so far.
    pub(crate) fn usage(&self) -> Option<Usage> {
        let reported = self.reported().map(|reported| reported.usage);
        self.configured.apply(reported)
    }

    /// Returns whether the usage is only the least that was used.
    pub(crate) fn is_partial(&self) -> bool {
        let is_partial = match self.reported() {
            Some(reported) => reported.is_partial,
            None => !self.configured.is_empty(),
        };
        is_partial && !self.configured.is_whole(self.output_bytes() > 0)
    }

    /// Returns whether a report had numbers that are not plausible.
    pub(crate) fn has_unreadable_counts(&self) -> bool {
        self.reports.have_unreadable_counts()
    }

    fn reported(&self) -> Option<Reported> {
        self.reports.usage(self.output_bytes() > 0)
    }

    /// Returns the identifier of the response, if its provider stores it.
    pub(crate) fn response_id(&self) -> Option<&str> {
        self.response.id()
    }

    /// Returns the status of the response, if it is generated in the background.
    pub(crate) fn background(&self) -> Option<BackgroundStatus> {
        self.response.background()
    }

    /// Returns the model that the response names.
    pub(crate) fn model(&self) -> Option<&str> {
        self.model.as_deref()
    }

    /// Returns the last usage object as written, unless it exceeds [`MAX_RAW_BYTES`].
    pub(crate) fn raw(&self) -> Option<&[u8]> {
        let raw = self.raw.as_ref()?;
        (self.reports.has(raw.source?) && !raw.last.is_empty()).then_some(&raw.last)
    }

    /// Returns whether a document, or the beginning of one, is a completion.
    pub(crate) fn is_completion(&self) -> bool {
        self.is_completion || self.document.facts.is_valid_completion()
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
            .saturating_add(self.document.facts.output_bytes())
    }

    /// Returns the number of bytes of text in documents of unknown kind.
    pub(crate) fn unknown_bytes(&self) -> u64 {
        self.unknown_bytes
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
        if let Some(complete) = self.deferred.take() {
            if intact {
                self.add_document(complete);
            }
            self.document.begin();
        }
    }

    /// Drops the document that is being read.
    pub(crate) fn drop_document(&mut self) {
        self.document.begin();
    }

    /// Adds a document that differs from the last one in the length of its text alone, and reports nothing.
    pub(crate) fn repeat_document(&mut self, text_bytes: u64) {
        self.output_bytes = self.output_bytes.saturating_add(text_bytes);
        self.documents_with_output = self.documents_with_output.saturating_add(1);
        self.documents = self.documents.saturating_add(1);
    }

    /// Adds the document that has ended.
    fn add_document(&mut self, complete: bool) {
        let Self {
            document, reports, ..
        } = self;
        let is_one_of_several = document.is_one_of_several();
        for (source, counts) in document.reports() {
            if is_one_of_several {
                reports.add_result(source, counts);
            } else {
                reports.add(source, counts);
            }
        }
        if let Some(source) = document.cut_off_source() {
            reports.set_outdated(source);
        }
        let facts = document.facts;
        let is_error = facts.is_error();
        self.is_completion |= facts.is_valid_completion();
        self.is_skippable = facts.has_choices && !is_error;
        // A report before any text is a preview.
        let has_last_report = document.has_report_of_platform()
            || (facts.has_empty_choices && self.output_bytes > 0 && document.reports_output());
        let output_bytes = facts.output_bytes();
        self.output_bytes = self.output_bytes.saturating_add(output_bytes);
        self.documents_with_output = self
            .documents_with_output
            .saturating_add(u64::from(output_bytes > 0));
        if complete {
            self.unknown_bytes = self.unknown_bytes.saturating_add(facts.unknown_bytes());
        }
        self.has_failed |= is_error;
        // A document that another one follows was not the last.
        self.is_last = facts.is_last || has_last_report;
        self.is_continued = facts.is_continued;
        self.documents = self.documents.saturating_add(u64::from(complete));
        self.response.end_document(facts.is_response);
    }

    fn set_model(&mut self, value: &Scalar<'_>) {
        let known = self.model.as_deref().map(str::as_bytes);
        if let Scalar::Text(text) = value
            && !text.is_empty()
            && known != Some(text)
        {
            self.model = Some(String::from_utf8_lossy(text).into());
        }
    }
}

impl Visitor<Field> for Report {
    fn begin_document(&mut self) {
        self.document.begin();
    }

    fn begin_element(&mut self) {
        self.document.begin_element();
    }

    fn open(&mut self, field: Field) {
        let document = &mut self.document;
        match field {
            Field::Report(source) => {
                document.begin_report(source);
                if !self.discards_raw {
                    self.raw.get_or_insert_default().begin();
                }
            }
            Field::Iteration => document.begin_iteration(),
            Field::Choices => {
                document.facts.has_choices = true;
                document.facts.is_completion = true;
            }
            Field::Completion => document.facts.is_completion = true,
            Field::Candidates => {
                document.facts.is_completion = true;
                document.facts.is_chunk = true;
            }
            Field::PromptToken => {
                let facts = &mut document.facts;
                facts.prompt_tokens = facts.prompt_tokens.saturating_add(1);
            }
            Field::Error => document.facts.is_in_error = true,
            Field::Count(_)
            | Field::IterationCount(_)
            | Field::InlineCount(_)
            | Field::InlinePart(_)
            | Field::Prompt
            | Field::BatchResult
            | Field::Success
            | Field::NoInlineReport
            | Field::Model
            | Field::ResponseId
            | Field::ResponseStatus
            | Field::ResponseBackground
            | Field::Kind
            | Field::Done
            | Field::Configured(_) => {}
        }
    }

    fn close(&mut self, field: Field, empty: bool) {
        let document = &mut self.document;
        match field {
            Field::Report(source) => {
                let is_counted = document.end_report();
                if is_counted && let Some(raw) = &mut self.raw {
                    raw.end(source);
                }
            }
            Field::Iteration => document.end_iteration(),
            Field::Choices => document.facts.has_empty_choices = empty,
            Field::Prompt if !empty => {
                let tokens = number::Reported::Tokens(document.facts.prompt_tokens);
                document.read_inline(Count::InputWithCache, tokens);
            }
            Field::Error => {
                document.facts.is_in_error = false;
                document.facts.is_error |= !empty;
            }
            _ => {}
        }
    }

    fn scalar(&mut self, field: Field, value: &Scalar<'_>) {
        let text = match value {
            Scalar::Text(text) => text.as_ref(),
            Scalar::Literal(literal) => literal,
        };
        let document = &mut self.document;
        let facts = &mut document.facts;
        match field {
            Field::Count(count) => document.read_count(count, number::reported(text)),
            Field::IterationCount(count) => document.read_iteration(count, number::reported(text)),
            Field::InlineCount(count) => document.read_inline(count, number::reported(text)),
            Field::InlinePart(count) => document.add_inline(count, number::reported(text)),
            Field::Success => facts.is_error |= text == b"false",
            Field::BatchResult => facts.has_custom_id |= !matches!(text, b"" | b"null"),
            Field::NoInlineReport => facts.no_inline_report = true,
            // A value that is not an object is not a report, and replaces none.
            Field::Report(_) => self.response.forget_text(),
            Field::Iteration
            | Field::Choices
            | Field::Candidates
            | Field::Prompt
            | Field::PromptToken => {}
            Field::Model => self.set_model(value),
            Field::ResponseId => self.response.end_id(),
            Field::ResponseStatus => self.response.set_status(text),
            Field::ResponseBackground => self.response.set_background(text),
            Field::Kind => facts.set_kind(text),
            Field::Done => {
                facts.is_completion = true;
                facts.is_continued = text == b"false";
                facts.is_last |= text == b"true";
            }
            Field::Error => facts.is_error |= !matches!(text, b"" | b"null" | b"false" | b"0"),
            Field::Completion => facts.is_completion |= *value != Scalar::Literal(b"null"),
            Field::Configured(pointer) => match number::reported(text) {
                number::Reported::Tokens(tokens) if tokens <= MAX_TOKENS => {
                    self.configured.set(pointer, tokens);
                }
                number::Reported::None => {}
                _ => {
                    self.reports.set_unreadable_counts();
                    self.configured.set_outdated(pointer);
                }
            },
        }
    }

    fn wants_bytes(&self, field: Field) -> bool {
        match field {
            Field::Report(_) => !self.discards_raw,
            // The documents of a stream of chunks are not stored responses.
            Field::ResponseId => !self.is_skippable && self.response.wants_id(),
            _ => false,
        }
    }

    fn bytes(&mut self, bytes: &[u8]) {
        if !self.document.is_in_report() {
            self.response.text(bytes);
        } else if let Some(raw) = &mut self.raw {
            raw.push(bytes);
        }
    }

    fn generated(&mut self, key: GeneratedKey, bytes: u64) {
        let facts = &mut self.document.facts;
        let counter = match key {
            GeneratedKey::Delta => &mut facts.delta_bytes,
            GeneratedKey::Arguments | GeneratedKey::Other => &mut facts.other_bytes,
        };
        *counter = counter.saturating_add(bytes);
    }

    fn strings(&mut self, bytes: u64) {
        self.document.facts.string_bytes = bytes;
    }

    fn end_document(&mut self, complete: bool) {
        if !complete {
            self.document.cut_off();
        }
        if self.defers_documents {
            self.deferred = Some(complete);
        } else {
            self.add_document(complete);
            self.document.begin();
        }
    }
}
