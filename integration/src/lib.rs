//! Real peers of tollgate: a limitador service, and manifests for Istio and Prometheus (`manifests/`).
//!
//! [`Limitador`] is a rate limit service on the limitador library, with the gRPC methods of Envoy and of Kuadrant.
//! Its counters are in memory or in Redis. It fails on command: see [`calls::Fault`] and [`Limitador::refuse`].

pub mod calls;
mod counters;
pub mod limits;
pub mod protocol;
mod redis;
mod server;
mod service;

pub use self::{
    counters::Standing,
    server::{Builder, Error, Limitador},
};
