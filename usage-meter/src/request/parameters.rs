//! The parameters in the body of a request.

use std::sync::Arc;

use super::endpoint::Endpoint;
use crate::dialects::MAX_TOKENS;
use crate::json::number;

/// The parameters in the body of a request.
///
/// ```
/// use usage_meter::request::Parameters;
///
/// let parameters = Parameters::read(br#"{"model":"gpt-4o","stream":true,"max_tokens":100,"n":2}"#);
/// assert_eq!(parameters.model.as_deref(), Some("gpt-4o"));
/// assert_eq!(parameters.stream, Some(true));
/// assert_eq!(parameters.max_output_tokens(None), Some(200));
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Parameters {
    /// The model; a name of more than 160 bytes is [cut](crate::bounded_text).
    pub model: Option<Arc<str>>,
    /// Whether the response is to be streamed, if the body says so, as a boolean, a number or text.
    pub stream: Option<bool>,
    /// The value of `stream_options`.
    pub stream_options: StreamOptions,
    /// The number of bytes of text at the places where the APIs have input.
    pub text_bytes: u64,
    /// The number of parts that are not text: images, audio and files.
    pub parts: u64,
    /// The number of bytes of these parts, where the body has them.
    pub part_bytes: u64,
    /// The largest bound on the output of a choice, by the APIs that know it; 0 where there is none.
    bounds: [u64; BOUNDS],
    /// The number of choices that are requested; 0 where it is not given.
    choices: u64,
    /// Whether the model is that of the key `model`, which takes precedence over other names.
    has_model: bool,
    /// Whether it names a second model.
    has_other_model: bool,
}

/// The value of `stream_options.include_usage`, with which a client asks an OpenAI API for a usage
/// report at the end of a stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum StreamOptions {
    /// There are no `stream_options`.
    #[default]
    Absent,
    /// There are `stream_options`, but `include_usage` is not `true`.
    WithoutUsage,
    /// `include_usage` is `true`.
    WithUsage,
}

/// The meaning of a value in the body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Field {
    Model,
    /// A model by another name, where there is no `model`.
    OtherModel,
    Stream,
    StreamOptions,
    IncludeUsage,
    Bound(Bound),
    Choices,
}

/// A bound on output, by the APIs that know it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Bound {
    /// OpenAI chat and completions, Anthropic, and APIs compatible with them.
    Chat,
    /// OpenAI Responses.
    Responses,
    /// All others.
    Other,
}

/// The number of kinds of [`Bound`].
const BOUNDS: usize = 3;

/// The paths of all APIs: keys joined by dots.
pub(super) const FIELDS: &[(&str, Field)] = &[
    ("model", Field::Model),
    ("model_id", Field::OtherModel),
    ("modelId", Field::OtherModel),
    ("stream", Field::Stream),
    ("stream_options", Field::StreamOptions),
    ("stream_options.include_usage", Field::IncludeUsage),
    // OpenAI chat and completions, Anthropic, Mistral, Cohere, and APIs compatible with them.
    ("max_tokens", Field::Bound(Bound::Chat)),
    ("max_completion_tokens", Field::Bound(Bound::Chat)),
    // Older APIs of Anthropic.
    ("max_tokens_to_sample", Field::Bound(Bound::Other)),
    // OpenAI Responses.
    ("max_output_tokens", Field::Bound(Bound::Responses)),
    // Gemini; Vertex and DashScope; watsonx and Text Generation Inference.
    (
        "generationConfig.maxOutputTokens",
        Field::Bound(Bound::Other),
    ),
    (
        "generation_config.max_output_tokens",
        Field::Bound(Bound::Other),
    ),
    ("parameters.maxOutputTokens", Field::Bound(Bound::Other)),
    ("parameters.max_tokens", Field::Bound(Bound::Other)),
    ("parameters.max_new_tokens", Field::Bound(Bound::Other)),
    // Bedrock: Converse; Nova; Titan; Llama.
    ("inferenceConfig.maxTokens", Field::Bound(Bound::Other)),
    ("inferenceConfig.max_new_tokens", Field::Bound(Bound::Other)),
    (
        "textGenerationConfig.maxTokenCount",
        Field::Bound(Bound::Other),
    ),
    ("max_gen_len", Field::Bound(Bound::Other)),
    // AI21; Replicate; SGLang; llama.cpp.
    ("maxTokens", Field::Bound(Bound::Other)),
    ("max_new_tokens", Field::Bound(Bound::Other)),
    ("input.max_tokens", Field::Bound(Bound::Other)),
    ("input.max_new_tokens", Field::Bound(Bound::Other)),
    ("sampling_params.max_new_tokens", Field::Bound(Bound::Other)),
    ("n_predict", Field::Bound(Bound::Other)),
    // Ollama.
    ("options.num_predict", Field::Bound(Bound::Other)),
    ("n", Field::Choices),
    ("best_of", Field::Choices),
    ("num_generations", Field::Choices),
    ("numResults", Field::Choices),
    ("generationConfig.candidateCount", Field::Choices),
    ("generation_config.candidate_count", Field::Choices),
    ("parameters.candidateCount", Field::Choices),
];

/// The part of a body other than text that counts as input: one in this number of bytes. Schemas and the
/// JSON around short texts yield few tokens.
const OTHER_BYTES_DIVISOR: u64 = 8;

// === impl Parameters ===

impl Parameters {
    /// Returns the number of bytes of a body of `body_bytes` that the model reads as text, from which input
    /// tokens are estimated: its text if any was found, but at least an eighth of the body, for tools.
    /// Images and other [parts](Self::parts) are not among them.
    #[must_use]
    pub fn input_bytes(&self, body_bytes: u64) -> u64 {
        let rest = body_bytes.saturating_sub(self.part_bytes);
        match self.text_bytes {
            0 if self.parts == 0 => rest,
            text => text.max(rest / OTHER_BYTES_DIVISOR),
        }
    }

    /// Returns the maximum number of output tokens that the request sets, summed over all choices.
    ///
    /// A server may ignore the bounds of other APIs than its own, and a bound of 0, so that they count as none.
    /// A bound above [`MAX_TOKENS`] bounds nothing, whatever other bounds there are.
    #[must_use]
    pub fn max_output_tokens(&self, endpoint: Option<&Endpoint>) -> Option<u64> {
        let [chat, responses, other] = self.bounds;
        let bound = match endpoint.map(|endpoint| endpoint.api) {
            Some("chat_completions" | "completions" | "messages") => chat,
            Some("responses") => responses,
            _ => chat.max(responses).max(other),
        };
        let sum = bound.saturating_mul(self.choices());
        (1..=MAX_TOKENS).contains(&sum).then_some(sum)
    }

    /// Returns whether no two models are named, of which servers may use either.
    #[must_use]
    pub const fn names_one_model(&self) -> bool {
        !self.has_other_model
    }

    /// Returns the number of choices that the request asks for.
    #[must_use]
    pub fn choices(&self) -> u64 {
        self.choices.max(1)
    }

    pub(super) fn add_text(&mut self, bytes: u64) {
        self.text_bytes = self.text_bytes.saturating_add(bytes);
    }

    pub(super) fn add_part(&mut self) {
        self.parts = self.parts.saturating_add(1);
    }

    pub(super) fn add_part_bytes(&mut self, bytes: u64) {
        self.part_bytes = self.part_bytes.saturating_add(bytes);
    }

    /// Takes `stream_options` that are an object, whatever they say.
    pub(super) fn set_stream_options(&mut self) {
        self.stream_options = StreamOptions::WithoutUsage;
    }

    /// Takes a parameter that is text.
    #[cold]
    pub(super) fn set_text(&mut self, field: Field, text: &str) {
        if matches!(field, Field::Model | Field::OtherModel) {
            let known = self.model.as_deref();
            self.has_other_model |= known.is_some_and(|known| known != text);
        }
        match field {
            Field::Model => {
                self.model = Some(text.into());
                self.has_model = true;
            }
            Field::OtherModel if !self.has_model => self.model = Some(text.into()),
            Field::Stream => {
                let is = |word: &&str| text.eq_ignore_ascii_case(word);
                self.stream = Some(["true", "1", "yes", "on", "y", "t"].iter().any(is));
            }
            Field::Bound(_) | Field::Choices => self.set_number(field, text.as_bytes()),
            Field::StreamOptions => self.set_stream_options(),
            Field::OtherModel | Field::IncludeUsage => {}
        }
    }

    /// Takes a parameter that is a number, `true`, `false` or `null`.
    #[cold]
    pub(super) fn set_literal(&mut self, field: Field, literal: &[u8]) {
        match field {
            Field::Stream if literal == b"true" => self.stream = Some(true),
            Field::Stream => self.stream = Some(number::tokens(literal) == Some(1)),
            // Of several, the last counts, as for most servers.
            Field::IncludeUsage if literal == b"true" => {
                self.stream_options = StreamOptions::WithUsage;
            }
            Field::StreamOptions | Field::IncludeUsage => self.set_stream_options(),
            Field::Bound(_) | Field::Choices => self.set_number(field, literal),
            Field::Model | Field::OtherModel => {}
        }
    }

    /// Takes a bound or a number of choices. A server may use any of several, so the largest counts. One above
    /// [`MAX_TOKENS`] is no number of choices.
    fn set_number(&mut self, field: Field, number: &[u8]) {
        let Some(number) = number::tokens(number) else {
            return;
        };
        let known = match field {
            Field::Bound(bound) => self.bounds.get_mut(bound as usize),
            _ if number <= MAX_TOKENS => Some(&mut self.choices),
            _ => None,
        };
        if let Some(known) = known {
            *known = (*known).max(number);
        }
    }
}
