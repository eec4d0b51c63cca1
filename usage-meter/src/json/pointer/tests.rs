use super::{Pointer, PointerError, is_index};

#[test]
fn pointers_are_unescaped() {
    let parts = |text: &str| text.parse::<Pointer>().map(|pointer| pointer.parts);
    for (text, expected) in [
        ("/", &[""][..]),
        ("/a/0/b", &["a", "0", "b"]),
        ("/a~1b/~01", &["a/b", "~1"]),
        ("/a//b", &["a", "", "b"]),
    ] {
        let expected: Vec<Box<str>> = expected.iter().map(|part| (*part).into()).collect();
        assert_eq!(parts(text), Ok(expected), "{text}");
    }
}

#[test]
fn invalid_pointers_are_rejected() {
    for text in ["", "a", "#/a", "/a~", "/a~2", "usage.total_tokens"] {
        assert_eq!(
            text.parse::<Pointer>(),
            Err(PointerError::Invalid),
            "{text}"
        );
    }
    assert!("/a/b/c/d/e/f/g/h/i/j".parse::<Pointer>().is_ok());
    let error = "/0/1/2/3/4/5/6/7/8/9/10".parse::<Pointer>().unwrap_err();
    assert_eq!(error, PointerError::TooDeep(11));
    assert_eq!(
        error.to_string(),
        "a JSON pointer of 11 keys and indexes, expected at most 10"
    );
}

#[test]
fn indexes_have_no_leading_zero() {
    for (part, expected) in [
        ("0", true),
        ("10", true),
        ("01", false),
        ("", false),
        ("-", false),
        ("1a", false),
    ] {
        assert_eq!(is_index(part), expected, "{part}");
    }
}
