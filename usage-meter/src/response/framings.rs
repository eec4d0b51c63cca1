//! How a body is divided into documents.

mod event_stream;
mod framing;
pub(in crate::response) mod sse;

pub(super) use framing::Framing;
