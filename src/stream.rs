//! One HTTP exchange: the state machine admit → meter → settle.
//!
//! Envoy ends when a stream is resumed that was not paused, or answered after its end, so every such
//! call follows from the state (`state::State`). Only this module decides to resume, reply or charge: it
//! alone calls `Host::resume`, the responder and settlement. However an exchange ends, [`Stream::on_log`] is its end.

mod accept_encoding;
mod access;
mod administration;
mod background;
mod body_location;
mod cap;
mod charge;
mod chargeable;
#[cfg(not(target_arch = "wasm32"))]
mod consider;
mod decide;
mod fallback;
mod grant;
mod head;
mod held_body;
mod include_usage;
mod kept;
mod machine;
mod overload;
mod parts;
mod progress;
mod query;
mod queued;
mod redirect;
mod redirection;
mod report;
mod request;
mod request_body;
mod response;
mod service_reply;
mod state;
#[cfg(test)]
mod tests;
mod top_list;
mod usage_endpoint;
mod usage_support;

#[cfg(not(target_arch = "wasm32"))]
pub use consider::{Considered, ConsideredLimit, CounterState, Counters, Evaluated};
pub use machine::{Next, Stream};
pub(crate) use parts::Parts;
pub(crate) use redirect::KEY as REDIRECT_KEY;
