use super::*;

const TABLE: Table = Table {
    path: "docs/compatibility.md",
    command: "make tables",
};

#[test]
fn table_is_found_between_its_comments() {
    let (begin, end) = (
        "a\n<!-- The table of `make tables`: -->\n\n",
        "\n<!-- The end of the table of `make tables`. -->\nb\n",
    );
    let document = format!("{begin}{}{}{end}", head(&["x", "y"]), line(&["1", "2"]));
    let (before, table, after) = TABLE.parts(&document).expect("a table");
    assert_eq!((before, after), (begin, end));
    assert_eq!(table, "| x | y |\n|---|---|\n| 1 | 2 |\n");
    assert!(TABLE.parts("no table").is_err());
    assert!(TABLE.parts(begin).is_err());
}
