//! Tests of JSON pointers.

use super::{index, is_pointer};

#[test]
fn pointers_follow_rfc_6901() {
    for text in ["", "/", "/model", "/a/b", "/a~1b", "/m~0n", "/0/1", "//"] {
        assert!(is_pointer(text), "{text}");
    }
    for text in ["model", "a/b", " /a", "/a~", "/a~2", "/~"] {
        assert!(!is_pointer(text), "{text}");
    }
}

#[test]
fn indexes_have_no_leading_zero() {
    assert_eq!(index("0"), Some(0));
    assert_eq!(index("10"), Some(10));
    for segment in ["", "-", "-1", "+1", "01", "1x", "99999999999999999999999"] {
        assert_eq!(index(segment), None, "{segment}");
    }
}
