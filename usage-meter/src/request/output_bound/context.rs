//! What of a request a server multiplies, or adds to the input on its own, so that its body does not bound it.

use crate::json::{Members, each_element};

/// Types of items and of parts of messages that are text, or become text that the body has.
const TEXT_TYPES: [&[u8]; 13] = [
    b"\"text\"",
    b"\"input_text\"",
    b"\"output_text\"",
    b"\"refusal\"",
    b"\"summary_text\"",
    b"\"reasoning_text\"",
    b"\"thinking\"",
    b"\"redacted_thinking\"",
    b"\"tool_use\"",
    b"\"function_call\"",
    b"\"function_call_output\"",
    b"\"custom_tool_call\"",
    b"\"custom_tool_call_output\"",
];

/// Keys of parts of messages without a type that are text, in Gemini and in Converse of Bedrock.
const TEXT_KEYS: [&[u8]; 13] = [
    b"text",
    b"thought",
    b"thoughtSignature",
    b"thought_signature",
    b"functionCall",
    b"function_call",
    b"functionResponse",
    b"function_response",
    b"toolUse",
    b"cachePoint",
    b"reasoningContent",
    b"json",
    b"cache_control",
];

/// Keys of parts of messages whose values are bytes or addresses of images and the like, and no text for the model.
const MEDIA_KEYS: [&[u8]; 14] = [
    b"image_url",
    b"video_url",
    b"audio_url",
    b"file_url",
    b"input_audio",
    b"file",
    b"file_data",
    b"fileData",
    b"inlineData",
    b"inline_data",
    b"source",
    b"image",
    b"video",
    b"document",
];

/// The keys of messages and of their parts that are read. Servers may ignore case, so a message with one of them in other
/// letters is uncertain.
const MESSAGE_KEYS: [&str; 11] = [
    "content",
    "parts",
    "output",
    "audio",
    "images",
    "type",
    "role",
    "encrypted_content",
    "source",
    "document",
    "toolResult",
];

/// How deep results of tools are read in parts of messages.
const MAX_DEPTH: usize = 4;

/// The most messages and parts of messages that are read, more than fit into the context of any model.
const MAX_ELEMENTS: u64 = 65_536;

/// The most prompts, or tokens of one.
const MAX_PROMPTS: u64 = 262_144;

/// Returns whether a value is more than none.
pub(super) fn is_set(text: &[u8]) -> bool {
    let is_empty = |open: u8, close: u8| {
        let inner = text
            .strip_prefix(&[open])
            .and_then(|text| text.strip_suffix(&[close]));
        inner.is_some_and(|inner| inner.trim_ascii().is_empty())
    };
    !(matches!(text, b"null" | b"false" | b"\"\"") || is_empty(b'[', b']') || is_empty(b'{', b'}'))
}

/// Returns the number of prompts: of an array of texts or of arrays, its elements. `None` for an object, which names a
/// prompt that the server has.
pub(super) fn prompts(text: &[u8]) -> Option<u64> {
    match text.first()? {
        b'{' => None,
        b'[' => {
            let (mut elements, mut are_numbers) = (0_u64, true);
            each_element(text, |element| {
                elements = elements.saturating_add(1);
                if elements > MAX_PROMPTS {
                    return None;
                }
                are_numbers &= !matches!(element.first(), Some(b'"' | b'[' | b'{'));
                Some(())
            })?;
            Some(if are_numbers { 1 } else { elements.max(1) })
        }
        _ => Some(1),
    }
}

/// Checks that a server runs none of the tools, the results of which it would add to the input.
pub(super) fn check_tools(text: &[u8]) -> Option<()> {
    if !is_set(text) {
        return Some(());
    }
    each_element(text, |tool| {
        let mut types = 0_u32;
        let (mut is_function, mut is_other) = (false, false);
        Members::of(tool)?.each(|member| {
            let value = tool.get(member.value.clone()).unwrap_or_default();
            if member.is_named("type") {
                types = types.saturating_add(1);
                is_function |= matches!(value, b"\"function\"" | b"\"custom\"");
                is_other |= !matches!(value, b"\"function\"" | b"\"custom\"");
            }
            match member.key {
                b"functionDeclarations"
                | b"function_declarations"
                | b"toolSpec"
                | b"cachePoint" => {
                    is_function = true;
                }
                // A name alone is that of a tool of Anthropic or of an older API.
                b"name" | b"function" | b"input_schema" if types == 0 => is_function = true,
                b"name"
                | b"function"
                | b"description"
                | b"input_schema"
                | b"parameters"
                | b"parameter_definitions"
                | b"strict"
                | b"cache_control"
                | b"type"
                | b"custom"
                | b"eager_input_streaming"
                | b"input_examples"
                | b"allowed_callers"
                | b"defer_loading" => {}
                _ => is_other = true,
            }
            Some(())
        })?;
        (is_function && !is_other && types <= 1).then_some(())
    })
}

/// Checks the tools within a configuration of tools, as Converse of Bedrock has it.
pub(super) fn check_tool_config(text: &[u8]) -> Option<()> {
    if !text.starts_with(b"{") {
        return Some(());
    }
    members(text, &["tools"])?.each(|member| {
        if member.is_named("tools") {
            check_tools(text.get(member.value.clone()).unwrap_or_default())
        } else {
            Some(())
        }
    })
}

/// Returns the members of an object; `None` if servers may take another key for one of these.
fn members<'a>(object: &'a [u8], keys: &[&str]) -> Option<Members<'a>> {
    Members::of(object)?
        .are_plain(keys)
        .then(|| Members::of(object))?
}

/// Returns the images of a list, or of one by itself.
pub(super) fn images(text: &[u8]) -> Option<Content> {
    let mut parts = u64::from(is_set(text));
    if text.starts_with(b"[") {
        parts = 0;
        each_element(text, |_| {
            parts = parts.saturating_add(1);
            (parts <= MAX_ELEMENTS).then_some(())
        })?;
    }
    Some(Content {
        messages: 0,
        parts,
        part_bytes: text.len() as u64,
    })
}

/// Returns what messages have. `None` if an item names what the server has stored.
pub(super) fn messages(text: &[u8], are_items: bool) -> Option<Content> {
    let mut walk = Walk::default();
    // Google's APIs take an object for a list of one.
    if text.starts_with(b"{") {
        walk.content.messages = 1;
        walk.message(text, are_items)?;
        return Some(walk.content);
    }
    if !text.starts_with(b"[") {
        return Some(walk.content);
    }
    each_element(text, |message| {
        walk.content.messages = walk.content.messages.saturating_add(1);
        walk.count()?;
        if message.starts_with(b"{") {
            walk.message(message, are_items)?;
        }
        Some(())
    })?;
    Some(walk.content)
}

/// What messages have.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Content {
    /// The messages, to each of which a template adds.
    pub(super) messages: u64,
    /// The parts that are not text, such as images, also those that the body only names.
    pub(super) parts: u64,
    /// The bytes in these parts that are no text for the model.
    pub(super) part_bytes: u64,
}

// === impl Content ===

impl Content {
    /// Adds what other messages have.
    pub(super) const fn add(&mut self, other: Self) {
        self.messages = self.messages.saturating_add(other.messages);
        self.parts = self.parts.saturating_add(other.parts);
        self.part_bytes = self.part_bytes.saturating_add(other.part_bytes);
    }
}

/// A walk over the parts of messages.
#[derive(Debug, Default)]
struct Walk {
    elements: u64,
    content: Content,
}

// === impl Walk ===

impl Walk {
    fn count(&mut self) -> Option<()> {
        self.elements = self.elements.saturating_add(1);
        (self.elements <= MAX_ELEMENTS).then_some(())
    }

    fn message(&mut self, message: &[u8], is_item: bool) -> Option<()> {
        let (mut types, mut has_role, mut is_known) = (0_u32, false, true);
        let (mut is_reasoning, mut is_encrypted) = (false, false);
        members(message, &MESSAGE_KEYS)?.each(|member| {
            let value = message.get(member.value.clone()).unwrap_or_default();
            if member.is_named("content") || member.is_named("parts") || member.is_named("output") {
                self.parts(value, 0)?;
            } else if member.is_named("audio") && is_set(value) {
                self.content.parts = self.content.parts.saturating_add(1);
            } else if member.is_named("images") {
                self.content.add(images(value)?);
            } else if member.is_named("type") {
                types = types.saturating_add(1);
                is_reasoning |= value == b"\"reasoning\"";
                is_known &= value == b"\"message\"" || is_reasoning || TEXT_TYPES.contains(&value);
            } else if member.is_named("role") {
                has_role = true;
            } else if member.is_named("encrypted_content") {
                is_encrypted = is_set(value);
            }
            Some(())
        })?;
        let is_whole = match types {
            0 => has_role,
            1 => is_known,
            _ => false,
        };
        let is_stored = is_reasoning && !is_encrypted;
        (!is_item || (is_whole && !is_stored)).then_some(())
    }

    fn parts(&mut self, text: &[u8], depth: usize) -> Option<()> {
        let is_list = text.starts_with(b"[");
        if !is_list && !text.starts_with(b"{") {
            return Some(());
        }
        if depth >= MAX_DEPTH {
            return None;
        }
        if !is_list {
            return self.part(text, depth);
        }
        each_element(text, |part| {
            self.count()?;
            if part.starts_with(b"{") {
                self.part(part, depth)?;
            }
            Some(())
        })
    }

    fn part(&mut self, part: &[u8], depth: usize) -> Option<()> {
        let below = depth.saturating_add(1);
        let (mut types, mut has_text_type, mut has_text_keys) = (0_u32, true, true);
        let mut media_bytes = 0_u64;
        members(part, &MESSAGE_KEYS)?.each(|member| {
            let value = part.get(member.value.clone()).unwrap_or_default();
            if MEDIA_KEYS.contains(&member.key) {
                media_bytes = media_bytes.saturating_add(value.len() as u64);
            }
            if member.is_named("type") {
                types = types.saturating_add(1);
                has_text_type &= value == b"\"tool_result\"" || TEXT_TYPES.contains(&value);
            } else if member.is_named("content") {
                self.parts(value, below)?;
            } else if member.is_named("toolResult") {
                members(value, &MESSAGE_KEYS)?.each(|inner| {
                    if inner.is_named("content") {
                        let content = value.get(inner.value.clone()).unwrap_or_default();
                        self.parts(content, below)?;
                    }
                    Some(())
                })?;
            } else if member.is_named("source") {
                check_source(value)?;
                has_text_keys = false;
            } else if member.is_named("document") {
                check_document(value)?;
                has_text_keys = false;
            } else {
                has_text_keys &= TEXT_KEYS.contains(&member.key);
            }
            Some(())
        })?;
        let is_text = match types {
            0 => has_text_keys,
            1 => has_text_type,
            _ => false,
        };
        if !is_text {
            self.content.add(Content {
                messages: 0,
                parts: 1,
                part_bytes: media_bytes,
            });
        }
        Some(())
    }
}

/// Checks that the source of a document or an image is not text, which has any number of tokens.
fn check_source(text: &[u8]) -> Option<()> {
    const KNOWN: [&[u8]; 3] = [b"\"base64\"", b"\"url\"", b"\"file\""];
    if !text.starts_with(b"{") {
        return Some(());
    }
    members(text, &["type"])?.each(|member| {
        let value = text.get(member.value.clone()).unwrap_or_default();
        (!member.is_named("type") || KNOWN.contains(&value)).then_some(())
    })
}

/// Checks that a document of Converse is not text.
fn check_document(text: &[u8]) -> Option<()> {
    if !text.starts_with(b"{") {
        return Some(());
    }
    members(text, &["source"])?.each(|member| {
        let source = text.get(member.value.clone()).unwrap_or_default();
        if !member.is_named("source") || !source.starts_with(b"{") {
            return Some(());
        }
        members(source, &["text", "content"])?.each(|member| {
            let is_text = member.is_named("text") || member.is_named("content");
            (!is_text).then_some(())
        })
    })
}
