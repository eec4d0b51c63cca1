//! What is known of a response before its body.

use crate::dialects::{Count, Counts};
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
    /// The path of the request, with or without its query. It decides whether a body that is cut off
    /// before it says what it is counts as a completion.
    pub path: &'a [u8],
    /// The token counts in the headers of Bedrock.
    pub bedrock_counts: BedrockCounts<'a>,
}

/// The values of the headers `x-amzn-bedrock-*-token-count`, used where the body has no report.
#[derive(Clone, Copy, Debug, Default)]
pub struct BedrockCounts<'a> {
    /// The value of `x-amzn-bedrock-input-token-count`.
    pub input: Option<&'a [u8]>,
    /// The value of `x-amzn-bedrock-output-token-count`.
    pub output: Option<&'a [u8]>,
    /// The value of `x-amzn-bedrock-cache-read-input-token-count`.
    pub cache_read_input: Option<&'a [u8]>,
    /// The value of `x-amzn-bedrock-cache-write-input-token-count`.
    pub cache_write_input: Option<&'a [u8]>,
}

// === impl BedrockCounts ===

impl BedrockCounts<'_> {
    /// Parses the values.
    pub(super) fn counts(&self) -> Counts {
        let mut counts = Counts::default();
        for (count, value) in [
            (Count::InputWithoutCache, self.input),
            (Count::Output, self.output),
            (Count::CacheReadExtra, self.cache_read_input),
            (Count::CacheWriteExtra, self.cache_write_input),
        ] {
            if let Some(value) = value {
                counts.read(count, number::reported(value));
            }
        }
        counts
    }
}
