//! Runs tollgate in a real Envoy: end-to-end tests, the demonstration, benchmarks.
//!
//! [`envoy::Envoy`] is an Envoy on free ports with a configuration built in code. Its peers are [`llm`], a provider
//! whose responses the test controls, [`authorino`], an authorization service, [`remote`], a rate limit service, and
//! [`client`], clients that behave well and badly. [`metered`] combines the common ones.

pub mod authorino;
pub mod binary;
pub mod child;
pub mod client;
pub mod command;
pub mod dashboard;
pub mod debian;
pub mod document;
pub mod envoy;
pub mod example;
pub mod filters;
pub mod limitador_server;
pub mod llm;
pub mod metered;
pub mod prometheus;
pub mod python;
pub mod random;
pub mod redis;
pub mod remote;
pub mod tutorial;
pub mod wait;
pub mod workspace;
