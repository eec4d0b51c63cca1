use super::{anchors, links, resolve, slug};

#[test]
fn links_are_found_outside_of_code() {
    let text = "a [b](c.md#d) and [e](f)\n```\n[g](h)\n```\n[i]: j.md\n";
    assert_eq!(links(text), [(1, "c.md#d"), (1, "f"), (5, "j.md")]);
}

#[test]
fn paths_are_resolved_from_the_document() {
    for (document, target, path) in [
        ("docs/a.md", "", "docs/a.md"),
        ("docs/a.md", "b.md", "docs/b.md"),
        ("docs/x/a.md", "../../src/lib.rs", "src/lib.rs"),
        ("README.md", "./docs/", "docs"),
    ] {
        assert_eq!(resolve(document, target), path);
    }
}

#[test]
fn headings_have_anchors() {
    assert_eq!(slug("`onExceeded` actions"), "onexceeded-actions");
    assert_eq!(
        slug("failure_policy: FAIL_RELOAD"),
        "failure_policy-fail_reload"
    );
    assert_eq!(slug("A [link](b.md), twice"), "a-link-twice");
    let found = anchors("# A\n## B\n### B\n#no\n```\n# C\n```\n");
    assert_eq!(found.into_iter().collect::<Vec<_>>(), ["a", "b", "b-1"]);
}
