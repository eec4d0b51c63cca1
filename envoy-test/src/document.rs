//! Tables of documents that a program writes.

use std::{fs, io};

use crate::workspace;

/// A table of a document, between two comments that name the command which writes it.
#[derive(Debug, Clone, Copy)]
pub struct Table {
    /// The document, from the root of the workspace.
    pub path: &'static str,
    /// The command.
    pub command: &'static str,
}

impl Table {
    /// Returns the lines of the table in the document.
    ///
    /// # Errors
    /// When the document cannot be read, or has no such table.
    pub fn read(&self) -> io::Result<String> {
        let document = fs::read_to_string(workspace::root().join(self.path))?;
        let (_, table, _) = self.parts(&document)?;
        Ok(table.to_owned())
    }

    /// Writes these lines in place of those of the document.
    ///
    /// # Errors
    /// When the document cannot be read or written, or has no such table.
    pub fn write(&self, table: &str) -> io::Result<()> {
        let path = workspace::root().join(self.path);
        let document = fs::read_to_string(&path)?;
        let (before, _, after) = self.parts(&document)?;
        fs::write(path, [before, table, after].concat())
    }

    /// Returns what is before the table, the table, and what is after it.
    fn parts<'a>(&self, document: &'a str) -> io::Result<(&'a str, &'a str, &'a str)> {
        let Self { path, command } = self;
        let begin = format!("<!-- The table of `{command}`: -->\n\n");
        let end = format!("\n<!-- The end of the table of `{command}`. -->\n");
        let parts = document.find(&begin).and_then(|at| {
            let (before, rest) = document.split_at(at + begin.len());
            let (table, after) = rest.split_at(rest.find(&end)?);
            Some((before, table, after))
        });
        parts.ok_or_else(|| {
            io::Error::new(
                io::ErrorKind::InvalidData,
                format!("{path}: no lines {begin:?} and {end:?}"),
            )
        })
    }
}

/// Returns a line of a table.
#[must_use]
pub fn line(cells: &[&str]) -> String {
    format!("| {} |\n", cells.join(" | "))
}

/// Returns the first lines of a table with these titles.
#[must_use]
pub fn head(titles: &[&str]) -> String {
    format!("{}|{}\n", line(titles), "---|".repeat(titles.len()))
}

#[cfg(test)]
mod tests;
