//! `access`: the models that requests may name.

#[cfg(test)]
mod tests;

use crate::bounds;
use crate::error::{ErrorKind, Invalid, ValidationErrors};
use crate::expression::{Expression, Role};
use crate::fields::{Fields, Schema};
use crate::json::Json;
use crate::path::Path;
use crate::reader;
use crate::values;

/// A rule of access: requests to which it applies may name certain models only. All rules that apply have to allow a
/// request.
#[derive(Debug)]
pub struct AccessRule {
    /// The predicate that has to be true for the rule to apply; without one, it always does.
    pub when: Option<Expression>,
    /// The models that it allows.
    pub models: Vec<ModelPattern>,
    /// The status of the reply to a request that it does not allow, within [`bounds::REPLY_STATUS`].
    pub status: u16,
    /// The code in the body of that reply, where the format of the API has one.
    pub code: String,
}

/// A pattern of names of models: `*` stands for any characters, also none.
///
/// ```
/// let pattern = filter_config::ModelPattern::new("gpt-4o*");
/// assert!(pattern.matches("gpt-4o-mini"));
/// assert!(!pattern.matches("openai/gpt-4o"));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelPattern(String);

pub(crate) const ACCESS: Schema = Schema {
    known: &["when", "models", "else"],
    ignored: &[],
};

pub(crate) const ELSE: Schema = Schema {
    known: &["status", "code"],
    ignored: &[],
};

/// The status of a reply where a rule has none.
const STATUS: u16 = 403;

/// The code of a reply where a rule has none.
const CODE: &str = "model_not_allowed";

// === impl AccessRule ===

impl AccessRule {
    /// Returns whether the rule allows a model.
    #[must_use]
    pub fn allows(&self, model: &str) -> bool {
        self.models.iter().any(|pattern| pattern.matches(model))
    }
}

// === impl ModelPattern ===

impl ModelPattern {
    /// Returns a pattern.
    #[must_use]
    pub fn new(pattern: &str) -> Self {
        Self(pattern.to_owned())
    }

    /// Returns whether a name has the pattern, upper and lower case being different.
    #[must_use]
    pub fn matches(&self, name: &str) -> bool {
        let mut parts = self.0.split('*');
        let first = parts.next().unwrap_or_default();
        let Some(mut rest) = name.strip_prefix(first) else {
            return false;
        };
        let Some(last) = parts.next_back() else {
            return rest.is_empty();
        };
        for part in parts {
            let Some((_, after)) = rest.split_once(part) else {
                return false;
            };
            rest = after;
        }
        rest.ends_with(last)
    }
}

/// Reads `access`, a list of rules.
pub(crate) fn read(
    json: &Json,
    path: &Path<'_>,
    errors: &mut ValidationErrors,
) -> Result<Vec<AccessRule>, Invalid> {
    let items = reader::list(json, "rules", bounds::ACCESS_RULES, path, errors)?;
    let mut rules = Vec::with_capacity(items.len());
    for (position, item) in items.iter().enumerate() {
        rules.extend(rule(item, &path.item(position), errors));
    }
    Ok(rules)
}

fn rule(
    json: &Json,
    path: &Path<'_>,
    errors: &mut ValidationErrors,
) -> Result<AccessRule, Invalid> {
    let fields = Fields::read(json, path, &ACCESS, errors)?;
    let when = fields.read_optional("when", path, errors, |json, path, errors| {
        values::expression(json, Role::Predicate, path, errors)
    });
    let models = fields.require("models", path, errors, models);
    let otherwise = fields.read_or(
        "else",
        path,
        errors,
        || (STATUS, CODE.to_owned()),
        otherwise,
    );
    let (status, code) = otherwise?;
    Ok(AccessRule {
        when: when?,
        models: models?,
        status,
        code,
    })
}

fn models(
    json: &Json,
    path: &Path<'_>,
    errors: &mut ValidationErrors,
) -> Result<Vec<ModelPattern>, Invalid> {
    let items = reader::list(json, "models", bounds::ACCESS_MODELS, path, errors)?;
    let mut models = Vec::with_capacity(items.len());
    for (position, item) in items.iter().enumerate() {
        let path = path.item(position);
        let Ok(text) = reader::text(item, bounds::NAME_BYTES, &path, errors) else {
            continue;
        };
        if reader::check_printable(text, &path, errors).is_ok() {
            models.push(ModelPattern::new(text));
        }
    }
    Ok(models)
}

fn otherwise(
    json: &Json,
    path: &Path<'_>,
    errors: &mut ValidationErrors,
) -> Result<(u16, String), Invalid> {
    let fields = Fields::read(json, path, &ELSE, errors)?;
    let status = fields.read_or(
        "status",
        path,
        errors,
        || u64::from(STATUS),
        |json, path, errors| reader::whole(json, &bounds::REPLY_STATUS, path, errors),
    );
    let code = fields.read_or("code", path, errors, || CODE.to_owned(), code);
    let status = u16::try_from(status?).map_err(|_| Invalid)?;
    Ok((status, code?))
}

/// Reads a code of an error, a word.
pub(crate) fn code(
    json: &Json,
    path: &Path<'_>,
    errors: &mut ValidationErrors,
) -> Result<String, Invalid> {
    let code = reader::text(json, bounds::REPLY_CODE_BYTES, path, errors)?;
    let is_word = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.');
    if !code.bytes().all(is_word) {
        let message = "invalid code, expected letters, digits, \"_\", \"-\" and \".\"";
        return Err(errors.push(path, ErrorKind::Malformed(message)));
    }
    Ok(code.to_owned())
}
