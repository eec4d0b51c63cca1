use envoy_test::binary::VERSIONS;

use super::*;

fn row(version: &str, passed: bool) -> Row {
    Row {
        version: version.to_owned(),
        checks: CHECKS.iter().map(|_| passed).collect(),
    }
}

#[test]
fn failure_is_visible_in_its_row() {
    let table = table(&[row("2.0.0", false), row("1.0.0", true)]);
    let lines: Vec<_> = table.lines().collect();
    assert_eq!(lines.len(), 4);
    assert!(lines[2].starts_with("| 2.0.0 | **fails** |"), "{table}");
    assert!(lines[3].starts_with("| 1.0.0 | passes |"), "{table}");
}

#[test]
fn table_replaces_that_of_document() {
    let document = format!("a\n{BEGIN}old\n{END}b\n");
    let new = replaced(&document, "new\n").expect("a table");
    assert_eq!(new, format!("a\n{BEGIN}new\n{END}b\n"));
    assert!(replaced("no table", "new\n").is_err());
}

#[test]
fn document_has_all_versions_and_checks() {
    let rows: Vec<_> = VERSIONS
        .iter()
        .rev()
        .map(|version| row(version, true))
        .collect();
    assert!(is_current(&table(&rows)).expect("a document"), "{PATH}");
}
