//! tollgate: a Proxy-Wasm filter that enforces token, cost, request and concurrency limits for LLM APIs.
//!
//! The modules follow the path of a request. `admit` decides on it, [`usage_meter`] reads its
//! response, `settle` charges it, against the counters of the `ledger`, which keeps them in shared
//! data or at a rate limit service by means of [`limits`]. [`stream`] is the state machine of one exchange, [`plugin`]
//! composes the parts that outlive it, and [`host`] is everything that Envoy offers.
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

mod admit;
pub mod attributes;
#[cfg(target_arch = "wasm32")]
mod entry;
pub mod host;
mod ledger;
pub mod plugin;
mod policies;
mod reply;
mod settle;
pub mod stream;
mod telemetry;
#[cfg(test)]
mod testing;
