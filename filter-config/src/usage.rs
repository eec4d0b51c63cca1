//! `usage`: how usage is found, and what is charged without a usage report.

use std::time::Duration;

use usage_meter::{UsageNumber, UsagePointer};

use crate::bounds;
use crate::error::{ErrorKind, Invalid, ValidationErrors};
use crate::expression::{Expression, Role};
use crate::fields::{Fields, Schema};
use crate::json::Json;
use crate::path::Path;
use crate::reader::{self, unexpected};
use crate::values;

/// The `usage` of a configuration.
#[derive(Debug)]
pub struct UsageSettings {
    /// What is charged for a completion without a usage report.
    pub on_missing: OnMissing,
    /// Whether the filter requests a usage report for streams whose client did not.
    pub include_usage: IncludeUsage,
    /// JSON pointers (RFC 6901) to the numbers of tokens in a response, whatever its dialect. Of the pointers to one
    /// number, the first that leads to a number is used. At most [`bounds::USAGE_PATHS`] for each number.
    pub paths: Vec<(UsageNumber, UsagePointer)>,
    /// The methods of requests whose responses are charged.
    pub methods: Methods,
    /// How long the report of a background response is awaited.
    pub background_ttl: Duration,
    /// Which exchanges are metered.
    pub meter: MeteredExchanges,
}

/// Which admitted exchanges are metered, and so have usage in access logs and metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MeteredExchanges {
    /// Those that a limit applies to, or all if there are exports.
    #[default]
    Limited,
    /// All.
    All,
}

/// The methods of requests whose responses are charged.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Methods(Option<Vec<String>>);

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
#[derive(Debug, Default)]
pub enum IncludeUsage {
    /// A streaming request in `OpenAI`'s dialect to which a limit applies gets `stream_options.include_usage: true`,
    /// and the usage report that follows from it is removed from the response; unless the upstream is known to
    /// reject such requests.
    #[default]
    Auto,
    /// Requests and responses are not changed.
    Never,
    /// As `Auto` where the predicate is true, also on paths of no known API.
    When(Box<Expression>),
}

// === impl IncludeUsage ===

impl IncludeUsage {
    /// Returns the predicate over the request, if there is one.
    #[must_use]
    pub fn predicate(&self) -> Option<&Expression> {
        match self {
            Self::When(predicate) => Some(predicate),
            Self::Auto | Self::Never => None,
        }
    }
}

pub(crate) const SCHEMA: Schema = Schema {
    known: &[
        "onMissing",
        "includeUsage",
        "paths",
        "methods",
        "backgroundTtl",
        "meter",
    ],
    ignored: &[],
};

/// The methods that generate nothing: what they read was charged when it was generated.
const FREE: [&str; 6] = ["GET", "HEAD", "DELETE", "OPTIONS", "TRACE", "CONNECT"];

// === impl UsageSettings ===

impl Default for UsageSettings {
    fn default() -> Self {
        Self {
            on_missing: OnMissing::default(),
            include_usage: IncludeUsage::default(),
            paths: Vec::new(),
            methods: Methods::default(),
            background_ttl: Duration::from_secs(3600),
            meter: MeteredExchanges::default(),
        }
    }
}

// === impl Methods ===

impl Methods {
    /// Returns whether the response to a request with this method is charged. Without a list, that is every
    /// method but those of HTTP that generate nothing.
    #[must_use]
    pub fn are_charged(&self, method: &[u8]) -> bool {
        match &self.0 {
            Some(methods) => methods.iter().any(|known| known.as_bytes() == method),
            None => !FREE.iter().any(|free| free.as_bytes() == method),
        }
    }
}

/// The numbers that `usage.paths` can have pointers to.
const NUMBERS: [(&str, UsageNumber); 4] = [
    ("input", UsageNumber::Input),
    ("output", UsageNumber::Output),
    ("total", UsageNumber::Total),
    ("cached", UsageNumber::Cached),
];

pub(crate) const PATHS: Schema = Schema {
    known: &["input", "output", "total", "cached"],
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
    let paths = fields.read_or("paths", path, errors, Vec::new, usage_paths);
    let methods = fields.read_or("methods", path, errors, Methods::default, methods);
    let default = || UsageSettings::default().background_ttl;
    let background_ttl = fields.read_or("backgroundTtl", path, errors, default, background_ttl);
    let default = MeteredExchanges::default;
    let meter = fields.read_or("meter", path, errors, default, meter);
    Ok(UsageSettings {
        on_missing: on_missing?,
        include_usage: include_usage?,
        paths: paths?,
        methods: methods?,
        background_ttl: background_ttl?,
        meter: meter?,
    })
}

/// Reads `usage.meter`.
fn meter(
    json: &Json,
    path: &Path<'_>,
    errors: &mut ValidationErrors,
) -> Result<MeteredExchanges, Invalid> {
    match json {
        Json::String(text) if text == "limited" => Ok(MeteredExchanges::Limited),
        Json::String(text) if text == "all" => Ok(MeteredExchanges::All),
        _ => Err(unexpected(json, "\"limited\" or \"all\"", path, errors)),
    }
}

/// Reads `usage.backgroundTtl`.
fn background_ttl(
    json: &Json,
    path: &Path<'_>,
    errors: &mut ValidationErrors,
) -> Result<Duration, Invalid> {
    const EXPECTED: &str = "a duration from \"1s\" to \"24h\"";
    let within = &bounds::BACKGROUND_TTL;
    values::duration(json, within, EXPECTED, |text| text, path, errors)
}

/// Reads `usage.methods`.
fn methods(
    json: &Json,
    path: &Path<'_>,
    errors: &mut ValidationErrors,
) -> Result<Methods, Invalid> {
    let items = reader::list(json, "methods", *bounds::METHODS.end(), path, errors)?;
    if items.len() < *bounds::METHODS.start() {
        return Err(errors.push(path, ErrorKind::Empty));
    }
    let read = |(position, item)| method(item, &path.item(position), errors).ok();
    let methods = items.iter().enumerate().filter_map(read).collect();
    Ok(Methods(Some(methods)))
}

/// Reads the name of a method, in which case matters (RFC 9110, section 9.1).
fn method(json: &Json, path: &Path<'_>, errors: &mut ValidationErrors) -> Result<String, Invalid> {
    let method = reader::text(json, bounds::METHOD_BYTES, path, errors)?;
    if !method.bytes().all(|byte| byte.is_ascii_uppercase()) {
        return Err(unexpected(json, "a method such as \"POST\"", path, errors));
    }
    Ok(method.to_owned())
}

/// Reads `usage.paths`: pointers by the name of the number, or a list of pointers to the total.
fn usage_paths(
    json: &Json,
    path: &Path<'_>,
    errors: &mut ValidationErrors,
) -> Result<Vec<(UsageNumber, UsagePointer)>, Invalid> {
    match json {
        Json::Array(_) => {
            let pointers = values::pointers(json, &bounds::USAGE_PATHS, path, errors)?;
            Ok(pointers
                .into_iter()
                .map(|pointer| (UsageNumber::Total, pointer))
                .collect())
        }
        Json::Object(_) => {
            let fields = Fields::read(json, path, &PATHS, errors)?;
            if matches!(json, Json::Object(entries) if entries.is_empty()) {
                return Err(errors.push(path, ErrorKind::Empty));
            }
            let mut all = Vec::new();
            for (name, number) in NUMBERS {
                let pointers = fields.read_or(name, path, errors, Vec::new, one_or_more);
                let pointers = pointers.unwrap_or_default().into_iter();
                all.extend(pointers.map(|pointer| (number, pointer)));
            }
            Ok(all)
        }
        _ => {
            let expected = "a list of JSON pointers, or an object";
            Err(unexpected(json, expected, path, errors))
        }
    }
}

/// Reads the pointers to one number: a list, or one text.
fn one_or_more(
    json: &Json,
    path: &Path<'_>,
    errors: &mut ValidationErrors,
) -> Result<Vec<UsagePointer>, Invalid> {
    match json {
        Json::String(_) => values::pointer(json, path, errors).map(|pointer| vec![pointer]),
        _ => values::pointers(json, &bounds::USAGE_PATHS, path, errors),
    }
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
    match json {
        Json::String(text) if text == "auto" => Ok(IncludeUsage::Auto),
        Json::String(text) if text == "never" => Ok(IncludeUsage::Never),
        // Another single word is meant to be one of these.
        Json::String(text)
            if matches!(text.as_str(), "true" | "false")
                || !text.chars().all(char::is_alphabetic) =>
        {
            let predicate = values::expression(json, Role::Predicate, path, errors)?;
            Ok(IncludeUsage::When(Box::new(predicate)))
        }
        _ => {
            let expected = "\"auto\", \"never\" or a CEL predicate";
            Err(unexpected(json, expected, path, errors))
        }
    }
}
