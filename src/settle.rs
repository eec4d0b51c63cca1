//! Settlement: what an exchange used becomes its cost at each counter.

mod cost;
#[cfg(test)]
mod tests;
mod usage;

pub(crate) use cost::{CostContext, export, settle};
pub(crate) use usage::{MeteredUsage, RequestSize, estimate, metered};
