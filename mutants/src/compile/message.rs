//! What cargo and the compiler say, as JSON.

use serde::Deserialize;
use std::path::{Path, PathBuf};

/// A message of cargo.
#[derive(Debug, Deserialize)]
#[serde(tag = "reason")]
pub(crate) enum Message {
    #[serde(rename = "compiler-message")]
    OfCompiler { message: Diagnostic },
    #[serde(rename = "compiler-artifact")]
    Artifact {
        executable: Option<PathBuf>,
        manifest_path: PathBuf,
    },
    #[serde(other)]
    Other,
}

/// A program of tests.
#[derive(Debug)]
pub(crate) struct Program {
    pub path: PathBuf,
    /// The folder of its package, in which it is run.
    pub folder: PathBuf,
}

/// A message of the compiler.
#[derive(Debug, Deserialize)]
pub(crate) struct Diagnostic {
    message: String,
    level: String,
    code: Option<Code>,
    spans: Vec<Span>,
    children: Vec<Diagnostic>,
    pub rendered: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Code {
    code: String,
}

/// A place that a message is about, in bytes of the file.
#[derive(Debug, Deserialize)]
pub(crate) struct Span {
    pub file_name: String,
    pub byte_start: usize,
    is_primary: bool,
}

// === impl Message ===

impl Message {
    /// Returns the message if it is an error somewhere.
    pub(crate) fn error(&self) -> Option<&Diagnostic> {
        match self {
            Self::OfCompiler { message } => {
                (message.level == "error" && !message.spans.is_empty()).then_some(message)
            }
            _ => None,
        }
    }

    /// Returns the program that was built.
    pub(crate) fn program(self) -> Option<Program> {
        match self {
            Self::Artifact {
                executable: Some(path),
                manifest_path,
            } => {
                let folder = manifest_path.parent().unwrap_or(Path::new("/"));
                let folder = folder.to_owned();
                Some(Program { path, folder })
            }
            _ => None,
        }
    }
}

// === impl Diagnostic ===

impl Diagnostic {
    /// Returns the name of the function that is called by a constant and no longer constant.
    pub(crate) fn function_of_constant(&self) -> Option<&str> {
        let code = self.code.as_ref()?;
        if code.code != "E0015" {
            return None;
        }
        let path = self.message.split('`').nth(1)?;
        let path = path.strip_suffix('>').map_or(path, |path| {
            path.rsplit_once("::<")
                .map_or(path, |(function, _)| function)
        });
        path.rsplit("::").next()
    }

    /// Returns the places that it is about, the primary ones first.
    pub(crate) fn spans(&self) -> Vec<&Span> {
        let mut spans: Vec<&Span> = self.spans.iter().collect();
        spans.sort_by_key(|span| !span.is_primary);
        spans.extend(self.children.iter().flat_map(Diagnostic::spans));
        spans
    }
}
