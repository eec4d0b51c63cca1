//! Requests and responses as a log has them.

use std::collections::HashMap;

use filter_config::{Attribute, Configuration};
use serde_json::{Map, Value, json};

use crate::{
    log::{Entry, Tokens},
    replay::{Request, Response},
};

/// The path of an entry without one.
const PATH: &str = "/v1/chat/completions";

/// The longest body that is made, in bytes.
const MAX_BODY: u64 = 64 << 10;

/// The most models whose mean use is kept.
const MAX_MODELS: usize = 1024;

/// An entry that waits for its time.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) time: u64,
    pub(super) entry: Entry,
}

/// An entry as it is run.
#[derive(Debug)]
pub(super) struct Run {
    pub(super) line: u64,
    pub(super) time: u64,
    pub(super) end: u64,
    pub(super) request: Request,
    pub(super) response: Response,
    /// The decision that the log has.
    pub(super) recorded: Option<String>,
    /// The user, as text.
    pub(super) user: String,
}

/// Makes requests and responses of entries.
#[derive(Debug)]
pub(super) struct Builder {
    /// The path below `auth` that `user` is.
    user: Vec<String>,
    /// The number of entries and their tokens, by model, for entries that were rejected.
    means: HashMap<String, (u64, Tokens)>,
}

// === impl Line ===

impl PartialEq for Line {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Line {}

impl PartialOrd for Line {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Line {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.time, self.entry.line).cmp(&(other.time, other.entry.line))
    }
}

// === impl Builder ===

impl Builder {
    /// Returns a builder for a configuration: `user` of a log is the first path of `auth` that a limit counts by.
    pub(super) fn new(configuration: &Configuration) -> Self {
        let limits = configuration
            .policies
            .iter()
            .flat_map(|policy| &policy.limits);
        let counters = limits.flat_map(|limit| &limit.counters);
        let mut paths = counters.filter_map(|counter| {
            let uses = counter
                .uses()
                .iter()
                .filter_map(|attribute| match attribute {
                    Attribute::Auth(path) if !path.is_empty() => Some(path),
                    _ => None,
                });
            uses.max_by_key(|path| path.len()).cloned()
        });
        let path = paths.next().unwrap_or_else(|| "identity.userid".to_owned());
        Self {
            user: path.split('.').map(str::to_owned).collect(),
            means: HashMap::new(),
        }
    }

    pub(super) fn build(&mut self, line: Line) -> Run {
        let Line { time, mut entry } = line;
        let user = match &entry.user {
            Some(Value::String(text)) => text.clone(),
            Some(other) => other.to_string(),
            None => String::new(),
        };
        // A request that ended before its decision was not passed on either.
        let was_rejected = entry.is_rejected() || entry.decision.as_deref() == Some("abandoned");
        let response = self.response(&entry, was_rejected);
        let auth = self.auth(&mut entry);
        let mut headers = std::mem::take(&mut entry.headers);
        if let Some(host) = entry.host.take() {
            headers.push(("host".to_owned(), host));
        }
        let has_body = entry
            .method
            .as_deref()
            .is_none_or(|method| method == "POST" || method == "PUT");
        let body = has_body.then(|| body(&entry));
        if body.is_some() {
            headers.push(("content-type".to_owned(), "application/json".to_owned()));
        }
        Run {
            line: entry.line,
            time,
            end: time.saturating_add(entry.duration),
            request: Request {
                method: entry.method.unwrap_or_else(|| "POST".to_owned()),
                path: entry.path.unwrap_or_else(|| PATH.to_owned()),
                headers,
                body,
                auth,
                source: entry.source,
                ..Request::default()
            },
            response,
            recorded: entry.decision,
            user,
        }
    }

    /// Returns `auth`: what the log has of it, with `user` where the policy reads it.
    fn auth(&self, entry: &mut Entry) -> Option<Value> {
        let mut auth = std::mem::take(&mut entry.auth);
        match entry.user.take() {
            Some(Value::Object(user)) => auth.extend(user),
            Some(user) => put(&mut auth, &self.user, user),
            None => {}
        }
        (!auth.is_empty()).then_some(Value::Object(auth))
    }

    /// Returns the response: with the usage of the log, or with that of other requests to the model where it was rejected.
    fn response(&mut self, entry: &Entry, was_rejected: bool) -> Response {
        let model = entry.model.as_deref().unwrap_or_default();
        let tokens = entry.tokens.map(Tokens::completed);
        if let Some(tokens) = tokens {
            self.learn(model, tokens);
        }
        let status = entry.status.filter(|_| !was_rejected).unwrap_or(200);
        let status = if (200..600).contains(&status) {
            status
        } else {
            200
        };
        let expected = was_rejected.then(|| self.mean(model));
        let Some(tokens) = tokens.or(expected) else {
            let mut response = Response::guessed(b"{}".to_vec());
            response.status = if status == 200 { 204 } else { status };
            if status == 200 {
                response.body = Vec::new();
            }
            return response;
        };
        let usage = json!({
            "prompt_tokens": tokens.input,
            "completion_tokens": tokens.output,
            "total_tokens": tokens.total,
            "prompt_tokens_details": { "cached_tokens": tokens.cached },
        });
        let mut completion = json!({ "usage": usage });
        if !model.is_empty() {
            completion["model"] = model.into();
        }
        let mut response = Response::guessed(completion.to_string().into_bytes());
        response.status = status;
        response
    }

    fn learn(&mut self, model: &str, tokens: Tokens) {
        if !self.means.contains_key(model) && self.means.len() >= MAX_MODELS {
            return;
        }
        let (count, sum) = self.means.entry(model.to_owned()).or_default();
        *count += 1;
        sum.input = sum.input.saturating_add(tokens.input);
        sum.output = sum.output.saturating_add(tokens.output);
        sum.total = sum.total.saturating_add(tokens.total);
        sum.cached = sum.cached.saturating_add(tokens.cached);
    }

    /// Returns the mean tokens of the requests to a model so far; of all, for a model that none was to.
    fn mean(&self, model: &str) -> Tokens {
        let of_model = self.means.get(model).copied();
        let (count, sum) = of_model.unwrap_or_else(|| {
            let zero = (0, Tokens::default());
            self.means
                .values()
                .fold(zero, |(count, sum), (more, tokens)| {
                    let sum = Tokens {
                        input: sum.input.saturating_add(tokens.input),
                        output: sum.output.saturating_add(tokens.output),
                        total: sum.total.saturating_add(tokens.total),
                        cached: sum.cached.saturating_add(tokens.cached),
                    };
                    (count + more, sum)
                })
        });
        let count = count.max(1);
        Tokens {
            input: sum.input / count,
            output: sum.output / count,
            total: sum.total / count,
            cached: sum.cached / count,
        }
    }
}

/// Returns a body with what the log has of the request, as long as the request's.
fn body(entry: &Entry) -> Vec<u8> {
    let mut body = Map::new();
    if let Some(model) = &entry.model {
        body.insert("model".to_owned(), model.as_str().into());
    }
    if let Some(max) = entry.max_tokens {
        body.insert("max_tokens".to_owned(), max.into());
    }
    if let Some(bytes) = entry.request_bytes {
        let without = Value::Object(body.clone()).to_string().len() as u64;
        let missing = bytes
            .min(MAX_BODY)
            .saturating_sub(without.saturating_add(14));
        let text = "x".repeat(usize::try_from(missing).unwrap_or_default());
        body.insert("messages".to_owned(), text.into());
    }
    Value::Object(body).to_string().into_bytes()
}

fn put(object: &mut Map<String, Value>, path: &[String], value: Value) {
    let Some((first, rest)) = path.split_first() else {
        return;
    };
    if rest.is_empty() {
        object.entry(first).or_insert(value);
        return;
    }
    let inner = object
        .entry(first)
        .or_insert_with(|| Value::Object(Map::new()));
    if let Value::Object(inner) = inner {
        put(inner, rest, value);
    }
}
