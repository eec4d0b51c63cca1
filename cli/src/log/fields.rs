//! What the names of a log mean.

use serde_json::{Map, Value, map::Entry as Slot};

use super::{
    entry::{Entry, Tokens},
    time,
};

/// The most characters of a value.
const MAX_CHARS: usize = 4096;

/// The deepest path below `auth`.
const MAX_DEPTH: usize = 16;

/// What a name of a log means.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Meaning {
    Time,
    Duration,
    Method,
    Path,
    Host,
    Source,
    Status,
    Model,
    Input,
    Output,
    Total,
    Cached,
    Usd,
    RequestBytes,
    MaxTokens,
    Decision,
    Limit,
    User,
    Team,
    Auth(Vec<String>),
    Header(String),
}

/// The meanings that have a name. `START_TIME` and the like are those of Envoy's operators in text formats.
const NAMES: [(&str, Meaning); 24] = [
    ("time", Meaning::Time),
    ("start_time", Meaning::Time),
    ("duration", Meaning::Duration),
    ("duration_ms", Meaning::Duration),
    ("method", Meaning::Method),
    ("path", Meaning::Path),
    ("host", Meaning::Host),
    ("authority", Meaning::Host),
    ("source", Meaning::Source),
    ("status", Meaning::Status),
    ("response_code", Meaning::Status),
    ("model", Meaning::Model),
    ("input_tokens", Meaning::Input),
    ("output_tokens", Meaning::Output),
    ("total_tokens", Meaning::Total),
    ("cached_tokens", Meaning::Cached),
    ("usd", Meaning::Usd),
    ("request_bytes", Meaning::RequestBytes),
    ("bytes_received", Meaning::RequestBytes),
    ("max_tokens", Meaning::MaxTokens),
    ("decision", Meaning::Decision),
    ("limit", Meaning::Limit),
    ("user", Meaning::User),
    ("team", Meaning::Team),
];

/// Where the record of `accessLog: record` is.
const RECORD: &str = "tollgate";

/// The names of a log, with what they mean.
#[derive(Debug, Clone, Default)]
pub struct Fields {
    mapped: Vec<(String, Meaning)>,
}

/// `--fields` names something that is not known.
#[derive(Debug, thiserror::Error)]
#[error("--fields: found {0:?}, expected NAME=FIELD, where FIELD is auth.PATH, header.NAME or one of {known}", known = known())]
pub struct UnknownField(String);

fn known() -> String {
    let names: Vec<&str> = NAMES.iter().map(|(name, _)| *name).collect();
    names.join(", ")
}

// === impl Fields ===

impl Fields {
    /// Returns the meanings of names: pairs `NAME=FIELD`, in addition to the defaults.
    ///
    /// # Errors
    /// [`UnknownField`].
    pub fn new<'p>(pairs: impl IntoIterator<Item = &'p str>) -> Result<Self, UnknownField> {
        let mut mapped = Vec::new();
        for pair in pairs {
            let unknown = || UnknownField(pair.to_owned());
            let (name, field) = pair.split_once('=').ok_or_else(unknown)?;
            let meaning = Meaning::of(field).ok_or_else(unknown)?;
            mapped.push((name.trim().to_owned(), meaning));
        }
        Ok(Self { mapped })
    }

    /// Returns the entry of a line of JSON.
    pub(super) fn of_json(&self, json: Value) -> Result<Entry, String> {
        let Value::Object(mut fields) = json else {
            return Err("no object".to_owned());
        };
        let mut entry = Entry::default();
        for (name, meaning) in &self.mapped {
            let value = match fields.remove(name) {
                Some(value) => Some(value),
                None => below(&fields, name).cloned(),
            };
            if let Some(value) = value {
                meaning.set(&mut entry, value)?;
            }
        }
        if let Some(Value::Object(mut record)) = fields.remove(RECORD) {
            let record = match record.remove("value") {
                Some(Value::Object(record)) => record,
                _ => record,
            };
            self.rest(&mut entry, record)?;
        }
        self.rest(&mut entry, fields)?;
        Ok(entry)
    }

    fn rest(&self, entry: &mut Entry, fields: Map<String, Value>) -> Result<(), String> {
        for (name, value) in fields {
            if name == "auth" {
                if let Value::Object(auth) = value {
                    entry.auth.extend(auth);
                }
            } else if let Some(meaning) = self.default(&name) {
                meaning.set(entry, value)?;
            }
        }
        Ok(())
    }

    /// Returns the entry of a row of CSV.
    pub(super) fn of_row<'v>(
        &self,
        names: &[String],
        values: impl Iterator<Item = std::borrow::Cow<'v, str>>,
    ) -> Result<Entry, String> {
        let mut entry = Entry::default();
        for (name, value) in names.iter().zip(values) {
            let mapped = self.mapped.iter().find(|(known, _)| known == name);
            let meaning = mapped.map(|(_, meaning)| meaning.clone());
            if let Some(meaning) = meaning.or_else(|| self.default(name))
                && !value.is_empty()
            {
                meaning.set(&mut entry, Value::String(value.into_owned()))?;
            }
        }
        Ok(entry)
    }

    /// Returns the meaning of a name by itself, unless another name has it by `--fields`.
    fn default(&self, name: &str) -> Option<Meaning> {
        let meaning = Meaning::of(name)?;
        let mut mapped = self.mapped.iter();
        (!mapped.any(|(_, other)| *other == meaning)).then_some(meaning)
    }
}

/// Returns the value at a path, names joined with dots.
fn below<'v>(fields: &'v Map<String, Value>, path: &str) -> Option<&'v Value> {
    let (first, rest) = path.split_once('.')?;
    rest.split('.')
        .try_fold(fields.get(first)?, |value, name| value.get(name))
}

// === impl Meaning ===

impl Meaning {
    fn of(name: &str) -> Option<Self> {
        if let Some(path) = name.strip_prefix("auth.") {
            let path: Vec<String> = path.split('.').map(str::to_owned).collect();
            return (path.len() <= MAX_DEPTH).then_some(Self::Auth(path));
        }
        if let Some(name) = name.strip_prefix("header.") {
            return Some(Self::Header(name.to_ascii_lowercase()));
        }
        let known = NAMES.iter().find(|(known, _)| *known == name);
        known.map(|(_, meaning)| meaning.clone())
    }

    /// Sets the value of an entry. One that is absent, for which Envoy writes `-` or null, is not set.
    fn set(&self, entry: &mut Entry, value: Value) -> Result<(), String> {
        if value.is_null() || value == "-" || value == "" {
            return Ok(());
        }
        let wrong = || {
            let mut text: String = value.to_string().chars().take(40).collect();
            text.retain(|char| !char.is_control());
            format!("{self:?}: found {text}")
        };
        let count = || number(&value).ok_or_else(wrong);
        match self {
            Self::Time => entry.time = Some(time::time(&value).ok_or_else(wrong)?),
            Self::Duration => entry.duration = time::duration(&value).ok_or_else(wrong)?,
            Self::Status => entry.status = u16::try_from(count()?).ok(),
            Self::Input => entry.tokens.get_or_insert_default().input = count()?,
            Self::Output => entry.tokens.get_or_insert_default().output = count()?,
            Self::Total => entry.tokens.get_or_insert_default().total = count()?,
            Self::Cached => entry.tokens.get_or_insert_default().cached = count()?,
            Self::RequestBytes => entry.request_bytes = Some(count()?),
            Self::MaxTokens => entry.max_tokens = Some(count()?),
            Self::Usd => entry.usd = dollars(&value),
            Self::Method => entry.method = text(value),
            Self::Path => entry.path = text(value),
            Self::Host => entry.host = text(value),
            Self::Source => entry.source = text(value),
            Self::Model => entry.model = text(value),
            Self::Decision => entry.decision = text(value),
            Self::Limit => entry.limit = text(value),
            Self::Team => entry.team = text(value),
            Self::User => entry.user = Some(value),
            Self::Header(name) => {
                if let Some(value) = text(value) {
                    entry.headers.push((name.clone(), value));
                }
            }
            Self::Auth(path) => put(&mut entry.auth, path, value),
        }
        Ok(())
    }
}

/// Returns a number that is not negative: a whole one, or one that is rounded. At most 2^53.
fn number(value: &Value) -> Option<u64> {
    const MAX: u64 = 1 << 53;
    let number = match value {
        Value::Number(number) => number.as_u64().or_else(|| float(number.as_f64()?)),
        Value::String(text) => {
            let text = text.trim();
            text.parse().ok().or_else(|| float(text.parse().ok()?))
        }
        _ => None,
    };
    number.filter(|number| *number <= MAX)
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "casts of doubles saturate, and negative numbers are excluded"
)]
fn float(number: f64) -> Option<u64> {
    (number >= 0.0).then_some(number as u64)
}

fn dollars(value: &Value) -> Option<f64> {
    let number = match value {
        Value::Number(number) => number.as_f64(),
        Value::String(text) => text.trim().trim_start_matches('$').parse().ok(),
        _ => None,
    };
    number.filter(|number| number.is_finite() && *number >= 0.0)
}

fn text(value: Value) -> Option<String> {
    let text = match value {
        Value::String(text) => text,
        Value::Number(number) => number.to_string(),
        Value::Bool(bool) => bool.to_string(),
        _ => return None,
    };
    if text.len() <= MAX_CHARS {
        return Some(text);
    }
    Some(text.chars().take(MAX_CHARS).collect())
}

/// Puts a value at a path. What is on the path and no object gives way.
fn put(object: &mut Map<String, Value>, path: &[String], value: Value) {
    match path {
        [] => {}
        [last] => {
            object.insert(last.clone(), value);
        }
        [first, rest @ ..] => {
            let inner = match object.entry(first) {
                Slot::Occupied(slot) => slot.into_mut(),
                Slot::Vacant(slot) => slot.insert(Value::Null),
            };
            if !inner.is_object() {
                *inner = Value::Object(Map::new());
            }
            if let Value::Object(inner) = inner {
                put(inner, rest, value);
            }
        }
    }
}

// === impl Tokens ===

impl Tokens {
    /// Returns the tokens with what follows from the others: the total, or the output.
    #[must_use]
    pub fn completed(mut self) -> Self {
        let parts = self.input.saturating_add(self.output);
        if self.total == 0 {
            self.total = parts;
        } else if parts < self.total {
            self.output = self.total.saturating_sub(self.input);
        }
        self
    }
}
