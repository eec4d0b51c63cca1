//! What a request asks of a model: from its path, and from its body when that is at hand.

pub mod include_usage;
pub mod model;
pub mod path;
mod splice;
#[cfg(test)]
mod tests;

use crate::meter::number;
use crate::meter::paths::Paths;
use crate::meter::scanner::{ContentKey, Scalar, Scanner, Visitor};
use std::sync::{Arc, LazyLock};

/// What the body of a request asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ask {
    /// The model, at most [`crate::meter::scanner::LONGEST`] bytes of its name.
    pub model: Option<String>,
    /// Whether the answer is to be streamed, where the body says so.
    pub stream: Option<bool>,
    /// The most tokens that may be generated, over all choices.
    pub max_output_tokens: Option<u64>,
    /// What the body says of `stream_options`.
    pub stream_options: StreamOptions,
    /// Bytes of text that the model is to read, where the APIs have it.
    pub text_bytes: u64,
    /// How many answers are asked for.
    choices: Option<u64>,
    /// How many documents began: what follows the first is none of the request.
    documents: u32,
}

/// What a body says of `stream_options.include_usage`, which asks an `OpenAI`-style API for a usage
/// report at the end of a stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum StreamOptions {
    /// There are no `stream_options`.
    #[default]
    Absent,
    /// They do not ask for usage, or say that it is not wanted.
    WithoutUsage,
    /// They ask for usage.
    WithUsage,
}

/// What a value of the body means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Field {
    Model,
    Stream,
    StreamOptions,
    IncludeUsage,
    MaxOutputTokens,
    Choices,
    Text,
}

/// Where the APIs have it.
const FIELDS: &[(&str, Field)] = &[
    ("model", Field::Model),
    ("stream", Field::Stream),
    ("stream_options", Field::StreamOptions),
    ("stream_options.include_usage", Field::IncludeUsage),
    // OpenAI chat and completions, Anthropic, Mistral, Cohere, and who speaks like them.
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
    ("n", Field::Choices),
    ("generationConfig.candidateCount", Field::Choices),
];

static PATHS: LazyLock<Arc<Paths<Field>>> = LazyLock::new(|| {
    let mut paths = Paths::new();
    for &(path, field) in FIELDS {
        paths.insert(path, field);
    }
    Arc::new(paths)
});

// === impl Ask ===

impl Ask {
    /// Bytes that the model is to read of a body of so many: its text where that was found, and for
    /// what else may be in it, such as tools and images, a part of the rest.
    #[must_use]
    pub fn input_bytes(&self, body_bytes: u64) -> u64 {
        /// Of base64 and schemas, as of JSON around short texts, few bytes become tokens.
        const REST: u64 = 8;
        match self.text_bytes {
            0 => body_bytes,
            text => text.max(body_bytes / REST),
        }
    }

    /// Reads a body, whole or the beginning of it. What is no JSON asks for nothing.
    #[must_use]
    pub fn read(body: &[u8]) -> Self {
        let mut ask = Self::default();
        let mut scanner = Scanner::new(Arc::clone(&PATHS));
        scanner.push(body, &mut ask);
        scanner.finish(&mut ask);
        if let (Some(tokens), Some(choices)) = (ask.max_output_tokens, ask.choices) {
            ask.max_output_tokens = Some(tokens.saturating_mul(choices.max(1)));
        }
        ask
    }
}

impl Visitor<Field> for Ask {
    fn begin(&mut self) {
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
            // Of several bounds the largest: which one the server obeys is not known.
            (Field::MaxOutputTokens, Scalar::Literal(value)) => {
                self.max_output_tokens = self.max_output_tokens.max(number::tokens(value));
            }
            (Field::Choices, Scalar::Literal(value)) => {
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

    fn content(&mut self, _key: ContentKey, bytes: u64) {
        self.text_bytes = self.text_bytes.saturating_add(bytes);
    }

    fn end(&mut self, _whole: bool) {}
}
