//! The kinds of documents in a response.

/// The kind of a document, by the name it gives itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DocumentKind {
    /// A completion, or a part of one.
    Completion,
    /// A completion that the provider stores: of the OpenAI Responses API, or an interaction of Gemini.
    Response,
    /// An event of the OpenAI Responses API: new text is under `delta`, other text repeats it.
    ResponsesEvent,
    /// The end of a stream.
    Last,
    /// An error.
    Error,
    /// A batch: it reports usage that was charged when its completions ran.
    Batch,
    /// A document of another kind, which it names.
    NoCompletion,
    /// Any other document.
    Other,
}

// === impl DocumentKind ===

impl DocumentKind {
    /// Returns the kind for the value of `type`, `object` or `event_type`.
    pub(crate) fn of(name: &[u8]) -> Self {
        match name {
            // Anthropic; OpenAI Responses; Cohere v2, v1; Gemini interactions.
            b"message_stop"
            | b"response.completed"
            | b"response.incomplete"
            | b"response.failed"
            | b"message-end"
            | b"stream-end"
            | b"interaction.completed" => Self::Last,
            b"error" => Self::Error,
            b"response" | b"interaction" => Self::Response,
            b"batch" | b"message_batch" => Self::Batch,
            b"response.input_tokens"
            | b"response.deleted"
            | b"list"
            | b"model"
            | b"file"
            | b"assistant"
            | b"thread"
            | b"upload"
            | b"conversation" => Self::NoCompletion,
            // OpenAI; Mistral conversations; Anthropic; Cohere v2; Gemini interactions.
            b"chat.completion"
            | b"chat.completion.chunk"
            | b"text_completion"
            | b"thread.message.delta"
            | b"completion"
            | b"conversation.response"
            | b"conversation.response.started"
            | b"message.output.delta"
            | b"message"
            | b"message_start"
            | b"content_block_start"
            | b"content_block_delta"
            | b"message-start"
            | b"content-delta"
            | b"tool-plan-delta"
            | b"tool-call-delta"
            | b"interaction.created"
            | b"interaction.status_update"
            | b"step.start"
            | b"step.delta"
            | b"content.delta" => Self::Completion,
            _ if name.ends_with(b".deleted") => Self::NoCompletion,
            _ if name.starts_with(b"response.") => Self::ResponsesEvent,
            _ if name.starts_with(b"thread.") => Self::NoCompletion,
            _ => Self::Other,
        }
    }
}
