//! The copy of the source tree that mutants are written to.

use crate::error::Error;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{fs, io};

/// The copy of the source tree, below `target`.
#[derive(Debug)]
pub(crate) struct Copy {
    /// The folder of the original.
    root: PathBuf,
    /// The folder of the copy and of what is written beside it.
    folder: PathBuf,
}

/// Returns the folder of the copy and of what is written beside it, below that of what is built.
pub(crate) fn folder(root: &Path) -> PathBuf {
    let target = std::env::var_os("CARGO_TARGET_DIR");
    let target = target.map_or_else(|| root.join("target"), |target| root.join(target));
    target.join("mutants")
}

// === impl Copy ===

impl Copy {
    /// Copies every file that git tracks or would add, but for those that are written with mutants. A
    /// file that is the same keeps its time, so that cargo compiles what changed.
    pub(crate) fn new(
        root: &Path,
        folder: PathBuf,
        is_written: impl Fn(&str) -> bool,
    ) -> Result<Self, Error> {
        let program = "git";
        let output = Command::new(program)
            .args([
                "ls-files",
                "-z",
                "--cached",
                "--others",
                "--exclude-standard",
            ])
            .current_dir(root)
            .output()
            .map_err(|source| Error::Program { program, source })?;
        if !output.status.success() {
            let output = String::from_utf8_lossy(&output.stderr).into_owned();
            return Err(Error::Failed { program, output });
        }
        let copy = Self {
            root: root.to_owned(),
            folder,
        };
        for path in String::from_utf8_lossy(&output.stdout).split_terminator('\0') {
            let from = root.join(path);
            if from.is_file() && !is_written(path) {
                let content = fs::read(&from).map_err(Error::at(&from))?;
                copy.write_if_changed(path, &content)?;
            }
        }
        Ok(copy)
    }

    /// Returns the folder of what is written beside the copy.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Returns the folder of the copy.
    pub(crate) fn source(&self) -> PathBuf {
        self.folder.join("tree")
    }

    /// Returns the folder of what is built. It is not that of the original: cargo would take what is built of the one
    /// for what it has built of the other.
    pub(crate) fn target(&self) -> PathBuf {
        self.folder.join("target")
    }

    /// Reads a file of the original.
    pub(crate) fn read(&self, path: &str) -> Result<String, Error> {
        let path = self.root.join(path);
        fs::read_to_string(&path).map_err(Error::at(&path))
    }

    /// Writes a file of the copy, unless it has that content.
    pub(crate) fn write_if_changed(&self, path: &str, content: &[u8]) -> Result<(), Error> {
        let path = self.source().join(path);
        if fs::read(&path).is_ok_and(|present| present == content) {
            return Ok(());
        }
        write(&path, content).map_err(Error::at(&path))
    }
}

fn write(path: &Path, content: &[u8]) -> io::Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    fs::write(path, content)
}
