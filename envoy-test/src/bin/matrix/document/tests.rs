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
fn document_has_all_versions_and_checks() {
    let rows: Vec<_> = VERSIONS
        .iter()
        .rev()
        .map(|version| row(version, true))
        .collect();
    assert_eq!(TABLE.read().expect("a document"), table(&rows));
}
