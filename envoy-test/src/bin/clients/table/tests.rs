use crate::sdk::SDKS;

use super::*;

#[test]
fn row_shows_what_fails() {
    let sdk = &SDKS[0];
    let report = |failures: &[&str]| Report {
        version: "1.2.3".to_owned(),
        calls: ["plain", "stream", "stream usage", "tools"]
            .map(str::to_owned)
            .into(),
        failures: failures
            .iter()
            .map(|call| ((*call).to_owned(), String::new()))
            .collect(),
    };
    let row_of = |failures: &[&str]| row(sdk, &report(failures));
    assert_eq!(
        row_of(&[]),
        "| OpenAI (Python) | 1.2.3 | passes | passes | passes | – | – | `RateLimitError` | waits | raises |\n"
    );
    assert_eq!(
        row_of(&["stream usage", "rejected plain", "retry"]),
        "| OpenAI (Python) | 1.2.3 | passes | **fails** | passes | – | – | **fails** | **fails** | **fails** |\n"
    );
}

#[test]
fn document_has_all_sdks() {
    let table = TABLE.read().expect("a table");
    let rows: Vec<_> = table
        .strip_prefix(&head())
        .expect("its head")
        .lines()
        .collect();
    let names = SDKS.map(|sdk| format!("| {} ({}) |", sdk.name, sdk.language.name()));
    assert_eq!(rows.len(), names.len(), "{table}");
    for (row, name) in rows.iter().zip(&names) {
        assert!(row.starts_with(name), "{row}");
        assert!(!row.contains("**fails**"), "{row}");
    }
}
