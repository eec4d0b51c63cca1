//! The state machine against a double of Envoy: what it must do, and must never do, in every state.

mod access;
mod background;
mod body_phase;
mod budgets;
mod caps;
mod computed_limits;
mod corrections;
mod costs;
mod crossings;
mod estimates;
mod exchange;
mod expressions;
mod fallbacks;
mod free;
mod harness;
mod include_usage;
mod long_texts;
mod memory;
mod memory_random;
mod observability;
mod policies;
mod queue;
mod redirects;
mod replies;
mod reservations;
mod service;
