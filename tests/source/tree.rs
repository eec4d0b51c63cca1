//! The files of the tree.

use std::fs;
use std::path::{Path, PathBuf};

/// A text file of the tree.
#[derive(Debug)]
pub(crate) struct File {
    /// Its path from the root of the tree, with `/`.
    pub path: String,
    pub text: String,
}

/// Returns the root of the tree.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Reads a file by its path from the root.
pub(crate) fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Reads every file with one of these extensions below a folder, or the file itself, in the order
/// of their paths. A folder that does not exist has none.
pub(crate) fn files(folder: &str, extensions: &[&str]) -> Vec<File> {
    let folder = root().join(folder);
    let mut paths = Vec::new();
    if folder.is_file() {
        paths.push(folder);
    } else {
        collect(&folder, extensions, &mut paths);
    }
    paths.sort();
    paths
        .into_iter()
        .map(|path| {
            let relative = path.strip_prefix(root()).expect("it is below the root");
            let path = relative
                .to_str()
                .expect("paths are UTF-8")
                .replace('\\', "/");
            let text = read(&path);
            File { path, text }
        })
        .collect()
}

fn collect(path: &Path, extensions: &[&str], paths: &mut Vec<PathBuf>) {
    if path.is_file() {
        let extension = path.extension().and_then(|extension| extension.to_str());
        if extension.is_some_and(|extension| extensions.contains(&extension)) {
            paths.push(path.to_owned());
        }
        return;
    }
    let is_hidden = path
        .file_name()
        .is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
    if is_hidden {
        return;
    }
    for entry in fs::read_dir(path).into_iter().flatten().flatten() {
        collect(&entry.path(), extensions, paths);
    }
}
