//! Queries as clients write them.

use super::{Query, QueryError};
use proptest::prelude::*;
use std::fmt::Write;

#[test]
fn parameters_are_decoded() {
    let query =
        Query::read("policy=ns%2Fllm&limit=each+user&auth.user=%C3%A9&flag&a=1&a=2").unwrap();
    assert_eq!(query.get("policy"), Some("ns/llm"));
    assert_eq!(query.get("limit"), Some("each user"));
    assert_eq!(query.get("auth.user"), Some("é"));
    assert_eq!(query.get("flag"), Some(""));
    assert_eq!(query.get("a"), None, "it is there twice");
    assert_eq!(query.all("a").collect::<Vec<_>>(), ["1", "2"]);
    assert!(!query.has("b"));
}

#[test]
fn malformed_queries_are_rejected() {
    for text in ["a=%", "a=%4", "a=%zz", "a=%ff", "%c3=1"] {
        assert_eq!(Query::read(text), Err(QueryError::Encoding), "{text}");
    }
    let long = "a".repeat(10_000);
    assert_eq!(Query::read(&long), Err(QueryError::TooLong));
    assert_eq!(Query::read(&"a&".repeat(65)), Err(QueryError::TooLong));
}

proptest! {
    #[test]
    fn any_query_is_read_or_rejected(text in "[ -~\u{e9}]{0,64}") {
        let _ = Query::read(&text);
    }

    #[test]
    fn encoded_values_are_read(value in ".{0,32}") {
        let mut text = "a=".to_owned();
        for byte in value.bytes() {
            write!(text, "%{byte:02x}").unwrap();
        }
        let query = Query::read(&text).unwrap();
        prop_assert_eq!(query.get("a"), Some(value.as_str()));
    }
}
