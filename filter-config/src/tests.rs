//! Tests of whole configurations.

use crate::parse;

const TUTORIAL: &str = r#"{
  "apiVersion": "kuadrant.io/v1alpha1",
  "kind": "TokenRateLimitPolicy",
  "metadata": { "name": "trlp-tutorial-token-limits", "namespace": "gateway-system" },
  "spec": {
    "targetRef": { "group": "gateway.networking.k8s.io", "kind": "Gateway", "name": "trlp-tutorial-gateway" },
    "limits": {
      "free": {
        "rates": [ { "limit": 50, "window": "1m" } ],
        "when": [
          { "predicate": "request.path == \"/v1/chat/completions\"" },
          { "predicate": "auth.identity.groups.split(\",\").exists(g, g == \"free\")\n" }
        ],
        "counters": [ { "expression": "auth.identity.userid" } ]
      },
      "gold": {
        "rates": [ { "limit": 200, "window": "1m" } ],
        "when": [
          { "predicate": "request.path == \"/v1/chat/completions\"" },
          { "predicate": "auth.identity.groups.split(\",\").exists(g, g == \"gold\")\n" }
        ],
        "counters": [ { "expression": "auth.identity.userid" } ]
      }
    }
  }
}"#;

#[test]
fn the_tutorials_policy_is_a_configuration() {
    let configuration = parse(TUTORIAL.as_bytes()).unwrap();
    let [policy] = configuration.policies.as_slice() else {
        panic!("one policy");
    };
    assert_eq!(policy.name, "gateway-system/trlp-tutorial-token-limits");
    let names: Vec<&str> = policy
        .limits
        .iter()
        .map(|limit| limit.name.as_str())
        .collect();
    assert_eq!(names, ["free", "gold"]);
}

#[test]
fn the_fault_of_a_misspelt_variable_names_its_path_and_the_right_one() {
    let faults = parse(TUTORIAL.replacen("auth.", "atuh.", 1).as_bytes()).unwrap_err();
    assert_eq!(
        faults.to_string(),
        r#"spec.limits.free.when[1].predicate: unknown variable "atuh", did you mean "auth"?"#
    );
}
