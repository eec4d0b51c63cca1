//! What a request to an LLM API says: its [`Endpoint`] by its path, its [`Parameters`] by its body, and
//! changes to the body.

mod body;
mod endpoint;
pub mod include_usage;
pub mod mistral;
pub mod model;
mod output_bound;
mod parameters;
mod path;
mod purpose;
mod splice;
#[cfg(test)]
mod tests;

pub use body::{BodyReader, MAX_VALUE_BYTES, MAX_WHOLE_BYTES, Pointers, Syntax, unescaped};
pub use endpoint::{APIS, Endpoint, PROVIDERS};
pub use output_bound::OutputBound;
pub use parameters::{Parameters, StreamOptions};
pub use purpose::Purpose;
