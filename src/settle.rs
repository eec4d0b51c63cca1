//! Settlement: what an exchange used becomes its cost at each counter.

mod cost;
mod deferred;
#[cfg(test)]
mod tests;
mod usage;

pub(crate) use cost::{CostContext, export, reserved_tokens, settle};
pub(crate) use deferred::{
    DeferredCost, estimate_costs, report_reserved, report_used, settle_deferred, take_over_reserved,
};
pub(crate) use usage::{MeteredUsage, RequestSize, estimate, metered};
