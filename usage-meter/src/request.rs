//! What a request to an LLM API says: its [`Endpoint`] by its path, its [`Parameters`] by its body, and
//! changes to the body.

mod endpoint;
pub mod include_usage;
pub mod model;
mod parameters;
mod purpose;
mod splice;
#[cfg(test)]
mod tests;

pub use endpoint::Endpoint;
pub use parameters::{Parameters, StreamOptions};
pub use purpose::Purpose;
