//! The lines of a file, of bounded length.

use std::io::{self, BufRead};

/// The longest line that is read, in bytes.
pub(super) const MAX_LINE_BYTES: usize = 1 << 20;

/// Why a line is skipped that is longer.
pub(super) const TOO_LONG: &str = "longer than 1 MiB";

/// The lines of a reader, one at a time.
pub(super) struct Lines<R> {
    reader: R,
    line: Vec<u8>,
    number: u64,
}

// === impl Lines ===

impl<R: BufRead> Lines<R> {
    pub(super) fn new(reader: R) -> Self {
        Self {
            reader,
            line: Vec::new(),
            number: 0,
        }
    }

    /// Returns the number of the last line, from 1 on.
    pub(super) const fn number(&self) -> u64 {
        self.number
    }

    /// Returns the first byte that is no white space, without reading it.
    pub(super) fn peek(&mut self) -> io::Result<Option<u8>> {
        loop {
            let bytes = self.reader.fill_buf()?;
            let skipped = bytes
                .iter()
                .take_while(|byte| byte.is_ascii_whitespace() || [0xef, 0xbb, 0xbf].contains(byte));
            let skipped = skipped.count();
            let byte = bytes.get(skipped).copied();
            if bytes.is_empty() || byte.is_some() {
                self.number += newlines(&bytes[..skipped]);
                self.reader.consume(skipped);
                return Ok(byte);
            }
            self.number += newlines(bytes);
            self.reader.consume(skipped);
        }
    }

    /// Returns the next line without its end, or that it is too long; `None` at the end.
    pub(super) fn next(&mut self) -> io::Result<Option<Result<&[u8], &'static str>>> {
        self.line.clear();
        let mut is_too_long = false;
        let mut has_any = false;
        loop {
            let bytes = self.reader.fill_buf()?;
            if bytes.is_empty() {
                break;
            }
            has_any = true;
            let end = bytes.iter().position(|byte| *byte == b'\n');
            let piece = &bytes[..end.unwrap_or(bytes.len())];
            if self.line.len() + piece.len() <= MAX_LINE_BYTES {
                self.line.extend_from_slice(piece);
            } else {
                is_too_long = true;
            }
            let read = piece.len() + usize::from(end.is_some());
            self.reader.consume(read);
            if end.is_some() {
                break;
            }
        }
        if !has_any {
            return Ok(None);
        }
        self.number += 1;
        if is_too_long {
            return Ok(Some(Err(TOO_LONG)));
        }
        let line = self.line.strip_suffix(b"\r").unwrap_or(&self.line);
        Ok(Some(Ok(line)))
    }
}

fn newlines(bytes: &[u8]) -> u64 {
    let lines = bytes.split(|byte| *byte == b'\n').count();
    lines.saturating_sub(1) as u64
}
