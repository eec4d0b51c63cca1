//! The names in a body that bound, multiply or raise what a request uses, of whatever API they are: a server may take
//! those of others than its own.

use super::context::{self, Content};
use crate::request::splice::Object;
use std::ops::Range;

/// What the value of a name says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Meaning {
    /// The bound on the output of a choice.
    Bound,
    /// The number of choices.
    Choices,
    /// It has names of its own.
    Container,
    /// Its own bound on the reasoning, which is a part of the output.
    Thinking,
    /// One prompt or several.
    Prompts,
    /// What the server adds to the input, if it is set.
    Context,
    /// The tools.
    Tools,
    /// Messages, or what APIs have in their place.
    Messages,
    /// The items of OpenAI's Responses.
    Items,
    /// Images beside the text, as Ollama has them.
    Images,
}

use Meaning::{
    Bound, Choices, Container, Context, Images, Items, Messages, Prompts, Thinking, Tools,
};

/// All names, by their length. Templates (`chat_template`, `template`) repeat what the body has once; `enable_thinking` and
/// the like allow reasoning beyond the bound of the output.
const NAMES: [(&str, Meaning); 99] = [
    ("n", Choices),
    ("text", Tools),
    ("input", Items),
    ("tools", Tools),
    ("format", Tools),
    ("images", Images),
    ("inputs", Prompts),
    ("prompt", Prompts),
    ("best_of", Choices),
    ("options", Container),
    ("plugins", Context),
    ("prompts", Prompts),
    ("agent_id", Context),
    ("contents", Messages),
    ("file_ids", Context),
    ("messages", Messages),
    ("template", Context),
    ("thinking", Thinking),
    ("container", Context),
    ("functions", Tools),
    ("input_ids", Prompts),
    ("maxTokens", Bound),
    ("n_choices", Choices),
    ("n_predict", Bound),
    ("num_beams", Choices),
    ("prompt_id", Context),
    ("reasoning", Thinking),
    ("thread_id", Context),
    ("audio_data", Context),
    ("beam_width", Choices),
    ("connectors", Context),
    ("extra_body", Container),
    ("image_data", Context),
    ("max_tokens", Bound),
    ("numResults", Choices),
    ("parameters", Container),
    ("toolConfig", Tools),
    ("video_data", Context),
    ("web_search", Context),
    ("attachments", Context),
    ("dataSources", Context),
    ("max_gen_len", Bound),
    ("mcp_servers", Context),
    ("num_outputs", Choices),
    ("num_predict", Bound),
    ("prompt_mode", Context),
    ("safe_prompt", Context),
    ("tool_config", Tools),
    ("assistant_id", Context),
    ("conversation", Context),
    ("data_sources", Context),
    ("input_embeds", Context),
    ("instructions", Items),
    ("maxNewTokens", Bound),
    ("model_kwargs", Container),
    ("cachedContent", Context),
    ("chat_template", Context),
    ("enable_search", Context),
    ("maxTokenCount", Bound),
    ("output_config", Tools),
    ("output_format", Tools),
    ("prompt_embeds", Context),
    ("cached_content", Context),
    ("candidateCount", Choices),
    ("max_new_tokens", Bound),
    ("responseSchema", Tools),
    ("session_params", Context),
    ("thinkingConfig", Thinking),
    ("candidate_count", Choices),
    ("compound_custom", Context),
    ("conversation_id", Context),
    ("enable_thinking", Context),
    ("inferenceConfig", Container),
    ("maxOutputTokens", Bound),
    ("num_generations", Choices),
    ("promptVariables", Context),
    ("response_format", Tools),
    ("response_schema", Tools),
    ("sampling_params", Container),
    ("search_settings", Context),
    ("thinking_budget", Context),
    ("thinking_config", Thinking),
    ("generationConfig", Container),
    ("inference_config", Container),
    ("generation_config", Container),
    ("max_output_tokens", Bound),
    ("search_parameters", Context),
    ("systemInstruction", Messages),
    ("responseJsonSchema", Tools),
    ("system_instruction", Messages),
    ("web_search_options", Context),
    ("sampling_parameters", Container),
    ("max_tokens_to_sample", Bound),
    ("num_return_sequences", Choices),
    ("previous_response_id", Context),
    ("textGenerationConfig", Container),
    ("max_completion_tokens", Bound),
    ("thinking_token_budget", Context),
    ("additionalModelRequestFields", Container),
];

/// The names of the bound on reasoning in an object for it.
const THINKING: [&str; 4] = [
    "budget_tokens",
    "thinkingBudget",
    "thinking_budget",
    "max_tokens",
];

/// How deep containers are nested at most.
const MAX_DEPTH: usize = 4;

/// The most members of an object with names, far more than any API has.
const MAX_MEMBERS: usize = 1024;

/// The most bounds in a body.
const MAX_BOUNDS: usize = 32;

/// The most choices: more than any server generates.
const MAX_CHOICES: u64 = 10_000;

/// What the names of a body say.
#[derive(Clone, Debug)]
pub(super) struct Names {
    /// The bounds, in the order of the body.
    pub(super) bounds: Vec<Named>,
    /// The largest number of choices.
    pub(super) choices: u64,
    /// The prompts, each of which has all choices.
    pub(super) prompts: u64,
    /// The largest bound on reasoning.
    pub(super) thinking: u64,
    /// The messages, and the images, recordings and files by the places where APIs have them.
    pub(super) content: Content,
    /// Whether there are tools or schemas, which servers describe to the model in words of their own.
    pub(super) has_tools: bool,
}

/// A bound in a body.
#[derive(Clone, Debug)]
pub(super) struct Named {
    /// The keys that lead to it.
    pub(super) keys: Vec<&'static str>,
    /// Where its value is.
    pub(super) at: Range<usize>,
}

// === impl Names ===

impl Names {
    /// Returns what the names of a body say; `None` if that is not certain, or the server adds what is not known.
    #[cold]
    pub(super) fn of(object: Object<'_>) -> Option<Self> {
        let mut names = Self {
            bounds: Vec::new(),
            choices: 1,
            prompts: 1,
            thinking: 0,
            content: Content::default(),
            has_tools: false,
        };
        names.read(object, &mut Vec::new())?;
        Some(names)
    }

    fn read(&mut self, object: Object<'_>, above: &mut Vec<&'static str>) -> Option<()> {
        let mut seen = 0_u128;
        let mut members = 0_usize;
        object.each(|member, at| {
            let key = member.key;
            if !key.is_ascii() || key.contains(&b'\\') {
                return None;
            }
            members = members.saturating_add(1);
            if members > MAX_MEMBERS {
                return None;
            }
            let Some((index, name, meaning)) = named_like(key) else {
                return Some(());
            };
            let bit = 1_u128.checked_shl(u32::try_from(index).ok()?)?;
            // Servers may ignore case, and take the first or the last of several.
            if key != name.as_bytes() || seen & bit != 0 {
                return None;
            }
            seen |= bit;
            let text = object.text(&at);
            match meaning {
                Bound => {
                    let mut keys = above.clone();
                    keys.push(name);
                    self.bounds.push(Named { keys, at });
                    (self.bounds.len() <= MAX_BOUNDS).then_some(())
                }
                Choices => {
                    self.choices = self.choices.max(choices(text)?);
                    Some(())
                }
                Container if text.starts_with(b"{") && above.len() < MAX_DEPTH => {
                    above.push(name);
                    self.read(object.at(&at), above)?;
                    above.pop();
                    Some(())
                }
                // Another value has no names; what is nested deeper is not known.
                Container => (!text.starts_with(b"{")).then_some(()),
                Thinking if text.starts_with(b"{") => self.read_thinking(object.at(&at)),
                Thinking => Some(()),
                Prompts => {
                    self.prompts = self.prompts.saturating_mul(context::prompts(text)?);
                    Some(())
                }
                Context => (!context::is_set(text)).then_some(()),
                Tools => {
                    self.has_tools |= context::is_set(text);
                    match name {
                        "tools" => context::check_tools(text),
                        "toolConfig" | "tool_config" => context::check_tool_config(text),
                        _ => Some(()),
                    }
                }
                Images => {
                    self.content.add(context::images(text)?);
                    Some(())
                }
                Messages | Items => {
                    let content = context::messages(text, meaning == Items)?;
                    self.content.add(content);
                    Some(())
                }
            }
        })
    }

    fn read_thinking(&mut self, object: Object<'_>) -> Option<()> {
        object.check_keys(&THINKING).ok()?;
        for name in THINKING {
            if let Some(at) = object.find(name).ok()? {
                let tokens = number(object.text(&at));
                self.thinking = self.thinking.max(tokens.unwrap_or_default());
            }
        }
        Some(())
    }
}

/// Returns the name that a key is but for case, and its position.
fn named_like(key: &[u8]) -> Option<(usize, &'static str, Meaning)> {
    let start = NAMES.partition_point(|(name, _)| name.len() < key.len());
    let same_length = NAMES.iter().enumerate().skip(start);
    same_length
        .take_while(|(_, (name, _))| name.len() == key.len())
        .find(|(_, (name, _))| key.eq_ignore_ascii_case(name.as_bytes()))
        .map(|(index, (name, meaning))| (index, *name, *meaning))
}

/// Returns a number that every server reads as the same: digits alone.
pub(super) fn number(text: &[u8]) -> Option<u64> {
    let digits = text.iter().all(u8::is_ascii_digit);
    digits
        .then(|| str::from_utf8(text).ok()?.parse().ok())
        .flatten()
}

/// Returns a number of choices; `None` for one that servers may read as different ones.
fn choices(text: &[u8]) -> Option<u64> {
    if text == b"null" {
        return Some(1);
    }
    let inner = text
        .strip_prefix(b"\"")
        .and_then(|text| text.strip_suffix(b"\""));
    number(inner.unwrap_or(text)).filter(|choices| (1..=MAX_CHOICES).contains(choices))
}

#[cfg(test)]
mod tests {
    use super::{NAMES, named_like};

    #[test]
    fn names_are_found_by_their_length() {
        assert!(NAMES.is_sorted_by_key(|(name, _)| name.len()));
        assert!(NAMES.len() <= 128, "each has a bit");
        for (index, (name, meaning)) in NAMES.iter().enumerate() {
            let upper = name.to_uppercase();
            assert_eq!(named_like(upper.as_bytes()), Some((index, *name, *meaning)));
        }
        assert_eq!(named_like(b"temperature"), None);
        assert_eq!(named_like(b""), None);
    }
}
