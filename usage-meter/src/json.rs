//! A streaming JSON scanner: finds the values on a set of paths without building a document.

mod nesting;
pub(crate) mod number;
mod paths;
mod scanner;
mod search;
mod text;
mod visitor;

pub use paths::Paths;
pub use scanner::Scanner;
pub use text::MAX_SCALAR_BYTES;
pub use visitor::{GeneratedKey, Scalar, Visitor};
