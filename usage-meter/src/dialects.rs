//! What each provider's API reports, and where in a document.
//!
//! No dialect is chosen beforehand. The paths of all dialects do not collide, so one tree of paths
//! ([`UsagePaths`]) finds whatever report a body has, and the name of a number determines what it includes
//! ([`Count`]).

mod completions;
mod counts;
mod fields;
mod kind;
mod usage_paths;
mod usage_pointer;
mod wrappers;

pub(crate) use completions::is_completion_path;
pub use counts::MAX_TOKENS;
pub(crate) use counts::{Count, Counts};
pub(crate) use fields::{Field, Source};
pub(crate) use kind::DocumentKind;
pub(crate) use usage_paths::Formula;
pub use usage_paths::{TooManyPointers, UsagePaths};
pub use usage_pointer::{UsageNumber, UsagePointer, UsagePointerError};
