//! Each threat of the documentation has a test that shows its defence.

use crate::tree;

/// The page with the table of threats.
const PAGE: &str = "docs/security.md";

/// Folders with tests.
const FOLDERS: &[&str] = &[
    "src",
    "usage-meter/src",
    "limits/src",
    "filter-config/src",
    "envoy-test/tests",
    "tests",
];

#[test]
fn threats_have_tests_that_exist() {
    let page = tree::read(PAGE);
    let rows = threats(&page);
    assert!(rows.len() > 10, "{PAGE}: the table of threats is missing");
    let sources = FOLDERS
        .iter()
        .flat_map(|folder| tree::files(folder, &["rs"]));
    let sources: Vec<_> = sources.collect();
    let is_test = |name: &str| {
        let function = format!("fn {name}()");
        sources.iter().any(|file| file.text.contains(&function))
    };
    let mut errors = Vec::new();
    for (threat, tests) in rows {
        if tests.is_empty() {
            errors.push(format!("{threat}: no test"));
        }
        let missing = tests.into_iter().filter(|name| !is_test(name));
        errors.extend(missing.map(|name| format!("{threat}: no test is called {name}")));
    }
    assert!(errors.is_empty(), "{PAGE}:\n{}", errors.join("\n"));
}

/// Returns the rows of the table of threats: the threat, and the tests in its last column.
fn threats(page: &str) -> Vec<(&str, Vec<&str>)> {
    let lines = page
        .lines()
        .skip_while(|line| !line.starts_with("| from | threat |"));
    let rows = lines.take_while(|line| line.starts_with('|')).skip(2);
    rows.filter_map(|row| {
        let row = row.strip_suffix('|')?;
        let threat = row.split('|').nth(2)?.trim();
        let (_, tests) = row.rsplit_once('|')?;
        Some((threat, tests.split('`').skip(1).step_by(2).collect()))
    })
    .collect()
}
