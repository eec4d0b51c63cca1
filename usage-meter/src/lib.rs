//! Reads the tokens that LLM responses report, in any provider's format, as their bytes pass.
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

pub mod estimate;
pub mod meter;
pub mod request;

pub use estimate::Estimates;
pub use meter::{BedrockCounts, Meter, ResponseHead, Usage, UsagePathError, UsagePaths};
