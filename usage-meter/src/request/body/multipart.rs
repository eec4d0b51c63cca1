//! The reader of a form with files (`multipart/form-data`, RFC 7578), as uploads of audio and images have it.

use std::sync::Arc;

use memchr::memchr;

use super::super::parameters::{Field, Parameters};
use super::content::Kind;
use super::pointers::Pointers;
use crate::bounded_text::{MAX_MODEL_BYTES, PassingText};

/// The most bytes of the headers of a field; one with more is skipped.
const MAX_HEADER_BYTES: usize = 4096;

/// The most bytes of a boundary (RFC 2046, section 5.1.1).
const MAX_BOUNDARY_BYTES: usize = 70;

/// A reader of a form that passes in pieces.
#[derive(Debug)]
pub(super) struct MultipartReader {
    pointers: Arc<Pointers>,
    parameters: Parameters,
    /// A line end, two dashes and the boundary.
    delimiter: Vec<u8>,
    /// The number of bytes of the delimiter that came last.
    matched: usize,
    state: State,
    /// The headers of a field.
    kept: Vec<u8>,
    /// The value of a parameter.
    value: PassingText,
}

/// What the next byte is part of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// What precedes the first field.
    Preamble,
    Headers,
    Parameter(Field),
    Text,
    File,
    Other,
    /// What follows the last field.
    Epilogue,
}

/// Returns the boundary of a form by its content type; `None` if it is no form.
#[cold]
pub(super) fn boundary(content_type: &[u8]) -> Option<Vec<u8>> {
    let mut attributes = content_type.split(|byte| *byte == b';');
    let kind = attributes.next()?.trim_ascii();
    if !kind.eq_ignore_ascii_case(b"multipart/form-data") {
        return None;
    }
    let boundary = attributes.find_map(|attribute| value_of(attribute, b"boundary"))?;
    let is_valid = !boundary.is_empty() && boundary.len() <= MAX_BOUNDARY_BYTES;
    is_valid.then(|| boundary.to_vec())
}

/// Returns the value of an attribute such as `name="model"`, if it has this name.
#[cold]
fn value_of<'a>(attribute: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let equals = memchr(b'=', attribute)?;
    let (found, value) = attribute.split_at_checked(equals)?;
    let value = value.get(1..)?.trim_ascii();
    let value = value.strip_prefix(b"\"").unwrap_or(value);
    let value = value.strip_suffix(b"\"").unwrap_or(value);
    found
        .trim_ascii()
        .eq_ignore_ascii_case(name)
        .then_some(value)
}

// === impl MultipartReader ===

impl MultipartReader {
    pub(super) fn new(boundary: &[u8], pointers: Arc<Pointers>) -> Self {
        let delimiter = [b"\r\n--".as_slice(), boundary].concat();
        Self {
            pointers,
            parameters: Parameters::default(),
            delimiter,
            // The first delimiter may begin the body, without a line end before it.
            matched: 2,
            state: State::Preamble,
            kept: Vec::new(),
            value: PassingText::default(),
        }
    }

    pub(super) const fn pointers(&self) -> &Arc<Pointers> {
        &self.pointers
    }

    pub(super) const fn parameters(&self) -> &Parameters {
        &self.parameters
    }

    #[cold]
    pub(super) fn push(&mut self, piece: &[u8]) {
        let mut rest = piece;
        while let Some((&byte, tail)) = rest.split_first() {
            match self.state {
                State::Epilogue => return,
                State::Headers => {
                    self.header(byte);
                    rest = tail;
                }
                _ if self.delimiter.get(self.matched) == Some(&byte) => {
                    self.matched = self.matched.saturating_add(1);
                    rest = tail;
                    if self.matched == self.delimiter.len() {
                        self.end_field();
                        self.matched = 0;
                        self.kept.clear();
                        self.value.clear();
                        self.state = State::Headers;
                    }
                }
                _ if self.matched > 0 => {
                    // What began like a delimiter is content. A delimiter begins with the only
                    // carriage return in it, so that none of these bytes begins another.
                    let begun = self
                        .delimiter
                        .get(..self.matched)
                        .unwrap_or_default()
                        .to_vec();
                    self.matched = 0;
                    self.content(&begun);
                }
                _ => {
                    let end = memchr(b'\r', rest).unwrap_or(rest.len());
                    let (content, after) = rest.split_at_checked(end).unwrap_or((rest, &[]));
                    self.content(content);
                    rest = after;
                }
            }
        }
    }

    /// Reads a byte of the headers of a field, or of what follows the last one.
    #[cold]
    fn header(&mut self, byte: u8) {
        self.kept.push(byte);
        if self.kept == b"--" {
            self.state = State::Epilogue;
        } else if self.kept.ends_with(b"\r\n\r\n") {
            self.state = self.field();
            self.kept.clear();
        } else if self.kept.len() >= MAX_HEADER_BYTES {
            self.state = State::Other;
            self.kept.clear();
        }
    }

    /// Returns what the field is that its headers describe.
    #[cold]
    fn field(&mut self) -> State {
        const DISPOSITION: &[u8] = b"content-disposition:";
        let mut lines = self.kept.split(|byte| *byte == b'\n');
        let disposition = lines.find(|line| {
            line.get(..DISPOSITION.len())
                .is_some_and(|name| name.eq_ignore_ascii_case(DISPOSITION))
        });
        let attributes = disposition.unwrap_or_default().split(|byte| *byte == b';');
        let mut name = None;
        let mut is_file = false;
        for attribute in attributes {
            name = name.or_else(|| value_of(attribute, b"name"));
            is_file |= value_of(attribute, b"filename").is_some()
                || value_of(attribute, b"filename*").is_some();
        }
        let name = name.unwrap_or_default();
        if is_file {
            self.parameters.add_part();
            State::File
        } else if let Some(field) = self.pointers.root_field(name) {
            State::Parameter(field)
        } else if Kind::of(name, true) == Kind::Text {
            State::Text
        } else {
            State::Other
        }
    }

    #[cold]
    fn content(&mut self, bytes: &[u8]) {
        match self.state {
            State::Parameter(_) => self.value.push(bytes),
            State::Text => self.parameters.add_text(bytes.len() as u64),
            State::File => self.parameters.add_part_bytes(bytes.len() as u64),
            State::Preamble | State::Headers | State::Other | State::Epilogue => {}
        }
    }

    #[cold]
    fn end_field(&mut self) {
        if let State::Parameter(field) = self.state {
            let value = String::from_utf8_lossy(self.value.beginning());
            let value = self.value.finish(value.trim(), MAX_MODEL_BYTES);
            self.parameters.set_text(field, &value);
        }
    }
}
