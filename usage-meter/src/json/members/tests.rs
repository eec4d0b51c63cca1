use proptest::prelude::*;
use serde_json::{Value, json};

use super::Members;

fn find(text: &str, key: &str) -> Result<Option<String>, ()> {
    let members = Members::of(text.as_bytes()).ok_or(())?;
    let found = members.find(key)?;
    Ok(found.map(|value| text[value].to_owned()))
}

#[test]
fn values_are_found_as_written() {
    let text = r#" { "a" : [1, {"b": "}\""}] , "b":-1.5e3,"c":null ,"d\"":"x","\u0065_":{} } "#;
    for (key, value) in [
        ("a", r#"[1, {"b": "}\""}]"#),
        ("b", "-1.5e3"),
        ("c", "null"),
        ("e_", "{}"),
    ] {
        assert_eq!(find(text, key), Ok(Some(value.to_owned())), "{key}");
    }
    for other in ["x", "d", "e", "e_x"] {
        assert_eq!(find(text, other), Ok(None), "{other}");
    }
    assert_eq!(find("{}", "x"), Ok(None));
}

#[test]
fn malformed_objects_and_repeated_keys_are_errors() {
    for text in [
        "",
        "[]",
        "{",
        "{,}",
        r#"{"a"}"#,
        r#"{"a":}"#,
        r#"{"a":1"#,
        r#"{"a":1,}"#,
        r#"{"a":"x}"#,
        r#"{"a":[1}"#,
        r#"{"a":1 2}"#,
        r#"{"a":1}2"#,
        r#"{"a":1,"a":2}"#,
        r#"{"a":1,"\u0061":2}"#,
    ] {
        assert_eq!(find(text, "a"), Err(()), "{text}");
    }
}

proptest! {
    #[test]
    fn any_object_is_read_as_a_parser_does(
        members in prop::collection::btree_map("[a-z_]{0,4}", prop_oneof![
            any::<i64>().prop_map(Value::from),
            ".{0,9}".prop_map(Value::from),
            Just(json!({ "x": ["{", { "y": "\\" }], "z": true })),
        ], 0..5),
        is_pretty: bool,
    ) {
        let json = json!(members);
        let text = if is_pretty { format!("{json:#}") } else { json.to_string() };
        for (key, value) in &members {
            let found = find(&text, key).unwrap().unwrap();
            prop_assert_eq!(&serde_json::from_str::<Value>(&found).unwrap(), value);
        }
    }

    #[test]
    fn any_bytes_do_not_panic(bytes: Vec<u8>) {
        if let Some(members) = Members::of(&bytes) {
            let _ = members.find_all("a", 2);
        }
    }
}
