//! The reader of a request's body: what matters of it is found as it passes, in pieces of any size.

mod content;
mod grammar;
mod json;
mod multipart;
mod pointers;
#[cfg(test)]
mod tests;
mod text;

use std::sync::Arc;

pub use grammar::Syntax;
use json::JsonReader;
pub use json::{MAX_VALUE_BYTES, MAX_WHOLE_BYTES};
use multipart::MultipartReader;
pub use pointers::Pointers;
pub use text::unescaped;

use super::parameters::Parameters;

/// A reader of a request's body, which finds its [`Parameters`] and the values at [`Pointers`].
///
/// It keeps what it has found, never the body: of a value at most [`MAX_VALUE_BYTES`]. A body is JSON,
/// or a form if its content type says so.
#[derive(Debug)]
pub struct BodyReader {
    format: Format,
    bytes: u64,
    /// The first byte that is neither white space nor of a byte order mark.
    first: Option<u8>,
}

/// The format of a body.
#[derive(Debug)]
enum Format {
    Json(Box<JsonReader>),
    Form(Box<MultipartReader>),
}

// === impl BodyReader ===

impl BodyReader {
    /// Returns a reader of a body with this content type.
    #[must_use]
    pub fn new(content_type: Option<&[u8]>, pointers: &Arc<Pointers>) -> Self {
        let pointers = Arc::clone(pointers);
        let format = match content_type.and_then(multipart::boundary) {
            Some(boundary) => Format::Form(Box::new(MultipartReader::new(&boundary, pointers))),
            None => Format::Json(Box::new(JsonReader::new(pointers))),
        };
        Self {
            format,
            bytes: 0,
            first: None,
        }
    }

    /// Reads the next bytes.
    pub fn push(&mut self, piece: &[u8]) {
        self.bytes = self.bytes.saturating_add(piece.len() as u64);
        if self.first.is_none() {
            let is_skipped =
                |byte: &u8| byte.is_ascii_whitespace() || matches!(byte, 0xef | 0xbb | 0xbf);
            self.first = piece.iter().copied().find(|byte| !is_skipped(byte));
            if self.begins_like_json()
                && let Format::Form(form) = &self.format
            {
                // A form does not begin like this, and servers may read JSON under any content type.
                let reader = JsonReader::new(Arc::clone(form.pointers()));
                self.format = Format::Json(Box::new(reader));
            }
        }
        match &mut self.format {
            Format::Json(reader) => reader.push(piece),
            Format::Form(reader) => reader.push(piece),
        }
    }

    /// Ends the body.
    pub fn finish(&mut self) {
        if let Format::Json(reader) = &mut self.format {
            reader.finish();
        }
    }

    /// Returns the parameters that were found so far.
    #[must_use]
    pub const fn parameters(&self) -> &Parameters {
        match &self.format {
            Format::Json(reader) => reader.parameters(),
            Format::Form(reader) => reader.parameters(),
        }
    }

    /// Returns the parameters that were found.
    #[must_use]
    pub fn into_parameters(self) -> Parameters {
        self.parameters().clone()
    }

    /// Returns the value at a pointer, by its position, as JSON without white space; `None` if there is none
    /// so far, or if it is too large.
    #[must_use]
    pub fn value(&self, pointer: usize) -> Option<&[u8]> {
        match &self.format {
            Format::Json(reader) => reader.value(pointer),
            Format::Form(_) => None,
        }
    }

    /// Returns what is known of the body's syntax as JSON; `None` for a form.
    #[must_use]
    pub const fn syntax(&self) -> Option<Syntax> {
        match &self.format {
            Format::Json(reader) => Some(reader.syntax()),
            Format::Form(_) => None,
        }
    }

    /// Returns whether the body begins like a JSON object or array.
    #[must_use]
    pub const fn begins_like_json(&self) -> bool {
        matches!(self.first, Some(b'{' | b'['))
    }

    /// Returns the number of bytes that were read.
    #[must_use]
    pub const fn bytes(&self) -> u64 {
        self.bytes
    }
}

// === impl Parameters ===

impl Parameters {
    /// Reads the parameters of a JSON body, all of it or the beginning. A body that is not JSON has none
    /// after the byte that shows it.
    #[must_use]
    pub fn read(body: &[u8]) -> Self {
        let mut reader = BodyReader::new(None, &Pointers::none());
        reader.push(body);
        reader.finish();
        reader.into_parameters()
    }
}
