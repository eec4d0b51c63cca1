//! The headers of a message.

/// The kind of a message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum MessageKind {
    /// The payload wraps a document.
    Chunk,
    /// The payload reports usage, and is the last.
    Metadata,
    /// The payload is a part of a completion.
    Completion,
    /// The service failed.
    Exception,
    /// Any other message.
    #[default]
    Other,
}

/// Returns the kind of message that the headers describe.
pub(super) fn message_kind(headers: &[u8]) -> MessageKind {
    let mut kind = MessageKind::Other;
    let mut rest = headers;
    while let Some((name, value, tail)) = header(rest) {
        match (name, value) {
            (b":message-type", b"exception" | b"error") => return MessageKind::Exception,
            (b":event-type", b"chunk") => kind = MessageKind::Chunk,
            (b":event-type", b"metadata") => kind = MessageKind::Metadata,
            (
                b":event-type",
                b"messageStart" | b"contentBlockStart" | b"contentBlockDelta" | b"messageStop",
            ) => kind = MessageKind::Completion,
            _ => {}
        }
        rest = tail;
    }
    kind
}

/// Splits off the first header. Returns its name, its value and what follows.
fn header(bytes: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let (&name_length, rest) = bytes.split_first()?;
    let (name, rest) = rest.split_at_checked(usize::from(name_length))?;
    let (&value_type, rest) = rest.split_first()?;
    let (length, rest) = match value_type {
        // Booleans; integers of growing size; bytes and strings; a timestamp; a UUID.
        0 | 1 => (0, rest),
        2 => (1, rest),
        3 => (2, rest),
        4 => (4, rest),
        5 | 8 => (8, rest),
        6 | 7 => {
            let (length, rest) = rest.split_first_chunk::<2>()?;
            (usize::from(u16::from_be_bytes(*length)), rest)
        }
        9 => (16, rest),
        _ => return None,
    };
    let (value, rest) = rest.split_at_checked(length)?;
    Some((name, value, rest))
}
