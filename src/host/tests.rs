//! Tests of what both hosts share.

use super::{Headers, is_header_value};
use proptest::prelude::*;

/// The ABI's form of some headers.
fn serialise(pairs: &[(Vec<u8>, Vec<u8>)]) -> Vec<u8> {
    let word = |n: usize| u32::try_from(n).unwrap().to_le_bytes();
    let mut bytes = word(pairs.len()).to_vec();
    for (name, value) in pairs {
        bytes.extend(word(name.len()));
        bytes.extend(word(value.len()));
    }
    for part in pairs.iter().flat_map(|(name, value)| [name, value]) {
        bytes.extend(part);
        bytes.push(0);
    }
    bytes
}

#[test]
fn duplicates_are_joined_and_foreign_bytes_replaced() {
    let headers = Headers::from_pairs([
        ("x-a", b"1".as_slice()),
        ("x-b", b"\xe9"),
        ("x-a", b"2"),
        ("x-a", b""),
    ]);
    assert_eq!(headers.get("x-a"), Some(b"1".as_slice()));
    assert_eq!(headers.text("x-a").as_deref(), Some("1,2,"));
    assert_eq!(headers.text("x-b").as_deref(), Some("\u{fffd}"));
    assert_eq!(headers.text("x-c"), None);
}

#[test]
fn control_bytes_may_not_stand_in_a_header() {
    for bad in [b"a\r\nb".as_slice(), b"\0", b"\x7f", b"a\n"] {
        assert!(!is_header_value(bad), "{bad:?}");
    }
    assert!(is_header_value(b"a\tb \xc3\xa9"));
}

proptest! {
    #[test]
    fn what_envoy_serialises_is_read_back(pairs: Vec<(Vec<u8>, Vec<u8>)>) {
        let headers = Headers::from_abi(serialise(&pairs));
        let read: Vec<_> = headers.iter().map(|(n, v)| (n.to_vec(), v.to_vec())).collect();
        prop_assert_eq!(read, pairs);
    }

    #[test]
    fn no_bytes_make_the_reader_fail(bytes: Vec<u8>, name in "[a-z]{0,3}") {
        let headers = Headers::from_abi(bytes);
        let _ = (headers.text(&name), headers.iter().count());
    }
}
