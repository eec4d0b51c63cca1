//! `usageEndpoint`, `admin` and `track`: the path that reports to callers what they have used, which requests administer
//! counters there, and how many of the largest counters these can list.

use crate::bounds;
use crate::error::{ErrorKind, Invalid, ValidationErrors};
use crate::expression::{Expression, Role};
use crate::fields::{Fields, Schema};
use crate::json::Json;
use crate::path::Path;
use crate::reader;
use crate::values;

/// The fields of `usageEndpoint`.
pub(crate) const USAGE_ENDPOINT: Schema = Schema {
    known: &["path"],
    ignored: &[],
};

/// The fields of `admin`.
pub(crate) const ADMIN: Schema = Schema {
    known: &["when"],
    ignored: &[],
};

/// The fields of `track`.
pub(crate) const TRACK: Schema = Schema {
    known: &["top"],
    ignored: &[],
};

/// The endpoint that reports to callers what they have used.
#[derive(Clone, Debug)]
pub struct UsageEndpoint {
    /// Its path, without a query: it begins with `/`, and has at most [`bounds::USAGE_PATH_BYTES`] bytes.
    pub path: String,
    /// Which requests may administer counters there; none without it. It is a predicate.
    pub admin: Option<Expression>,
    /// How many of the largest counters of each limit are tracked, within [`bounds::TRACKED_COUNTERS`]; none without it.
    pub track: Option<usize>,
}

/// Reads `usageEndpoint`, with the `admin` and `track` of the same configuration.
pub(crate) fn read(
    fields: Fields<'_>,
    path: &Path<'_>,
    errors: &mut ValidationErrors,
) -> Result<Option<UsageEndpoint>, Invalid> {
    let endpoint = fields.read_optional("usageEndpoint", path, errors, endpoint);
    let admin = fields.read_optional("admin", path, errors, admin);
    let track = fields.read_optional("track", path, errors, track);
    if let (Ok(None), Ok(Some(_))) = (&endpoint, &admin) {
        return Err(errors.push(&path.field("usageEndpoint"), ErrorKind::MissingField));
    }
    let (endpoint, admin, track) = (endpoint?, admin?, track?);
    if track.is_some() && admin.is_none() {
        let message = "only administrators can list what is tracked, add \"usageEndpoint\" and \"admin\" or remove it";
        return Err(errors.push(&path.field("track"), ErrorKind::Malformed(message)));
    }
    Ok(endpoint.map(|path| UsageEndpoint { path, admin, track }))
}

fn track(json: &Json, path: &Path<'_>, errors: &mut ValidationErrors) -> Result<usize, Invalid> {
    let fields = Fields::read(json, path, &TRACK, errors)?;
    fields.require("top", path, errors, |json, path, errors| {
        reader::count(json, &bounds::TRACKED_COUNTERS, path, errors)
    })
}

fn endpoint(
    json: &Json,
    path: &Path<'_>,
    errors: &mut ValidationErrors,
) -> Result<String, Invalid> {
    let fields = Fields::read(json, path, &USAGE_ENDPOINT, errors)?;
    fields.require("path", path, errors, endpoint_path)
}

fn endpoint_path(
    json: &Json,
    path: &Path<'_>,
    errors: &mut ValidationErrors,
) -> Result<String, Invalid> {
    let text = reader::text(json, bounds::USAGE_PATH_BYTES, path, errors)?;
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/-._~".contains(&byte);
    let is_normal = text.starts_with('/')
        && text.len() > 1
        && text.bytes().all(is_plain)
        && !text
            .split('/')
            .skip(1)
            .any(|part| matches!(part, "" | "." | ".."));
    if !is_normal {
        let message = "invalid path, expected one such as \"/.tollgate/usage\": letters, digits, \"-\", \".\", \"_\" and \"~\" between slashes, without a query";
        return Err(errors.push(path, ErrorKind::Malformed(message)));
    }
    Ok(text.to_owned())
}

fn admin(
    json: &Json,
    path: &Path<'_>,
    errors: &mut ValidationErrors,
) -> Result<Expression, Invalid> {
    let fields = Fields::read(json, path, &ADMIN, errors)?;
    fields.require("when", path, errors, |json, path, errors| {
        values::expression(json, Role::Predicate, path, errors)
    })
}
