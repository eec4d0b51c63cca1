//! What is known of a response before its body.

use crate::dialects::{Count, Counts, is_completion_path};
use crate::json::number;

/// What is known of a response before its body.
#[derive(Clone, Copy, Debug, Default)]
pub struct ResponseHead<'a> {
    /// The status code. Only successful responses (2xx) are metered.
    pub status: u16,
    /// The value of `content-type`.
    pub content_type: Option<&'a [u8]>,
    /// The value of `content-encoding`; several codings are separated by commas.
    pub content_encoding: Option<&'a [u8]>,
    /// The path of the request.
    pub path: RequestPath,
    /// The token counts in the headers.
    pub header_counts: HeaderCounts,
}

/// What a [`Meter`](crate::Meter) has to know of the path of a request: whether a body that is cut off before
/// it says what it is counts as a completion. The path itself is not kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RequestPath {
    pub(super) is_completion: bool,
}

// === impl RequestPath ===

impl RequestPath {
    /// Reads a path, with or without its query.
    #[must_use]
    pub fn of(path: &[u8]) -> Self {
        Self {
            is_completion: is_completion_path(path),
        }
    }
}

/// The token counts in the headers of a response, used where its body has no report.
///
/// ```
/// use usage_meter::HeaderCounts;
///
/// let headers = [("x-prompt-tokens", "26"), ("x-generated-tokens", "20")];
/// let counts = HeaderCounts::read(|name| {
///     let (_, value) = headers.iter().find(|(header, _)| *header == name)?;
///     Some(value.as_bytes())
/// });
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct HeaderCounts(Counts);

/// The headers with token counts, by their names in lower case.
const HEADERS: &[(&str, Count)] = &[
    // Bedrock.
    ("x-amzn-bedrock-input-token-count", Count::InputWithoutCache),
    ("x-amzn-bedrock-output-token-count", Count::Output),
    (
        "x-amzn-bedrock-cache-read-input-token-count",
        Count::CacheReadExtra,
    ),
    (
        "x-amzn-bedrock-cache-write-input-token-count",
        Count::CacheWriteExtra,
    ),
    // Text Generation Inference; servers like it.
    ("x-prompt-tokens", Count::InputWithCache),
    ("x-generated-tokens", Count::Output),
    ("x-completion-tokens", Count::Output),
    ("x-total-tokens", Count::Total),
    // text-embeddings-inference.
    ("x-compute-tokens", Count::InputWithCache),
    // Fireworks.
    ("fireworks-prompt-tokens", Count::InputWithCache),
    ("fireworks-cached-prompt-tokens", Count::CacheReadIncluded),
    ("fireworks-generated-tokens", Count::Output),
];

// === impl HeaderCounts ===

impl HeaderCounts {
    /// Reads the counts. `header` returns the value of a header by its name in lower case.
    pub fn read<'a>(header: impl Fn(&str) -> Option<&'a [u8]>) -> Self {
        let mut counts = Counts::default();
        for &(name, count) in HEADERS {
            if let Some(value) = header(name) {
                counts.read(count, number::reported(value));
            }
        }
        Self(counts)
    }

    pub(super) fn counts(&self) -> Counts {
        self.0
    }
}
