//! Tests of models in bodies.

use super::{allows_others, is_certain};
use crate::request::Parameters;

#[test]
fn second_model_is_noticed() {
    for (body, names_one, certain) in [
        (r#"{"model":"a"}"#, true, true),
        (r#"{"model":"a","model":"a"}"#, true, false),
        (r#"{"model":"a","model":"b"}"#, false, false),
        (r#"{"model_id":"b","model":"a"}"#, false, true),
        (r#"{"model":"a","modelId":"b"}"#, false, true),
        (r#"{"model":"a","Model":"b"}"#, true, false),
        (r#"{"model":"a","mode\u006c":"b"}"#, false, false),
        (r#"{"model":"a","nested":{"Model":"b"}}"#, true, true),
        (r#"{"model":"a"} {"model":"b"}"#, true, false),
    ] {
        let parameters = Parameters::read(body.as_bytes());
        assert_eq!(parameters.names_one_model(), names_one, "{body}");
        assert_eq!(is_certain(body.as_bytes()), certain, "{body}");
    }
}

#[test]
fn every_other_model_has_to_be_allowed() {
    for (body, expected) in [
        (r#"{"model":"x"}"#, true),
        (r#"{"model":"x","models":["a","a/b"]}"#, true),
        (r#"{"model":"x","models":["a","x"]}"#, false),
        (r#"{"model":"x","models":["a\/b","\u0061"]}"#, true),
        (r#"{"model":"x","models":"x"}"#, false),
        (r#"{"model":"x","models":null,"fallbacks":[]}"#, true),
        (r#"{"model":"x","models":[1]}"#, false),
        (r#"{"model":"x","models":{"x":1}}"#, false),
        (r#"{"model":"x","Models":["a"]}"#, false),
        (r#"{"model":"x","models":["a"],"models":["a"]}"#, false),
        (
            r#"{"model":"x","fallbacks":[{"model":"a","messages":[]}]}"#,
            true,
        ),
        (r#"{"model":"x","fallbacks":[{"model":"x"}]}"#, false),
        (r#"{"model":"x","fallbacks":[{"x":["x"]}]}"#, false),
        (
            r#"{"model":"x","fallbacks":[{"model":"a","models":["x"]}]}"#,
            false,
        ),
        (r#"{"model":"x","extra_body":{"model":"a"}}"#, true),
        (r#"{"model":"x","extra_body":{"model":"x"}}"#, false),
        (r#"{"model":"x","extra_body":{"modelId":"x"}}"#, false),
        (
            r#"{"model":"x","extra_body":{"extra_body":{"fallbacks":["x"]}}}"#,
            false,
        ),
        (
            r#"{"model":"x","extra_body":null,"messages":[{"model":"x"}]}"#,
            true,
        ),
        ("model=x", true),
        (r#"{"model":"x""#, false),
    ] {
        let is_allowed = allows_others(body.as_bytes(), &mut |model| model.starts_with('a'));
        assert_eq!(is_allowed, expected, "{body}");
    }
}

#[test]
fn other_models_are_read_to_a_depth() {
    let mut body = r#"{"model":"a"}"#.to_owned();
    for depth in 0..10 {
        let is_allowed = allows_others(body.as_bytes(), &mut |model| model == "a");
        assert_eq!(is_allowed, depth <= 4, "{body}");
        body = format!(r#"{{"extra_body":{body}}}"#);
    }
}
