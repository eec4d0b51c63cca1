//! The bound that a request sets on its output: it is found, and lowered or set.

mod context;
mod names;
mod places;
#[cfg(test)]
mod tests;

use super::endpoint::Endpoint;
use super::splice::Object;
use crate::dialects::MAX_TOKENS;
use crate::json::number;
use names::Names;
use places::{Keys, places};

/// The bound that a JSON body sets on the output of one choice, under the names that its API uses, and all else in it
/// that determines what the request uses at most.
///
/// ```
/// use usage_meter::request::{Endpoint, OutputBound};
///
/// let endpoint = Endpoint::of_path("/v1/chat/completions").unwrap();
/// let body = br#"{"model":"m","max_tokens":900,"n":2}"#;
/// let bound = OutputBound::of(body, &endpoint, Some("m")).unwrap();
/// assert_eq!((bound.tokens(), bound.choices()), (Some(900), 2));
/// assert_eq!(bound.set(100).unwrap(), br#"{"model":"m","max_tokens":100,"n":2}"#);
/// ```
#[derive(Clone, Debug)]
pub struct OutputBound<'a> {
    object: Object<'a>,
    /// The places where the API has the bound; the first is where it is set if there is none.
    places: &'static [Keys],
    names: Names,
    tokens: Option<u64>,
}

// === impl OutputBound ===

impl<'a> OutputBound<'a> {
    /// Returns the bound of a request to an API; `None` if that of the API is not known, the meaning of the body
    /// is not certain (it is not a JSON object, or has a key twice, or one that only some servers take as another), or
    /// the server adds to the input what the body does not have.
    #[cold]
    #[must_use]
    pub fn of(body: &'a [u8], endpoint: &Endpoint, model: Option<&str>) -> Option<Self> {
        let places = places(endpoint, model)?;
        let object = Object::new(body)?;
        let names = Names::of(object)?;
        for keys in places {
            check_place(object, keys)?;
        }
        let mut bound = Self {
            object,
            places,
            names,
            tokens: None,
        };
        bound.tokens = bound.find();
        Some(bound)
    }

    /// Returns the largest number of tokens that is given as the bound of a choice, also under names of other APIs;
    /// `None` if the API's own is not given, or not as a number that every server reads as the same.
    #[must_use]
    pub const fn tokens(&self) -> Option<u64> {
        self.tokens
    }

    /// Returns how many times the bound applies: to each choice of each prompt.
    #[must_use]
    pub const fn choices(&self) -> u64 {
        self.names.choices.saturating_mul(self.names.prompts)
    }

    /// Returns the bound on the reasoning that the request sets, which is a part of the output: APIs reject a bound on
    /// the output that is not above it. 0 without one.
    #[must_use]
    pub fn thinking_tokens(&self) -> u64 {
        self.names.thinking.min(MAX_TOKENS)
    }

    /// Returns the number of messages.
    #[must_use]
    pub const fn messages(&self) -> u64 {
        self.names.content.messages
    }

    /// Returns the images, recordings and files in the messages, also those that the body only names.
    #[must_use]
    pub const fn parts(&self) -> u64 {
        self.names.content.parts
    }

    /// Returns the bytes in these parts that are no text for the model.
    #[must_use]
    pub const fn part_bytes(&self) -> u64 {
        self.names.content.part_bytes
    }

    /// Returns whether there are tools or schemas, which servers describe to the model in words of their own.
    #[must_use]
    pub const fn has_tools(&self) -> bool {
        self.names.has_tools
    }

    /// Returns the body with the bound wherever the API has it and the request gives it, or else at the first of these
    /// places, and wherever a higher one has the name of another API; all other bytes stay the same.
    #[cold]
    #[must_use]
    pub fn set(&self, tokens: u64) -> Option<Vec<u8>> {
        let number = tokens.to_string();
        let mut body: Option<Vec<u8>> = None;
        let mut is_set = false;
        // The last comes first, so that the others stay where they are.
        for named in self.names.bounds.iter().rev() {
            let text = self.object.text(&named.at);
            let is_own = self.is_own(&named.keys);
            is_set |= is_own;
            let is_null = text == b"null";
            let is_within = names::number(text).is_some_and(|own| (1..=tokens).contains(&own));
            if is_within || (is_null && !is_own) {
                continue;
            }
            let object = match &body {
                Some(body) => Object::new(body)?,
                None => self.object,
            };
            body = Some(object.replace(&named.at, number.as_bytes())?);
        }
        if is_set {
            return Some(body.unwrap_or_else(|| self.object.whole().to_vec()));
        }
        let object = match &body {
            Some(body) => Object::new(body)?,
            None => self.object,
        };
        insert(object, self.places.first()?, &number)
    }

    /// Returns the bound of a choice; `None` if it has none.
    fn find(&self) -> Option<u64> {
        let mut own: Option<u64> = None;
        let mut all = 0;
        for named in &self.names.bounds {
            let text = self.object.text(&named.at);
            if text == b"null" {
                continue;
            }
            // A bound of 0 is none to some servers, and one as text to others.
            let value = number::tokens(text).filter(|value| *value > 0);
            let value = value.unwrap_or(u64::MAX);
            if self.is_own(&named.keys) {
                own = own.max(Some(value));
            }
            all = all.max(value);
        }
        own.map(|own| own.max(all))
            .filter(|tokens| *tokens < u64::MAX)
    }

    fn is_own(&self, keys: &[&str]) -> bool {
        self.places.contains(&keys)
    }
}

/// Checks that a bound can be set at a place: what it is in is an object, or is not there.
fn check_place(object: Object<'_>, keys: &[&str]) -> Option<()> {
    let [outer, _] = keys else {
        return Some(());
    };
    match object.find(outer).ok()? {
        Some(at) => {
            let text = object.text(&at);
            (text == b"null" || text.starts_with(b"{")).then_some(())
        }
        None => Some(()),
    }
}

fn insert(object: Object<'_>, keys: &[&str], number: &str) -> Option<Vec<u8>> {
    match keys {
        [key] => object.insert(&format!("\"{key}\":{number}")),
        [outer, key] => match object.find(outer).ok()? {
            Some(at) if object.text(&at) == b"null" => {
                object.replace(&at, format!("{{\"{key}\":{number}}}").as_bytes())
            }
            Some(at) => object.at(&at).insert(&format!("\"{key}\":{number}")),
            None => object.insert(&format!("\"{outer}\":{{\"{key}\":{number}}}")),
        },
        _ => None,
    }
}
