//! The memory of a worker: one budget for all that callers and peers make the module keep.
//!
//! [`allocated`] is what the allocator has handed out. A [`Budget`] is checked before something is
//! allocated in proportion to what a peer sent; a [`Lease`] counts what is kept of it against the [`Share`] of its
//! use. The order in which uses end is that of [`Need`].

mod allocator;
mod budget;
mod share;
#[cfg(test)]
mod tests;

#[cfg(any(test, target_arch = "wasm32"))]
pub(crate) use allocator::allocate_slice;
pub use allocator::allocated;
pub(crate) use allocator::measured;
#[cfg(target_arch = "wasm32")]
pub(crate) use allocator::set_failure_hook;
#[cfg(test)]
pub(crate) use allocator::{handed_out, peak, reset_peak};
pub(crate) use budget::{Budget, Need};
pub(crate) use share::{Lease, Share};
