//! The tables of the fields that are read in an object that wraps a response.

use super::fields::Field;

/// The keys of objects that wrap a whole response: Workers AI and Yandex; SenseNova, Zhipu and Coze; Vertex;
/// gateways.
///
/// Only reports and signs of a completion are read in them, and nothing that would make it free: the model
/// may have generated the object.
pub(super) const WRAPPERS: &[&str] = &[
    "result",
    "data",
    "response",
    "body",
    "output",
    "payload",
    // Hunyuan; OCI; SAP AI Core.
    "Response",
    "chatResponse",
    "inferenceResponse",
    "orchestration_result",
    "final_result",
    "prediction",
    "predictions",
    "completion",
];

/// The objects in a wrapper that report usage.
pub(super) const WRAPPED_REPORTS: &[&str] = &[
    "usage",
    "Usage",
    "response_metadata.token_usage",
    "usageMetadata",
    "usage_metadata",
    "token_usage",
    "tokenUsage",
    "meta",
    "meta_info",
    "stats",
    "metrics",
    "inference_status",
    "choices[].usage",
];

/// The other fields in a wrapper.
pub(super) const WRAPPED_FIELDS: &[(&str, Field)] = &[
    ("choices", Field::Completion),
    ("Choices", Field::Completion),
    ("candidates", Field::Completion),
    ("alternatives", Field::Completion),
    ("response", Field::Completion),
    ("generated_text", Field::Completion),
    ("output_text", Field::Completion),
    ("text_output", Field::Completion),
    ("embeddings", Field::Completion),
    ("finish_reason", Field::Completion),
    ("model", Field::Model),
];
