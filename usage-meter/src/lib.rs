//! Reads the tokens that LLM responses report, in the format of any provider, as their bytes pass.
//!
//! A gateway, proxy or client creates a [`Meter`] from the head of a response, [pushes](Meter::push) the
//! bytes of the body as they arrive, and reads the [`Usage`]:
//!
//! ```
//! use usage_meter::{Meter, RequestPath, ResponseHead};
//!
//! let mut meter = Meter::new(&ResponseHead {
//!     status: 200,
//!     content_type: Some(b"text/event-stream"),
//!     path: RequestPath::of(b"/v1/chat/completions"),
//!     ..ResponseHead::default()
//! });
//! meter.push(b"data: {\"model\":\"gpt-4o\",\"choices\":[{\"delta\":{\"content\":\"Hi\"}}]}\n\ndata: {\"choi");
//! meter.push(b"ces\":[],\"usage\":{\"prompt_tokens\":9,\"completion_tokens\":1,\"total_tokens\":10}}\n\n");
//! meter.finish();
//!
//! let usage = meter.usage().expect("the response reports its usage");
//! assert_eq!((usage.input_tokens, usage.output_tokens, usage.total_tokens), (9, 1, 10));
//! assert_eq!(meter.model(), Some("gpt-4o"));
//! ```
//!
//! * [`Meter`] reads JSON, server-sent events, NDJSON, JSON sequences and AWS event streams, with the
//!   content codings gzip, deflate, br and zstd. No format is chosen beforehand: the bytes decide.
//! * [`Usage`] has the same meaning for every provider: input includes the cache, output includes reasoning.
//! * [`request`] reads the endpoint and the parameters of a request, asks for a usage report in a stream,
//!   and replaces the model. [`ReportFilter`] removes such a report from the response again.
//! * [`Estimator`] estimates the tokens of a response without a report.
//!
//! # Guarantees
//!
//! * **Any split gives the same result.** The usage does not depend on how the body is divided into pieces.
//!   It can change until the body ends: [`Meter::is_likely_final`] is a hint.
//! * **No input panics.** Any bytes have a result. What is not JSON reports nothing.
//! * **Memory is bounded.** Nothing is buffered, neither a body nor an event nor a line. A meter keeps at
//!   most a usage object of 64 KiB and, for a body with a content coding, the state of its decoders, of which at
//!   most two are in a row. Decoders take memory from a [`DecoderMemory`] before they allocate.
//! * **The number is exact.** It is the one that the provider reports, of a body of any size. If the provider
//!   reports only a part, [`Meter::is_partial`] says so. Unlike the usage, [`Meter::output_bytes`] is an
//!   estimate for long streams, of which not every event is read.

#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects
    )
)]
#![warn(unreachable_pub)]
#![expect(clippy::doc_markdown, reason = "names of providers are not code")]

mod bounded_text;
mod dialects;
mod estimator;
mod json;
pub mod request;
mod response;
mod usage;

pub use bounded_text::bounded_text;
pub use dialects::{
    MAX_TOKENS, TooManyPointers, UsageNumber, UsagePaths, UsagePointer, UsagePointerError,
};
pub use estimator::{Estimator, Observation};
pub use json::{Pointer, PointerError};
pub use response::{
    BackgroundStatus, DecodeError, DecoderMemory, HeaderCounts, Meter, Passage, ReportFilter,
    RequestPath, ResponseHead,
};
pub use usage::Usage;

/// The parts that the fuzz targets of this repository use. Not a part of the API.
#[doc(hidden)]
pub mod internals {
    pub use crate::json::{GeneratedKey, MAX_SCALAR_BYTES, Paths, Scalar, Scanner, Visitor};
    pub use crate::response::Decoder;
}
