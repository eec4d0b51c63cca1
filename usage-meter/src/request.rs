//! What a request to an LLM API says: its [`Endpoint`] by its path, its [`Parameters`] by its body, and
//! changes to the body.

mod endpoint;
pub mod include_usage;
pub mod model;
mod parameters;
mod splice;
#[cfg(test)]
mod tests;

pub use endpoint::Endpoint;
pub use parameters::{Parameters, StreamOptions};
