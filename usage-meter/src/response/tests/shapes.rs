//! Reports in other places than those of the large providers.

use proptest::prelude::*;

use super::{JSON, SSE, head, numbers, read, read_bytes, tokens};
use crate::Meter;

/// Content type, body, and usage: input, output, total, cached, cache creation, reasoning.
type Response = (&'static str, &'static str, [u64; 6]);

const NDJSON: &str = "application/x-ndjson";
const TEXT: &str = "text/plain";

const RESPONSES: &[Response] = &[
    // Moonshot, streaming, the report within the choice
    (
        SSE,
        "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"hi\"}}],\"usage\":null}\n\ndata: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\",\"usage\":{\"prompt_tokens\":40,\"completion_tokens\":6,\"total_tokens\":46,\"cached_tokens\":32}}]}\n\ndata: [DONE]\n\n",
        [40, 6, 46, 32, 0, 0],
    ),
    // Choices that each have a report
    (
        JSON,
        r#"{"choices":[{"message":{"content":"a"},"usage":{"prompt_tokens":5,"completion_tokens":2}},{"message":{"content":"b"},"usage":{"prompt_tokens":5,"completion_tokens":3}}]}"#,
        [10, 5, 15, 0, 0, 0],
    ),
    // SGLang: one result, several, a stream that repeats its text
    (
        JSON,
        r#"{"text":" Bern.","output_ids":[7],"meta_info":{"id":"r","finish_reason":{"type":"stop"},"prompt_tokens":9,"completion_tokens":4,"cached_tokens":3,"e2e_latency":0.2}}"#,
        [9, 4, 13, 3, 0, 0],
    ),
    (
        JSON,
        r#"[{"text":"a","meta_info":{"prompt_tokens":9,"completion_tokens":4,"cached_tokens":3}},{"text":"b","meta_info":{"prompt_tokens":2,"completion_tokens":5,"cached_tokens":1}}]"#,
        [11, 9, 20, 4, 0, 0],
    ),
    (
        SSE,
        "data: {\"text\":\"a\",\"meta_info\":{\"prompt_tokens\":9,\"completion_tokens\":1}}\n\ndata: {\"text\":\"ab\",\"meta_info\":{\"prompt_tokens\":9,\"completion_tokens\":2}}\n\ndata: [DONE]\n\n",
        [9, 2, 11, 0, 0, 0],
    ),
    // Workers AI
    (
        JSON,
        r#"{"result":{"response":"hi","usage":{"prompt_tokens":30,"completion_tokens":3,"total_tokens":33,"prompt_tokens_details":{"cached_tokens":12}}},"success":true,"errors":[],"messages":[]}"#,
        [30, 3, 33, 12, 0, 0],
    ),
    (
        SSE,
        "data: {\"response\":\"hi\"}\n\ndata: {\"response\":\"\",\"usage\":{\"prompt_tokens\":30,\"completion_tokens\":3}}\n\ndata: [DONE]\n\n",
        [30, 3, 33, 0, 0, 0],
    ),
    // Other wrappers
    (
        JSON,
        r#"{"code":0,"data":{"choices":[{"message":"hi"}],"usage":{"prompt_tokens":6,"knowledge_tokens":0,"completion_tokens":2,"total_tokens":8}}}"#,
        [6, 2, 8, 0, 0, 0],
    ),
    (
        SSE,
        "data:{\"data\":{\"choices\":[{\"delta\":\"hi\"}],\"usage\":{\"prompt_tokens\":6,\"completion_tokens\":2,\"total_tokens\":8}},\"status\":{\"code\":0}}\n\ndata:[DONE]\n\n",
        [6, 2, 8, 0, 0, 0],
    ),
    (
        JSON,
        r#"{"body":{"content":[{"text":"hi"}],"usage":{"input_tokens":6,"cache_read_input_tokens":10,"output_tokens":2}}}"#,
        [16, 2, 18, 10, 0, 0],
    ),
    (
        JSON,
        r#"{"predictions":{"choices":[{}],"usage":{"prompt_tokens":6,"completion_tokens":2}}}"#,
        [6, 2, 8, 0, 0, 0],
    ),
    (
        JSON,
        r#"{"response":{"candidates":[{}],"usageMetadata":{"promptTokenCount":10,"candidatesTokenCount":5,"totalTokenCount":15}}}"#,
        [10, 5, 15, 0, 0, 0],
    ),
    (
        JSON,
        r#"{"payload":{"choices":{"text":[]},"usage":{"text":{"question_tokens":4,"prompt_tokens":5,"completion_tokens":9,"total_tokens":14}}}}"#,
        [5, 9, 14, 0, 0, 0],
    ),
    // watsonx
    (
        JSON,
        r#"{"model_id":"g","results":[{"generated_text":"a","generated_token_count":5,"input_token_count":7},{"generated_text":"b","generated_token_count":2,"input_token_count":3}]}"#,
        [10, 7, 17, 0, 0, 0],
    ),
    (
        JSON,
        r#"{"model_id":"e","results":[{"embedding":[0.1]},{"embedding":[0.2]}],"input_token_count":12}"#,
        [12, 0, 12, 0, 0, 0],
    ),
    // Hunyuan, complete and streamed; OCI; SAP AI Core; LangServe; Dify
    (
        JSON,
        r#"{"Response":{"Choices":[{"Message":{"Content":"hi"}}],"Usage":{"PromptTokens":6,"CompletionTokens":2,"TotalTokens":8},"RequestId":"r"}}"#,
        [6, 2, 8, 0, 0, 0],
    ),
    (
        SSE,
        "data: {\"Choices\":[{\"Delta\":{\"Content\":\"h\"}}],\"Usage\":{\"PromptTokens\":6,\"CompletionTokens\":1,\"TotalTokens\":7}}\n\ndata: {\"Choices\":[{\"Delta\":{\"Content\":\"i\"}}],\"Usage\":{\"PromptTokens\":6,\"CompletionTokens\":2,\"TotalTokens\":8}}\n\n",
        [6, 2, 8, 0, 0, 0],
    ),
    (
        JSON,
        r#"{"modelId":"c","chatResponse":{"apiFormat":"GENERIC","choices":[{}],"usage":{"completionTokens":2,"promptTokens":6,"totalTokens":8}}}"#,
        [6, 2, 8, 0, 0, 0],
    ),
    (
        JSON,
        r#"{"request_id":"r","final_result":{"object":"chat.completion","choices":[{}],"usage":{"prompt_tokens":6,"completion_tokens":2}}}"#,
        [6, 2, 8, 0, 0, 0],
    ),
    (
        JSON,
        r#"{"output":{"content":"hi","response_metadata":{"token_usage":{"prompt_tokens":6,"completion_tokens":2,"total_tokens":8}}},"metadata":{"run_id":"r"}}"#,
        [6, 2, 8, 0, 0, 0],
    ),
    (
        SSE,
        "data: {\"event\":\"message\",\"answer\":\"hi\"}\n\ndata: {\"event\":\"message_end\",\"metadata\":{\"usage\":{\"prompt_tokens\":6,\"completion_tokens\":2,\"total_tokens\":8}}}\n\n",
        [6, 2, 8, 0, 0, 0],
    ),
    // DeepInfra, complete and at the end of a stream
    (
        JSON,
        r#"{"results":[{"generated_text":"hi"}],"num_tokens":8,"num_input_tokens":21,"inference_status":{"status":"succeeded","runtime_ms":228,"cost":0.00001,"tokens_generated":8,"tokens_input":21}}"#,
        [21, 8, 29, 0, 0, 0],
    ),
    (
        SSE,
        "data: {\"token\":{\"id\":1,\"text\":\"hi\"},\"generated_text\":null}\n\ndata: {\"token\":{\"id\":2,\"text\":\"\"},\"generated_text\":\"hi\",\"num_output_tokens\":8,\"num_input_tokens\":21,\"estimated_cost\":0.1}\n\n",
        [21, 8, 29, 0, 0, 0],
    ),
    (
        JSON,
        r#"{"results":[{"generated_text":"hi"}],"inference_status":{"tokens_generated":"8","tokens_input":"21"}}"#,
        [21, 8, 29, 0, 0, 0],
    ),
    // Text Generation Inference: a prompt that is listed
    (
        JSON,
        r#"[{"generated_text":"hi","details":{"finish_reason":"length","generated_tokens":2,"prefill":[{"id":1,"text":"a"},{"id":2,"text":"b"},{"id":3,"text":"c"}],"tokens":[{"id":4}]}}]"#,
        [3, 2, 5, 0, 0, 0],
    ),
    (
        JSON,
        r#"{"generated_text":"hi","details":{"generated_tokens":2,"input_length":3,"prefill":[{"id":1},{"id":2},{"id":3}]}}"#,
        [3, 2, 5, 0, 0, 0],
    ),
    (
        JSON,
        r#"{"generated_text":"hi","details":{"generated_tokens":2,"prefill":[],"input_length":3}}"#,
        [3, 2, 5, 0, 0, 0],
    ),
    // LM Studio, complete and at the end of a stream
    (
        JSON,
        r#"{"model_instance_id":"m","output":[{"type":"message","content":"hi"}],"stats":{"input_tokens":40,"total_output_tokens":30,"reasoning_output_tokens":20,"tokens_per_second":43.7}}"#,
        [40, 30, 70, 0, 0, 20],
    ),
    (
        SSE,
        "event: chat.end\ndata: {\"type\":\"chat.end\",\"result\":{\"model_instance_id\":\"m\",\"output\":[],\"stats\":{\"input_tokens\":40,\"total_output_tokens\":30,\"reasoning_output_tokens\":20}}}\n\n",
        [40, 30, 70, 0, 0, 20],
    ),
    // Replicate
    (
        JSON,
        r#"{"id":"p","status":"succeeded","input":{"prompt":"a","usage":{"prompt_tokens":900}},"output":["h","i"],"error":null,"metrics":{"input_token_count":12,"output_token_count":34,"predict_time":0.4}}"#,
        [12, 34, 46, 0, 0, 0],
    ),
    // Coze: an event, and wrapped
    (
        SSE,
        "event:conversation.message.delta\ndata:{\"type\":\"answer\",\"content\":\"hi\"}\n\nevent:conversation.chat.completed\ndata:{\"status\":\"completed\",\"usage\":{\"token_count\":50,\"output_count\":8,\"input_count\":42}}\n\nevent:done\ndata:\"[DONE]\"\n\n",
        [42, 8, 50, 0, 0, 0],
    ),
    (
        JSON,
        r#"{"code":0,"data":{"id":"c","status":"completed","usage":{"token_count":50,"output_count":8,"input_count":42}}}"#,
        [42, 8, 50, 0, 0, 0],
    ),
    // Yandex: numbers as text, documents that repeat the text; embeddings
    (
        JSON,
        "{\"result\":{\"alternatives\":[{\"message\":{\"text\":\"a\"}}],\"usage\":{\"inputTextTokens\":\"28\",\"completionTokens\":\"1\",\"totalTokens\":\"29\"},\"modelVersion\":\"1\"}}\n{\"result\":{\"alternatives\":[{\"message\":{\"text\":\"ab\"}}],\"usage\":{\"inputTextTokens\":\"28\",\"completionTokens\":\"110\",\"totalTokens\":\"138\",\"completionTokensDetails\":{\"reasoningTokens\":\"60\"}},\"modelVersion\":\"1\"}}\n",
        [28, 110, 138, 0, 0, 60],
    ),
    (
        JSON,
        r#"{"embedding":[0.1],"numTokens":"4","modelVersion":"1"}"#,
        [4, 0, 4, 0, 0, 0],
    ),
    // NLP Cloud
    (
        JSON,
        r#"{"generated_text":"hi","nb_generated_tokens":33,"nb_input_tokens":11}"#,
        [11, 33, 44, 0, 0, 0],
    ),
    // PaLM on Vertex
    (
        JSON,
        r#"{"predictions":[{"content":"hi"}],"metadata":{"tokenMetadata":{"inputTokenCount":{"totalTokens":8,"totalBillableCharacters":30},"outputTokenCount":{"totalTokens":3}}}}"#,
        [8, 3, 11, 0, 0, 0],
    ),
    // llama.cpp: several prompts, one as an array of one
    (
        JSON,
        r#"[{"index":0,"content":"a","tokens_predicted":3,"tokens_evaluated":5},{"index":1,"content":"b","tokens_predicted":4,"tokens_evaluated":6},{"index":2,"content":"c","tokens_predicted":2,"tokens_evaluated":7}]"#,
        [18, 9, 27, 0, 0, 0],
    ),
    // Several completions of OpenAI in an array are added; chunks and the responses of Gemini are one response
    (
        JSON,
        r#"[{"object":"chat.completion","choices":[{}],"usage":{"prompt_tokens":5,"completion_tokens":2,"total_tokens":7}},{"object":"chat.completion","choices":[{}],"usage":{"prompt_tokens":6,"completion_tokens":3,"total_tokens":9}}]"#,
        [11, 5, 16, 0, 0, 0],
    ),
    (
        JSON,
        r#"[{"object":"chat.completion.chunk","choices":[{}],"usage":{"prompt_tokens":5,"completion_tokens":2,"total_tokens":7}},{"object":"chat.completion.chunk","choices":[{}],"usage":{"prompt_tokens":5,"completion_tokens":3,"total_tokens":8}}]"#,
        [5, 3, 8, 0, 0, 0],
    ),
    (
        JSON,
        r#"{"results":[{"usage":{"prompt_tokens":5,"completion_tokens":2}},{"usage":{"prompt_tokens":6,"completion_tokens":3}}]}"#,
        [11, 5, 16, 0, 0, 0],
    ),
    // DashScope: cache writes within the details
    (
        JSON,
        r#"{"choices":[{}],"usage":{"prompt_tokens":1500,"completion_tokens":3,"total_tokens":1503,"prompt_tokens_details":{"cached_tokens":200,"cache_creation_input_tokens":1200,"cache_type":"ephemeral","cache_creation":{"ephemeral_5m_input_tokens":1200}}}}"#,
        [1500, 3, 1503, 200, 1200, 0],
    ),
    (
        JSON,
        r#"{"output":{"text":"hi"},"usage":{"input_tokens":1500,"output_tokens":3,"total_tokens":1503,"prompt_tokens_details":{"cached_tokens":200}}}"#,
        [1500, 3, 1503, 200, 0, 0],
    ),
    // Mistral; Ollama; Bifrost: cache reads under other names
    (
        JSON,
        r#"{"choices":[{}],"usage":{"prompt_tokens":90,"completion_tokens":3,"total_tokens":93,"num_cached_tokens":64}}"#,
        [90, 3, 93, 64, 0, 0],
    ),
    (
        NDJSON,
        "{\"model\":\"q\",\"message\":{\"content\":\"hi\"},\"done\":false}\n{\"model\":\"q\",\"done\":true,\"prompt_eval_count\":29,\"prompt_eval_cached_count\":20,\"eval_count\":3}\n",
        [29, 3, 32, 20, 0, 0],
    ),
    (
        JSON,
        r#"{"object":"response","output":[{"content":[{"text":"x"}]}],"usage":{"input_tokens":300,"input_tokens_details":{"cached_read_tokens":200,"cached_write_tokens":50},"output_tokens":2,"total_tokens":302}}"#,
        [300, 2, 302, 200, 50, 0],
    ),
    // Names in another notation
    (
        JSON,
        r#"{"choices":[{}],"usage":{"promptTokens":9,"completionTokens":4,"totalTokens":13,"promptTokensDetails":{"cachedTokens":5},"completionTokensDetails":{"reasoningTokens":2}}}"#,
        [9, 4, 13, 5, 0, 2],
    ),
    (
        JSON,
        r#"{"candidates":[{}],"usage_metadata":{"prompt_token_count":10,"candidates_token_count":5,"thoughts_token_count":7,"total_token_count":22,"cached_content_token_count":4}}"#,
        [10, 12, 22, 4, 0, 7],
    ),
    // Documents after one another, under any content type
    (
        TEXT,
        "{\"choices\":[{\"delta\":{\"content\":\"a\"}}]}\n\n{\"choices\":[{\"delta\":{}}]}{\"choices\":[],\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":1}}",
        [3, 1, 4, 0, 0, 0],
    ),
    (
        SSE,
        "{\"choices\":[{\"delta\":{\"content\":\"a\"}}]}\n{\"choices\":[],\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":1}}\n",
        [3, 1, 4, 0, 0, 0],
    ),
    (
        SSE,
        ": a comment\n\n{\"choices\":[{\"delta\":{\"content\":\"a\"}}]}\n{\"choices\":[],\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":1}}\n",
        [3, 1, 4, 0, 0, 0],
    ),
    // A byte order mark
    (
        JSON,
        "\u{feff}{\"choices\":[{}],\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":1}}",
        [3, 1, 4, 0, 0, 0],
    ),
    (
        NDJSON,
        "\u{feff} \r\n[{\"choices\":[{}],\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":1}}]",
        [3, 1, 4, 0, 0, 0],
    ),
];

#[test]
fn every_shape_reports_its_usage() {
    for (content_type, body, expected) in RESPONSES {
        let meter = read(content_type, body.as_bytes());
        let found = meter.usage().map(numbers);
        assert_eq!(found, Some(*expected), "{body}");
        assert!(!meter.is_partial(), "{body}");
        let in_bytes = read_bytes(&head(content_type), body.as_bytes());
        assert_eq!(in_bytes.usage(), meter.usage(), "{body}");
        assert_eq!(in_bytes.output_bytes(), meter.output_bytes(), "{body}");
    }
}

#[test]
fn text_and_client_values_are_no_reports() {
    for body in [
        // A generated object, below the object that wraps the response.
        r#"{"result":{"response":{"usage":{"prompt_tokens":1,"completion_tokens":1}}}}"#,
        r#"{"result":{"response":"{\"usage\":{\"prompt_tokens\":1,\"completion_tokens\":1}}"}}"#,
        r#"{"output":{"text":"{\"usage\":{\"prompt_tokens\":1}}"}}"#,
        r#"{"choices":[{"message":{"content":"","usage":{"prompt_tokens":1}}}],"metadata":{"usage":{"prompt_tokens":1}}}"#,
        // What the client sent, repeated.
        r#"{"input":{"usage":{"prompt_tokens":1}},"status":"succeeded","output":["a"]}"#,
        r#"{"parameters":{"usage":{"prompt_tokens":1}},"generated_text":"a"}"#,
        // Results of a batch.
        r#"{"custom_id":"a","response":{"body":{"choices":[{}],"usage":{"prompt_tokens":1}}}}"#,
        r#"{"custom_id":"a","result":{"message":{"usage":{"input_tokens":1}},"usage":{"input_tokens":1}}}"#,
    ] {
        assert_eq!(read(JSON, body.as_bytes()).usage(), None, "{body}");
    }
    // Neither an identifier of the client nor a generated object makes a response free.
    for start in [
        r#""object":"chat.completion""#,
        r#""type":"message""#,
        r#""choices":[{}]"#,
    ] {
        let body = format!(
            r#"{{"custom_id":"a",{start},"usage":{{"prompt_tokens":4,"completion_tokens":2}}}}"#
        );
        assert_eq!(tokens(&read(JSON, body.as_bytes())), Some((4, 2, 6)));
    }
    let body = r#"{"result":{"response":{"object":"batch","error":"x","type":"error"}}}"#;
    let meter = read(JSON, body.as_bytes());
    assert!(meter.is_completion());
    let body = r#"{"response":{"custom_id":"x","object":"batch","usage":{"prompt_tokens":0,"completion_tokens":0}},"usage":{"prompt_tokens":4,"completion_tokens":2}}"#;
    assert_eq!(tokens(&read(JSON, body.as_bytes())), Some((4, 2, 6)));
}

proptest! {
    #[test]
    fn every_shape_reads_the_same_in_pieces(
        shape in proptest::sample::select(RESPONSES),
        cuts in proptest::collection::vec(any::<usize>(), 0..8),
        end in any::<proptest::sample::Index>(),
    ) {
        let (content_type, body, _) = shape;
        // Also where the body is cut off.
        let body = &body.as_bytes()[..=end.index(body.len())];
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut % (body.len() + 1)).collect();
        cuts.push(body.len());
        cuts.sort_unstable();
        let mut meter = Meter::new(&head(content_type));
        let mut from = 0;
        for cut in cuts {
            meter.push(&body[from..cut]);
            from = cut;
        }
        meter.finish();
        let whole = read(content_type, body);
        prop_assert_eq!(meter.usage(), whole.usage());
        prop_assert_eq!(meter.is_partial(), whole.is_partial());
        prop_assert_eq!(meter.is_completion(), whole.is_completion());
        prop_assert_eq!(meter.output_bytes(), whole.output_bytes());
    }
}
