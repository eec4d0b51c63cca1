//! Tests of the types of scalars. The results are those of Envoy 1.40, from its `/config_dump`; a test in a real Envoy
//! compares some of them.

use super::parse;
use crate::json::Json;

/// A value as JSON.
fn shown(json: &Json) -> String {
    match json {
        Json::Array(items) => {
            let items: Vec<String> = items.iter().map(shown).collect();
            format!("[{}]", items.join(","))
        }
        Json::Object(entries) => {
            let entries = entries
                .iter()
                .map(|(name, value)| format!("{name}:{}", shown(value)));
            format!("{{{}}}", entries.collect::<Vec<_>>().join(","))
        }
        scalar => scalar.found(),
    }
}

fn read(yaml: &str) -> String {
    parse(yaml).map_or_else(|error| format!("error: {error}"), |json| shown(&json))
}

#[test]
fn scalars_have_the_types_of_envoy() {
    for (yaml, expected) in [
        ("0.8", "\"0.8\""),
        ("-0.5", "\"-0.5\""),
        ("5.", "\"5.\""),
        (".5", "\".5\""),
        ("1.0", "\"1.0\""),
        ("1e3", "\"1e3\""),
        (".inf", "\".inf\""),
        (".nan", "\".nan\""),
        ("42", "42"),
        ("+5", "5"),
        ("-5", "-5"),
        ("-0", "0"),
        ("0", "0"),
        ("00", "0"),
        ("2147483647", "2147483647"),
        ("2147483648", "\"2147483648\""),
        ("-2147483648", "-2147483648"),
        ("-2147483649", "\"-2147483649\""),
        ("9223372036854775807", "\"9223372036854775807\""),
        ("9223372036854775808", "\"9223372036854775808\""),
        ("0x1F", "31"),
        ("0XAB", "171"),
        ("-0x10", "-16"),
        ("0x", "\"0x\""),
        ("0x80000000", "\"2147483648\""),
        ("010", "8"),
        ("08", "\"08\""),
        ("0o17", "\"0o17\""),
        ("0b11", "\"0b11\""),
        ("1_000", "\"1_000\""),
        ("1,000", "\"1,000\""),
        ("++5", "\"++5\""),
        ("5 6", "\"5 6\""),
        ("1:30", "\"1:30\""),
        ("2026-01-01", "\"2026-01-01\""),
        ("y", "true"),
        ("Y", "true"),
        ("yes", "true"),
        ("Yes", "true"),
        ("YES", "true"),
        ("yEs", "\"yEs\""),
        ("on", "true"),
        ("On", "true"),
        ("oN", "\"oN\""),
        ("true", "true"),
        ("TRUE", "true"),
        ("tRUE", "\"tRUE\""),
        ("n", "false"),
        ("no", "false"),
        ("off", "false"),
        ("false", "false"),
        ("null", "null"),
        ("Null", "null"),
        ("NULL", "null"),
        ("~", "null"),
        ("", "null"),
        ("nULL", "\"nULL\""),
        ("\"5\"", "\"5\""),
        ("'5'", "\"5\""),
        ("\"yes\"", "\"yes\""),
        ("\"null\"", "\"null\""),
        ("\"\"", "\"\""),
        ("|-\n  5", "\"5\""),
        (">-\n  yes", "\"yes\""),
        ("|-\n  null", "\"null\""),
        ("! 5", "\"5\""),
        ("!!str 5", "5"),
        ("!!int \"5\"", "5"),
        ("!!bool \"yes\"", "true"),
        ("!!float 5", "5"),
        ("!!null \"\"", "\"\""),
        ("!foo 5", "5"),
        (
            "[1, 2.5, yes, \"x\", ~, 0x10]",
            "[1,\"2.5\",true,\"x\",null,16]",
        ),
        (
            "{5: a, yes: b, ~: c, \"q\": d}",
            "{5:\"a\",yes:\"b\",null:\"c\",q:\"d\"}",
        ),
        ("a: &x 7\nb: *x\nc: *x", "{a:7,b:7,c:7}"),
        ("a: &x { b: 0.5 }\nd: *x", "{a:{b:\"0.5\"},d:{b:\"0.5\"}}"),
        ("a:\nb: 1", "{a:null,b:1}"),
        ("a: 1\n  2", "{a:\"1 2\"}"),
        ("a: 1\n---\nb: 2", "{a:1}"),
    ] {
        assert_eq!(read(yaml), expected, "{yaml}");
    }
}

#[test]
fn hostile_yaml_is_bounded() {
    let lines = (1..10).map(|n| {
        let items = vec![format!("*a{}", n - 1); 10].join(", ");
        format!("a{n}: &a{n} [{items}]\n")
    });
    let laughs = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned() + &lines.collect::<String>();
    assert_eq!(read(&laughs), "error: has more than 1048576 values");
    assert_eq!(
        read(&"[".repeat(200)),
        "error: nests more than 127 objects and lists"
    );
    assert!(read(&"[".repeat(100_000)).starts_with("error: "));
    assert_eq!(read("[1]: 2"), "error: has a list as a key");
    assert!(read("a: *b").starts_with("error: "));
    assert!(read("a: &a [*a]").starts_with("error: "));
    assert!(read("a: [").starts_with("error: "));
}
