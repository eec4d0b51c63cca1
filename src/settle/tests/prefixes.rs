//! A stream that is cut off anywhere is charged about what its provider would have reported for the
//! part that was received, once one whole exchange of the kind was seen.

use crate::settle::{MeteredUsage, RequestSize, metered};
use filter_config::OnMissing;
use std::time::Duration;
use usage_meter::{Estimator, Meter, Observation, RequestPath, ResponseHead};

/// A tokenizer, and text in its tokens.
#[derive(Clone, Copy)]
struct Language {
    name: &'static str,
    /// Tokens as JSON has them, which are repeated.
    tokens: [&'static str; 8],
    /// Bytes of request body for each input token.
    request_ratio: u64,
}

const LANGUAGES: [Language; 3] = [
    Language {
        name: "prose",
        tokens: [
            "Kuber",
            "netes",
            " is",
            " a",
            " platform",
            " for",
            " running",
            " pods.",
        ],
        request_ratio: 5,
    },
    Language {
        name: "code",
        tokens: ["{\\n", "  ", "\\\"a\\\"", ":", " [", "1", ",", " 0]"],
        request_ratio: 3,
    },
    Language {
        name: "long words",
        tokens: [
            " internationalisation",
            " of",
            " applications",
            " distributed",
            " throughout",
            " organisations",
            " necessitates",
            " consideration",
        ],
        request_ratio: 8,
    },
];

/// A stream as a provider sends it: events, some of which carry a token each.
struct Sample {
    dialect: &'static str,
    path: &'static str,
    content_type: &'static str,
    events: Vec<(String, bool)>,
}

const INPUT: u64 = 60;

/// Streams of so many tokens, in every dialect.
fn samples(language: Language, count: u64) -> Vec<Sample> {
    let tokens = || language.tokens.iter().cycle().zip(1..=count);
    let text: String = tokens().map(|(token, _)| *token).collect();
    let sse = |event: &str, data: String| match event {
        "" => format!("data: {data}\n\n"),
        event => format!("event: {event}\ndata: {data}\n\n"),
    };
    let sample = |dialect,
                  path,
                  content_type,
                  first: String,
                  each: &dyn Fn(&str, u64) -> String,
                  last: Vec<String>| {
        let first = Some((first, false)).filter(|(event, _)| !event.is_empty());
        let each = tokens().map(|(token, number)| (each(token, number), true));
        let last = last.into_iter().map(|event| (event, false));
        Sample {
            dialect,
            path,
            content_type,
            events: first.into_iter().chain(each).chain(last).collect(),
        }
    };
    let chat = |delta: &str| {
        let choice = format!(r#"{{"index":0,"delta":{delta},"finish_reason":null}}"#);
        sse(
            "",
            format!(
                r#"{{"id":"c","object":"chat.completion.chunk","created":1,"model":"m","choices":[{choice}],"usage":null}}"#
            ),
        )
    };
    let chat_end = || {
        let total = INPUT + count;
        let usage = format!(
            r#"{{"prompt_tokens":{INPUT},"completion_tokens":{count},"total_tokens":{total}}}"#
        );
        vec![
            chat("{}"),
            sse(
                "",
                format!(
                    r#"{{"id":"c","object":"chat.completion.chunk","created":1,"model":"m","choices":[],"usage":{usage}}}"#
                ),
            ),
            sse("", "[DONE]".to_owned()),
        ]
    };
    let events = "text/event-stream";
    let role = || chat(r#"{"role":"assistant","content":""}"#);
    vec![
        sample("OpenAI chat", "/v1/chat/completions", events, role(),
            &|token, _| chat(&format!(r#"{{"content":"{token}"}}"#)), chat_end()),
        sample("OpenAI chat, reasoning", "/v1/chat/completions", events, role(),
            &|token, _| chat(&format!(r#"{{"reasoning_content":"{token}"}}"#)), chat_end()),
        sample("OpenAI chat, a tool's arguments", "/v1/chat/completions", events, role(),
            &|token, _| chat(&format!(r#"{{"tool_calls":[{{"index":0,"function":{{"arguments":"{token}"}}}}]}}"#)), chat_end()),
        sample("OpenAI Responses", "/v1/responses", events,
            sse("response.created", r#"{"type":"response.created","response":{"id":"r","object":"response","status":"in_progress","model":"m","output":[],"usage":null}}"#.to_owned()),
            &|token, number| sse("response.output_text.delta", format!(r#"{{"type":"response.output_text.delta","item_id":"i","output_index":0,"content_index":0,"delta":"{token}","sequence_number":{number}}}"#)),
            vec![
                sse("response.output_text.done", format!(r#"{{"type":"response.output_text.done","item_id":"i","output_index":0,"content_index":0,"text":"{text}"}}"#)),
                sse("response.completed", format!(r#"{{"type":"response.completed","response":{{"id":"r","object":"response","status":"completed","model":"m","output":[{{"type":"message","content":[{{"type":"output_text","text":"{text}"}}]}}],"usage":{{"input_tokens":{INPUT},"output_tokens":{count},"total_tokens":{}}}}}}}"#, INPUT + count)),
            ]),
        sample("Anthropic messages", "/v1/messages", events,
            sse("message_start", format!(r#"{{"type":"message_start","message":{{"id":"g","type":"message","role":"assistant","model":"m","content":[],"usage":{{"input_tokens":{INPUT},"cache_creation_input_tokens":0,"cache_read_input_tokens":0,"output_tokens":1}}}}}}"#)),
            &|token, _| sse("content_block_delta", format!(r#"{{"type":"content_block_delta","index":0,"delta":{{"type":"text_delta","text":"{token}"}}}}"#)),
            vec![
                sse("message_delta", format!(r#"{{"type":"message_delta","delta":{{"stop_reason":"end_turn"}},"usage":{{"output_tokens":{count}}}}}"#)),
                sse("message_stop", r#"{"type":"message_stop"}"#.to_owned()),
            ]),
        sample("Gemini", "/v1beta/models/m:streamGenerateContent?alt=sse", events, String::new(),
            &|token, number| sse("", format!(r#"{{"candidates":[{{"content":{{"parts":[{{"text":"{token}"}}],"role":"model"}},"index":0}}],"usageMetadata":{{"promptTokenCount":{INPUT},"candidatesTokenCount":{number},"totalTokenCount":{}}},"modelVersion":"m"}}"#, INPUT + number)),
            Vec::new()),
        sample("Cohere", "/v2/chat", events,
            sse("message-start", r#"{"type":"message-start","id":"i","delta":{"message":{"role":"assistant","content":[]}}}"#.to_owned()),
            &|token, _| sse("content-delta", format!(r#"{{"type":"content-delta","index":0,"delta":{{"message":{{"content":{{"text":"{token}"}}}}}}}}"#)),
            vec![sse("message-end", format!(r#"{{"type":"message-end","delta":{{"finish_reason":"COMPLETE","usage":{{"billed_units":{{"input_tokens":{INPUT},"output_tokens":{count}}},"tokens":{{"input_tokens":{INPUT},"output_tokens":{count}}}}}}}}}"#))]),
        sample("Ollama", "/api/chat", "application/x-ndjson", String::new(),
            &|token, _| format!("{{\"model\":\"m\",\"created_at\":\"2025-01-01T00:00:00Z\",\"message\":{{\"role\":\"assistant\",\"content\":\"{token}\"}},\"done\":false}}\n"),
            vec![format!("{{\"model\":\"m\",\"created_at\":\"2025-01-01T00:00:00Z\",\"message\":{{\"role\":\"assistant\",\"content\":\"\"}},\"done\":true,\"prompt_eval_count\":{INPUT},\"eval_count\":{count}}}\n")]),
    ]
}

impl Sample {
    fn bytes(&self) -> Vec<u8> {
        self.events
            .iter()
            .flat_map(|(event, _)| event.bytes())
            .collect()
    }

    /// Returns the end of each event, and the number of whole tokens until there.
    fn tokens(&self) -> Vec<(usize, u64)> {
        let (mut end, mut tokens) = (0, 0);
        let events = self.events.iter().map(|(event, brings)| {
            end += event.len();
            tokens += u64::from(*brings);
            (end, tokens)
        });
        events.collect()
    }

    fn meter(&self, bytes: &[u8], pieces: usize) -> (Meter, bool) {
        let mut meter = Meter::new(&ResponseHead {
            status: 200,
            content_type: Some(self.content_type.as_bytes()),
            path: RequestPath::of(self.path.as_bytes()),
            ..ResponseHead::default()
        });
        for piece in bytes.chunks(pieces) {
            meter.push(piece);
        }
        let is_final = meter.is_likely_final();
        meter.finish();
        (meter, is_final)
    }
}

/// Returns the largest error of the charges for prefixes of a stream, if one is too large.
fn worst_error(sample: &Sample, language: Language, step: usize, pieces: usize) -> Option<String> {
    let estimator = Estimator::default();
    let bytes = sample.bytes();
    let request = RequestSize {
        model: Some("m"),
        input_bytes: INPUT * language.request_ratio,
        is_complete: true,
        ..RequestSize::default()
    };
    // The estimator learns from one whole exchange.
    let (whole, _) = sample.meter(&bytes, pieces);
    let on_missing = OnMissing::Estimate;
    let MeteredUsage {
        usage,
        is_estimated,
    } = metered(&estimator, on_missing, &whole, &request).unwrap();
    assert!(!is_estimated, "{}", sample.dialect);
    let observation = Observation {
        input_bytes: request.input_bytes,
        input_parts: 0,
        output_bytes: whole.output_bytes(),
        usage,
        is_bounded: false,
        duration: None,
        ended_at: Duration::ZERO,
    };
    estimator.learn(Some("m"), &observation);

    let (mut worst, mut error) = (25, None);
    let ends = sample.tokens();
    for cut in (0..bytes.len()).step_by(step) {
        let passed = ends.iter().rev().find(|(end, _)| *end <= cut);
        let tokens = passed.map_or(0, |(_, tokens)| *tokens);
        let (meter, is_complete) = sample.meter(&bytes[..cut], pieces);
        let request = RequestSize {
            is_complete,
            ..request
        };
        let charged = metered(&estimator, on_missing, &meter, &request)
            .map_or(0, |metered| metered.usage.total_tokens);
        let reported = INPUT + tokens;
        if tokens == 0 {
            continue;
        }
        assert!(charged > 0, "{} at {cut}", sample.dialect);
        // The token that is being sent may count or not.
        let off = charged.abs_diff(reported).saturating_sub(1) * 100 / reported;
        if off > worst {
            worst = off;
            error = Some(format!(
                "{}, {}: {charged} for {reported} at {cut}, {off} % off, after {:?}",
                sample.dialect,
                language.name,
                String::from_utf8_lossy(&bytes[cut.saturating_sub(60)..cut])
            ));
        }
    }
    error
}

fn check_every_prefix(language: Language) {
    let samples = samples(language, 24);
    let errors = samples
        .iter()
        .map(|sample| worst_error(sample, language, 1, 1_400));
    let errors: Vec<String> = errors.flatten().collect();
    assert!(errors.is_empty(), "{errors:#?}");
}

#[test]
fn prose_prefixes_are_charged_nearly_exactly() {
    check_every_prefix(LANGUAGES[0]);
}

#[test]
fn code_prefixes_are_charged_nearly_exactly() {
    check_every_prefix(LANGUAGES[1]);
}

#[test]
fn long_word_prefixes_are_charged_nearly_exactly() {
    check_every_prefix(LANGUAGES[2]);
}

#[test]
fn long_stream_prefixes_are_charged_nearly_exactly() {
    let mut errors = Vec::new();
    for language in LANGUAGES {
        for sample in samples(language, 1_500) {
            errors.extend(worst_error(&sample, language, 20_011, 1_400));
        }
    }
    assert!(errors.is_empty(), "{errors:#?}");
}
