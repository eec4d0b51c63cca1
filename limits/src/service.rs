//! The client of a rate limit service: limitador, or any that implements Envoy's protocol.
//!
//! A request is checked before it continues ([`ServiceClient::check`]), and its usage is reported
//! afterwards ([`ServiceClient::settle`]). Replies arrive at [`ServiceClient::on_reply`], whatever has
//! become of the exchange meanwhile. Settlements that could not be sent wait in a queue, and are sent
//! again from [`ServiceClient::on_tick`].
//!
//! The client makes its calls through a [`Transport`], logs through the `log` crate, and reports what
//! happens to an [`Observer`].
//!
//! # Exactness
//! A settlement is sent until the service confirms it. So nothing is lost; and nothing is counted twice
//! by a service that either confirms a call or does nothing. A service that counts, but whose reply
//! arrives too late, is sent the settlement again: counting twice is the lesser evil.
//!
//! At most 64 settlement calls are under way. What is settled meanwhile waits in the queue, where the amounts
//! of the same counters are one settlement. A client that replaces another takes over what it has queued
//! ([`ServiceClient::hand_over`]).
//!
//! A settlement that turns out too high is corrected by a credit ([`ServiceClient::credit`]), which
//! reduces the next settlements of the same counters.
//!
//! # Leases
//! A worker can reserve a slice of a busy counter, and admit requests from it without a call ([`ServiceClient::hold`]).
//! The service has the whole slice as reserved, so a limit is exceeded by no more than without leases.

mod backoff;
mod call;
mod check;
mod circuit;
mod client;
mod credits;
mod delivery;
mod descriptors;
mod lease;
mod leases;
mod leasing;
mod link;
pub mod message;
mod method;
#[cfg(any(test, feature = "test-util"))]
pub mod mock;
mod observer;
mod queue;
mod releases;
mod settings;
mod settlement;
mod shared;
mod support;
#[cfg(test)]
mod tests;
mod transport;

pub use check::{CheckError, CheckReply, CheckRequest, CheckResult};
pub use client::ServiceClient;
pub use descriptors::{DescriptorSet, Layout, LimitEntries};
pub use leases::{LeaseDemand, LeaseHold, LeaseId};
pub use message::{DescriptorStatus, MAX_REPLY_BYTES, Reply, ReservationId};
pub use observer::{Observer, ServiceEvent};
pub use settings::{LeaseSettings, LeaseUnit, Protocol, QueueBounds, ServiceSettings};
pub use transport::{CallId, GrpcCall, Metadata, Transport, TransportError};
