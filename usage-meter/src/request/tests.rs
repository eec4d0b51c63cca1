mod include_usage;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::include_usage::splice;
use super::{Endpoint, Parameters, Purpose, StreamOptions, model};

#[test]
fn body_has_its_parameters() {
    let parameters = Parameters::read(
        br#"{"messages":[{"content":"\"stream\": true, \"max_tokens\": 9"}],"model":"gpt-4o",
        "stream":true,"max_tokens":100,"n":3,"stream_options":{"include_usage":true}}"#,
    );
    assert_eq!(parameters.model.as_deref(), Some("gpt-4o"));
    assert_eq!(parameters.stream, Some(true));
    assert_eq!(parameters.max_output_tokens(None), Some(300));
    assert_eq!(parameters.stream_options, StreamOptions::WithUsage);
    let gemini =
        Parameters::read(br#"{"generationConfig":{"maxOutputTokens":64,"candidateCount":2}}"#);
    assert_eq!(gemini.max_output_tokens(None), Some(128));
    let bounds = Parameters::read(br#"{"max_tokens":10,"max_completion_tokens":20}"#);
    assert_eq!(bounds.max_output_tokens(None), Some(20));
    for nothing in [
        "",
        "[]",
        "not json",
        "{\"model\":1}",
        "{\"max_tokens\":\"many\"}",
    ] {
        let parameters = Parameters::read(nothing.as_bytes());
        assert_eq!(parameters.model, None, "{nothing}");
        assert_eq!(parameters.stream, None, "{nothing}");
        assert_eq!(parameters.max_output_tokens(None), None, "{nothing}");
        assert_eq!(
            parameters.stream_options,
            StreamOptions::Absent,
            "{nothing}"
        );
        assert_eq!(parameters.text_bytes, 0, "{nothing}");
    }
}

#[test]
fn stream_options_are_read_in_every_shape() {
    for (body, expected) in [
        ("{}", StreamOptions::Absent),
        (r#"{"stream_options":{}}"#, StreamOptions::WithoutUsage),
        (r#"{"stream_options":null}"#, StreamOptions::WithoutUsage),
        (r#"{"stream_options":"x"}"#, StreamOptions::WithoutUsage),
        (
            r#"{"stream_options":{"include_usage":false}}"#,
            StreamOptions::WithoutUsage,
        ),
        (
            r#"{"stream_options":{"include_usage":1}}"#,
            StreamOptions::WithoutUsage,
        ),
        (
            r#"{"stream_options":{"include_usage":true}}"#,
            StreamOptions::WithUsage,
        ),
        // Of several, the last counts.
        (
            r#"{"stream_options":{"include_usage":true},"stream_options":{}}"#,
            StreamOptions::WithoutUsage,
        ),
        (
            r#"{"stream_options":{},"stream_options":{"include_usage":true}}"#,
            StreamOptions::WithUsage,
        ),
        (
            r#"{"stream_options":{"include_usage":true,"include_usage":false}}"#,
            StreamOptions::WithoutUsage,
        ),
    ] {
        let parameters = Parameters::read(body.as_bytes());
        assert_eq!(parameters.stream_options, expected, "{body}");
    }
}

#[test]
fn input_is_text_or_an_eighth_of_the_rest() {
    let image = r#"{"type":"image_url","image_url":{"url":"data:image/png;base64,AAAA"}}"#;
    for (content, body_bytes, expected) in [
        // Neither text nor a part: all of it may be text.
        ("", 800, 800),
        (r#"{"type":"text","text":"ten bytes."}"#, 40, 10),
        (r#"{"type":"text","text":"ten bytes."}"#, 800, 100),
        (image, 800, 100),
        (image, 40, 5),
    ] {
        let body = format!(r#"{{"messages":[{{"content":[{content}]}}]}}"#);
        let parameters = Parameters::read(body.as_bytes());
        let body_bytes = parameters.part_bytes + body_bytes;
        assert_eq!(parameters.input_bytes(body_bytes), expected, "{body}");
    }
}

#[test]
fn apis_are_distinguished() {
    for (path, provider, generates_text, has_stream_options) in [
        ("/v1/chat/completions", "openai", true, true),
        ("/team/proxy/v1/chat/completions", "openai", true, true),
        ("/v1/completions", "openai", true, true),
        (
            "/openai/deployments/d/chat/completions",
            "azure",
            true,
            true,
        ),
        ("/openai/deployments/d/embeddings", "azure", false, false),
        ("/v1/responses", "openai", true, false),
        ("/v1/embeddings", "openai", false, false),
        ("/v1/images/generations", "openai", false, false),
        ("/v1/messages", "anthropic", true, false),
        ("/deployments/d/v1/messages", "anthropic", true, false),
    ] {
        let endpoint = Endpoint::of_path(path).unwrap();
        assert_eq!(endpoint.provider, provider, "{path}");
        assert_eq!(endpoint.generates_text(), generates_text, "{path}");
        assert_eq!(endpoint.has_stream_options(), has_stream_options, "{path}");
        assert_eq!(endpoint.model.is_some(), provider == "azure", "{path}");
    }
}

#[test]
fn numbers_above_2_40_bound_nothing() {
    for (body, bound, choices) in [
        (r#"{"max_tokens":1099511627776}"#, Some(1 << 40), 1),
        (r#"{"max_tokens":1099511627777}"#, None, 1),
        (
            r#"{"max_tokens":9007199254740992,"max_completion_tokens":5}"#,
            None,
            1,
        ),
        (r#"{"max_tokens":"99999999999999999999"}"#, None, 1),
        (r#"{"max_tokens":1e400}"#, None, 1),
        (r#"{"max_tokens":10,"n":1099511627777}"#, Some(10), 1),
        (r#"{"max_tokens":10,"n":1e30,"best_of":3}"#, Some(30), 3),
        (r#"{"max_tokens":1048577,"n":1048576}"#, None, 1_048_576),
    ] {
        let parameters = Parameters::read(body.as_bytes());
        assert_eq!(parameters.max_output_tokens(None), bound, "{body}");
        assert_eq!(parameters.choices(), choices, "{body}");
    }
}

#[test]
fn long_models_are_cut_and_differ() {
    let long = "m".repeat(70_000);
    let model = |end: &str| {
        let of_body = Parameters::read(format!(r#"{{"model":"{long}{end}"}}"#).as_bytes()).model;
        let path = format!("/v1/models/{long}{end}:generateContent");
        let of_path = Endpoint::of_path(&path).unwrap().model;
        assert_eq!(of_body, of_path);
        of_body.unwrap()
    };
    let (one, other) = (model("a"), model("b"));
    assert_ne!(one, other);
    assert!(
        one.starts_with(&"m".repeat(160)) && one.len() < 200,
        "{one}"
    );
}

#[test]
fn escapes_give_a_model_no_other_name() {
    let name = "anthropic.claude-3-5-sonnet-20241022-v2:0";
    let escapes = name.bytes().map(|byte| format!("\\u{byte:04x}"));
    let text = escapes.collect::<Vec<_>>().concat();
    let body = format!(r#"{{"model":"{text}"}}"#);
    let model = Parameters::read(body.as_bytes()).model;
    assert_eq!(model.as_deref(), Some(name));
}

#[test]
fn bounds_of_other_apis_and_of_zero_do_not_count() {
    let foreign = Parameters::read(
        br#"{"generationConfig":{"maxOutputTokens":1},"n_predict":2,"options":{"num_predict":3}}"#,
    );
    let own = Parameters::read(br#"{"max_tokens":10,"max_output_tokens":20,"n_predict":40}"#);
    for (path, bound) in [
        ("/v1/chat/completions", Some(10)),
        ("/v1/completions", Some(10)),
        ("/v1/messages", Some(10)),
        ("/v1/responses", Some(20)),
        ("/v1/models/gemini:generateContent", Some(40)),
        ("/generate", Some(40)),
    ] {
        let endpoint = Endpoint::of_path(path);
        assert_eq!(own.max_output_tokens(endpoint.as_ref()), bound, "{path}");
        let any = (bound == Some(40)).then_some(3);
        assert_eq!(foreign.max_output_tokens(endpoint.as_ref()), any, "{path}");
    }
    let none = Parameters::read(br#"{"max_tokens":0,"n":4}"#);
    assert_eq!((none.max_output_tokens(None), none.choices()), (None, 4));
}

#[test]
fn model_is_replaced_and_nothing_else() {
    let replaced = |body: &str| {
        let bytes = model::replace(body.as_bytes(), "small");
        bytes.map(|bytes| String::from_utf8(bytes).unwrap())
    };
    for (body, expected) in [
        (r#"{"model":"large"}"#, r#"{"model":"small"}"#),
        (
            r#" { "x":1.0e3, "model" : "l\"arge" , "messages":[{"model":"large"}] }"#,
            r#" { "x":1.0e3, "model" : "small" , "messages":[{"model":"large"}] }"#,
        ),
        (
            "\u{feff}{\"model\":\"\"}\n",
            "\u{feff}{\"model\":\"small\"}\n",
        ),
    ] {
        assert_eq!(replaced(body).as_deref(), Some(expected));
    }
    for body in [
        "",
        "[]",
        r#"["large"]"#,
        r#""large""#,
        "{}",
        r#"{"model":null}"#,
        r#"{"model":7}"#,
        r#"{"model":{"name":"large"}}"#,
        r#"{"model":"a","model":"b"}"#,
        r#"{"model":"a","mod\u0065l":"b"}"#,
        r#"{"options":{"model":"a"}}"#,
        r#"{"model":"a"} trailing"#,
        r#"{"model":"a""#,
    ] {
        assert_eq!(replaced(body), None, "{body}");
    }
    assert_eq!(model::replace(b"{\"model\":\"\xff\"}", "small"), None);
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        ".{0,8}".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(
                prop_oneof![
                    "[a-z\"{}]{0,4}",
                    Just("stream_options".to_owned()),
                    Just("include_usage".to_owned()),
                    Just("model".to_owned())
                ],
                inner,
                0..4
            )
            .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn any_object_gets_include_usage(body in value()) {
        let text = body.to_string();
        match (splice(text.as_bytes()), body) {
            (Some(spliced), Value::Object(mut body)) => {
                let parameters = Parameters::read(&spliced);
                prop_assert_eq!(parameters.stream_options, StreamOptions::WithUsage);
                let after: Value = serde_json::from_slice(&spliced).unwrap();
                let options = body.entry("stream_options").or_insert_with(|| json!({}));
                if !options.is_object() {
                    *options = json!({});
                }
                options["include_usage"] = json!(true);
                prop_assert_eq!(after, Value::Object(body));
            }
            (None, Value::Object(_)) => prop_assert!(false, "an object is spliced"),
            (spliced, _) => prop_assert!(spliced.is_none()),
        }
    }

    #[test]
    fn any_object_with_model_gets_another(
        body in value(),
        pretty: bool,
        other in ".{0,8}",
    ) {
        let text = if pretty { format!("{body:#}") } else { body.to_string() };
        let replaced = model::replace(text.as_bytes(), &other);
        prop_assert_eq!(replaced.is_some(), body["model"].is_string());
        if let Some(replaced) = replaced {
            let after: Value = serde_json::from_slice(&replaced).unwrap();
            let mut expected = body.clone();
            expected["model"] = json!(other);
            prop_assert_eq!(&after, &expected);
            let named = body["model"].as_str().unwrap();
            let back = model::replace(&replaced, named).unwrap();
            prop_assert_eq!(back, text.as_bytes(), "byte for byte");
        }
    }

    #[test]
    fn any_bytes_do_not_panic(body: Vec<u8>, path in ".{0,40}") {
        let _ = (Parameters::read(&body), splice(&body), model::replace(&body, "m"), Endpoint::of_path(&path));
    }
}

#[test]
fn text_bytes_count_input_text() {
    for (body, text) in [
        (
            r#"{"model":"m","messages":[{"role":"user","content":"12345"}]}"#,
            5,
        ),
        (
            r#"{"messages":[{"content":[{"type":"text","text":"123"}]}],"system":"45"}"#,
            5,
        ),
        (r#"{"contents":[{"parts":[{"text":"12345"}]}]}"#, 5),
        (r#"{"prompt":"12345","suffix":"x"}"#, 5),
        (r#"{"input":"12345"}"#, 5),
    ] {
        assert_eq!(Parameters::read(body.as_bytes()).text_bytes, text, "{body}");
    }
    assert_eq!(
        Parameters::default().input_bytes(100),
        100,
        "without text the whole body counts"
    );
}

#[test]
fn second_document_is_ignored() {
    let parameters = Parameters::read(br#"{"model":"a"}{"model":"b","max_tokens":5}"#);
    assert_eq!(parameters.model.as_deref(), Some("a"));
    assert_eq!(parameters.max_output_tokens(None), None);
}

#[test]
fn purpose_follows_from_method_and_path() {
    for (method, path) in [
        ("POST", "/v1/messages/count_tokens"),
        ("POST", "/v1/messages/count_tokens/?beta=true"),
        ("POST", "/model/anthropic.claude-v2%3A1/count-tokens"),
        ("POST", "/openai/v1/responses/input_tokens"),
        ("POST", "/v1beta/models/gemini-2.5-flash:countTokens?key=k"),
        (
            "POST",
            "/v1/projects/p/locations/l/publishers/google/models/a%2Fb:countTokens",
        ),
        ("POST", "/tokenize"),
        ("GET", "/v1beta/cachedContents/abc"),
        ("POST", "/v1beta/cachedContents"),
        ("PATCH", "/v1beta/cachedContents/abc"),
        (
            "POST",
            "/v1/projects/p/locations/l/publishers/google/models/veo:fetchPredictOperation",
        ),
        ("GET", "/v1beta/operations/generate-1"),
        ("POST", "/v1/conversations/conv_1/items"),
        ("POST", "/v1/batches"),
        ("POST", "/v1/messages/batches/msgbatch_1/cancel"),
        ("GET", "/v1/messages/batches/msgbatch_1/results"),
        ("POST", "/v1/files"),
        ("GET", "/download/v1beta/files/batch-abc:download?alt=media"),
        ("GET", "/v1/responses/resp_1/input_items"),
    ] {
        assert_eq!(
            Purpose::of(method, path),
            Purpose::Manage,
            "{method} {path}"
        );
    }
    for (method, path) in [
        ("GET", "/v1/responses/resp_1"),
        ("GET", "/v1/responses/resp_1/"),
        (
            "GET",
            "/openai/responses/resp_1?api-version=1&stream=true&starting_after=7",
        ),
        ("POST", "/v1/responses/resp_1/cancel"),
        ("GET", "/v1beta/interactions/resp_1"),
    ] {
        assert_eq!(
            Purpose::of(method, path),
            Purpose::Fetch("resp_1"),
            "{method} {path}"
        );
    }
    for (method, path) in [
        ("POST", "/v1/chat/completions"),
        ("POST", "/v1/responses"),
        ("POST", "/v1/responses/compact"),
        ("POST", "/v1/responses/resp_1"),
        ("POST", "/v1/conversations"),
        ("POST", "/v1/conversations/conv_1"),
        ("POST", "/v1/chat/completions?x=/v1/files"),
        ("POST", "/v1/files/../chat/completions"),
        // Paths that a server may resolve to `/v1/messages` and the like.
        ("POST", "/v1/messages/batches/.."),
        ("POST", "/v1/messages/batches/%2e%2e"),
        ("POST", "/v1/chat/completions/files/.%2e/.."),
        ("POST", "/v1/messages/count_tokens/.."),
        ("POST", "/v1/messages/count_tokens;/"),
        ("GET", "/v1/responses/%2e%2e"),
        ("PUT", "/v1/responses/resp_1/cancel"),
        ("POST", ""),
    ] {
        assert_eq!(
            Purpose::of(method, path),
            Purpose::Generate,
            "{method} {path}"
        );
    }
}
