//! The output that docs/command-line.md shows.

use std::{path::Path, process::Command};

/// Runs `tollgate` in the root of the repository.
fn tollgate(arguments: &str) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let arguments = arguments.split_whitespace().filter(|part| *part != "\\");
    let output = Command::new(env!("CARGO_BIN_EXE_tollgate"))
        .args(arguments)
        .current_dir(root)
        .output()
        .unwrap();
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn documented_output_is_that_of_commands() {
    let documentation = include_str!("../../docs/command-line.md");
    let mut blocks = documentation
        .split("<!-- checked -->\n```console\n")
        .skip(1);
    let mut checked = 0;
    let all = blocks.try_for_each(|block| {
        let (block, _) = block.split_once("```\n")?;
        for example in format!("\n{block}").split("\n$ tollgate ").skip(1) {
            let mut end = 0;
            while let Some(at) = example[end..].find('\n') {
                end += at + 1;
                if !example[..end].trim_end().ends_with('\\') {
                    break;
                }
            }
            let (command, expected) = example.split_at(end);
            let found = tollgate(&command.replace("\\\n", " "));
            assert_eq!(found.trim_end(), expected.trim_end(), "tollgate {command}");
            checked += 1;
        }
        Some(())
    });
    assert!(all.is_some() && checked > 0);
}
