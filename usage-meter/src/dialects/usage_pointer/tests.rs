use super::{UsagePointer, UsagePointerError};
use crate::json::PointerError;

#[test]
fn sums_are_split_before_pointers() {
    for (text, expected) in [
        ("/a", &["/a"][..]),
        ("/a + /b", &["/a", "/b"]),
        ("/a+/b", &["/a", "/b"]),
        ("/a/in  +  /b/0/c +/d", &["/a/in", "/b/0/c", "/d"]),
        ("/a+b", &["/a+b"]),
        ("/a + b", &["/a + b"]),
        ("/+ + /+1", &["/+", "/+1"]),
    ] {
        let expected: Vec<_> = expected.iter().map(|term| term.parse().unwrap()).collect();
        let pointer: UsagePointer = text.parse().unwrap();
        assert_eq!(pointer.terms(), expected, "{text}");
        assert_eq!(pointer.as_str(), text);
    }
}

#[test]
fn invalid_sums_are_rejected() {
    for text in ["", "+", "a + /b", "/a + /b~", "+/a", " /a"] {
        let error = UsagePointerError::Pointer(PointerError::Invalid);
        assert_eq!(text.parse::<UsagePointer>(), Err(error), "{text}");
    }
    let sum = |terms: usize| vec!["/a"; terms].join(" + ").parse::<UsagePointer>();
    assert!(sum(8).is_ok());
    assert_eq!(sum(9), Err(UsagePointerError::TooManyTerms(9)));
}
