//! The most bytes of values and keys.

use std::sync::Arc;

use super::super::{BodyReader, MAX_VALUE_BYTES, MAX_WHOLE_BYTES, Pointers};
use super::read;

#[test]
fn large_values_are_missing_and_others_found() {
    let text = "x".repeat(MAX_VALUE_BYTES);
    let body = format!(r#"{{"a":"{text}","b":[1,"{text}"],"0":"y"}}"#);
    let reader = read(body.as_bytes(), &[], None);
    assert_eq!(reader.value(1), None, "/a");
    assert_eq!(reader.value(2), None, "/b");
    assert_eq!(reader.value(6), None, "/b/1");
    assert_eq!(reader.value(10), Some(br#""y""#.as_slice()), "/0");
    assert!(
        reader.value(0).is_some(),
        "the whole has a bound of its own"
    );
    let body = format!(r#"{{"c":"{text}{text}{text}{text}","b":2}}"#);
    let reader = read(body.as_bytes(), &[], None);
    assert_eq!(reader.value(0), None, "the whole");
    assert_eq!(reader.value(2), Some(b"2".as_slice()));
}

#[test]
fn values_are_kept_up_to_their_bound() {
    for (pointer, max) in [("/a", MAX_VALUE_BYTES), ("", MAX_WHOLE_BYTES)] {
        let pointers = Arc::new(Pointers::new(&[pointer]));
        let (before, after) = if pointer.is_empty() {
            ("", "")
        } else {
            (r#"{"a":"#, "}")
        };
        for (length, is_kept) in [(max - 1, true), (max, true), (max + 1, false)] {
            let value = format!("\"{}\"", "x".repeat(length - 2));
            let mut reader = BodyReader::new(None, &pointers);
            reader.push(format!("{before}{value}{after}").as_bytes());
            reader.finish();
            let expected = is_kept.then_some(value.as_bytes());
            assert!(reader.value(0) == expected, "{pointer:?} {length}");
        }
    }
}

#[test]
fn values_together_are_kept_up_to_their_bound() {
    let pointers = ["/0", "/1", "/2", "/3", "/4", "/5", "/6", "/7", "/8"];
    let pointers = Arc::new(Pointers::new(&pointers));
    let value = |bytes: usize| format!("\"{}\"", "x".repeat(bytes - 2));
    let large = value(MAX_VALUE_BYTES);
    // Eight of them are as many bytes as are kept.
    for (last, kept) in [(1, 9), (2, 8)] {
        let mut members: Vec<String> = (0..7).map(|key| format!("\"{key}\":{large}")).collect();
        members.push(format!("\"7\":{}", value(MAX_VALUE_BYTES - 1)));
        members.push(format!("\"8\":{}", "1".repeat(last)));
        let mut reader = BodyReader::new(None, &pointers);
        reader.push(format!("{{{}}}", members.join(",")).as_bytes());
        reader.finish();
        let found = (0..9).filter(|&index| reader.value(index).is_some());
        assert_eq!(found.count(), kept, "{last}");
    }
}

#[test]
fn repeated_large_values_do_not_exhaust_bound() {
    let text = "x".repeat(MAX_VALUE_BYTES - 10);
    let member = format!(r#""b":"{text}","#);
    let body = format!(r#"{{{}"b":7,"0":"y"}}"#, member.repeat(20));
    let reader = read(body.as_bytes(), &[], None);
    assert_eq!(reader.value(2), Some(b"7".as_slice()));
    assert_eq!(reader.value(10), Some(br#""y""#.as_slice()));
}

#[test]
fn pointers_find_keys_up_to_their_bound() {
    for (pointer, key, is_found) in [(1_023, 1_023, true), (1_024, 1_025, false)] {
        let pointers = Arc::new(Pointers::new(&[&format!("/{}", "x".repeat(pointer))]));
        let mut reader = BodyReader::new(None, &pointers);
        reader.push(format!("{{\"{}\":1}}", "x".repeat(key)).as_bytes());
        reader.finish();
        assert_eq!(reader.value(0).is_some(), is_found, "{key}");
    }
}
