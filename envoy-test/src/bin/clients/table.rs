//! The table in `docs/compatibility.md`.

use envoy_test::document::{self, Table};

use crate::{
    check::Report,
    sdk::{Sdk, Wait},
};

/// The place of the table.
pub(crate) const TABLE: Table = Table {
    path: "docs/compatibility.md",
    command: "make test-clients",
};

/// The titles of the columns, and the first word of the calls that those in the middle show.
const TITLES: [&str; 10] = [
    "SDK",
    "version",
    "plain",
    "streamed",
    "tools",
    "HTTP/2",
    "aborted",
    "error of a rejection",
    "reset in seconds",
    "reset in an hour",
];
const CALLS: [&str; 5] = ["plain", "stream", "tools", "http2", "abort"];

/// Returns the first lines of the table.
pub(crate) fn head() -> String {
    document::head(&TITLES)
}

/// Returns the row of an SDK.
pub(crate) fn row(sdk: &Sdk, report: &Report) -> String {
    let name = format!("{} ({})", sdk.name, sdk.language.name());
    let error = format!("`{}`", sdk.error);
    let mut cells = vec![name.as_str(), &report.version];
    cells.extend(CALLS.map(|kind| result(kind, report)));
    let is_as_expected = |kind: &str| !has_failed(kind, report);
    let shown = |kind: &str, text: &'static str| {
        if is_as_expected(kind) {
            text
        } else {
            "**fails**"
        }
    };
    cells.push(if is_as_expected("rejected") {
        &error
    } else {
        "**fails**"
    });
    let wait = match sdk.wait {
        Wait::AsRequested => "waits",
        Wait::OwnBackoff => "retries",
        Wait::None => "raises",
    };
    cells.push(shown("retry", wait));
    let attempts = match sdk.attempts {
        1 => "raises",
        2 => "raises, 1 retry",
        _ => "raises, 2 retries",
    };
    cells.push(shown("rejected", attempts));
    document::line(&cells)
}

/// Returns what the calls of a kind have shown.
fn result(kind: &str, report: &Report) -> &'static str {
    if has_failed(kind, report) {
        "**fails**"
    } else if report.calls.iter().any(|call| is_of(kind, call)) {
        "passes"
    } else {
        "–"
    }
}

fn has_failed(kind: &str, report: &Report) -> bool {
    report.failures.iter().any(|(call, _)| is_of(kind, call))
}

/// Returns whether a call is of a kind, which is the first word of its name.
fn is_of(kind: &str, call: &str) -> bool {
    call.split(' ').next() == Some(kind)
}

#[cfg(test)]
mod tests;
