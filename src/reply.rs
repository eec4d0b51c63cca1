//! Responses to clients: rejections, and headers that say what is left.
//!
//! [`Responder`] builds local replies and adds quota headers to responses. Only [`crate::stream`]
//! calls it: Envoy ends when a stream is answered twice, or after its end.

mod anthropic;
mod body;
mod budget;
mod draft03;
mod error;
mod format;
mod headers;
mod ietf;
mod labels;
mod named;
mod openai;
mod quota;
mod responder;
#[cfg(test)]
mod tests;
mod top;
mod units;
mod upstream;
mod usage;
mod wait;

pub(crate) use responder::Responder;
pub(crate) use top::push_top;
pub(crate) use units::unit;
pub(crate) use usage::{Scope, UsageEntry, UsageFormat, entries, table};
