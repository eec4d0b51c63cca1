//! How usage is found, and what is charged without a report of it.

use std::ops::RangeInclusive;

use crate::bounds;
use crate::expression::is_pointer;
use crate::fault::{FaultKind, Faults};
use crate::fields::{self, Fields, Schema};
use crate::json::Json;
use crate::path::Path;

/// The `usage` of a configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UsageSettings {
    /// What is charged for a completion without a usage report.
    pub on_missing: OnMissing,
    /// Whether streams that did not ask for a usage report are made to bring one.
    pub include_usage: IncludeUsage,
    /// JSON pointers (RFC 6901) to the total of tokens in responses that speak no known dialect; the
    /// first that leads to a number counts. At most [`bounds::USAGE_PATHS`], none empty.
    pub paths: Vec<String>,
}

/// What is charged for a completion without a usage report.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnMissing {
    /// An estimate from what has passed.
    #[default]
    Estimate,
    /// Nothing.
    Ignore,
}

/// Whether streams that did not ask for a usage report are made to bring one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum IncludeUsage {
    /// A streaming request in `OpenAI`'s dialect to which a limit applies gets
    /// `stream_options.include_usage: true`, and the report that comes of it is taken out of the response.
    #[default]
    Auto,
    /// Requests and responses are left as they are.
    Never,
}

pub(crate) const SCHEMA: Schema = Schema {
    known: &["onMissing", "includeUsage", "paths"],
    ignored: &[],
};

/// Reads `usage`.
pub(crate) fn read(json: &Json, path: &Path<'_>, faults: &mut Faults) -> Option<UsageSettings> {
    let fields = Fields::read(json, path, &SCHEMA, faults)?;
    let on_missing = fields.read_or("onMissing", path, faults, OnMissing::default, on_missing);
    let include_usage = fields.read_or(
        "includeUsage",
        path,
        faults,
        IncludeUsage::default,
        include_usage,
    );
    let paths = fields.read_or("paths", path, faults, Vec::new, |json, path, faults| {
        pointers(json, &bounds::USAGE_PATHS, path, faults)
    });
    Some(UsageSettings {
        on_missing: on_missing?,
        include_usage: include_usage?,
        paths: paths?,
    })
}

fn on_missing(json: &Json, path: &Path<'_>, faults: &mut Faults) -> Option<OnMissing> {
    let choices = [
        ("estimate", OnMissing::Estimate),
        ("ignore", OnMissing::Ignore),
    ];
    fields::choice(json, &choices, path, faults)
}

fn include_usage(json: &Json, path: &Path<'_>, faults: &mut Faults) -> Option<IncludeUsage> {
    let choices = [("auto", IncludeUsage::Auto), ("never", IncludeUsage::Never)];
    fields::choice(json, &choices, path, faults)
}

/// Reads a list of JSON pointers, in the order in which they are tried. The empty one, which is the
/// whole document, leads to no number and is refused.
pub(crate) fn pointers(
    json: &Json,
    count: &RangeInclusive<usize>,
    path: &Path<'_>,
    faults: &mut Faults,
) -> Option<Vec<String>> {
    let items = fields::list(json, "JSON pointers", *count.end(), path, faults)?;
    if items.len() < *count.start() {
        faults.push(path, FaultKind::MustNotBeEmpty);
    }
    let mut pointers = Vec::with_capacity(items.len());
    for (position, item) in items.iter().enumerate() {
        let path = path.item(position);
        let Some(text) = fields::text(item, bounds::POINTER_BYTES, &path, faults) else {
            continue;
        };
        if is_pointer(text) {
            pointers.push(text.to_owned());
        } else {
            let wanted = "a JSON pointer such as \"/usage/total_tokens\"";
            fields::expected(item, wanted, &path, faults);
        }
    }
    Some(pointers)
}
