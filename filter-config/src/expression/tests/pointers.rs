//! Lists of JSON pointers, which are tried in their order.

use cel::Value;

use super::{errors, evaluate, is_missing, predicate, uses};
use crate::expression::{Failure, testing};

#[test]
fn first_pointer_with_value_counts() {
    for (source, expected) in [
        ("requestBodyJSON(['/model'])", "m"),
        ("requestBodyJSON(['/model', '/messages/0/role'])", "m"),
        ("requestBodyJSON(['/messages/0/role', '/model'])", "user"),
        ("requestBodyJSON(['/none', '/model/deeper', '/model'])", "m"),
        // Null is no value.
        ("requestBodyJSON(['/stream', '/model'])", "m"),
        ("requestBodyJSON(['/none', '']).model", "m"),
    ] {
        assert_eq!(evaluate(source), Ok(Value::from(expected)), "{source}");
    }
    let all_null = "requestBodyJSON(['/stream', '/none']) == null";
    assert_eq!(evaluate(all_null), Ok(Value::from(true)));
}

#[test]
fn list_without_value_is_missing() {
    let source = "requestBodyJSON(['/none', '/model/deeper'])";
    assert!(is_missing(&evaluate(source).unwrap_err()));
    let holds = |source| testing::evaluate(&predicate(source), &super::Caller);
    let null = "requestBodyJSON(['/none', '/model/deeper']) == null";
    assert_eq!(holds(null).unwrap(), Value::from(true));
    let differs = "requestBodyJSON(['/none', '/nothing']) != true";
    assert_eq!(holds(differs).unwrap(), Value::from(true));
    // What another pointer has replaced is not missing.
    let replaced = "requestBodyJSON(['/none', '/model']) == 'other'";
    assert_eq!(holds(replaced).unwrap(), Value::from(false));
    let absent = "requestBodyJSON(['/none', '/nothing']) == 'other'";
    assert!(matches!(holds(absent), Err(Failure::Missing)));
}

#[test]
fn all_pointers_of_list_are_read() {
    let source = "requestBodyJSON(['/a', '/b/0', '/a']) == 1";
    assert_eq!(uses(source), ["body[/a]", "body[/b/0]"]);
    assert!(predicate(source).needs_body());
}

#[test]
fn list_of_pointers_is_literal() {
    let invalid = "invalid list of JSON pointers, expected 1 to 16 literal texts, as in `requestBodyJSON([\"/max_tokens\", \"/max_completion_tokens\"])`";
    let many = format!("requestBodyJSON([{}]) == 1", vec!["'/a'"; 17].join(","));
    for source in [
        "requestBodyJSON([]) == 1",
        "requestBodyJSON(['/a', auth.pointer]) == 1",
        "requestBodyJSON(['/a', 1]) == 1",
        "requestBodyJSON(['/a', ['/b']]) == 1",
        "requestBodyJSON([?auth.?pointer]) == 1",
        &many,
    ] {
        assert_eq!(errors(source), [invalid], "{source}");
    }
    let pointer = "invalid JSON pointer \"b\", expected e.g. \"/model\"";
    assert_eq!(errors("requestBodyJSON(['/a', 'b']) == 1"), [pointer]);
}
