//! Attacks on the filter in a real Envoy: no input of a client, an upstream or a rate limit service traps the module,
//! blocks a worker, keeps others from being served, or makes an exchange free.
//!
//! `docs/security.md` lists the attacks. Each prints a line with the CPU time that it took of a worker:
//! `make attacks` shows them.

mod brotli;
mod codings;
mod decoders;
mod expressions;
mod gateway;
mod service;
mod streams;
mod worst_case;
