//! The table in `docs/compatibility.md`.

use envoy_test::document::{self, Table};

use crate::smoke::CHECKS;

/// The place of the table.
pub(crate) const TABLE: Table = Table {
    path: "docs/compatibility.md",
    command: "make matrix",
};

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
    let titles: Vec<_> = ["Envoy"]
        .into_iter()
        .chain(CHECKS.iter().map(|check| check.title))
        .collect();
    let body = rows.iter().map(|row| {
        let result = |passed: &bool| if *passed { "passes" } else { "**fails**" };
        let cells: Vec<_> = [row.version.as_str()]
            .into_iter()
            .chain(row.checks.iter().map(result))
            .collect();
        document::line(&cells)
    });
    [document::head(&titles)].into_iter().chain(body).collect()
}

#[cfg(test)]
mod tests;
