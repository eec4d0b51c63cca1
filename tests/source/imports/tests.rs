use super::*;

/// References of the module `a::b` of a crate, by path and line.
fn references(source: &str) -> Vec<(String, usize)> {
    let modules = [
        "",
        "a",
        "a::b",
        "a::b::c",
        "a::b::c::d",
        "a::e",
        "f",
        "f::g",
    ];
    let path = |path: &str| -> ModulePath {
        let parts = path.split("::").filter(|part| !part.is_empty());
        parts.map(str::to_owned).collect()
    };
    let modules = modules.map(path).into_iter().collect();
    let names = names(source, &path("a::b"), &modules);
    let references = names.references.into_iter();
    references
        .map(|(path, line)| (path.join("::"), line))
        .collect()
}

#[track_caller]
fn assert_references(source: &str, expected: &[(&str, usize)]) {
    let expected: Vec<_> = expected
        .iter()
        .map(|(path, line)| ((*path).to_owned(), *line))
        .collect();
    assert_eq!(references(source), expected, "{source}");
}

#[test]
fn grouped_imports_name_each_module() {
    assert_references(
        "use crate::{a::e, f::{self, X, g::{Y, Z as W}},\n a::b::T};\npub(crate) use std::f::V;",
        &[("a::e", 1), ("f", 1), ("f::g", 1)],
    );
}

#[test]
fn super_paths_climb_modules() {
    assert_references(
        "use super::X;\nuse super::super::f::X;\nuse super::e;\nuse self::c::X;\nuse super::*;",
        &[("a", 1), ("f", 2), ("a::e", 3), ("a::b::c", 4), ("a", 5)],
    );
}

#[test]
fn children_and_aliases_are_followed() {
    assert_references(
        "use c::X;\nuse crate::f as h;\nfn f() { h::g::x(); c::d::Y::new(); h::T }",
        &[
            ("a::b::c", 1),
            ("f", 2),
            ("f::g", 3),
            ("a::b::c::d", 3),
            ("f", 3),
        ],
    );
}

#[test]
fn import_may_follow_its_use() {
    assert_references(
        "fn f() { g::x() }\nuse crate::f::g;",
        &[("f::g", 1), ("f::g", 2)],
    );
}

#[test]
fn paths_in_code_and_macros_count() {
    assert_references(
        "impl X for crate::f::T {}\nlet x = vec![super::e::y(self.c::<u8>())];\n$crate::m!();",
        &[("f", 1), ("a::e", 2), ("", 3)],
    );
}

#[test]
fn comments_strings_and_visibility_do_not_count() {
    assert_references(
        "// use crate::f;\n/// [`crate::f`]\nlet x = \"crate::f::x\"; pub(in crate::a) fn y(){}\n\
         pub(crate) mod c; pub(super) use std::io; fn z() -> impl T + use<'_> {}",
        &[],
    );
}

#[test]
fn own_module_does_not_count() {
    assert_references(
        "use crate::a::b::X; fn f() { self::x(); crate::a::b::y() }",
        &[],
    );
}

#[test]
fn inline_modules_nest() {
    assert_references(
        "mod inner { use super::X; use super::super::Y; fn f() {} }\nuse super::Z;",
        &[("a", 1), ("a", 2)],
    );
}

#[test]
fn test_items_do_not_count() {
    let source = "#[cfg(test)]\nuse crate::f;\n#[cfg(test)]\n#[rustfmt::skip]\nmod tests { use crate::f; }\n\
                  #[cfg(test)] fn f(x: [u8; 2]) { crate::f::x() }\n#[cfg(not(test))] use crate::a::e;\n\
                  #[cfg(test)] pub mod c;";
    assert_references(source, &[("a::e", 7)]);
    let modules = Modules::new();
    let names = names(source, &vec!["a".to_owned()], &modules);
    assert_eq!(names.test_modules, [["a", "c"].map(str::to_owned)]);
}
