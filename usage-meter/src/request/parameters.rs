//! The parameters in the body of a request.

use std::sync::{Arc, LazyLock};

use crate::json::{GeneratedKey, Paths, Scalar, Scanner, Visitor, number};

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
    /// Whether the response is to be streamed, if the body says so.
    pub stream: Option<bool>,
    /// The maximum number of output tokens, summed over all choices.
    pub max_output_tokens: Option<u64>,
    /// The value of `stream_options`.
    pub stream_options: StreamOptions,
    /// The number of bytes of text at the places where the APIs have input.
    pub text_bytes: u64,
    /// The number of choices that are requested.
    choices: Option<u64>,
    /// The number of documents that began. Those after the first are not part of the request.
    documents: u32,
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
enum Field {
    Model,
    Stream,
    StreamOptions,
    IncludeUsage,
    MaxOutputTokens,
    ChoiceCount,
    Text,
}

/// The paths of all APIs.
const FIELDS: &[(&str, Field)] = &[
    ("model", Field::Model),
    ("stream", Field::Stream),
    ("stream_options", Field::StreamOptions),
    ("stream_options.include_usage", Field::IncludeUsage),
    // OpenAI chat and completions, Anthropic, Mistral, Cohere, and APIs compatible with them.
    ("max_tokens", Field::MaxOutputTokens),
    ("max_completion_tokens", Field::MaxOutputTokens),
    // OpenAI Responses.
    ("max_output_tokens", Field::MaxOutputTokens),
    // Gemini.
    ("generationConfig.maxOutputTokens", Field::MaxOutputTokens),
    (
        "generation_config.max_output_tokens",
        Field::MaxOutputTokens,
    ),
    // Bedrock: Converse; Titan; Llama.
    ("inferenceConfig.maxTokens", Field::MaxOutputTokens),
    ("textGenerationConfig.maxTokenCount", Field::MaxOutputTokens),
    ("max_gen_len", Field::MaxOutputTokens),
    // Ollama.
    ("options.num_predict", Field::MaxOutputTokens),
    // Text outside messages.
    ("prompt", Field::Text),
    ("system", Field::Text),
    ("instructions", Field::Text),
    ("inputText", Field::Text),
    ("n", Field::ChoiceCount),
    ("generationConfig.candidateCount", Field::ChoiceCount),
];

/// The part of a body other than text that counts as input: one in this number of bytes. Base64, schemas
/// and the JSON around short texts yield few tokens.
const OTHER_BYTES_DIVISOR: u64 = 8;

static PATHS: LazyLock<Arc<Paths<Field>>> = LazyLock::new(|| {
    let mut paths = Paths::new();
    for &(path, field) in FIELDS {
        paths.insert(path, field);
    }
    Arc::new(paths)
});

// === impl Parameters ===

impl Parameters {
    /// Reads the parameters of a body, all of it or the beginning. A body that is not JSON has none.
    #[must_use]
    pub fn read(body: &[u8]) -> Self {
        let mut parameters = Self::default();
        let mut scanner = Scanner::new(Arc::clone(&PATHS));
        scanner.push(body, &mut parameters);
        scanner.finish(&mut parameters);
        if let (Some(tokens), Some(choices)) = (parameters.max_output_tokens, parameters.choices) {
            parameters.max_output_tokens = Some(tokens.saturating_mul(choices.max(1)));
        }
        parameters
    }

    /// Returns the number of bytes of a body of `body_bytes` that the model reads, from which input
    /// tokens are estimated: its text if any was found, but at least an eighth of the body, for tools and
    /// images.
    #[must_use]
    pub fn input_bytes(&self, body_bytes: u64) -> u64 {
        match self.text_bytes {
            0 => body_bytes,
            text => text.max(body_bytes / OTHER_BYTES_DIVISOR),
        }
    }
}

impl Visitor<Field> for Parameters {
    fn begin_document(&mut self) {
        self.documents = self.documents.saturating_add(1);
    }

    fn open(&mut self, field: Field) {
        if self.documents > 1 {
            return;
        }
        if field == Field::StreamOptions {
            self.stream_options = StreamOptions::WithoutUsage;
        }
    }

    fn close(&mut self, _field: Field, _empty: bool) {}

    fn scalar(&mut self, field: Field, value: &Scalar<'_>) {
        if self.documents > 1 {
            return;
        }
        match (field, value) {
            (Field::Model, Scalar::Text(model)) => {
                self.model = Some(String::from_utf8_lossy(model).into_owned());
            }
            (Field::Stream, Scalar::Literal(value)) => self.stream = Some(*value == b"true"),
            (Field::StreamOptions, _) => self.stream_options = StreamOptions::WithoutUsage,
            (Field::IncludeUsage, Scalar::Literal(b"true")) => {
                self.stream_options = StreamOptions::WithUsage;
            }
            // The server may use any of several bounds, so the largest counts.
            (Field::MaxOutputTokens, Scalar::Literal(value)) => {
                self.max_output_tokens = self.max_output_tokens.max(number::tokens(value));
            }
            (Field::ChoiceCount, Scalar::Literal(value)) => {
                self.choices = self.choices.max(number::tokens(value));
            }
            _ => {}
        }
    }

    fn wants_bytes(&self, field: Field) -> bool {
        field == Field::Text
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.text_bytes = self.text_bytes.saturating_add(bytes.len() as u64);
    }

    fn generated(&mut self, _key: GeneratedKey, bytes: u64) {
        self.text_bytes = self.text_bytes.saturating_add(bytes);
    }

    fn end_document(&mut self, _complete: bool) {}
}
