//! The usage of responses.
//!
//! ```text
//! bytes ──► codings ──► framings ──────► scanner ──► report ──► usage
//!           (gzip,      (JSON, SSE,      (paths)     (dialect)
//!            zstd, ..)   event stream)
//! ```

mod codings;
mod framings;
mod head;
mod meter;
mod report;
mod report_filter;
#[cfg(test)]
mod tests;
mod text_body;

pub use codings::{DecodeError, Decoder, DecoderMemory};
pub use head::{HeaderCounts, RequestPath, ResponseHead};
pub use meter::Meter;
pub use report::BackgroundStatus;
pub use report_filter::{Passage, ReportFilter};
