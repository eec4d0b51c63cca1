//! Tests of models in bodies.

use super::is_certain;
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
