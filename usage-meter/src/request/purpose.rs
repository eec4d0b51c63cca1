//! What a request is for, as far as its method and path say: most requests generate, some only count,
//! store or fetch.

/// What a request is for.
///
/// ```
/// use usage_meter::request::Purpose;
///
/// assert_eq!(Purpose::of("POST", "/v1/messages"), Purpose::Generate);
/// assert_eq!(Purpose::of("POST", "/v1/messages/count_tokens"), Purpose::Manage);
/// assert_eq!(Purpose::of("GET", "/v1/responses/resp_1?stream=true"), Purpose::Fetch("resp_1"));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose<'a> {
    /// To generate something, unless the method says otherwise.
    Generate,
    /// To fetch or cancel the response with this identifier, which another request has started.
    Fetch(&'a str),
    /// To count tokens, or to manage files, batches, operations, cached contents or conversations.
    /// Nothing is generated, although the reply can have counts of tokens.
    Manage,
}

/// The maximum number of segments of a pattern.
const MAX_SEGMENTS: usize = 4;

/// How the paths of APIs end that generate nothing. `*` stands for an identifier.
const MANAGEMENT: &[&[&str]] = &[
    // Counts of tokens: Anthropic, Bedrock, OpenAI, Gemini and Vertex, vLLM and others.
    &["count_tokens"],
    &["count-tokens"],
    &["responses", "input_tokens"],
    &["*:countTokens"],
    &["*:computeTokens"],
    &["tokenize"],
    &["detokenize"],
    // Cached contents, and operations that are polled by POST.
    &["cachedContents"],
    &["cachedContents", "*"],
    &["operations", "*"],
    &["*:fetchPredictOperation"],
    // Conversations of OpenAI; Mistral generates at other paths below its own.
    &["conversations", "*", "items"],
    &["conversations", "*", "items", "*"],
    &["responses", "*", "input_items"],
    // Batches and files: what a batch generates is not charged when it is stored or fetched.
    &["batches"],
    &["batches", "*"],
    &["batches", "*", "cancel"],
    &["batches", "*", "results"],
    &["*:batchGenerateContent"],
    &["*:asyncBatchEmbedContent"],
    &["files"],
    &["files", "*"],
    &["files", "*", "content"],
];

// === impl Purpose ===

impl<'a> Purpose<'a> {
    /// Returns the purpose of a request with this method and path, with or without its query.
    #[must_use]
    pub fn of(method: &str, path: &'a str) -> Self {
        let path = path.split_once('?').map_or(path, |(path, _)| path);
        let path = path.trim_end_matches('/');
        let mut segments = path.rsplit('/');
        let mut last = segments.next();
        let is_fetch = match last {
            Some("cancel") if method == "POST" => {
                last = segments.next();
                true
            }
            _ => method == "GET",
        };
        if let (Some(id), Some("responses" | "interactions")) = (last, segments.next())
            && is_fetch
            && is_identifier(id)
        {
            return Self::Fetch(id);
        }
        if manages(path) {
            Self::Manage
        } else {
            Self::Generate
        }
    }
}

/// Returns whether a path ends in the segments of a pattern. Every request is looked up, so the path is split
/// once.
fn manages(path: &str) -> bool {
    let mut segments = [""; MAX_SEGMENTS];
    for (slot, segment) in segments.iter_mut().zip(path.rsplit('/')) {
        *slot = segment;
    }
    MANAGEMENT.iter().any(|pattern| {
        let mut pairs = pattern.iter().rev().zip(segments);
        pairs.all(|(expected, segment)| is_segment(segment, expected))
    })
}

/// Returns whether a segment is as expected: `*` stands for an identifier, `*:x` for whatever ends in `:x`.
fn is_segment(segment: &str, expected: &str) -> bool {
    match expected.strip_prefix('*') {
        None => segment == expected,
        Some("") => is_identifier(segment),
        Some(method) => segment.ends_with(method),
    }
}

/// Returns whether a segment is an identifier, and neither a dot segment nor the encoding of one, which a
/// server may resolve to another path.
fn is_identifier(segment: &str) -> bool {
    let is_plain =
        |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.' | b':' | b'@');
    segment.bytes().all(is_plain) && segment.bytes().any(|byte| byte.is_ascii_alphanumeric())
}
