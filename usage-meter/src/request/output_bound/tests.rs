//! Tests of bounds on output.

#![expect(clippy::too_many_lines, reason = "the tests are tables")]

mod parts;
mod random;

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

fn bound_of<'b>(path: &str, body: &'b str) -> Option<OutputBound<'b>> {
    let endpoint = Endpoint::of_path(path).unwrap();
    OutputBound::of(body.as_bytes(), &endpoint, endpoint.model.as_deref())
}

const CHAT: &str = "/v1/chat/completions";
const RESPONSES: &str = "/v1/responses";
const MESSAGES: &str = "/v1/messages";
const GEMINI: &str = "/v1beta/models/gemini-2.0-flash:generateContent";
const OLLAMA: &str = "/api/chat";
const CONVERSE: &str = "/model/amazon.nova-lite-v1:0/converse";

#[test]
fn bounds_of_other_apis_are_only_lowered() {
    for (path, body, own, expected) in [
        (
            CHAT,
            r#"{"max_tokens":3,"max_new_tokens":90,"options":{"num_predict":-1}}"#,
            None,
            r#"{"max_tokens":3,"max_new_tokens":7,"options":{"num_predict":7}}"#,
        ),
        (
            CHAT,
            r#"{"max_tokens":3,"max_completion_tokens":null,"n_predict":null}"#,
            Some(3),
            r#"{"max_tokens":3,"max_completion_tokens":7,"n_predict":null}"#,
        ),
        (
            CHAT,
            r#"{"extra_body":{"max_tokens":90,"extra_body":{"maxTokens":"8"}},"max_tokens":20}"#,
            None,
            r#"{"extra_body":{"max_tokens":7,"extra_body":{"maxTokens":7}},"max_tokens":7}"#,
        ),
        (
            CONVERSE,
            r#"{"additionalModelRequestFields":{"max_tokens":5000}}"#,
            None,
            r#"{"inferenceConfig":{"maxTokens":7},"additionalModelRequestFields":{"max_tokens":7}}"#,
        ),
        (
            GEMINI,
            r#"{"generationConfig":{"maxOutputTokens":9,"max_output_tokens":90}}"#,
            Some(90),
            r#"{"generationConfig":{"maxOutputTokens":7,"max_output_tokens":7}}"#,
        ),
        (
            "/api/chat",
            r#"{"options":{"num_predict":90},"max_tokens":2}"#,
            Some(90),
            r#"{"options":{"num_predict":7},"max_tokens":2}"#,
        ),
    ] {
        let bound = bound_of(path, body).unwrap();
        assert_eq!(bound.tokens(), own, "{body}");
        let changed = bound.set(7).unwrap();
        assert_eq!(String::from_utf8(changed).unwrap(), expected);
    }
    let many = format!("{{{}}}", r#""extra_body":{"#.repeat(9) + &"}".repeat(9));
    assert!(
        bound_of(CHAT, &many).is_none(),
        "nested too deep to be known"
    );
}

#[test]
fn outputs_are_multiplied_by_choices_and_prompts() {
    for (path, body, choices) in [
        (CHAT, r#"{"n":null}"#, Some(1)),
        (CHAT, r#"{"n":8}"#, Some(8)),
        (CHAT, r#"{"n":"8","best_of":3}"#, Some(8)),
        (CHAT, r#"{"extra_body":{"n":4}}"#, Some(4)),
        (
            GEMINI,
            r#"{"generationConfig":{"candidate_count":5}}"#,
            Some(5),
        ),
        ("/v1/completions", r#"{"prompt":"a","best_of":2}"#, Some(2)),
        ("/v1/completions", r#"{"prompt":[1,2,3]}"#, Some(1)),
        (
            "/v1/completions",
            r#"{"prompt":["a","b" , "c"],"n":2}"#,
            Some(6),
        ),
        ("/v1/completions", r#"{"prompt":[[1,2],[3]]}"#, Some(2)),
        ("/v1/completions", r#"{"prompt":[]}"#, Some(1)),
        // What servers may read as another number.
        (CHAT, r#"{"n":2.5}"#, None),
        (CHAT, r#"{"n":8e0}"#, None),
        (CHAT, r#"{"n":-1}"#, None),
        (CHAT, r#"{"n":0}"#, None),
        (CHAT, r#"{"n":true}"#, None),
        (CHAT, r#"{"n":[8]}"#, None),
        (CHAT, r#"{"n":99999999999999999999}"#, None),
        (CHAT, r#"{"n":1,"n":8}"#, None),
        (CHAT, r#"{"n":1,"\u006e":8}"#, None),
        ("/v1/completions", r#"{"prompt":["a","b"}"#, None),
        ("/v1/completions", r#"{"prompt":["a" "b"]}"#, None),
        ("/v1/completions", r#"{"prompt_embeds":["AAAA"]}"#, None),
    ] {
        let found = bound_of(path, body);
        assert_eq!(found.map(|bound| bound.choices()), choices, "{body}");
    }
}

#[test]
fn input_that_body_does_not_have_is_unknown() {
    let tool = r#"{"type":"function","function":{"name":"f","parameters":{"type":"object"}}}"#;
    for (path, body) in [
        (CHAT, r#"{"stream_options":{},"web_search_options":null}"#.to_owned()),
        (CHAT, format!(r#"{{"tools":[{tool},{tool}]}}"#)),
        (CHAT, r#"{"tools":[],"mcp_servers":[ ]}"#.to_owned()),
        (MESSAGES, r#"{"tools":[{"name":"f","description":"d","input_schema":{}}]}"#.to_owned()),
        (GEMINI, r#"{"tools":[{"functionDeclarations":[{"name":"f"}]}]}"#.to_owned()),
        (CONVERSE, r#"{"toolConfig":{"tools":[{"toolSpec":{"name":"f"}}]}}"#.to_owned()),
        (RESPONSES, r#"{"input":[{"role":"user","content":"a"},{"type":"function_call_output","output":"b"}]}"#.to_owned()),
        (RESPONSES, r#"{"input":[{"type":"reasoning","id":"rs_1","encrypted_content":"AAAA"}]}"#.to_owned()),
    ] {
        assert!(bound_of(path, &body).is_some(), "{body}");
    }
    for (path, body) in [
        (RESPONSES, r#"{"previous_response_id":"resp_1"}"#),
        (
            RESPONSES,
            r#"{"extra_body":{"previous_response_id":"resp_1"}}"#,
        ),
        (RESPONSES, r#"{"conversation":{"id":"conv_1"}}"#),
        (RESPONSES, r#"{"prompt":{"id":"pmpt_1"}}"#),
        (
            RESPONSES,
            r#"{"input":[{"type":"item_reference","id":"msg_1"}]}"#,
        ),
        (
            RESPONSES,
            r#"{"input":[{"type":"item\u005freference","id":"msg_1"}]}"#,
        ),
        (RESPONSES, r#"{"input":[{"id":"msg_1"}]}"#),
        (
            RESPONSES,
            r#"{"input":[{"type":"reasoning","id":"rs_1","summary":[]}]}"#,
        ),
        (RESPONSES, r#"{"tools":[{"type":"web_search"}]}"#),
        (
            RESPONSES,
            r#"{"tools":[{"type":"function","type":"mcp","server_url":"x"}]}"#,
        ),
        (
            CHAT,
            r#"{"web_search_options":{"search_context_size":"high"}}"#,
        ),
        (CHAT, r#"{"chat_template":"{{ messages }}{{ messages }}"}"#),
        (CHAT, r#"{"enable_thinking":true}"#),
        ("/api/generate", r#"{"template":"{{.Prompt}}{{.Prompt}}"}"#),
        (
            MESSAGES,
            r#"{"tools":[{"type":"web_search_20250305","name":"web_search"}]}"#,
        ),
        (
            MESSAGES,
            r#"{"tools":[{"name":"web_search","typ\u0065":"web_search_20250305"}]}"#,
        ),
        (MESSAGES, r#"{"mcp_servers":[{"type":"url"}]}"#),
        (GEMINI, r#"{"cachedContent":"cachedContents/1"}"#),
        (
            GEMINI,
            r#"{"tools":[{"functionDeclarations":[]},{"googleSearch":{}}]}"#,
        ),
        (
            GEMINI,
            r#"{"tools":[{"functionDeclarations":[],"urlContext":{}}]}"#,
        ),
        (
            CONVERSE,
            r#"{"toolConfig":{"tools":[{"systemTool":{"name":"nova_grounding"}}]}}"#,
        ),
        (CONVERSE, r#"{"promptVariables":{"a":{"text":"b"}}}"#),
    ] {
        assert!(bound_of(path, body).is_none(), "{body}");
    }
}

#[test]
fn bound_on_reasoning_is_found() {
    for (path, body, tokens) in [
        (
            MESSAGES,
            r#"{"thinking":{"type":"enabled","budget_tokens":2048},"max_tokens":4096}"#,
            Some(2048),
        ),
        (MESSAGES, r#"{"thinking":{"type":"disabled"}}"#, Some(0)),
        (
            GEMINI,
            r#"{"generationConfig":{"thinkingConfig":{"thinkingBudget":-1}}}"#,
            Some(0),
        ),
        (
            GEMINI,
            r#"{"generationConfig":{"thinkingConfig":{"thinkingBudget":512}}}"#,
            Some(512),
        ),
        (
            CONVERSE,
            r#"{"additionalModelRequestFields":{"thinking":{"budget_tokens":1024}}}"#,
            Some(1024),
        ),
        (CHAT, r#"{"reasoning":{"max_tokens":600}}"#, Some(600)),
        (
            MESSAGES,
            r#"{"thinking":{"budget_tokens":1,"budget_tokens":2}}"#,
            None,
        ),
    ] {
        assert_eq!(
            bound_of(path, body).map(|bound| bound.thinking_tokens()),
            tokens,
            "{body}"
        );
    }
}
