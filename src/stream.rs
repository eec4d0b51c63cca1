//! One HTTP exchange: the state machine admit → meter → settle.
//!
//! Envoy ends when a stream is resumed that was not paused, or answered after its end, so every such
//! call is made in this module and follows from the state (`state::State`). Nothing outside it resumes, replies
//! or charges. However an exchange ends, [`Stream::on_log`] is its end.

mod charge;
mod decide;
mod fallback;
mod head;
mod include_usage;
mod machine;
mod parts;
mod progress;
mod queued;
mod request;
mod response;
mod service_reply;
mod state;
#[cfg(test)]
mod tests;

pub use crate::admit::QueuePoll;
pub use machine::{Next, Stream};
pub(crate) use parts::Parts;
