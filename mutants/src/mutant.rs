//! The mutants that `cargo-mutants` lists.

use crate::error::Error;
use serde::Deserialize;
use std::path::Path;
use std::process::Command;

/// A part of the project that is tested, and what its files begin with.
pub(crate) const PARTS: [&str; 5] = [
    "limits/src",
    "usage-meter/src",
    "src/admit",
    "src/settle",
    "src/reply",
];

/// The packages of these parts.
pub(crate) const PACKAGES: [&str; 3] = ["limits", "usage-meter", "tollgate"];

/// A rate limit service for tests, which belongs to the tests.
const EXCLUDED: &str = "limits/src/service/mock.rs";

/// A change of the source that a test should notice.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Mutant {
    /// The file, position and change.
    pub name: String,
    pub file: String,
    pub span: Span,
    pub replacement: String,
    pub genre: Genre,
    pub function: Option<Function>,
}

/// The function around a mutant.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Function {
    pub return_type: String,
}

/// What is replaced.
#[derive(Clone, Copy, Debug, Deserialize)]
pub(crate) struct Span {
    pub start: Position,
    pub end: Position,
}

/// A line and a column, in characters, both from one.
#[derive(Clone, Copy, Debug, Deserialize)]
pub(crate) struct Position {
    pub line: usize,
    pub column: usize,
}

/// What kind of change it is.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
pub(crate) enum Genre {
    FnValue,
    BinaryOperator,
    UnaryOperator,
    MatchArm,
    MatchArmGuard,
    StructField,
}

/// Lists the mutants of all parts.
pub(crate) fn list(root: &Path) -> Result<Vec<Mutant>, Error> {
    let program = "cargo mutants";
    let mut command = Command::new("cargo");
    command.args(["mutants", "--list", "--json", "--exclude", EXCLUDED]);
    for package in PACKAGES {
        command.args(["--package", package]);
    }
    for part in PARTS {
        command.args(["--file", &format!("{part}.rs")]);
        command.args(["--file", &format!("{part}/**/*.rs")]);
    }
    let output = command.current_dir(root).output();
    let output = output.map_err(|source| Error::Program { program, source })?;
    if !output.status.success() {
        return Err(Error::Failed {
            program,
            output: String::from_utf8_lossy(&output.stderr).into_owned(),
        });
    }
    serde_json::from_slice(&output.stdout).map_err(|source| Error::Output { program, source })
}

// === impl Mutant ===

impl Mutant {
    /// Returns its part of the project.
    pub(crate) fn part(&self) -> &'static str {
        let part = PARTS.iter().find(|part| self.file.starts_with(*part));
        part.copied().unwrap_or_default()
    }

    /// Returns its module: the first below the part.
    pub(crate) fn module(&self) -> &str {
        let part = self.part().len();
        let below = self.file.get(part + 1..).unwrap_or_default();
        let end = below.find('/').unwrap_or(below.len());
        let module = self.file.get(..part + 1 + end).unwrap_or(&self.file);
        module.strip_suffix(".rs").unwrap_or(module)
    }

    /// Returns its name without the position, which stays the same while lines above it change.
    pub(crate) fn stable_name(&self) -> String {
        stable_name(&self.file, &self.name)
    }
}

/// Returns the name of a mutant of a file without the position.
pub(crate) fn stable_name(file: &str, name: &str) -> String {
    let change = name.strip_prefix(file);
    let change = change.and_then(|rest| rest.split_once(": "));
    let change = change.map_or(name, |(_, change)| change);
    let words: Vec<&str> = change.split_whitespace().collect();
    format!("{file}: {}", words.join(" "))
}

// === impl Position ===

impl Position {
    /// Returns the position as an offset into the text, in bytes.
    pub(crate) fn offset(self, text: &str) -> Option<usize> {
        let mut start = 0;
        let mut lines = text.split_inclusive('\n');
        for _ in 1..self.line {
            start += lines.next()?.len();
        }
        let line = text.get(start..)?;
        let (column, _) = line.char_indices().nth(self.column.checked_sub(1)?)?;
        Some(start + column)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mutant(file: &str, name: &str) -> Mutant {
        let position = Position { line: 1, column: 1 };
        Mutant {
            name: name.to_owned(),
            file: file.to_owned(),
            span: Span {
                start: position,
                end: position,
            },
            replacement: String::new(),
            genre: Genre::FnValue,
            function: None,
        }
    }

    #[test]
    fn module_is_the_first_below_the_part() {
        let module = |file| mutant(file, "").module().to_owned();
        assert_eq!(module("limits/src/window/fixed.rs"), "limits/src/window");
        assert_eq!(module("limits/src/window.rs"), "limits/src/window");
        assert_eq!(module("src/reply.rs"), "src/reply");
    }

    #[test]
    fn stable_name_has_no_position() {
        let name = "limits/src/page.rs:12:3: replace < with <= in Page::evict";
        let stable = mutant("limits/src/page.rs", name).stable_name();
        assert_eq!(
            stable,
            "limits/src/page.rs: replace < with <= in Page::evict"
        );
    }

    #[test]
    fn columns_are_counted_in_characters() {
        let text = "a\nçb\n";
        let offset = |line, column| Position { line, column }.offset(text);
        assert_eq!(offset(2, 2), Some(4));
        assert_eq!(offset(1, 1), Some(0));
        assert_eq!(offset(9, 1), None);
    }
}
