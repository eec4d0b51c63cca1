//! Each warning: a file that provokes it, and one that does not.

mod cases;

use serde_json::Value;
use std::collections::BTreeSet;

use crate::{WarningCode, parse_file};

/// The warnings on a document, as `code path: what; fix`.
fn warnings(document: &Value) -> Vec<String> {
    let found = parse_file(document.to_string().as_bytes());
    let found = found.unwrap_or_else(|errors| panic!("{errors}\n{document:#}"));
    let warnings = found.iter().flat_map(|found| &found.configuration.warnings);
    warnings
        .map(|warning| format!("{} {warning}", warning.code()))
        .collect()
}

#[test]
fn every_warning_has_a_file_that_provokes_it() {
    let mut provoked = BTreeSet::new();
    for (code, path, provoking, calm) in cases::all() {
        let found = warnings(&provoking);
        let expected = format!("{code} {path}: ");
        assert!(
            found.iter().all(|warning| warning.starts_with(&expected)) && !found.is_empty(),
            "{expected}\n{found:#?}"
        );
        assert_eq!(warnings(&calm), Vec::<String>::new(), "{code} {calm:#}");
        provoked.insert(code);
    }
    // These are tested where a configuration is read.
    let read = [
        WarningCode::CountsNothing,
        WarningCode::SecondRate,
        WarningCode::MisplacedField,
        WarningCode::NotExtracted,
        WarningCode::NotRead,
        WarningCode::SecondPolicy,
        WarningCode::GeneratedName,
    ];
    provoked.extend(read);
    assert_eq!(provoked, BTreeSet::from(WarningCode::ALL));
}

/// The fix of the only warning on a predicate.
fn fix(predicate: &str) -> String {
    let found = warnings(&cases::predicate(predicate));
    let [warning] = found.as_slice() else {
        panic!("{predicate}: {found:#?}");
    };
    warning.rsplit_once("; ").unwrap().1.to_owned()
}

#[test]
fn a_path_is_replaced_by_all_apis_that_it_is_the_end_of() {
    for (predicate, expected) in [
        ("request.path == '/v1/completions'", "== \"completions\""),
        (
            "request.path.startsWith('/completions')",
            "== \"completions\"",
        ),
        (
            "request.path.endsWith('/v1/completions')",
            "== \"completions\"",
        ),
        (
            "request.path.endsWith('/chat/completions')",
            "== \"chat_completions\"",
        ),
        (
            "request.path.endsWith('/completions')",
            "in [\"chat_completions\", \"completions\"]",
        ),
        (
            "request.path.contains('/completions')",
            "in [\"chat_completions\", \"completions\"]",
        ),
    ] {
        assert_eq!(
            fix(predicate),
            format!("use `llm.api {expected}`"),
            "{predicate}"
        );
    }
}

#[test]
fn what_replaces_a_negation_is_valid() {
    for (missing, call) in [
        ("request.headers[\"x-tier\"]", ".startsWith(\"g\")"),
        ("auth.identity[\"x-role\"]", ".startsWith(\"g\")"),
        (
            "metadata.filter_metadata[\"a.b\"].tier",
            ".startsWith(\"g\")",
        ),
        ("requestBodyJSON([\"/a\", \"/b\"])", ".contains(\"g\")"),
    ] {
        let negated = format!("!{missing}{call}");
        let written = format!("({missing} == null || {negated})");
        assert_eq!(
            fix(&format!("request.method == \"POST\" && {negated}")),
            format!("write `({missing} == null || !…)` instead of `!…`")
        );
        let fixed = format!("request.method == \"POST\" && {written}");
        assert_eq!(warnings(&cases::predicate(&fixed)), Vec::<String>::new());
    }
}

#[test]
fn every_warning_is_documented() {
    let documentation = include_str!("../../../docs/command-line.md");
    let (_, table) = documentation.split_once("<!-- warnings -->").unwrap();
    let (table, _) = table.split_once("<!-- end of warnings -->").unwrap();
    let rows = table.lines().filter_map(|line| line.strip_prefix("| `"));
    let documented: Vec<&str> = rows.map(|row| row.split('`').next().unwrap()).collect();
    assert_eq!(documented, WarningCode::ALL.map(WarningCode::as_str));
}

#[test]
fn shipped_files_have_no_warnings() {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
    let mut checked = 0;
    let mut folders = vec![
        format!("{root}/examples"),
        format!("{root}/integration/manifests"),
    ];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            if path.is_dir() {
                folders.push(path.display().to_string());
                continue;
            }
            let is_configuration = [
                "envoy.yaml",
                "tollgate.yaml",
                "policy.yaml",
                "wasm-plugin.yaml",
            ];
            if !is_configuration.contains(&name.as_str()) {
                continue;
            }
            let found = parse_file(&std::fs::read(&path).unwrap());
            let found = found.unwrap_or_else(|errors| panic!("{}: {errors}", path.display()));
            let warnings = found.iter().flat_map(|found| &found.configuration.warnings);
            let codes: Vec<WarningCode> = warnings.clone().map(crate::Warning::code).collect();
            // The policy of Kuadrant's tutorial is kept as it is.
            let expected = match name.as_str() {
                "policy.yaml" => vec![WarningCode::BypassablePath; 2],
                _ => Vec::new(),
            };
            let messages: Vec<String> = warnings.map(ToString::to_string).collect();
            assert_eq!(codes, expected, "{}: {messages:#?}", path.display());
            checked += 1;
        }
    }
    assert!(checked >= 12, "{checked}");
}
