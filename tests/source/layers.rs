//! Modules and crates depend on one another in layers, without circles.
//!
//! This is the one place that says in which order. A file depends on another of its crate where it
//! names it: in a `use` declaration or in a path of its code (see [`imports`]). To declare a module
//! (`mod x;`) is not to depend on it, and to be declared by one is not to depend on that. So a module
//! may use its children, or they may use it, but not both; what both need has a module of its own.
//! Tests are exempt: files called `tests.rs`, those in folders called `tests`, and whatever is below
//! `#[cfg(test)]`.

use crate::imports::{self, ModulePath, Modules};
use crate::{manifest, tree};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// The modules of the filter, lowest layer first. Each may use those before it; those of one layer
/// may use one another.
const FILTER: &[&[&str]] = &[
    &["memory"],
    &["host"],
    &["attributes"],
    &["policies"],
    &["telemetry"],
    &["ledger"],
    &["admit", "settle", "reply"],
    &["stream"],
    &["plugin"],
    &["entry"],
];

/// The crates, lowest layer first, with their folders. Each may depend on those before it.
const CRATES: &[(&str, &str)] = &[
    ("usage-meter", "usage-meter"),
    ("limits", "limits"),
    ("filter-config", "filter-config"),
    ("tollgate", "."),
    ("tollgate-cli", "cli"),
    ("integration", "integration"),
    ("sdk-filter", "envoy-test/sdk-filter"),
    ("envoy-test", "envoy-test"),
    ("mutants", "mutants"),
];

/// Files of which modules are made, and what each names.
type Graph = BTreeMap<String, Vec<Reference>>;

/// A file that another names.
#[derive(Debug)]
struct Reference {
    file: String,
    line: usize,
}

#[test]
fn modules_have_no_circles() {
    let mut violations = Vec::new();
    for (_, folder) in CRATES {
        for target in targets(folder) {
            violations.extend(circles(&target.graph()));
        }
    }
    assert_none(&violations);
}

#[test]
fn filter_modules_keep_order() {
    let mut violations = Vec::new();
    for target in targets(".") {
        let layer = |file: &str| {
            let module = target.modules.iter().find(|(_, path)| path.path == file);
            let name = module.and_then(|(path, _)| path.first())?;
            let is_in = |layer: &&[&str]| layer.contains(&name.as_str());
            Some((FILTER.iter().position(is_in), name.clone()))
        };
        for (file, references) in target.graph() {
            // The root of the crate only declares modules.
            let Some((rank, name)) = layer(&file) else {
                continue;
            };
            if rank.is_none() {
                violations.push(format!("{file}:1: `{name}` is in no layer"));
            }
            for reference in references {
                if let Some((Some(other), other_name)) = layer(&reference.file)
                    && rank.is_some_and(|rank| rank < other)
                {
                    let line = reference.line;
                    violations.push(format!(
                        "{file}:{line}: `{name}` uses `{other_name}`, which is in a later layer"
                    ));
                }
            }
        }
    }
    assert_none(&violations);
}

#[test]
fn crates_keep_order() {
    let mut violations = Vec::new();
    let rank = |name: &str| CRATES.iter().position(|(other, _)| *other == name);
    for (name, folder) in CRATES {
        let path = format!("{folder}/Cargo.toml");
        let path = path.trim_start_matches("./");
        if !tree::root().join(path).exists() {
            continue;
        }
        let manifest = manifest::read(&tree::read(path));
        assert_eq!(manifest.name, *name, "{path}");
        for (dependency, line) in manifest.dependencies {
            if rank(&dependency).is_some_and(|other| Some(other) >= rank(name)) {
                violations.push(format!(
                    "{path}:{line}: `{name}` depends on `{dependency}`, which is in a later layer"
                ));
            }
        }
    }
    assert_none(&violations);
}

#[track_caller]
fn assert_none(violations: &[String]) {
    assert!(violations.is_empty(), "\n{}", violations.join("\n"));
}

/// What is compiled at once: a library or a program.
struct Target {
    modules: BTreeMap<ModulePath, tree::File>,
}

/// The targets of the crate in a folder.
fn targets(folder: &str) -> Vec<Target> {
    let source = format!("{folder}/src");
    let source = source.trim_start_matches("./");
    let mut targets: BTreeMap<String, Target> = BTreeMap::new();
    for file in tree::files(source, &["rs"]) {
        let below = file.path[source.len() + 1..].trim_end_matches(".rs");
        // Programs are in `bin/NAME.rs` or `bin/NAME/main.rs` with their modules.
        let (target, module) = match below.strip_prefix("bin/") {
            None => ("", below),
            Some(program) => program.split_once('/').unwrap_or((program, "main")),
        };
        let is_root = |part: &&str| !["lib", "main", "mod"].contains(part);
        let path = module.split('/').filter(is_root).map(str::to_owned);
        let path = path.collect();
        let target = targets.entry(target.to_owned()).or_insert_with(|| Target {
            modules: BTreeMap::new(),
        });
        target.modules.insert(path, file);
    }
    targets.into_values().collect()
}

// === impl Target ===

impl Target {
    /// What each of its files names, without tests.
    fn graph(&self) -> Graph {
        let modules: Modules = self.modules.keys().cloned().collect();
        let mut names: BTreeMap<&ModulePath, imports::Names> = self
            .modules
            .iter()
            .map(|(path, file)| (path, imports::names(&file.text, path, &modules)))
            .collect();
        let test_modules: BTreeSet<ModulePath> = names
            .values_mut()
            .flat_map(|names| std::mem::take(&mut names.test_modules))
            .collect();
        let is_test = |path: &ModulePath| {
            path.iter().any(|part| part == "tests")
                || (1..=path.len()).any(|length| test_modules.contains(&path[..length]))
        };
        names
            .into_iter()
            .filter(|(path, _)| !is_test(path))
            .map(|(path, names)| {
                let references = names
                    .references
                    .into_iter()
                    .filter(|(path, _)| !is_test(path))
                    .filter_map(|(path, line)| {
                        let file = self.modules.get(&path)?.path.clone();
                        Some(Reference { file, line })
                    });
                (self.modules[path].path.clone(), references.collect())
            })
            .collect()
    }
}

/// Every reference that is part of a circle, with the way back.
fn circles(graph: &Graph) -> Vec<String> {
    let mut violations = Vec::new();
    for (file, references) in graph {
        let mut seen = BTreeSet::new();
        for Reference { file: other, line } in references {
            if seen.insert(other)
                && let Some(way) = way(graph, other, file)
            {
                violations.push(format!("{file}:{line}: circle: {}", way.join(" uses ")));
            }
        }
    }
    violations
}

/// The shortest way from a file to another, both included.
fn way<'a>(graph: &'a Graph, from: &'a str, to: &str) -> Option<Vec<&'a str>> {
    let mut came_from: BTreeMap<&str, &str> = BTreeMap::new();
    let mut queue = VecDeque::from([from]);
    while let Some(file) = queue.pop_front() {
        if file == to {
            let mut way = vec![file];
            while let Some(before) = came_from.get(way[way.len() - 1])
                && way[way.len() - 1] != from
            {
                way.push(before);
            }
            way.reverse();
            return Some(way);
        }
        for Reference { file: next, .. } in graph.get(file).into_iter().flatten() {
            if next != from && !came_from.contains_key(next.as_str()) {
                came_from.insert(next, file);
                queue.push_back(next);
            }
        }
    }
    None
}

#[test]
fn circle_is_reported_with_its_way() {
    let graph: Graph = [
        ("a", vec![("b", 3), ("d", 4)]),
        ("b", vec![("c", 5)]),
        ("c", vec![("a", 6)]),
        ("d", vec![]),
    ]
    .into_iter()
    .map(|(file, references)| {
        let references = references.into_iter().map(|(file, line)| Reference {
            file: file.to_owned(),
            line,
        });
        (file.to_owned(), references.collect())
    })
    .collect();
    assert_eq!(
        circles(&graph),
        [
            "a:3: circle: b uses c uses a",
            "b:5: circle: c uses a uses b",
            "c:6: circle: a uses b uses c",
        ]
    );
}
