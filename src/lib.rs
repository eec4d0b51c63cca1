//! tollgate: a Proxy-Wasm filter that enforces token, cost, request and concurrency limits for LLM APIs.
//!
//! The modules follow the path of a request. `admit` decides on it, [`usage_meter`] reads its
//! response, `settle` charges it, against the counters of the `ledger`, which keeps them in shared
//! data or at a rate limit service by means of [`limits`]. `stream` is the state machine of one
//! exchange, `plugin` composes the parts that outlive it, and `host` is the API of Envoy.
//!
//! Public is only what the command line and the programs in `examples/` and `fuzz/` need.
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
mod attributes;
#[cfg(target_arch = "wasm32")]
mod entry;
mod host;
mod ledger;
mod memory;
mod plugin;
mod policies;
mod reply;
mod settle;
mod stream;
mod telemetry;
#[cfg(test)]
mod testing;

#[cfg(not(target_arch = "wasm32"))]
pub use host::double::{Double, SentCall};
pub use host::{Buffer, HeaderMap};
pub use memory::allocated;
pub use plugin::{ConfigureError, Plugin};
#[cfg(not(target_arch = "wasm32"))]
pub use stream::{Considered, ConsideredLimit, CounterState, Counters, Evaluated};
pub use stream::{Next, Stream};
