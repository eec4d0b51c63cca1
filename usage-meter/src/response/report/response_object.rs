//! The identity and status of a response that the provider stores.

/// The maximum length in bytes of an identifier; longer ones are ignored.
const MAX_ID_BYTES: usize = 512;

/// The status of a response that is generated in the background.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BackgroundStatus {
    /// It is queued or in progress.
    Pending,
    /// It is complete, incomplete or has failed: its usage is final.
    Final,
    /// It was cancelled.
    Cancelled,
}

/// What the objects of a stored response say about it, in the OpenAI Responses API and Gemini's interactions.
#[derive(Debug, Default)]
pub(super) struct ResponseObject {
    id: Option<Box<str>>,
    is_background: bool,
    status: Option<BackgroundStatus>,
    /// What the current document says.
    read: Facts,
    /// Texts of the current document, until the identifier is known.
    texts: Option<Box<Texts>>,
}

/// Texts of one document.
#[derive(Debug, Default)]
struct Texts {
    /// The identifier, as written.
    id: Vec<u8>,
    /// The text that may be the identifier.
    pending: Vec<u8>,
}

/// What one document says.
#[derive(Clone, Copy, Debug, Default)]
struct Facts {
    has_id: bool,
    pending_is_too_long: bool,
    is_background: bool,
    status: Option<BackgroundStatus>,
}

// === impl ResponseObject ===

impl ResponseObject {
    pub(super) fn id(&self) -> Option<&str> {
        self.id.as_deref()
    }

    pub(super) fn background(&self) -> Option<BackgroundStatus> {
        self.status.filter(|_| self.is_background)
    }

    /// Returns whether the bytes of an identifier are of use.
    pub(super) fn wants_id(&self) -> bool {
        self.id.is_none() && !self.read.has_id
    }

    /// Reads the next bytes of a text that may be an identifier, before [`Self::end_id`].
    pub(super) fn text(&mut self, bytes: &[u8]) {
        let Texts { pending, .. } = &mut **self.texts.get_or_insert_default();
        if pending.len().saturating_add(bytes.len()) > MAX_ID_BYTES {
            self.read.pending_is_too_long = true;
        } else {
            pending.extend_from_slice(bytes);
        }
    }

    /// Takes the text as the identifier.
    pub(super) fn end_id(&mut self) {
        if self.wants_id()
            && !self.read.pending_is_too_long
            && let Some(Texts { id, pending }) = self.texts.as_deref_mut()
            && !pending.is_empty()
        {
            self.read.has_id = true;
            std::mem::swap(id, pending);
        }
        self.forget_text();
    }

    /// Forgets a text that was not an identifier.
    pub(super) fn forget_text(&mut self) {
        if let Some(texts) = &mut self.texts {
            texts.pending.clear();
        }
        self.read.pending_is_too_long = false;
    }

    pub(super) fn set_background(&mut self, value: &[u8]) {
        self.read.is_background = value == b"true";
    }

    pub(super) fn set_status(&mut self, value: &[u8]) {
        self.read.status = match value {
            b"null" => None,
            b"queued" | b"in_progress" => Some(BackgroundStatus::Pending),
            b"cancelled" | b"cancelling" => Some(BackgroundStatus::Cancelled),
            _ => Some(BackgroundStatus::Final),
        };
    }

    /// Keeps what was read of a document that is, or has, such an object.
    pub(super) fn end_document(&mut self, is_response: bool) {
        if is_response {
            if self.read.has_id
                && self.id.is_none()
                && let Some(texts) = self.texts.take()
            {
                self.id = str::from_utf8(&texts.id).ok().map(Box::from);
            }
            self.is_background |= self.read.is_background;
            self.status = self.read.status.or(self.status);
        }
        self.forget_text();
        self.read = Facts::default();
    }
}
