//! End-to-end tests: tollgate in a real Envoy, before mocks of model servers and beside real rate limit services.
//!
//! All of them are one program, which is linked once. `cargo test -p envoy-test --test e2e disconnects::` runs the
//! tests of one module.

mod access;
mod background;
mod budgets;
mod concurrency;
mod configuration;
mod corpus;
mod corrections;
mod costs;
mod counters;
mod custom_reports;
mod dashboards;
mod disconnects;
mod dry_run;
mod estimates;
mod eviction;
mod examples;
mod explained;
mod expressions;
mod fixtures;
mod harness;
mod identities;
mod include_usage;
mod istio_image;
mod large_bodies;
mod limitador;
mod limitador_contract;
mod limitador_leases;
mod limitador_server;
mod long_cluster_names;
mod malformed_input;
mod memory;
mod memory_budget;
mod metering;
mod observability;
mod on_exceeded;
mod on_exceeded_remote;
mod outage;
mod path_spellings;
mod protocols;
mod redirects;
mod reload;
mod rendered;
mod replies;
mod reports;
mod request_body;
mod reservations;
mod sdk;
mod shipped;
mod snapshots;
mod support;
mod usage_endpoint;
mod vm_trap;
mod windows;
