//! The forms in which rows are printed.

use std::{fmt::Write, ops::Range};

use clap::ValueEnum;

/// The most characters of a value that a row has.
const MAX_CHARS: usize = 200;

/// The form of a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Form {
    /// Columns of text
    Table,
    /// CSV
    Csv,
    /// JSON
    Json,
}

/// Returns rows as columns of text; numbers are aligned to the right.
pub(super) fn table(rows: &[Vec<String>], numbers: Range<usize>) -> String {
    let columns = rows.first().map_or(0, Vec::len);
    let widths: Vec<usize> = (0..columns)
        .map(|column| {
            rows.iter()
                .map(|row| row[column].chars().count())
                .max()
                .unwrap_or(0)
        })
        .collect();
    let mut table = String::new();
    for row in rows {
        let mut line = String::new();
        for (column, (cell, width)) in row.iter().zip(&widths).enumerate() {
            // Writing to a string does not fail.
            let _ = if numbers.contains(&column) {
                write!(line, "{cell:>width$}  ")
            } else {
                write!(line, "{cell:<width$}  ")
            };
        }
        table.push_str(line.trim_end());
        table.push('\n');
    }
    table
}

/// Returns rows as CSV.
pub(super) fn csv(rows: &[Vec<String>]) -> String {
    let mut csv = String::new();
    for row in rows {
        let cells: Vec<_> = row.iter().map(|cell| quoted(cell)).collect();
        csv.push_str(&cells.join(","));
        csv.push('\n');
    }
    csv
}

/// Returns a value as rows have it: cut to 200 characters, without control characters.
pub(super) fn printable(text: &str) -> String {
    let chars = text.chars().take(MAX_CHARS);
    chars
        .map(|char| if char.is_control() { '_' } else { char })
        .collect()
}

/// Returns a value of CSV.
fn quoted(text: &str) -> String {
    if text.contains([',', '"', '\n', '\r']) {
        return format!("\"{}\"", text.replace('"', "\"\""));
    }
    text.to_owned()
}
