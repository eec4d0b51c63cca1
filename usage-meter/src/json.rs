//! A streaming JSON scanner: finds the values on a set of paths without building a document.

mod members;
mod nesting;
pub(crate) mod number;
mod paths;
mod pointer;
mod scanner;
pub(crate) mod search;
mod strings;
mod text;
mod visitor;

pub(crate) use members::{Member, Members, each_element, skip_space};
pub(crate) use paths::Node;
pub use paths::Paths;
pub(crate) use pointer::is_index;
pub use pointer::{Pointer, PointerError};
pub use scanner::Scanner;
pub use text::MAX_SCALAR_BYTES;
pub use visitor::{GeneratedKey, Scalar, Visitor};

/// The byte order mark of UTF-8, which may precede a document.
pub(crate) const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";
