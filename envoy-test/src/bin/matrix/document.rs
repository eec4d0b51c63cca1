//! The table in `docs/compatibility.md`.

use std::{fs, io};

use envoy_test::workspace;

use crate::smoke::CHECKS;

/// The document, from the root of the workspace.
pub(crate) const PATH: &str = "docs/compatibility.md";

/// The lines before and after the table.
const BEGIN: &str = "<!-- The table of `make matrix`: -->\n\n";
const END: &str = "\n<!-- The end of the table of `make matrix`. -->\n";

/// A row of the table.
#[derive(Debug)]
pub(crate) struct Row {
    /// The version of Envoy.
    pub version: String,
    /// Whether each of [`CHECKS`] has passed.
    pub checks: Vec<bool>,
}

/// Returns the table of these rows.
pub(crate) fn table(rows: &[Row]) -> String {
    let titles = CHECKS.iter().map(|check| check.title.to_owned());
    let head = line("Envoy", titles);
    let rule = format!("|{}\n", "---|".repeat(CHECKS.len() + 1));
    let body = rows.iter().map(|row| {
        let result = |passed: &bool| if *passed { "passes" } else { "**fails**" };
        let checks = row.checks.iter().map(|passed| result(passed).to_owned());
        line(&row.version, checks)
    });
    [head, rule].into_iter().chain(body).collect()
}

/// Returns whether the document has this table.
pub(crate) fn is_current(table: &str) -> io::Result<bool> {
    let document = fs::read_to_string(workspace::root().join(PATH))?;
    Ok(replaced(&document, table)? == document)
}

/// Writes this table to the document.
pub(crate) fn update(table: &str) -> io::Result<()> {
    let path = workspace::root().join(PATH);
    let document = fs::read_to_string(&path)?;
    fs::write(path, replaced(&document, table)?)
}

/// Returns the document with this table in place of its own.
fn replaced(document: &str, table: &str) -> io::Result<String> {
    let parts = document.split_once(BEGIN).and_then(|(before, rest)| {
        let (_, after) = rest.split_once(END)?;
        Some(format!("{before}{BEGIN}{table}{END}{after}"))
    });
    parts.ok_or_else(|| {
        io::Error::new(
            io::ErrorKind::InvalidData,
            format!("{PATH}: no lines {BEGIN:?} and {END:?}"),
        )
    })
}

fn line(first: &str, cells: impl Iterator<Item = String>) -> String {
    let cells: Vec<_> = cells.collect();
    format!("| {first} | {} |\n", cells.join(" | "))
}

#[cfg(test)]
mod tests;
