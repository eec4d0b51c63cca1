//! Every relative link of a document leads to a file that exists, and to a heading in it.

#[cfg(test)]
mod tests;

use crate::tree;
use std::collections::{BTreeSet, HashMap};
use std::path::{Component, Path, PathBuf};

/// Folders with documents, and documents of the root.
const DOCUMENTS: &[&str] = &[
    "README.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "SECURITY.md",
    "docs",
    "examples",
    "envoy-test",
    "filter-config",
    "integration",
    "limits",
    "src",
    "usage-meter",
];

/// The most lines of a page of the documentation.
const MAX_LINES: usize = 500;

#[test]
fn links_lead_to_files_and_headings() {
    let documents: Vec<_> = DOCUMENTS
        .iter()
        .flat_map(|folder| tree::files(folder, &["md"]))
        .collect();
    let anchors: HashMap<&str, BTreeSet<String>> = documents
        .iter()
        .map(|file| (file.path.as_str(), anchors(&file.text)))
        .collect();
    let mut errors = Vec::new();
    let mut checked = 0;
    for file in &documents {
        for (line, target) in links(&file.text) {
            if target.contains("://") || target.starts_with("mailto:") {
                continue;
            }
            checked += 1;
            let (path, anchor) = target.split_once('#').unwrap_or((target, ""));
            let path = resolve(&file.path, path);
            let is_missing = match anchors.get(path.as_str()) {
                Some(known) => !anchor.is_empty() && !known.contains(anchor),
                None => !tree::root().join(&path).exists(),
            };
            if is_missing {
                errors.push(format!("{}:{line}: {target}", file.path));
            }
        }
    }
    assert!(checked > 300, "only {checked} links were found");
    assert!(errors.is_empty(), "dead links:\n{}", errors.join("\n"));
}

#[test]
fn pages_have_a_readable_length() {
    let pages = tree::files("docs", &["md"]);
    let long: Vec<_> = pages
        .iter()
        .map(|page| (page.path.as_str(), page.text.lines().count()))
        .filter(|(_, lines)| *lines > MAX_LINES)
        .collect();
    assert!(long.is_empty(), "more than {MAX_LINES} lines: {long:?}");
}

/// Returns the path that a link of a document leads to, from the root.
fn resolve(document: &str, target: &str) -> String {
    if target.is_empty() {
        return document.to_owned();
    }
    let folder = Path::new(document).parent().unwrap_or(Path::new(""));
    let mut path = PathBuf::new();
    for component in folder.join(target).components() {
        match component {
            Component::ParentDir => {
                path.pop();
            }
            Component::CurDir => {}
            other => path.push(other),
        }
    }
    path.to_string_lossy().replace('\\', "/")
}

/// Returns the lines of a document that are not code, with their numbers.
fn prose(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut is_code = false;
    text.lines().enumerate().filter_map(move |(index, line)| {
        if line.trim_start().starts_with("```") {
            is_code = !is_code;
            return None;
        }
        (!is_code).then_some((index + 1, line))
    })
}

/// Returns the targets of the links of a document, with their lines.
fn links(text: &str) -> Vec<(usize, &str)> {
    let mut found = Vec::new();
    for (number, line) in prose(text) {
        let mut rest = line;
        while let Some((_, after)) = rest.split_once("](") {
            let target = after.split([')', ' ']).next().unwrap_or_default();
            found.push((number, target));
            rest = after;
        }
        let definition = line
            .strip_prefix('[')
            .and_then(|line| line.split_once("]: "));
        found.extend(definition.map(|(_, target)| (number, target.trim())));
    }
    found
}

/// Returns the anchors of the headings of a document.
fn anchors(text: &str) -> BTreeSet<String> {
    let mut anchors = BTreeSet::new();
    for (_, line) in prose(text) {
        let heading = line.trim_start_matches('#');
        let level = line.len() - heading.len();
        if !(1..=6).contains(&level) || !heading.starts_with(' ') {
            continue;
        }
        let slug = slug(heading.trim());
        let anchor = (0..1_000)
            .map(|number| match number {
                0 => slug.clone(),
                number => format!("{slug}-{number}"),
            })
            .find(|anchor| !anchors.contains(anchor));
        anchors.extend(anchor);
    }
    anchors
}

/// Returns the anchor of a heading, as forges make it.
fn slug(heading: &str) -> String {
    let mut text = String::new();
    let mut rest = heading;
    // Of a link, its text counts.
    while let Some((before, after)) = rest.split_once("](") {
        text.push_str(before);
        rest = after.split_once(')').map_or("", |(_, after)| after);
    }
    text.push_str(rest);
    text.to_lowercase()
        .chars()
        .filter_map(|c| match c {
            ' ' => Some('-'),
            '-' | '_' => Some(c),
            c if c.is_alphanumeric() => Some(c),
            _ => None,
        })
        .collect()
}
