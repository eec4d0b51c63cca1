//! Rows of CSV (RFC 4180): a quoted value may have commas, quotes and line breaks.

use std::io::{self, BufRead};

use super::lines::{Lines, MAX_LINE_BYTES, TOO_LONG};

/// The most values of a row.
const MAX_VALUES: usize = 1024;

/// The last row that was read.
#[derive(Debug, Default)]
pub(super) struct Row {
    text: Vec<u8>,
    /// The end of each value in the text.
    ends: Vec<usize>,
}

// === impl Row ===

impl Row {
    /// Reads the next row; `None` at the end.
    pub(super) fn read<R: BufRead>(
        &mut self,
        lines: &mut Lines<R>,
    ) -> io::Result<Option<Result<(), &'static str>>> {
        self.text.clear();
        self.ends.clear();
        let mut is_quoted = false;
        loop {
            let line = match lines.next()? {
                None if is_quoted => return Ok(Some(Err("a quote without its end"))),
                None => return Ok(None),
                Some(Err(error)) => return Ok(Some(Err(error))),
                Some(Ok(line)) => line,
            };
            if self.text.len() + line.len() > MAX_LINE_BYTES {
                return Ok(Some(Err(TOO_LONG)));
            }
            let mut bytes = line.iter().copied().peekable();
            let mut begins = !is_quoted;
            while let Some(byte) = bytes.next() {
                match byte {
                    b'"' if is_quoted => {
                        if bytes.peek() == Some(&b'"') {
                            bytes.next();
                            self.text.push(b'"');
                        } else {
                            is_quoted = false;
                        }
                    }
                    b'"' if begins => is_quoted = true,
                    b',' if !is_quoted => {
                        self.ends.push(self.text.len());
                        begins = true;
                        continue;
                    }
                    byte => self.text.push(byte),
                }
                begins = false;
            }
            if self.ends.len() >= MAX_VALUES {
                return Ok(Some(Err("more than 1024 values")));
            }
            if !is_quoted {
                self.ends.push(self.text.len());
                return Ok(Some(Ok(())));
            }
            self.text.push(b'\n');
        }
    }

    /// Returns whether the row has no value at all.
    pub(super) fn is_blank(&self) -> bool {
        self.text.trim_ascii().is_empty() && self.ends.len() <= 1
    }

    /// Returns the values, with what is not UTF-8 replaced.
    pub(super) fn values(&self) -> impl Iterator<Item = std::borrow::Cow<'_, str>> {
        let mut start = 0;
        self.ends.iter().map(move |end| {
            let value = &self.text[start..*end];
            start = *end;
            String::from_utf8_lossy(value)
        })
    }
}
