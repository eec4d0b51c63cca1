//! Runs tollgate in a real Envoy: end-to-end tests, the demonstration, benchmarks.
//!
//! [`envoy::Envoy`] starts an Envoy on free ports with a configuration built in code and ends it when
//! dropped. Around it stand what a gateway for LLM APIs has around it: [`llm`], a provider whose
//! answers the test decides; [`authorino`], an authorisation service; and [`client`], callers good and bad.

pub mod authorino;
pub mod binary;
pub mod child;
pub mod client;
pub mod debian;
pub mod envoy;
pub mod example;
pub mod filters;
pub mod llm;
pub mod metered;
pub mod random;
pub mod redis;
pub mod remote;
pub mod tutorial;
pub mod wait;
pub mod workspace;
