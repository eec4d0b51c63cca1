//! A response of every dialect, written from the API references of the providers.

use super::{JSON, SSE, head, numbers, read, tokens};
use crate::{HeaderCounts, Meter, ResponseHead};

/// Content type, body, and usage: input, output, total, cached, cache creation, reasoning.
type Response = (&'static str, &'static str, [u64; 6]);

const NDJSON: &str = "application/x-ndjson";

const RESPONSES: &[Response] = &[
    // DeepSeek
    (
        JSON,
        r#"{"object":"chat.completion","choices":[{}],"usage":{"prompt_tokens":20,"completion_tokens":9,"total_tokens":29,"prompt_cache_hit_tokens":16,"prompt_cache_miss_tokens":4}}"#,
        [20, 9, 29, 16, 0, 0],
    ),
    // The prompt includes the cache in both notations, as the total shows
    (
        JSON,
        r#"{"choices":[{}],"usage":{"prompt_tokens":90,"completion_tokens":8,"total_tokens":98,"input_tokens":90,"output_tokens":8,"cache_read_input_tokens":70,"cache_creation_input_tokens":0}}"#,
        [90, 8, 98, 70, 0, 0],
    ),
    (
        JSON,
        r#"{"choices":[{}],"usage":{"prompt_tokens":20,"completion_tokens":8,"total_tokens":28,"input_tokens":20,"output_tokens":8,"cache_read_input_tokens":70}}"#,
        [90, 8, 98, 70, 0, 0],
    ),
    // Gemini API: the candidates include the thoughts, as the total shows
    (
        JSON,
        r#"{"candidates":[{}],"usageMetadata":{"promptTokenCount":10,"candidatesTokenCount":20,"thoughtsTokenCount":5,"totalTokenCount":30}}"#,
        [10, 20, 30, 0, 0, 5],
    ),
    // Applications of DashScope report by model
    (
        JSON,
        r#"{"output":{"text":"hi"},"usage":{"models":[{"model_id":"a","input_tokens":100,"output_tokens":8},{"model_id":"b","input_tokens":7,"output_tokens":2}]}}"#,
        [107, 10, 117, 0, 0, 0],
    ),
    // Gateways that name the parts of the prompt at the top
    (
        JSON,
        r#"{"choices":[{}],"usage":{"prompt_tokens":90,"completion_tokens":8,"total_tokens":98,"cache_read_tokens":70,"cache_write_tokens":5}}"#,
        [90, 8, 98, 70, 5, 0],
    ),
    // Models of other providers on Replicate
    (
        JSON,
        r#"{"status":"succeeded","output":["hi"],"metrics":{"token_input_count":17,"token_output_count":3,"predict_time":1.2}}"#,
        [17, 3, 20, 0, 0, 0],
    ),
    // Mistral conversations that are continued
    (
        SSE,
        "event: conversation.response.started\ndata: {\"type\":\"conversation.response.started\"}\n\nevent: conversation.response.done\ndata: {\"type\":\"conversation.response.done\",\"usage\":{\"prompt_tokens\":18,\"completion_tokens\":5,\"total_tokens\":735,\"connector_tokens\":712}}\n\n",
        [730, 5, 735, 0, 0, 0],
    ),
    // Events of Anthropic in an array are one response
    (
        JSON,
        r#"[{"type":"message_start","message":{"usage":{"input_tokens":25,"output_tokens":1}}},{"type":"message_delta","usage":{"output_tokens":9}},{"type":"message_stop"}]"#,
        [25, 9, 34, 0, 0, 0],
    ),
    // xAI: completion_tokens exclude reasoning
    (
        JSON,
        r#"{"choices":[{}],"usage":{"prompt_tokens":10,"completion_tokens":5,"total_tokens":45,"completion_tokens_details":{"reasoning_tokens":30}}}"#,
        [10, 35, 45, 0, 0, 30],
    ),
    // Databricks: the prompt includes the cache
    (
        JSON,
        r#"{"choices":[{}],"usage":{"prompt_tokens":50,"completion_tokens":5,"total_tokens":55,"cache_read_input_tokens":40,"cache_creation_input_tokens":2}}"#,
        [50, 5, 55, 40, 2, 0],
    ),
    // Groq, streaming
    (
        SSE,
        "data: {\"choices\":[{\"delta\":{\"content\":\"a\"}}],\"x_groq\":{\"id\":\"r\"}}\n\ndata: {\"choices\":[{\"delta\":{}}],\"x_groq\":{\"usage\":{\"prompt_tokens\":7,\"completion_tokens\":2,\"total_tokens\":9}}}\n\ndata: [DONE]\n\n",
        [7, 2, 9, 0, 0, 0],
    ),
    // OpenAI Responses
    (
        JSON,
        r#"{"object":"response","status":"completed","error":null,"output":[{"content":[{"text":"hi"}]}],"usage":{"input_tokens":60,"input_tokens_details":{"cached_tokens":32,"cache_write_tokens":4},"output_tokens":21,"output_tokens_details":{"reasoning_tokens":19},"total_tokens":81}}"#,
        [60, 21, 81, 32, 4, 19],
    ),
    (
        SSE,
        "event: response.created\ndata: {\"type\":\"response.created\",\"response\":{\"usage\":null}}\n\nevent: response.incomplete\ndata: {\"type\":\"response.incomplete\",\"response\":{\"usage\":{\"input_tokens\":6,\"output_tokens\":2,\"total_tokens\":8}}}\n\n",
        [6, 2, 8, 0, 0, 0],
    ),
    // OpenAI images and transcription
    (
        JSON,
        r#"{"created":1,"data":[{"b64_json":"AA=="}],"usage":{"total_tokens":100,"input_tokens":50,"output_tokens":50,"input_tokens_details":{"text_tokens":10,"image_tokens":40}}}"#,
        [50, 50, 100, 0, 0, 0],
    ),
    (
        SSE,
        "data: {\"type\":\"transcript.text.done\",\"text\":\"hi\",\"usage\":{\"type\":\"tokens\",\"input_tokens\":14,\"output_tokens\":45,\"total_tokens\":59}}\n\n",
        [14, 45, 59, 0, 0, 0],
    ),
    // Anthropic
    (
        JSON,
        r#"{"type":"message","role":"assistant","content":[{"type":"text","text":"hi"}],"usage":{"input_tokens":3,"cache_creation_input_tokens":200,"cache_read_input_tokens":1000,"output_tokens":7,"cache_creation":{"ephemeral_5m_input_tokens":200}}}"#,
        [1203, 7, 1210, 1000, 200, 0],
    ),
    (
        SSE,
        "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"model\":\"claude\",\"usage\":{\"input_tokens\":3,\"cache_read_input_tokens\":100,\"output_tokens\":1}}}\n\nevent: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"delta\":{\"type\":\"text_delta\",\"text\":\"Hello\"}}\n\nevent: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"end_turn\"},\"usage\":{\"output_tokens\":15}}\n\nevent: message_stop\ndata: {\"type\":\"message_stop\"}\n\n",
        [103, 15, 118, 100, 0, 0],
    ),
    // Gemini: one response, events, an array
    (
        JSON,
        r#"{"candidates":[{"content":{"parts":[{"text":"hi"}]}}],"usageMetadata":{"promptTokenCount":10,"cachedContentTokenCount":4,"candidatesTokenCount":5,"toolUsePromptTokenCount":20,"thoughtsTokenCount":30,"totalTokenCount":65}}"#,
        [30, 35, 65, 4, 0, 30],
    ),
    (
        SSE,
        "data: {\"candidates\":[{}],\"usageMetadata\":{\"promptTokenCount\":10,\"totalTokenCount\":10}}\r\n\r\ndata: {\"candidates\":[{}],\"usageMetadata\":{\"candidatesTokenCount\":5,\"totalTokenCount\":15}}\r\n\r\n",
        [10, 5, 15, 0, 0, 0],
    ),
    (
        JSON,
        "[{\"candidates\":[{}],\"usageMetadata\":{\"promptTokenCount\":10,\"totalTokenCount\":10}}\n,\r\n{\"candidates\":[{}],\"usageMetadata\":{\"promptTokenCount\":10,\"candidatesTokenCount\":6,\"totalTokenCount\":16}}\n]\n",
        [10, 6, 16, 0, 0, 0],
    ),
    // Gemini interactions
    (
        SSE,
        "data: {\"event_type\":\"interaction.created\",\"interaction\":{},\"metadata\":{\"usage\":{\"total_tokens\":5,\"total_input_tokens\":5}}}\n\ndata: {\"event_type\":\"interaction.completed\",\"interaction\":{\"usage\":{\"total_tokens\":22,\"total_input_tokens\":5,\"total_output_tokens\":3,\"total_thought_tokens\":10,\"total_tool_use_tokens\":4,\"total_cached_tokens\":2}}}\n\n",
        [9, 13, 22, 2, 0, 10],
    ),
    // Bedrock Converse
    (
        JSON,
        r#"{"output":{"message":{"content":[{"text":"hi"}]}},"stopReason":"end_turn","usage":{"inputTokens":11,"outputTokens":6,"totalTokens":1017,"cacheReadInputTokens":0,"cacheWriteInputTokens":1000}}"#,
        [1011, 6, 1017, 0, 1000, 0],
    ),
    // Llama, Titan, Mistral on Bedrock
    (
        JSON,
        r#"{"generation":"hi","prompt_token_count":17,"generation_token_count":69,"stop_reason":"stop"}"#,
        [17, 69, 86, 0, 0, 0],
    ),
    (
        JSON,
        r#"{"inputTextTokenCount":30,"results":[{"tokenCount":29,"outputText":"hi"},{"tokenCount":1,"outputText":"."}]}"#,
        [30, 30, 60, 0, 0, 0],
    ),
    // Cohere v2, v1
    (
        JSON,
        r#"{"message":{"content":[{"text":"hi"}]},"finish_reason":"COMPLETE","usage":{"billed_units":{"input_tokens":3,"output_tokens":2},"tokens":{"input_tokens":500,"output_tokens":6},"cached_tokens":448}}"#,
        [500, 6, 506, 448, 0, 0],
    ),
    (
        SSE,
        "data: {\"type\":\"content-delta\",\"delta\":{\"message\":{\"content\":{\"text\":\"a\"}}}}\n\ndata: {\"type\":\"message-end\",\"delta\":{\"usage\":{\"tokens\":{\"input_tokens\":50,\"output_tokens\":6}}}}\n\ndata: [DONE]\n\n",
        [50, 6, 56, 0, 0, 0],
    ),
    (
        "application/stream+json",
        "{\"is_finished\":false,\"event_type\":\"text-generation\",\"text\":\"hi\"}\n{\"is_finished\":true,\"event_type\":\"stream-end\",\"response\":{\"text\":\"hi\",\"meta\":{\"billed_units\":{\"input_tokens\":4,\"output_tokens\":5},\"tokens\":{\"input_tokens\":40,\"output_tokens\":6}}}}\n",
        [40, 6, 46, 0, 0, 0],
    ),
    (
        JSON,
        r#"{"embeddings":{"float":[[0.1]]},"meta":{"billed_units":{"input_tokens":2}}}"#,
        [2, 0, 2, 0, 0, 0],
    ),
    // Ollama
    (
        JSON,
        r#"{"model":"llama3","response":"hi","done":true,"prompt_eval_count":26,"eval_count":29,"eval_duration":4709213000}"#,
        [26, 29, 55, 0, 0, 0],
    ),
    (
        NDJSON,
        "{\"model\":\"llama3\",\"message\":{\"content\":\"hi\"},\"done\":false}\n{\"model\":\"llama3\",\"done\":true,\"prompt_eval_count\":26,\"eval_count\":29}\n",
        [26, 29, 55, 0, 0, 0],
    ),
    // watsonx: later events report an input of 0
    (
        SSE,
        "id: 1\nevent: message\ndata: {\"model_id\":\"granite\",\"results\":[{\"generated_text\":\"a\",\"generated_token_count\":1,\"input_token_count\":8}]}\n\nid: 2\nevent: message\ndata: {\"results\":[{\"generated_text\":\"b\",\"generated_token_count\":2,\"input_token_count\":0}]}\n\n",
        [8, 2, 10, 0, 0, 0],
    ),
    // Voyage
    (
        JSON,
        r#"{"object":"list","data":[{"object":"embedding","embedding":[0.1]}],"usage":{"total_tokens":18}}"#,
        [0, 0, 18, 0, 0, 0],
    ),
    // Aleph Alpha
    (
        JSON,
        r#"{"completions":[{"completion":"hi"}],"num_tokens_prompt_total":4,"num_tokens_generated":5}"#,
        [4, 5, 9, 0, 0, 0],
    ),
    // OpenAI assistants: the run includes its steps
    (
        SSE,
        "event: thread.run.step.completed\ndata: {\"object\":\"thread.run.step\",\"usage\":{\"prompt_tokens\":15,\"completion_tokens\":6,\"total_tokens\":21}}\n\nevent: thread.run.completed\ndata: {\"object\":\"thread.run\",\"usage\":{\"prompt_tokens\":38,\"completion_tokens\":8,\"total_tokens\":46}}\n\nevent: done\ndata: [DONE]\n\n",
        [38, 8, 46, 0, 0, 0],
    ),
];

#[test]
fn every_dialect_reports_its_usage() {
    for (content_type, body, expected) in RESPONSES {
        let meter = read(content_type, body.as_bytes());
        let found = meter.usage().map(numbers);
        assert_eq!(found, Some(*expected), "{body}");
        let mut in_pieces = Meter::new(&head(content_type));
        for byte in body.bytes() {
            in_pieces.push(&[byte]);
        }
        in_pieces.finish();
        assert_eq!(in_pieces.usage(), meter.usage(), "{body}");
    }
}

#[test]
fn last_event_makes_stream_likely_final() {
    for (content_type, body, ends) in [
        (SSE, "data: {\"type\":\"message_stop\"}\n\n", true),
        (
            SSE,
            "data: {\"type\":\"message_delta\",\"usage\":{\"output_tokens\":15}}\n\n",
            false,
        ),
        (
            SSE,
            "data: {\"type\":\"response.failed\",\"response\":{}}\n\n",
            true,
        ),
        (
            SSE,
            "data: {\"type\":\"response.in_progress\",\"response\":{}}\n\n",
            false,
        ),
        (
            SSE,
            "data: {\"type\":\"message-end\",\"delta\":{}}\n\n",
            true,
        ),
        (
            SSE,
            "data: {\"candidates\":[{}],\"usageMetadata\":{\"promptTokenCount\":1}}\n\n",
            false,
        ),
        (
            SSE,
            "data: {\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\"}}\n\n",
            false,
        ),
        (
            NDJSON,
            "{\"message\":{\"content\":\"hi\"},\"done\":false}\n",
            false,
        ),
        (
            JSON,
            "{\"message\":{\"content\":\"hi\"},\"done\":false}\n",
            false,
        ),
        (
            JSON,
            "{\"message\":{\"content\":\"hi\"},\"done\":false,\"prompt_eval_count\":3,\"eval_count\":2}\n",
            false,
        ),
        (NDJSON, "{\"done\":true,\"eval_count\":29}\n", true),
        (
            JSON,
            "[{\"candidates\":[{}],\"usageMetadata\":{\"promptTokenCount\":1}}\n",
            false,
        ),
        (
            JSON,
            "[{\"candidates\":[{}],\"usageMetadata\":{\"promptTokenCount\":1}}\n]",
            true,
        ),
    ] {
        let mut meter = Meter::new(&head(content_type));
        meter.push(body.as_bytes());
        assert_eq!(meter.is_likely_final(), ends, "{body}");
    }
}

#[test]
fn repeated_text_counts_once() {
    let meter = read(
        SSE,
        b"data: {\"type\":\"response.output_text.delta\",\"delta\":\"Hello\"}\n\n\
          data: {\"type\":\"response.output_text.done\",\"text\":\"Hello\"}\n\n\
          data: {\"type\":\"response.completed\",\"response\":{\"output\":[{\"content\":[{\"text\":\"Hello\"}]}]}}\n\n",
    );
    assert_eq!(meter.output_bytes(), 5);
}

/// Returns the counts in these headers.
fn headers(headers: &[(&str, &'static str)]) -> HeaderCounts {
    HeaderCounts::read(|name| {
        let (_, value) = headers.iter().find(|(header, _)| *header == name)?;
        Some(value.as_bytes())
    })
}

#[test]
fn counts_of_every_server_in_headers_are_read() {
    for (names, body, expected) in [
        (
            &[("x-prompt-tokens", "26"), ("x-generated-tokens", "20")][..],
            r#"{"generated_text":" and so on"}"#,
            (26, 20, 46),
        ),
        (
            &[("x-compute-tokens", "20"), ("x-compute-characters", "96")],
            "[[0.1,0.2]]",
            (20, 0, 20),
        ),
        (
            &[
                ("fireworks-prompt-tokens", "7"),
                ("fireworks-cached-prompt-tokens", "4"),
                ("fireworks-generated-tokens", "2"),
            ],
            r#"{"choices":[{"text":"a"}]}"#,
            (7, 2, 9),
        ),
    ] {
        let mut meter = Meter::new(&ResponseHead {
            header_counts: headers(names),
            ..head(JSON)
        });
        meter.push(body.as_bytes());
        meter.finish();
        assert_eq!(tokens(&meter), Some(expected), "{names:?}");
    }
}

#[test]
fn headers_count_without_report_in_body() {
    let header_counts = headers(&[
        ("x-amzn-bedrock-input-token-count", "10"),
        ("x-amzn-bedrock-output-token-count", "12"),
        ("x-amzn-bedrock-cache-read-input-token-count", "5"),
    ]);
    for (body, expected) in [
        (r#"{"completions":[{"data":{"text":"hi"}}]}"#, (15, 12, 27)),
        (
            r#"{"usage":{"input_tokens":1,"output_tokens":2}}"#,
            (1, 2, 3),
        ),
    ] {
        let mut meter = Meter::new(&ResponseHead {
            header_counts,
            ..head(JSON)
        });
        meter.push(body.as_bytes());
        meter.finish();
        assert_eq!(tokens(&meter), Some(expected), "{body}");
    }
    let rejected = Meter::new(&ResponseHead {
        status: 400,
        header_counts,
        ..head(JSON)
    });
    assert_eq!(rejected.usage(), None);
}

#[test]
fn metadata_of_the_client_is_ignored() {
    for (name, rest) in [
        ("object", r#""chat.completion","choices":[{}]"#),
        ("object", r#""response","usage":null"#),
        ("type", r#""message","content":[]"#),
    ] {
        let metadata = r#""metadata":{"usage":{"prompt_tokens":1,"output_tokens":1}}"#;
        for body in [
            format!(r#"{{"{name}":{rest},{metadata}}}"#),
            format!(r#"{{{metadata},"{name}":{rest}}}"#),
        ] {
            let meter = read(JSON, body.as_bytes());
            assert_eq!(meter.usage(), None, "{body}");
            assert!(meter.is_completion(), "{body}");
        }
    }
}
