use super::{Headers, is_header_value, serialize};
use proptest::prelude::*;
use std::sync::Arc;

type Pairs = Vec<(String, Vec<u8>)>;

/// Returns a few headers of few names, so that names repeat.
fn pairs() -> impl Strategy<Value = Pairs> {
    prop::collection::vec(
        ("[a-c]{0,2}", prop::collection::vec(any::<u8>(), 0..4)),
        0..8,
    )
}

fn headers(pairs: &Pairs) -> Headers {
    Headers::from_pairs(
        pairs
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_slice())),
    )
}

/// Returns the text of a header as a list of pairs has it.
fn naive_text(pairs: &Pairs, name: &str) -> Option<String> {
    let values = pairs.iter().filter(|(known, _)| known == name);
    let values: Vec<&[u8]> = values.map(|(_, value)| value.as_slice()).collect();
    let joined = values.join(&b',');
    (!values.is_empty()).then(|| String::from_utf8_lossy(&joined).into_owned())
}

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
    fn lookups_agree_with_list_of_pairs(pairs in pairs()) {
        let headers = headers(&pairs);
        prop_assert_eq!(headers.len(), pairs.len());
        prop_assert_eq!(headers.is_empty(), pairs.is_empty());
        for name in ["", "a", "b", "aa", "bc", "none"] {
            let first = pairs.iter().find(|(known, _)| known == name);
            prop_assert_eq!(headers.get(name), first.map(|(_, value)| value.as_slice()));
            let count = pairs.iter().filter(|(known, _)| known == name).count();
            prop_assert_eq!(headers.all(name).count(), count);
            prop_assert_eq!(headers.text(name).map(String::from), naive_text(&pairs, name));
        }
    }

    #[test]
    fn set_headers_replace_all_values(
        mut pairs in pairs(),
        changes in prop::collection::vec(("[a-c]{0,2}", prop::collection::vec(any::<u8>(), 0..4)), 0..4),
    ) {
        let mut changed = Arc::new(headers(&pairs));
        for (name, value) in &changes {
            pairs.retain(|(known, _)| known != name);
            pairs.push((name.clone(), value.clone()));
            changed = Arc::new(changed.with(&[(name, value)]));
        }
        let read: Vec<_> = changed.iter().map(|(n, v)| (n.to_vec(), v.to_vec())).collect();
        let naive: Vec<_> = pairs.iter().map(|(n, v)| (n.clone().into_bytes(), v.clone())).collect();
        prop_assert_eq!(read, naive);
        for name in ["", "a", "b", "aa", "bc", "none"] {
            prop_assert_eq!(changed.text(name).map(String::from), naive_text(&pairs, name));
        }
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes: Vec<u8>, name in "[a-z]{0,3}") {
        let headers = Headers::from_abi(bytes);
        let _ = (headers.text(&name), headers.iter().count());
    }
}
