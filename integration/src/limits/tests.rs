use super::{Error, parse};

const LIMIT: &str = r#"
- name: free
  namespace: default/llm
  max_value: 50
  seconds: 60
  conditions: ['descriptors[0]["tokenlimit.free__6130666f"] == "1"']
  variables: ['descriptors[0]["auth.identity.userid"]']
"#;

#[test]
fn limit_of_kuadrants_operator_is_read() {
    let limits = parse(LIMIT).unwrap();
    let [limit] = limits.as_slice() else {
        panic!("{limits:?}");
    };
    assert_eq!(limit.name(), Some("free"));
    assert_eq!(limit.namespace().as_ref(), "default/llm");
    assert_eq!((limit.max_value(), limit.seconds()), (50, 60));
    assert_eq!(limit.conditions().len(), 1);
    assert_eq!(limit.variables().len(), 1);
}

#[test]
fn malformed_limits_are_rejected() {
    for yaml in [
        "free: { namespace: a, max_value: 1, seconds: 1, conditions: [], variables: [] }",
        "- { max_value: 1, seconds: 1, conditions: [], variables: [] }",
        "- { namespace: a, max_value: 1, seconds: 1, conditions: ['a =='], variables: [] }",
    ] {
        assert!(matches!(parse(yaml), Err(Error::Malformed(_))), "{yaml}");
    }
}

#[test]
fn limits_with_same_identity_are_rejected() {
    let twice = format!(
        "{LIMIT}{}",
        LIMIT.replace("max_value: 50", "max_value: 9").trim_start()
    );
    let error = parse(&twice).unwrap_err();
    assert!(matches!(error, Error::Repeated { .. }), "{error}");
}
