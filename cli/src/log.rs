//! Access logs: JSON lines or CSV, with names for what is in them.
//!
//! A log is hostile: a line is at most [`lines::MAX_LINE_BYTES`] long, and one that cannot be read is skipped and counted.

mod csv;
mod entry;
mod fields;
mod lines;
#[cfg(test)]
mod tests;
mod time;

use std::io::{self, BufRead};

use serde::Deserialize;
use serde_json::Value;

pub(crate) use self::time::text as time_text;
use self::{csv::Row, lines::Lines};
pub use self::{
    entry::{Entry, Tokens},
    fields::{Fields, UnknownField},
};

/// A log that is read from its beginning.
pub struct Log<R> {
    lines: Lines<R>,
    fields: Fields,
    format: Format,
    row: Row,
    /// How many lines were skipped.
    pub skipped: u64,
    /// The first line that was skipped, with the reason.
    pub first_skipped: Option<(u64, String)>,
}

/// The format of a log, known from its first line.
enum Format {
    Unknown,
    Json,
    /// CSV, with the names of its columns.
    Csv(Vec<String>),
}

// === impl Log ===

impl<R: BufRead> Log<R> {
    /// Returns the log that a reader has.
    pub fn new(reader: R, fields: Fields) -> Self {
        Self {
            lines: Lines::new(reader),
            fields,
            format: Format::Unknown,
            row: Row::default(),
            skipped: 0,
            first_skipped: None,
        }
    }

    /// Returns the next entry that can be read.
    ///
    /// # Errors
    /// When the reader fails.
    pub fn read(&mut self) -> io::Result<Option<Entry>> {
        loop {
            if matches!(self.format, Format::Unknown) && !self.begin()? {
                return Ok(None);
            }
            let read = match &self.format {
                Format::Unknown => return Ok(None),
                Format::Json => match self.lines.next()? {
                    None => return Ok(None),
                    Some(Err(error)) => Err(error.to_owned()),
                    Some(Ok(line)) if line.trim_ascii().is_empty() => continue,
                    Some(Ok(line)) => json(line).and_then(|json| self.fields.of_json(json)),
                },
                Format::Csv(names) => match self.row.read(&mut self.lines)? {
                    None => return Ok(None),
                    Some(Err(error)) => Err(error.to_owned()),
                    Some(Ok(())) if self.row.is_blank() => continue,
                    Some(Ok(())) => self.fields.of_row(names, self.row.values()),
                },
            };
            match read {
                Ok(mut entry) => {
                    entry.line = self.lines.number();
                    return Ok(Some(entry));
                }
                Err(error) => {
                    self.skipped += 1;
                    let line = self.lines.number();
                    self.first_skipped.get_or_insert((line, error));
                }
            }
        }
    }

    /// Finds out the format. Returns whether there is a line.
    fn begin(&mut self) -> io::Result<bool> {
        let Some(first) = self.lines.peek()? else {
            return Ok(false);
        };
        self.format = if first == b'{' {
            Format::Json
        } else {
            match self.row.read(&mut self.lines)? {
                None => return Ok(false),
                Some(Ok(())) => {
                    let names = self.row.values().map(|name| name.trim().to_owned());
                    Format::Csv(names.collect())
                }
                Some(Err(error)) => {
                    return Err(io::Error::new(io::ErrorKind::InvalidData, error));
                }
            }
        };
        Ok(true)
    }
}

fn json(line: &[u8]) -> Result<Value, String> {
    let mut deserializer = serde_json::Deserializer::from_slice(line);
    let json = Value::deserialize(&mut deserializer).map_err(|error| error.to_string())?;
    deserializer.end().map_err(|error| error.to_string())?;
    Ok(json)
}
