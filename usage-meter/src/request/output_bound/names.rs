//! The names in a body that bound, multiply or raise what a request uses, of whatever API they are: a server may take
//! those of others than its own.

use super::context;
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
}

use Meaning::{Bound, Choices, Container, Context, Items, Messages, Prompts, Thinking, Tools};

/// All names.
const NAMES: [(&str, Meaning); 87] = [
    ("max_tokens", Bound),
    ("max_completion_tokens", Bound),
    ("max_output_tokens", Bound),
    ("maxOutputTokens", Bound),
    ("maxTokens", Bound),
    ("max_new_tokens", Bound),
    ("maxTokenCount", Bound),
    ("max_gen_len", Bound),
    ("max_tokens_to_sample", Bound),
    ("maxNewTokens", Bound),
    ("num_predict", Bound),
    ("n_predict", Bound),
    ("n", Choices),
    ("best_of", Choices),
    ("num_generations", Choices),
    ("numResults", Choices),
    ("candidateCount", Choices),
    ("candidate_count", Choices),
    ("num_return_sequences", Choices),
    ("num_outputs", Choices),
    ("num_beams", Choices),
    ("beam_width", Choices),
    ("n_choices", Choices),
    ("options", Container),
    ("generationConfig", Container),
    ("generation_config", Container),
    ("inferenceConfig", Container),
    ("inference_config", Container),
    ("textGenerationConfig", Container),
    ("parameters", Container),
    ("extra_body", Container),
    ("additionalModelRequestFields", Container),
    ("sampling_params", Container),
    ("sampling_parameters", Container),
    ("model_kwargs", Container),
    ("thinking", Thinking),
    ("thinkingConfig", Thinking),
    ("thinking_config", Thinking),
    ("reasoning", Thinking),
    ("prompt", Prompts),
    ("prompts", Prompts),
    ("inputs", Prompts),
    ("input_ids", Prompts),
    ("previous_response_id", Context),
    ("conversation", Context),
    ("conversation_id", Context),
    ("web_search_options", Context),
    ("web_search", Context),
    ("enable_search", Context),
    ("search_parameters", Context),
    ("mcp_servers", Context),
    ("container", Context),
    ("cachedContent", Context),
    ("cached_content", Context),
    ("plugins", Context),
    ("data_sources", Context),
    ("dataSources", Context),
    ("connectors", Context),
    ("file_ids", Context),
    ("attachments", Context),
    ("promptVariables", Context),
    ("prompt_id", Context),
    ("prompt_embeds", Context),
    ("thread_id", Context),
    ("assistant_id", Context),
    ("agent_id", Context),
    ("safe_prompt", Context),
    // Templates repeat what the body has once.
    ("chat_template", Context),
    ("template", Context),
    // Reasoning beyond the bound of the output.
    ("enable_thinking", Context),
    ("thinking_budget", Context),
    ("thinking_token_budget", Context),
    ("functions", Tools),
    ("tools", Tools),
    ("toolConfig", Tools),
    ("tool_config", Tools),
    ("response_format", Tools),
    ("responseSchema", Tools),
    ("response_schema", Tools),
    ("responseJsonSchema", Tools),
    ("format", Tools),
    ("text", Tools),
    ("output_config", Tools),
    ("output_format", Tools),
    ("messages", Messages),
    ("contents", Messages),
    ("input", Items),
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
    /// The images, recordings and files, by the places where APIs have them.
    pub(super) parts: u64,
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
            parts: 0,
            has_tools: false,
        };
        names.read(object, &mut Vec::new())?;
        Some(names)
    }

    fn read(&mut self, object: Object<'_>, above: &mut Vec<&'static str>) -> Option<()> {
        let mut seen = 0_u128;
        object.each(|member, at| {
            let key = member.key;
            if !key.is_ascii() || key.contains(&b'\\') {
                return None;
            }
            let alike = |(name, _): &(&str, _)| key.eq_ignore_ascii_case(name.as_bytes());
            let Some(index) = NAMES.iter().position(alike) else {
                return Some(());
            };
            let (name, meaning) = *NAMES.get(index)?;
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
                Messages | Items => {
                    let parts = context::parts(text, meaning == Items)?;
                    self.parts = self.parts.saturating_add(parts);
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
