use super::{Headers, is_header_value, serialize};
use proptest::prelude::*;

#[test]
fn duplicates_joined_and_invalid_utf8_replaced() {
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
fn control_bytes_make_header_value_invalid() {
    for bad in [b"a\r\nb".as_slice(), b"\0", b"\x7f", b"a\n"] {
        assert!(!is_header_value(bad), "{bad:?}");
    }
    assert!(is_header_value(b"a\tb \xc3\xa9"));
}

proptest! {
    #[test]
    fn serialized_headers_round_trip(pairs: Vec<(Vec<u8>, Vec<u8>)>) {
        let headers = Headers::from_abi(serialize(&pairs));
        let read: Vec<_> = headers.iter().map(|(n, v)| (n.to_vec(), v.to_vec())).collect();
        prop_assert_eq!(read, pairs);
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes: Vec<u8>, name in "[a-z]{0,3}") {
        let headers = Headers::from_abi(bytes);
        let _ = (headers.text(&name), headers.iter().count());
    }
}
