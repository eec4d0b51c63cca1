//! What a `Cargo.toml` says of the packages of the workspace that a package depends on.

/// A package of the workspace.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Manifest {
    pub name: String,
    /// What it depends on in any way, for tests and builds too, with the line; packages of registries
    /// among them.
    pub dependencies: Vec<(String, usize)>,
}

/// Reads a manifest.
pub(crate) fn read(source: &str) -> Manifest {
    let mut name = "";
    let mut dependencies = Vec::new();
    let mut section = "";
    for (line, number) in source.lines().zip(1..) {
        let line = line.trim();
        if let Some(header) = line.strip_prefix('[') {
            section = header.trim_end_matches(']');
            // `[dependencies.name]`
            if let Some((table, dependency)) = section.rsplit_once('.')
                && is_dependencies(table)
            {
                dependencies.push((dependency.to_owned(), number));
            }
            continue;
        }
        let Some((key, value)) = line.split_once('=') else {
            continue;
        };
        // `name.workspace = true`
        let key = key.split('.').next().unwrap_or(key).trim();
        if section == "package" && key == "name" {
            name = value.trim().trim_matches('"');
        }
        if is_dependencies(section) {
            dependencies.push((key.to_owned(), number));
        }
    }
    Manifest {
        name: name.to_owned(),
        dependencies,
    }
}

/// Whether a table lists dependencies of a package; those of the workspace are only versions.
fn is_dependencies(table: &str) -> bool {
    let last = table.rsplit('.').next().unwrap_or(table);
    last.ends_with("dependencies") && table != "workspace.dependencies"
}

#[test]
fn dependencies_of_all_kinds_are_read() {
    let source = r#"
[workspace.dependencies]
limits = { path = "limits" }

[package]
name = "tollgate"
[dependencies]
limits.workspace = true
cel = { version = "1" }
[target.'cfg(unix)'.dev-dependencies]
envoy-test = { path = "envoy-test" }
[build-dependencies.cli]
path = "cli"
[features]
default = []
"#;
    let expected = [("limits", 8), ("cel", 9), ("envoy-test", 11), ("cli", 12)];
    assert_eq!(
        read(source),
        Manifest {
            name: "tollgate".to_owned(),
            dependencies: expected
                .map(|(name, line)| (name.to_owned(), line))
                .to_vec(),
        }
    );
}
