use serde_json::json;

use super::*;

#[test]
fn policy_is_the_tutorials() {
    let policy = policy();
    assert_eq!(policy["metadata"]["name"], "trlp-tutorial-token-limits");
    for (tier, limit) in [("free", 50), ("gold", 200)] {
        let predicate = format!("auth.identity.groups.split(\",\").exists(g, g == \"{tier}\")\n");
        assert_eq!(
            policy["spec"]["limits"][tier],
            json!({
                "rates": [{ "limit": limit, "window": "1m" }],
                "when": [
                    { "predicate": "request.path == \"/v1/chat/completions\"" },
                    { "predicate": predicate },
                ],
                "counters": [{ "expression": "auth.identity.userid" }],
            })
        );
    }
}

#[test]
fn other_window_changes_nothing_else() {
    let mut short = policy_with_window("2s");
    assert_ne!(short, policy());
    for tier in ["free", "gold"] {
        short["spec"]["limits"][tier]["rates"][0]["window"] = json!("1m");
    }
    assert_eq!(short, policy());
}
