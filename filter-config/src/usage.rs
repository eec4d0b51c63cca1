//! `usage`: how usage is found, and what is charged without a usage report.

use crate::bounds;
use crate::error::{Invalid, ValidationErrors};
use crate::fields::{Fields, Schema};
use crate::json::Json;
use crate::path::Path;
use crate::reader;
use crate::values;

/// The `usage` of a configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UsageSettings {
    /// What is charged for a completion without a usage report.
    pub on_missing: OnMissing,
    /// Whether the filter requests a usage report for streams whose client did not.
    pub include_usage: IncludeUsage,
    /// JSON pointers (RFC 6901) to the total of tokens in responses of an unknown dialect. The first that leads to a
    /// number is used. At most [`bounds::USAGE_PATHS`], none empty.
    pub paths: Vec<String>,
}

/// What is charged for a completion without a usage report.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnMissing {
    /// An estimate from the request and the response.
    #[default]
    Estimate,
    /// Nothing.
    Ignore,
}

/// Whether the filter requests a usage report for streams whose client did not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum IncludeUsage {
    /// A streaming request in `OpenAI`'s dialect to which a limit applies gets `stream_options.include_usage: true`,
    /// and the usage report that follows from it is removed from the response.
    #[default]
    Auto,
    /// Requests and responses are not changed.
    Never,
}

pub(crate) const SCHEMA: Schema = Schema {
    known: &["onMissing", "includeUsage", "paths"],
    ignored: &[],
};

/// Reads `usage`.
pub(crate) fn read(
    json: &Json,
    path: &Path<'_>,
    errors: &mut ValidationErrors,
) -> Result<UsageSettings, Invalid> {
    let fields = Fields::read(json, path, &SCHEMA, errors)?;
    let on_missing = fields.read_or("onMissing", path, errors, OnMissing::default, on_missing);
    let include_usage = fields.read_or(
        "includeUsage",
        path,
        errors,
        IncludeUsage::default,
        include_usage,
    );
    let paths = fields.read_or("paths", path, errors, Vec::new, |json, path, errors| {
        values::pointers(json, &bounds::USAGE_PATHS, path, errors)
    });
    Ok(UsageSettings {
        on_missing: on_missing?,
        include_usage: include_usage?,
        paths: paths?,
    })
}

fn on_missing(
    json: &Json,
    path: &Path<'_>,
    errors: &mut ValidationErrors,
) -> Result<OnMissing, Invalid> {
    let choices = [
        ("estimate", OnMissing::Estimate),
        ("ignore", OnMissing::Ignore),
    ];
    reader::choice(json, &choices, path, errors)
}

fn include_usage(
    json: &Json,
    path: &Path<'_>,
    errors: &mut ValidationErrors,
) -> Result<IncludeUsage, Invalid> {
    let choices = [("auto", IncludeUsage::Auto), ("never", IncludeUsage::Never)];
    reader::choice(json, &choices, path, errors)
}
