//! tollgate: a Proxy-Wasm filter that meters the tokens of LLM responses and enforces limits.
//!
//! The way of a request is the layout of the source: [`admit`] decides, [`usage_meter`] reads the
//! response, [`settle`] charges it, against counters kept by [`limits`]. [`stream`] is the state
//! machine of one exchange, [`plugin`] what outlives it; [`host`] is all that is asked of Envoy.
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

pub mod admit;
pub mod attributes;
#[cfg(target_arch = "wasm32")]
mod entry;
pub mod host;
pub mod plugin;
pub mod reply;
pub mod settle;
pub mod stream;
