//! The parameters in the body of a request.

use crate::json::number;

/// The parameters in the body of a request.
///
/// ```
/// use usage_meter::request::Parameters;
///
/// let parameters = Parameters::read(br#"{"model":"gpt-4o","stream":true,"max_tokens":100,"n":2}"#);
/// assert_eq!(parameters.model.as_deref(), Some("gpt-4o"));
/// assert_eq!(parameters.stream, Some(true));
/// assert_eq!(parameters.max_output_tokens, Some(200));
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Parameters {
    /// The model, truncated to 160 bytes.
    pub model: Option<String>,
    /// Whether the response is to be streamed, if the body says so, as a boolean, a number or text.
    pub stream: Option<bool>,
    /// The maximum number of output tokens, summed over all choices.
    pub max_output_tokens: Option<u64>,
    /// The value of `stream_options`.
    pub stream_options: StreamOptions,
    /// The number of bytes of text at the places where the APIs have input.
    pub text_bytes: u64,
    /// The number of parts that are not text: images, audio and files.
    pub parts: u64,
    /// The number of bytes of these parts, where the body has them.
    pub part_bytes: u64,
    /// The largest bound on the output of a choice.
    bound: Option<u64>,
    /// The number of choices that are requested.
    choices: Option<u64>,
    /// Whether the model is that of the key `model`, which takes precedence over other names.
    has_model: bool,
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
    Bound,
    Choices,
}

/// The paths of all APIs: keys joined by dots.
pub(super) const FIELDS: &[(&str, Field)] = &[
    ("model", Field::Model),
    ("model_id", Field::OtherModel),
    ("modelId", Field::OtherModel),
    ("stream", Field::Stream),
    ("stream_options", Field::StreamOptions),
    ("stream_options.include_usage", Field::IncludeUsage),
    // OpenAI chat and completions, Anthropic, Mistral, Cohere, and APIs compatible with them.
    ("max_tokens", Field::Bound),
    ("max_completion_tokens", Field::Bound),
    ("max_tokens_to_sample", Field::Bound),
    // OpenAI Responses.
    ("max_output_tokens", Field::Bound),
    // Gemini; Vertex and DashScope; watsonx and Text Generation Inference.
    ("generationConfig.maxOutputTokens", Field::Bound),
    ("generation_config.max_output_tokens", Field::Bound),
    ("parameters.maxOutputTokens", Field::Bound),
    ("parameters.max_tokens", Field::Bound),
    ("parameters.max_new_tokens", Field::Bound),
    // Bedrock: Converse; Nova; Titan; Llama.
    ("inferenceConfig.maxTokens", Field::Bound),
    ("inferenceConfig.max_new_tokens", Field::Bound),
    ("textGenerationConfig.maxTokenCount", Field::Bound),
    ("max_gen_len", Field::Bound),
    // AI21; Replicate; SGLang; llama.cpp.
    ("maxTokens", Field::Bound),
    ("max_new_tokens", Field::Bound),
    ("input.max_tokens", Field::Bound),
    ("input.max_new_tokens", Field::Bound),
    ("sampling_params.max_new_tokens", Field::Bound),
    ("n_predict", Field::Bound),
    // Ollama.
    ("options.num_predict", Field::Bound),
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
        match field {
            Field::Model => {
                self.model = Some(text.to_owned());
                self.has_model = true;
            }
            Field::OtherModel if !self.has_model => self.model = Some(text.to_owned()),
            Field::Stream => {
                let is = |word: &&str| text.eq_ignore_ascii_case(word);
                self.stream = Some(["true", "1", "yes", "on", "y", "t"].iter().any(is));
            }
            Field::Bound | Field::Choices => self.set_number(field, text.as_bytes()),
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
            Field::StreamOptions => self.set_stream_options(),
            Field::IncludeUsage if literal == b"true" => {
                self.stream_options = StreamOptions::WithUsage;
            }
            Field::Bound | Field::Choices => self.set_number(field, literal),
            Field::Model | Field::OtherModel | Field::IncludeUsage => {}
        }
    }

    /// Takes a bound or a number of choices. A server may use any of several, so the largest counts.
    fn set_number(&mut self, field: Field, number: &[u8]) {
        let known = if field == Field::Bound {
            &mut self.bound
        } else {
            &mut self.choices
        };
        *known = (*known).max(number::tokens(number));
        let choices = self.choices.unwrap_or_default().max(1);
        self.max_output_tokens = self.bound.map(|bound| bound.saturating_mul(choices));
    }
}
