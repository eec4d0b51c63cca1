//! Tests of the keys of limits.

use super::{Counted, limit_key};

#[test]
fn keys_match_kuadrants_operator() {
    for (policy, limit, key) in [
        ("default/llm", "free", "tokenlimit.free__6130666f"),
        (
            "gateway-system/token-limits",
            "free",
            "tokenlimit.free__c192d660",
        ),
        ("ns/policy", "free", "tokenlimit.free__26316c84"),
        (
            "gateway-system/trlp-tutorial-token-limits",
            "free",
            "tokenlimit.free__887761d3",
        ),
    ] {
        assert_eq!(limit_key(Counted::Tokens, policy, limit), key);
    }
}

#[test]
fn similar_names_have_distinct_keys() {
    let keys = ["a-b", "a.b", "a_b", "a b", "a\"b"]
        .map(|name| limit_key(Counted::Tokens, "default/llm", name));
    for (position, key) in keys.iter().enumerate() {
        assert!(key.starts_with("tokenlimit.a_b__"), "{key}");
        assert!(!keys[..position].contains(key), "{key}");
    }
    assert_ne!(
        limit_key(Counted::Tokens, "a/b", "free"),
        limit_key(Counted::Tokens, "b/a", "free")
    );
}

#[test]
fn each_unit_of_a_limit_has_its_key() {
    for (counted, key) in [
        (Counted::Tokens, "tokenlimit.free__6130666f"),
        (Counted::Requests, "limit.free__6130666f"),
        (Counted::Usd, "budget.free__6130666f"),
    ] {
        assert_eq!(limit_key(counted, "default/llm", "free"), key);
    }
}

#[test]
fn keys_have_letters_and_digits_of_go() {
    for (limit, key) in [
        ("grün", "tokenlimit.grün__"),
        ("限额", "tokenlimit.限额__"),
        ("tier٣", "tokenlimit.tier٣__"),
        // Superscripts, Roman numerals and fractions are numbers, but no digits.
        ("x²", "tokenlimit.x___"),
        ("Ⅷ", "tokenlimit.___"),
        ("½", "tokenlimit.___"),
        ("Ⓐ", "tokenlimit.___"),
        // Vowel signs are marks, not letters: each becomes an underscore of its own.
        ("कि", "tokenlimit.क___"),
        ("e\u{301}", "tokenlimit.e___"),
        ("a b", "tokenlimit.a_b__"),
    ] {
        let found = limit_key(Counted::Tokens, "default/llm", limit);
        let (sanitized, hash) = found.split_at(found.len() - 8);
        assert_eq!(sanitized, key, "{limit}");
        assert!(hash.bytes().all(|byte| byte.is_ascii_hexdigit()), "{found}");
    }
}
