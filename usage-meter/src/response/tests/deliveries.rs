//! Any reports, in any order and framing, cut off anywhere, have one result in every delivery.

use proptest::prelude::*;
use proptest::sample::select;

use super::{JSON, SSE, head};
use crate::{BackgroundStatus, Meter, Usage};

/// Documents of every dialect; each `#` is a number.
const DOCUMENTS: &[&str] = &[
    r#"{"object":"chat.completion","choices":[{"message":{"content":"hi"}}],"usage":{"prompt_tokens":#,"completion_tokens":#,"total_tokens":#,"prompt_tokens_details":{"cached_tokens":#},"completion_tokens_details":{"reasoning_tokens":#}}}"#,
    r#"{"usage":{"prompt_tokens":#,"input_tokens":#,"completion_tokens":#,"output_tokens":#,"cached_tokens":#},"meta":null,"choices":[]}"#,
    r#"{"choices":[],"usage":{"total_tokens":#},"x_groq":{"usage":{"prompt_tokens":#,"completion_tokens":#}}}"#,
    r#"{"choices":[],"usage":{"prompt_tokens":#,"completion_tokens":#,"total_tokens":#,"connector_tokens":#,"reasoning_tokens":#}}"#,
    r#"{"object":"list","data":[{"embedding":[0.5]}],"usage":{"prompt_tokens":#,"total_tokens":#}}"#,
    r#"{"type":"message_start","message":{"model":"m","content":[],"usage":{"input_tokens":#,"cache_read_input_tokens":#,"cache_creation_input_tokens":#,"output_tokens":#}}}"#,
    r#"{"type":"content_block_delta","delta":{"type":"text_delta","text":"usage"}}"#,
    r#"{"type":"message_delta","delta":{"stop_reason":"end_turn"},"usage":{"input_tokens":#,"cache_read_input_tokens":#,"output_tokens":#}}"#,
    r#"{"type":"message","content":[],"usage":{"iterations":[{"type":"message","input_tokens":#,"output_tokens":#},{"output_tokens":#,"input_tokens":#}],"input_tokens":#,"output_tokens":#}}"#,
    r#"{"type":"message_stop"}"#,
    r#"{"type":"error","error":{"message":"overloaded"}}"#,
    r#"{"error":"","choices":[{"delta":{"content":""}}]}"#,
    r#"{"candidates":[{"content":{"parts":[{"text":"hi"}]}}],"usageMetadata":{"promptTokenCount":#,"candidatesTokenCount":#,"totalTokenCount":#}}"#,
    r#"{"candidates":[{}],"usageMetadata":{"promptTokenCount":40,"thoughtsTokenCount":2,"totalTokenCount":42}}"#,
    r#"{"response":{"candidates":[{}],"usageMetadata":{"promptTokenCount":#,"toolUsePromptTokenCount":#,"totalTokenCount":#}}}"#,
    r#"{"type":"response.created","response":{"id":"resp_1","background":true,"status":"queued","usage":null}}"#,
    r#"{"type":"response.completed","response":{"id":"resp_1","status":"completed","tool_usage":{"image_gen":{"input_tokens":#,"output_tokens":#}},"usage":{"input_tokens":#,"output_tokens":#,"total_tokens":#}}}"#,
    r#"{"id":"resp_2","object":"response","output":[{"content":[{"text":"hi"}]}],"usage":{"input_tokens":#,"output_tokens":#}}"#,
    r#"{"output":{"message":{"content":[{"text":"hi"}]}},"stopReason":"end_turn","usage":{"inputTokens":#,"outputTokens":#,"totalTokens":#,"cacheReadInputTokens":#}}"#,
    r#"{"generation":"hi","prompt_token_count":#,"generation_token_count":#}"#,
    r#"{"message":{"content":"hi"},"done":false}"#,
    r#"{"message":{"content":""},"done":true,"prompt_eval_count":#,"eval_count":#}"#,
    r#"{"type":"message-end","delta":{"usage":{"billed_units":{"input_tokens":#,"output_tokens":#},"tokens":{"input_tokens":#,"output_tokens":#}}}}"#,
    r#"{"metadata":{"usage":{"inputTokens":#,"outputTokens":#}},"amazon-bedrock-invocationMetrics":{"inputTokenCount":#,"outputTokenCount":#}}"#,
    r#"{"results":[{"generated_text":"a","generated_token_count":#,"input_token_count":#}]}"#,
];

/// Documents of a stream of chunks, in which events may be skipped.
const CHUNKS: &[&str] = &[
    r#"{"object":"chat.completion.chunk","choices":[{"delta":{"content":"usage of words"}}]}"#,
    r#"{"object":"chat.completion.chunk","choices":[{"delta":{"content":"more"}}],"usage":null}"#,
    r#"{"object":"chat.completion.chunk","choices":[{"delta":{"content":"x"}}],"usage":{"prompt_tokens":#,"completion_tokens":#,"total_tokens":#}}"#,
    r#"{"object":"chat.completion.chunk","choices":[{"delta":{}}],"x_groq":{"usage":{"prompt_tokens":#,"completion_tokens":#}}}"#,
    r#"{"object":"chat.completion.chunk","choices":[],"usage":{"prompt_tokens":#,"completion_tokens":#,"total_tokens":#}}"#,
    r#"{"object":"chat.completion.chunk","choices":[],"usage":null}"#,
    "[DONE]",
];

/// The results of a meter, except the model and the extrapolated number of bytes.
#[derive(Debug, PartialEq)]
struct Outcome {
    usage: Option<Usage>,
    is_partial: bool,
    is_completion: bool,
    has_unreadable_counts: bool,
    raw: Option<Vec<u8>>,
    response_id: Option<String>,
    background: Option<BackgroundStatus>,
}

fn read<'a>(content_type: &str, pieces: impl Iterator<Item = &'a [u8]>) -> Outcome {
    let mut meter = Meter::new(&head(content_type));
    for piece in pieces {
        meter.push(piece);
    }
    meter.finish();
    Outcome {
        usage: meter.usage(),
        is_partial: meter.is_partial(),
        is_completion: meter.is_completion(),
        has_unreadable_counts: meter.has_unreadable_counts(),
        raw: meter.raw_usage().map(<[u8]>::to_vec),
        response_id: meter.response_id().map(str::to_owned),
        background: meter.background(),
    }
}

fn number() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => (0_u32..300).prop_map(|number| number.to_string()),
        2 => Just("0".to_owned()),
        1 => select(&["null", "\"12\"", "1.5", "true", "-1", "1e400", "1099511627777", "{}"][..])
            .prop_map(str::to_owned),
    ]
}

fn document(templates: &'static [&'static str]) -> impl Strategy<Value = String> {
    (select(templates), prop::collection::vec(number(), 6)).prop_map(|(template, numbers)| {
        let mut parts = template.split('#');
        let first = parts.next().unwrap_or_default().to_owned();
        parts
            .zip(numbers)
            .fold(first, |document, (part, number)| document + &number + part)
    })
}

/// Returns a body of these documents, with its content type.
fn framed(documents: &[String], framing: usize) -> (&'static str, String) {
    let each = |before: &str, after: &str| {
        let parts = documents
            .iter()
            .flat_map(|data| [before, data.as_str(), after]);
        parts.collect::<String>()
    };
    match framing {
        0 => (SSE, each("data: ", "\n\n")),
        1 => (SSE, each("event: usage\r\n: usage\r\ndata:", "\r\n\r\n")),
        2 => ("application/x-ndjson", each("", "\n")),
        3 => (JSON, format!("[{}]", documents.join(",\r\n"))),
        _ => (JSON, documents.concat()),
    }
}

fn check(
    documents: &[String],
    framing: usize,
    cuts: &[usize],
    end: Option<usize>,
) -> Result<(), TestCaseError> {
    let (content_type, body) = framed(documents, framing);
    let body = body.as_bytes();
    let length = end.map_or(body.len(), |end| end % (body.len() + 1));
    let body = &body[..length];
    let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut % (length + 1)).collect();
    cuts.extend([0, length]);
    cuts.sort_unstable();
    let whole = read(content_type, std::iter::once(body));
    let pieces = cuts.windows(2).map(|cut| &body[cut[0]..cut[1]]);
    prop_assert_eq!(&read(content_type, pieces), &whole);
    prop_assert_eq!(&read(content_type, body.chunks(1)), &whole);
    prop_assert_eq!(
        &read(content_type, body.split_inclusive(|byte| *byte == b'\n')),
        &whole
    );
    Ok(())
}

proptest! {
    #[test]
    fn any_documents_have_one_result(
        // Fewer than the events that are scanned before any is skipped.
        documents in prop::collection::vec(document(DOCUMENTS), 0..15),
        framing in 0..5_usize,
        cuts in prop::collection::vec(any::<usize>(), 0..12),
        end in prop::option::weighted(0.3, any::<usize>()),
    ) {
        check(&documents, framing, &cuts, end)?;
    }

    #[test]
    fn any_chunks_have_one_result(
        chunks in prop::collection::vec(document(CHUNKS), 0..80),
        framing in 0..2_usize,
        cuts in prop::collection::vec(any::<usize>(), 0..12),
        end in prop::option::weighted(0.3, any::<usize>()),
    ) {
        check(&chunks, framing, &cuts, end)?;
    }
}
