//! The policy model of tollgate: reads plugin configurations, strictly.
//!
//! [`parse`] turns the JSON of a plugin configuration into a [`Configuration`], whose CEL expressions are compiled and
//! whose values are within [`bounds`], or into [`ValidationErrors`]: everything that is wrong with it, each with its
//! path. Unknown fields are errors, and nothing is guessed.
//!
//! ```
//! let configuration = filter_config::parse(
//!     br#"{
//!         "apiVersion": "kuadrant.io/v1alpha1",
//!         "kind": "TokenRateLimitPolicy",
//!         "metadata": { "name": "llm" },
//!         "spec": {
//!             "targetRef": { "group": "gateway.networking.k8s.io", "kind": "Gateway", "name": "llm" },
//!             "limits": {
//!                 "per-user": {
//!                     "rates": [{ "limit": 1000, "window": "1h" }],
//!                     "counters": [{ "expression": "auth.identity.userid" }]
//!                 }
//!             }
//!         }
//!     }"#,
//! )?;
//! let limit = &configuration.policies[0].limits[0];
//! assert_eq!(limit.name, "per-user");
//! assert_eq!(limit.counters[0].source(), "auth.identity.userid");
//!
//! let errors = filter_config::parse(br#"{ "policies": {} }"#).unwrap_err();
//! assert_eq!(errors.to_string(), "policies: found an object, expected a list");
//! # Ok::<(), filter_config::ValidationErrors>(())
//! ```
//!
//! With the feature `yaml`, which the Wasm module goes without, `parse_yaml` reads YAML too, and `parse_file` also
//! configurations within the resources that carry them to Envoy, such as a `WasmPlugin` or Envoy's own configuration, and
//! warns of what does something else than it seems to. `parse_source` also returns the configuration as it is written, for
//! programs that write such resources.
//!
//! # Order of modules
//!
//! Each module uses only those before it, and no two use each other:
//!
//! 1. `bounds`, `suggestion`, `path`, `window`, `usd`: values, and parts of messages
//! 2. `expression`, `expression_cache`: CEL expressions, parsed, checked and compiled
//! 3. `warning`, `error`: warnings and validation errors
//! 4. `json`, `envoy_yaml`, `reader`, `fields`, `values`, `resource`: strict readers, from JSON values to values that several
//!    parts of a configuration have
//! 5. `auth`, `usage`, `replies`, `pricing`, `on_exceeded`, `rate`, `budget`, `export`, `route`: parts of a
//!    configuration
//! 6. `limit`, `policy`, `storage`, `routing`, `effective`, `resources`: compositions of these parts
//! 7. `configuration`: the whole
//! 8. `carrier`, `descriptor`, `limitador`: configurations in other systems
//! 9. `lint`, `file`, `source`: files, warnings on what is in them, and configurations as they are written

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

mod access;
mod access_log;
mod auth;
pub mod bounds;
mod budget;
mod cap;
#[cfg(feature = "yaml")]
mod carrier;
mod configuration;
pub mod descriptor;
mod effective;
#[cfg(feature = "yaml")]
mod envoy_yaml;
mod error;
mod export;
mod expression;
mod expression_cache;
mod fields;
#[cfg(feature = "yaml")]
mod file;
#[cfg(test)]
mod fixtures;
mod hard_limits;
mod json;
mod limit;
pub mod limitador;
#[cfg(feature = "yaml")]
mod lint;
mod memory;
mod on_exceeded;
mod path;
mod policy;
mod pricing;
mod rate;
mod reader;
mod replies;
mod request_body;
mod resource;
mod resources;
mod route;
mod routing;
#[cfg(feature = "yaml")]
mod source;
mod storage;
mod suggestion;
mod usage;
mod usage_endpoint;
mod usd;
mod values;
mod warning;
mod window;

pub use access::{AccessRule, ModelPattern};
pub use access_log::AccessLog;
pub use auth::AuthSource;
pub use budget::Budget;
pub use cap::Cap;
pub use configuration::{Configuration, FailureMode};
pub use effective::{EffectivePolicy, LimitIndex};
pub use error::{ValidationError, ValidationErrors};
pub use export::Export;
pub use expression::{
    Attribute, Compared, Condition, Exhausted, Expression, Failure, Formula, Fuel, FuelLimits,
    Kind, LLM_FIELDS, LlmField, Number, Plain, Property, Question, REMOTE_ADDRESS, REQUEST_BODY,
    RESPONSE_FIELDS, ResponseField, Subject, USAGE_FIELDS, UsageField, aliased,
};
#[cfg(feature = "yaml")]
pub use file::{Found, parse_carried, parse_file};
pub use json::Json;
pub use limit::{Limit, Reservation, ReservationTtl, WhenMissing};
pub use memory::Memory;
pub use on_exceeded::{Alternative, Exceeded, Queue};
pub use policy::{Policy, Precedence, Strategy, TargetRef};
pub use pricing::{Price, Pricing, Unpriced};
pub use rate::{Algorithm, Rate, RateLimit, RateWindow};
pub use replies::{
    ErrorFormatSetting, HeaderNames, LimitReply, Placeholder, QuotaHeaders, Replies, Template,
    UpstreamHeaders,
};
pub use request_body::RequestBody;
pub use route::UnknownRoute;
#[cfg(feature = "yaml")]
pub use source::{Source, parse_source};
pub use storage::{Lease, Protocol, Remote, RemoteFailureMode, Storage};
pub use usage::{IncludeUsage, MeteredExchanges, Methods, OnMissing, UsageSettings};
pub use usage_endpoint::UsageEndpoint;
pub use usd::{Usd, UsdError};
pub use warning::{Warning, WarningCode};
pub use window::{Window, WindowError};

/// The reference evaluator for tests of expressions. Not a part of the API.
#[cfg(any(test, feature = "test-util"))]
#[doc(hidden)]
pub use expression::testing;

use error::Invalid;

/// Reads a plugin configuration: JSON, either a `TokenRateLimitPolicy` or the long form.
///
/// # Errors
///
/// Everything that is wrong with the configuration, in the order of the document. A document that is not JSON or is
/// too large is one error.
pub fn parse(json: &[u8]) -> Result<Configuration, ValidationErrors> {
    let mut errors = ValidationErrors::default();
    let configuration = json::parse(json, &mut errors)
        .and_then(|document| configuration::read(&document, &mut errors));
    valid(configuration, errors)
}

/// Reads a plugin configuration as [`parse`] does, from YAML or JSON. Several YAML documents can be policies and their
/// routes; resources of other kinds among them are left out.
///
/// # Errors
///
/// As [`parse`].
#[cfg(feature = "yaml")]
pub fn parse_yaml(yaml: &[u8]) -> Result<Configuration, ValidationErrors> {
    let mut errors = ValidationErrors::default();
    let configuration = json::parse_yaml(yaml, &mut errors)
        .and_then(|documents| configuration::read_documents(&documents, &mut errors));
    valid(configuration, errors)
}

/// Returns the configuration if there are no errors.
fn valid(
    configuration: Result<Configuration, Invalid>,
    mut errors: ValidationErrors,
) -> Result<Configuration, ValidationErrors> {
    match configuration {
        Ok(mut configuration) if errors.is_empty() => {
            configuration.warnings = errors.take_warnings();
            Ok(configuration)
        }
        _ => Err(errors),
    }
}

#[cfg(test)]
mod tests;
