//! The policy model of tollgate: what a plugin configuration says, read strictly.
//!
//! [`parse`] turns the JSON of a plugin configuration into a [`Configuration`] whose CEL
//! expressions are compiled and whose every value is within its bounds, or into [`Faults`]: all
//! that is wrong with it, each with the path to it. Nothing is ignored and nothing is guessed.
//!
//! ```
//! let faults = filter_config::parse(br#"{ "policies": {} }"#).unwrap_err();
//! assert_eq!(faults.to_string(), "policies: expected a list, found an object");
//! ```

#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects
    )
)]

mod auth;
pub mod bounds;
mod budget;
#[cfg(feature = "yaml")]
mod carrier;
mod configuration;
pub mod descriptor;
mod effective;
mod exceeded;
mod export;
mod expression;
mod fault;
mod fields;
mod json;
mod limit;
pub mod limitador;
mod path;
mod policy;
mod pricing;
mod rate;
mod replies;
mod route;
mod routing;
mod storage;
mod suggestion;
mod usage;
mod usd;
mod window;

pub use auth::AuthSource;
pub use budget::Budget;
pub use configuration::{Configuration, FailureMode, RequestBody};
pub use effective::{EffectivePolicy, LimitIndex};
pub use exceeded::{Alternative, Exceeded, Queue};
pub use export::Export;
pub use expression::{
    Attribute, COST_ALIASES, Expression, ExpressionFault, Formula, Kind, LLM_FIELDS, LlmField,
    Number, PROPERTIES, Plain, Property, Question, REMOTE_ADDRESS, REQUEST_BODY, RESPONSE_FIELDS,
    ResponseField, Subject, USAGE_FIELDS, UsageField, aliased, environment, missing,
};
pub use fault::{Fault, FaultKind, Faults};
pub use limit::{Limit, Reservation, WhenMissing};
pub use policy::{Policy, Precedence, Strategy, TargetRef};
pub use pricing::{Price, Pricing, Unpriced};
pub use rate::{Algorithm, Rate, RateLimit, RateWindow};
pub use replies::{
    BODY_PLACEHOLDERS, ErrorShape, HeaderNames, NAME_PLACEHOLDERS, Placeholder, QuotaHeaders,
    Replies, Template,
};
pub use storage::{Protocol, Remote, RemoteFailureMode, Storage};
pub use usage::{IncludeUsage, OnMissing, UsageSettings};
pub use usd::{Usd, UsdError};
pub use window::{Window, WindowError};

/// Reads a plugin configuration: JSON, either a `TokenRateLimitPolicy` itself or the long form.
///
/// # Errors
///
/// Everything that is wrong with the configuration, in the order in which it is met. A document
/// that is no JSON, or too large, is one fault.
pub fn parse(json: &[u8]) -> Result<Configuration, Faults> {
    let mut faults = Faults::default();
    let document = json::parse(json, &mut faults);
    checked(document, faults)
}

/// Reads a plugin configuration as [`parse`] does, from YAML or JSON.
///
/// # Errors
///
/// As [`parse`].
#[cfg(feature = "yaml")]
pub fn parse_yaml(yaml: &[u8]) -> Result<Configuration, Faults> {
    let mut faults = Faults::default();
    let document = json::parse_yaml(yaml, &mut faults);
    checked(document, faults)
}

/// Reads a plugin configuration as [`parse_yaml`] does, by itself or in what carries it to Envoy: a `WasmPlugin`, an
/// `EnvoyFilter`, or an Envoy configuration with one Wasm filter, of which this is the `configuration`.
///
/// # Errors
///
/// As [`parse`], with the paths in the document; a document that should carry a configuration and does not is a fault too.
#[cfg(feature = "yaml")]
pub fn parse_carried(yaml: &[u8]) -> Result<Configuration, Faults> {
    let mut faults = Faults::default();
    let Some(document) = json::parse_yaml(yaml, &mut faults) else {
        return Err(faults);
    };
    match carrier::unwrap(document, &mut faults) {
        None => Err(faults),
        Some(Err(document)) => checked(Some(document), faults),
        Some(Ok(carried)) => {
            let configuration = configuration::read(&carried.document, &mut faults);
            carried.check(&mut faults);
            sound(configuration, faults).map_err(|faults| faults.below(&carried.path))
        }
    }
}

fn checked(document: Option<json::Json>, mut faults: Faults) -> Result<Configuration, Faults> {
    let configuration = document.and_then(|document| configuration::read(&document, &mut faults));
    sound(configuration, faults)
}

/// The configuration if nothing is wrong with it.
fn sound(configuration: Option<Configuration>, faults: Faults) -> Result<Configuration, Faults> {
    match configuration {
        Some(configuration) if faults.is_empty() => Ok(configuration),
        _ => Err(faults),
    }
}

#[cfg(test)]
mod tests;
