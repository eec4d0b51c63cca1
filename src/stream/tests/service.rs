//! Exchanges whose counters are at a rate limit service: whatever it replies, and however late, each is
//! resumed or answered once, and its usage is counted there.

mod background;
mod body_phase;
mod corrections;
mod dry_run;
mod failures;
mod fallbacks;
mod harness;
mod leases;
mod log_lines;
mod long_values;
mod pressure;
mod protocols;
mod queue;
mod random_events;
mod reload;
mod settlement;
mod support;
mod units;
