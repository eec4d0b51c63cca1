//! Tests of bounds on output.

#![expect(clippy::too_many_lines, reason = "the tests are tables")]

use super::OutputBound;
use crate::request::{Endpoint, Parameters};

fn set(path: &str, body: &str, tokens: u64) -> Option<(Option<u64>, String)> {
    let endpoint = Endpoint::of_path(path).unwrap();
    let model = endpoint
        .model
        .clone()
        .or_else(|| Parameters::read(body.as_bytes()).model);
    let bound = OutputBound::of(body.as_bytes(), &endpoint, model.as_deref())?;
    let changed = String::from_utf8(bound.set(tokens).unwrap()).unwrap();
    let again = OutputBound::of(changed.as_bytes(), &endpoint, model.as_deref()).unwrap();
    assert_eq!(again.tokens(), Some(tokens), "{changed}");
    Some((bound.tokens(), changed))
}

#[test]
fn each_api_has_its_own_name() {
    let chat = "/v1/chat/completions";
    let gemini = "/v1beta/models/gemini-2.0-flash:generateContent";
    let converse = "/model/amazon.nova-lite-v1:0/converse";
    let invoke = |model: &str| format!("/model/{model}/invoke");
    for (path, body, own, expected) in [
        (
            chat,
            r#"{"model":"m"}"#,
            None,
            r#"{"max_tokens":7,"model":"m"}"#,
        ),
        (
            chat,
            r#"{"model":"m","max_tokens":90}"#,
            Some(90),
            r#"{"model":"m","max_tokens":7}"#,
        ),
        (
            chat,
            r#"{"max_completion_tokens": 90 ,"max_tokens":"80"}"#,
            None,
            r#"{"max_completion_tokens": 7 ,"max_tokens":7}"#,
        ),
        (chat, r#"{"max_tokens":null}"#, None, r#"{"max_tokens":7}"#),
        (chat, r#"{"max_tokens":-1}"#, None, r#"{"max_tokens":7}"#),
        (chat, r#"{"max_tokens":0}"#, None, r#"{"max_tokens":7}"#),
        (
            chat,
            r#"{"model":"openai/o3-mini"}"#,
            None,
            r#"{"max_completion_tokens":7,"model":"openai/o3-mini"}"#,
        ),
        ("/v1/completions", "{}", None, r#"{"max_tokens":7}"#),
        (
            "/v1/responses",
            r#"{"max_tokens":3}"#,
            None,
            r#"{"max_output_tokens":7,"max_tokens":3}"#,
        ),
        (
            "/v1/messages",
            r#"{"max_tokens":9}"#,
            Some(9),
            r#"{"max_tokens":7}"#,
        ),
        (
            gemini,
            "{}",
            None,
            r#"{"generationConfig":{"maxOutputTokens":7}}"#,
        ),
        (
            gemini,
            r#"{"max_tokens":3}"#,
            None,
            r#"{"generationConfig":{"maxOutputTokens":7},"max_tokens":3}"#,
        ),
        (
            gemini,
            r#"{"generationConfig":null}"#,
            None,
            r#"{"generationConfig":{"maxOutputTokens":7}}"#,
        ),
        (
            gemini,
            r#"{"generationConfig":{"topK":1}}"#,
            None,
            r#"{"generationConfig":{"maxOutputTokens":7,"topK":1}}"#,
        ),
        (
            gemini,
            r#"{"generation_config":{"max_output_tokens":90}}"#,
            Some(90),
            r#"{"generation_config":{"max_output_tokens":7}}"#,
        ),
        (
            converse,
            "{}",
            None,
            r#"{"inferenceConfig":{"maxTokens":7}}"#,
        ),
        (
            &invoke("us.anthropic.claude"),
            "{}",
            None,
            r#"{"max_tokens":7}"#,
        ),
        (
            &invoke("meta.llama3-1-8b"),
            "{}",
            None,
            r#"{"max_gen_len":7}"#,
        ),
        (
            &invoke("amazon.titan-text"),
            "{}",
            None,
            r#"{"textGenerationConfig":{"maxTokenCount":7}}"#,
        ),
        (
            "/api/chat",
            r#"{"options":{"num_predict":-1}}"#,
            None,
            r#"{"options":{"num_predict":7}}"#,
        ),
        ("/v2/chat", "{}", None, r#"{"max_tokens":7}"#),
    ] {
        let found = set(path, body, 7);
        assert_eq!(found, Some((own, expected.to_owned())), "{path} {body}");
    }
}

#[test]
fn uncertain_bodies_have_no_bound() {
    for (path, body) in [
        ("/v1/chat/completions", "[]"),
        ("/v1/chat/completions", r#"{"max_tokens":1"#),
        ("/v1/chat/completions", r#"{"max_tokens":1,"max_tokens":9}"#),
        // Go's JSON ignores case, and takes some other letters for ASCII.
        ("/v1/chat/completions", r#"{"max_tokens":1,"Max_Tokens":9}"#),
        (
            "/v1/chat/completions",
            r#"{"max_tokens":1,"max_to\u212aens":9}"#,
        ),
        ("/v1/chat/completions", r#"{"max_tokens":1,"N":9}"#),
        ("/api/chat", r#"{"options":{"num_predict":1},"OPTIONS":{}}"#),
        (
            "/api/chat",
            r#"{"options":{"num_predict":1,"Num_predict":9}}"#,
        ),
        ("/api/chat", r#"{"options":[]}"#),
        ("/v1/embeddings", "{}"),
        ("/v1/images/generations", "{}"),
        ("/model/unknown.model/invoke", "{}"),
    ] {
        assert_eq!(set(path, body, 7), None, "{path} {body}");
    }
}
