//! Tests of patterns: their bounds and what a search costs.

use super::{MAX_MATCHED_BYTES, Pattern, prefix};

#[test]
fn large_patterns_are_rejected() {
    for pattern in ["(a{100}){100}", "(a{50}){50}{50}", "[a-z]{10000}"] {
        assert!(Pattern::new(pattern).is_err(), "{pattern}");
    }
    assert!(Pattern::new("a{1000}").is_ok());
}

#[test]
fn long_texts_are_not_searched() {
    let pattern = Pattern::new("a").unwrap();
    assert_eq!(pattern.is_match(&"a".repeat(MAX_MATCHED_BYTES)), Some(true));
    assert_eq!(pattern.is_match(&"a".repeat(MAX_MATCHED_BYTES + 1)), None);
}

#[test]
fn searches_cost_text_times_pattern() {
    let steps =
        |pattern: &str, bytes: usize| Pattern::new(pattern).unwrap().steps(&"a".repeat(bytes));
    assert!(steps("abc", 2001) >= 2 * steps("abc", 1000));
    assert!(steps("a{500}b", 1000) > 50 * steps("ab", 1000));
    assert!(steps("^/v1/(chat/completions|messages)$", 100) < 5000);
    assert!(
        steps("(a?b?){100}", 0) > 100,
        "states are visited at the end"
    );
}

#[test]
fn whole_patterns_match_from_start_to_end() {
    for (pattern, text, expected) in [
        ("/v1/.*", "/v1/chat", true),
        ("/v1/.*", "/v2/chat", false),
        ("/v1/?", "/v1", true),
        ("/v1/a{2}", "/v1/aa", true),
        ("a|b", "b", true),
        ("a", "ab", false),
        ("", "", true),
        ("(?i)/v1", "/V1", true),
    ] {
        let found = Pattern::whole(pattern).unwrap().is_match(text);
        assert_eq!(found, Some(expected), "{pattern} {text}");
    }
    assert!(Pattern::whole("a)|(b").is_err());
}

#[test]
fn obvious_prefixes_save_searches() {
    for (pattern, expected) in [
        ("/v1/chat", "/v1/chat"),
        ("/v1/.*", "/v1/"),
        ("/v1/?", "/v1"),
        ("/v1/a+", "/v1/"),
        ("/v1|/v2", ""),
        ("(?i)/v1", ""),
    ] {
        assert_eq!(prefix(pattern), expected, "{pattern}");
    }
    assert_eq!(Pattern::whole("/v1/.*").unwrap().steps("/v2/long"), 0);
}
