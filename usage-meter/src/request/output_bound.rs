//! The bound that a request sets on its output: it is found, and lowered or set.

#[cfg(test)]
mod tests;

use super::endpoint::Endpoint;
use super::splice::Object;
use crate::json::number;
use memchr::memmem;

/// The keys that lead to a value in a body.
type Keys = &'static [&'static str];

/// Models of OpenAI that reject `max_tokens`, by the beginning of their names.
const COMPLETION_TOKENS_MODELS: [&str; 4] = ["o1", "o3", "o4", "gpt-5"];

/// Keys that multiply or raise the output. A server that ignores case takes others for them.
const CHOICES: [&str; 4] = ["n", "best_of", "num_generations", "numResults"];

/// The bound that a JSON body sets on the output of one choice, under the names that its API uses.
///
/// ```
/// use usage_meter::request::{Endpoint, OutputBound};
///
/// let endpoint = Endpoint::of_path("/v1/chat/completions").unwrap();
/// let body = br#"{"model":"m","max_tokens":900}"#;
/// let bound = OutputBound::of(body, &endpoint, Some("m")).unwrap();
/// assert_eq!(bound.tokens(), Some(900));
/// assert_eq!(bound.set(100).unwrap(), br#"{"model":"m","max_tokens":100}"#);
/// ```
#[derive(Clone, Copy, Debug)]
pub struct OutputBound<'a> {
    object: Object<'a>,
    /// The places where the API has the bound; the first is where it is set if there is none.
    places: &'static [Keys],
    tokens: Option<u64>,
}

// === impl OutputBound ===

impl<'a> OutputBound<'a> {
    /// Returns the bound of a request to an API; `None` if that of the API is not known, or the meaning of the body
    /// is not certain: it is not a JSON object, or has a key twice, or one that only some servers take as another.
    #[cold]
    #[must_use]
    pub fn of(body: &'a [u8], endpoint: &Endpoint, model: Option<&str>) -> Option<Self> {
        let places = places(endpoint, model)?;
        let object = Object::new(body)?;
        object.check_keys(&CHOICES).ok()?;
        let mut tokens = None;
        for keys in places {
            if let Place::Value(value) = place(object, keys)? {
                // A bound of 0 is none to some servers.
                let value = number::tokens(value.1).filter(|value| *value > 0);
                tokens = tokens.max(value);
                if value.is_none() {
                    // It is no bound, or none that every server reads as the same.
                    tokens = tokens.max(Some(u64::MAX));
                }
            }
        }
        Some(Self {
            object,
            places,
            tokens: tokens.filter(|tokens| *tokens < u64::MAX),
        })
    }

    /// Returns the largest number of tokens that is given as the bound of a choice; `None` without a bound.
    #[must_use]
    pub const fn tokens(&self) -> Option<u64> {
        self.tokens
    }

    /// Returns whether the body may have tools, which servers describe to the model in words of their own.
    #[cold]
    #[must_use]
    pub fn has_tools(&self) -> bool {
        let body = self.object.text(&(0..self.object.end()));
        memmem::find(body, b"\"tools\"").is_some()
    }

    /// Returns the body with the bound wherever the API has it and the request gives it, or else at the first of these
    /// places; all other bytes stay the same.
    #[cold]
    #[must_use]
    pub fn set(&self, tokens: u64) -> Option<Vec<u8>> {
        let number = tokens.to_string();
        let mut body: Option<Vec<u8>> = None;
        for keys in self.places {
            let object = match &body {
                Some(body) => Object::new(body)?,
                None => self.object,
            };
            if let Place::Value((at, _)) = place(object, keys)? {
                body = Some(object.replace(&at, number.as_bytes())?);
            }
        }
        match body {
            Some(body) => Some(body),
            None => self.insert(self.places.first()?, &number),
        }
    }

    fn insert(&self, keys: &[&str], number: &str) -> Option<Vec<u8>> {
        let object = self.object;
        match keys {
            [key] => object.insert(&format!("\"{key}\":{number}")),
            [outer, key] => match place(object, &[outer])? {
                Place::Value((at, b"null")) => {
                    object.replace(&at, format!("{{\"{key}\":{number}}}").as_bytes())
                }
                Place::Value((at, _)) => object.at(&at).insert(&format!("\"{key}\":{number}")),
                Place::None => object.insert(&format!("\"{outer}\":{{\"{key}\":{number}}}")),
            },
            _ => None,
        }
    }
}

/// What a body has at a place.
enum Place<'a> {
    /// A value, and where it is.
    Value((std::ops::Range<usize>, &'a [u8])),
    /// Nothing.
    None,
}

/// Returns what an object has at a place of one or two keys; `None` if that is not certain.
fn place<'a>(object: Object<'a>, keys: &[&str]) -> Option<Place<'a>> {
    let (last, before) = keys.split_last()?;
    let mut object = object;
    for key in before {
        object.check_keys(&[key]).ok()?;
        let Some(at) = object.find(key).ok()? else {
            return Some(Place::None);
        };
        match object.text(&at) {
            b"null" => return Some(Place::None),
            text if text.starts_with(b"{") => object = object.at(&at),
            _ => return None,
        }
    }
    object.check_keys(&[last]).ok()?;
    Some(match object.find(last).ok()? {
        Some(at) => {
            let text = object.text(&at);
            Place::Value((at, text))
        }
        None => Place::None,
    })
}

/// Returns where an API has the bound on output; `None` for an API whose bound is not known.
fn places(endpoint: &Endpoint, model: Option<&str>) -> Option<&'static [Keys]> {
    const MAX_TOKENS: &[Keys] = &[&["max_tokens"]];
    const CHAT: &[Keys] = &[&["max_tokens"], &["max_completion_tokens"]];
    const COMPLETION_TOKENS: &[Keys] = &[&["max_completion_tokens"], &["max_tokens"]];
    let model = model.unwrap_or_default();
    Some(match (endpoint.provider, endpoint.api) {
        ("openai" | "azure", "chat_completions") if takes_completion_tokens(model) => {
            COMPLETION_TOKENS
        }
        ("openai" | "azure", "chat_completions") => CHAT,
        ("openai" | "azure", "responses") => &[&["max_output_tokens"]],
        ("openai" | "azure", "completions")
        | ("anthropic", "messages")
        | ("vertex", "raw_predict")
        | ("cohere", "chat" | "generate") => MAX_TOKENS,
        ("gemini" | "vertex", "generate_content") => &[
            &["generationConfig", "maxOutputTokens"],
            &["generationConfig", "max_output_tokens"],
            &["generation_config", "maxOutputTokens"],
            &["generation_config", "max_output_tokens"],
        ],
        ("bedrock", "converse") => &[&["inferenceConfig", "maxTokens"]],
        ("bedrock", "invoke") => of_bedrock(model)?,
        ("ollama", "chat" | "generate") => &[&["options", "num_predict"]],
        _ => return None,
    })
}

/// Returns whether a model takes `max_completion_tokens` only.
fn takes_completion_tokens(model: &str) -> bool {
    let name = model.rsplit('/').next().unwrap_or_default();
    COMPLETION_TOKENS_MODELS
        .iter()
        .any(|start| name.starts_with(start))
}

/// Returns where a model of Bedrock's `InvokeModel` has the bound: each vendor's are like its own API.
fn of_bedrock(model: &str) -> Option<&'static [Keys]> {
    let has = |vendor: &str| model.contains(vendor);
    if ["anthropic.", "mistral.", "cohere.", "ai21.", "openai."]
        .into_iter()
        .any(has)
    {
        Some(&[&["max_tokens"]])
    } else if has("meta.") {
        Some(&[&["max_gen_len"]])
    } else if has("amazon.nova") {
        Some(&[
            &["inferenceConfig", "max_new_tokens"],
            &["inferenceConfig", "maxTokens"],
        ])
    } else if has("amazon.titan") {
        Some(&[&["textGenerationConfig", "maxTokenCount"]])
    } else {
        None
    }
}
